package dhcp

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"maps"
	"net/netip"
	"reflect"
	"testing"
)

// What FuzzLeaseFile makes of its bytes.
const (
	fuzzBytes  = iota // the file
	fuzzSums          // the file, once its checksums are right, so that what they guard is reached
	fuzzDamage        // what is done to a file that was good
	fuzzModes
)

// FuzzLeaseFile opens any file. What loads is what is certain: of each address the
// newest record in the file and no other, and of a file that was damaged exactly
// what it said up to some append before the damage. All else is refused.
func FuzzLeaseFile(f *testing.F) {
	whole, ends, states := logOf(f)
	whole, ends = whole[:ends[5]], ends[:6]
	small := whole[:ends[2]]
	f.Add(small, byte(fuzzBytes))
	f.Add(small[:len(small)-20], byte(fuzzBytes))
	f.Add(small, byte(fuzzSums))
	f.Add(whole, byte(fuzzSums))
	f.Add([]byte{}, byte(fuzzSums))
	f.Add([]byte{0xff, 0xff}, byte(fuzzDamage))
	f.Add([]byte{byte(ends[4] + 9), byte((ends[4] + 9) >> 8)}, byte(fuzzDamage))
	f.Add([]byte{0xff, 0xff, byte(ends[3]), byte(ends[3] >> 8), 1}, byte(fuzzDamage))
	f.Add([]byte{0xff, 0xff, byte(ends[5] - 1), byte((ends[5] - 1) >> 8), 0, 30, 0, 1}, byte(fuzzDamage))
	f.Fuzz(func(t *testing.T, p []byte, mode byte) {
		switch mode % fuzzModes {
		case fuzzSums:
			p = fixSums(bytes.Clone(p))
		case fuzzDamage:
			p = damage(whole, p)
		}
		l, err := readBytes(p)
		if mode%fuzzModes == fuzzDamage {
			checkDamaged(t, whole, ends, states, p, l, err)
		}
		if err == nil {
			checkLoaded(t, p, l)
		}
	})
}

// damage cuts a file, and then flips bits of some bytes of it, or clears sectors.
func damage(file, how []byte) []byte {
	if len(how) < 2 {
		return file
	}
	file = bytes.Clone(file[:min(len(file), int(binary.LittleEndian.Uint16(how)))])
	for how = how[2:]; len(how) >= 3 && len(file) > 0; how = how[3:] {
		at := int(binary.LittleEndian.Uint16(how)) % len(file)
		if how[2] == 0 {
			begin := at / sector * sector
			clear(file[begin:min(len(file), begin+sector)])
		}
		file[at] ^= how[2]
	}
	return file
}

// checkDamaged checks what became of a file that was whole, which ended after
// ends[i] with states[i].
func checkDamaged(t *testing.T, whole []byte, ends []int, states []map[netip.Addr]string, p []byte, l *leases, err error) {
	intact := -1
	for i, end := range ends {
		if len(p) >= end && bytes.Equal(p[:end], whole[:end]) {
			intact = i
		}
	}
	switch {
	case err != nil && intact >= 0 && bytes.Equal(p, whole[:len(p)]):
		t.Fatalf("cut to %d bytes, which a crash does: %v", len(p), err)
	case err == nil && intact < 0:
		t.Fatal("the snapshot is damaged, and it loads")
	case err == nil && !maps.Equal(l.bindings, states[intact]):
		t.Fatalf("append %d is the last that is whole; %d bindings, not %d, or others", intact, len(l.bindings), len(states[intact]))
	}
}

// checkLoaded checks a file that loads.
func checkLoaded(t *testing.T, p []byte, l *leases) {
	if l.end > l.size || l.size != int64(len(p)) {
		t.Fatalf("ends at %d of %d, which are %d", l.end, l.size, len(p))
	}
	if newest := newestRecords(p[:l.end]); !maps.Equal(l.bindings, newest) {
		t.Fatalf("loaded %q, the newest are %q", l.bindings, newest)
	}
	for a, record := range l.bindings {
		b := decodeBinding(record)
		if b.Addr.Addr() != a || !b.Addr.IsValid() || b.Version == 0 || b.Version > l.version {
			t.Fatalf("%s has %+v, and the last version is %d", a, b, l.version)
		}
		if again := decodeBinding(string(appendBinding(nil, b, b.Version))); storable(b) != nil || !reflect.DeepEqual(b, again) {
			t.Fatalf("%+v can be loaded, and is stored as %+v: %v", b, again, storable(b))
		}
	}
	// What is loaded is loaded again, without what was cut off.
	again, err := readBytes(p[:l.end])
	if err != nil || !maps.Equal(l.bindings, again.bindings) || again.version != l.version {
		t.Fatalf("it loads once, and not again: %v", err)
	}
}

// newestRecords reads a whole file by what the comment of LeaseFile says of it,
// without a doubt, and returns of each address the record of the highest version,
// unless that removes it.
func newestRecords(p []byte) map[netip.Addr]string {
	versions, found := map[netip.Addr]uint64{}, map[netip.Addr]string{}
	for at := headerLen; at < len(p); {
		body := p[at+frameHeaderLen:][:binary.LittleEndian.Uint32(p[at+1:])]
		at += frameHeaderLen + len(body)
		for body = body[:len(body)-1]; len(body) > 0; {
			addrLen := int(body[9])
			a, _ := netip.AddrFromSlice(body[10 : 10+addrLen])
			n := 10 + addrLen + 1
			if body[0] == 1 {
				n += 1 + 8 + 4
				for range 3 {
					n += 1 + int(body[n])
				}
			}
			if version := binary.LittleEndian.Uint64(body[1:]); version >= versions[a] {
				versions[a], found[a] = version, string(body[:n])
				if body[0] == 2 {
					delete(found, a)
				}
			}
			body = body[n:]
		}
	}
	return found
}

// fixSums makes the header and every frame that follows from it right.
func fixSums(p []byte) []byte {
	if len(p) < headerLen {
		return p
	}
	var h fileHeader
	copy(h.salt[:], p[12:])
	h.base = min(int64(p[20])|int64(p[21])<<8, int64(len(p)))
	h.version = uint64(p[28])
	copy(p, appendHeader(nil, h))
	for at := headerLen; at+frameHeaderLen < len(p); {
		n := min(1+(int(p[at+1])|int(p[at+2])<<8), len(p)-at-frameHeaderLen)
		body := p[at+frameHeaderLen:][:n]
		body[n-1] = bodyEnd
		copy(p[at:], appendFrameHeader(nil, h.salt, int64(at), n, crc32.Checksum(body, castagnoli())))
		at += frameHeaderLen + n
	}
	return p
}
