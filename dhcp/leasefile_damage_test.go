package dhcp

import (
	"bytes"
	"encoding/hex"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// bytesHandle is a file of bytes that nobody writes to.
type bytesHandle struct{ *bytes.Reader }

func (h bytesHandle) Size() (int64, error)               { return h.Reader.Size(), nil }
func (h bytesHandle) Sync() error                        { return nil }
func (h bytesHandle) Close() error                       { return nil }
func (h bytesHandle) WriteAt([]byte, int64) (int, error) { return 0, fs.ErrPermission }

func readBytes(p []byte) (*leases, error) {
	return readLeases(bytesHandle{bytes.NewReader(p)}, "leases")
}

// logOf is a lease file: a snapshot of two frames, then a frame for each batch
// of claims. states[i] is what the file says when it ends after ends[i].
func logOf(t testing.TB) (file []byte, ends []int, states []map[netip.Addr]string) {
	salt := [8]byte{1, 2, 3, 4, 5, 6, 7, 8}
	l := leaseLog{file: &growing{}, salt: salt, size: headerLen}
	state := map[netip.Addr]string{}
	version := uint64(0)
	add := func(body []byte, b Binding, remove bool) []byte {
		version++
		begin := len(body)
		if remove {
			body = appendRemoval(body, b.Addr, version)
			delete(state, b.Addr.Addr())
		} else {
			body = appendBinding(body, b, version)
			state[b.Addr.Addr()] = string(body[begin:])
		}
		return body
	}
	done := func() {
		ends = append(ends, int(l.size))
		s := map[netip.Addr]string{}
		for a, r := range state {
			s[a] = r
		}
		states = append(states, s)
	}
	for i := range 2 {
		require.NoError(t, l.write(add(add(nil, boundTo(i), false), boundTo(i+2), false)))
	}
	base, before := l.size, version
	done()
	for i := range 9 {
		var body []byte
		for j := range 1 + i*i { // of 1 to 13 sectors
			b := boundTo(j)
			b.HW = mac(i)
			body = add(body, b, i == 5 && j == 3)
		}
		require.NoError(t, l.append(body))
		done()
	}
	file = l.file.(*growing).p
	copy(file, appendHeader(nil, fileHeader{salt: salt, base: base, version: before}))
	return file, ends, states
}

// growing is a file in memory.
type growing struct {
	bytesHandle
	p []byte
}

func (g *growing) Sync() error { return nil }
func (g *growing) WriteAt(p []byte, offset int64) (int, error) {
	if need := int(offset) + len(p); need > len(g.p) {
		g.p = append(g.p, make([]byte, need-len(g.p))...)
	}
	return copy(g.p[offset:], p), nil
}

func TestLeaseFileCutAtEveryByte(t *testing.T) {
	file, ends, states := logOf(t)
	for n := range len(file) + 1 {
		l, err := readBytes(file[:n])
		if n < ends[0] {
			var damaged *DamagedLeasesError
			require.ErrorAs(t, err, &damaged, "%d bytes", n)
			require.EqualValues(t, n, damaged.Offset)
			if n < headerLen {
				require.NotContains(t, err.Error(), "RepairLeaseFile", "there is nothing to keep")
			} else {
				require.ErrorContains(t, err, "RepairLeaseFile")
			}
			continue
		}
		require.NoError(t, err, "%d bytes", n)
		i := 0
		for i+1 < len(ends) && ends[i+1] <= n {
			i++
		}
		require.Equal(t, states[i], l.bindings, "%d bytes", n)
		require.EqualValues(t, ends[i], l.end)
	}
}

// Every single bit counts: there is none whose change is not seen.
func TestLeaseFileEveryBitFlipIsRefused(t *testing.T) {
	file, ends, _ := logOf(t)
	file = file[:ends[6]]
	for i := range file {
		for bit := range 8 {
			file[i] ^= 1 << bit
			_, err := readBytes(file)
			var damaged *DamagedLeasesError
			require.ErrorAs(t, err, &damaged, "bit %d of byte %d", bit, i)
			require.LessOrEqual(t, damaged.Offset, int64(len(file)))
			file[i] ^= 1 << bit
		}
	}
}

// Ten thousand times several flips, also in files that were cut besides.
func TestLeaseFileTenThousandBitFlips(t *testing.T) {
	whole, ends, states := logOf(t)
	rnd := rand.New(rand.NewPCG(3, 4))
	loaded := 0
	for range 10_000 {
		n := len(whole)
		if rnd.IntN(2) == 0 {
			n = rnd.IntN(n)
		}
		file := bytes.Clone(whole[:n])
		first := n
		for range 1 + rnd.IntN(4) {
			if n > 0 {
				at := rnd.IntN(n)
				first = min(first, at)
				file[at] ^= 1 << rnd.IntN(8)
			}
		}
		l, err := readBytes(file)
		if err != nil || bytes.Equal(file, whole[:n]) {
			continue
		}
		// The flips were in what was cut off.
		loaded++
		i := 0
		for i+1 < len(ends) && ends[i+1] <= n {
			i++
		}
		require.GreaterOrEqual(t, first, ends[i])
		require.Equal(t, states[i], l.bindings)
	}
	require.NotZero(t, loaded)
}

// A crash leaves any of the sectors of the last frame unwritten, and the file
// short or long.
func TestLeaseFileTornInTheLastFrame(t *testing.T) {
	whole, ends, states := logOf(t)
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 3000 {
		last := 1 + rnd.IntN(len(ends)-1)
		file := bytes.Clone(whole[:ends[last]])
		lost := false
		for at := ends[last-1]; at < len(file); {
			next := min(len(file), (at/sector+1)*sector)
			if rnd.IntN(3) == 0 {
				clear(file[at:next])
				lost = true
			}
			at = next
		}
		l, err := readBytes(file)
		require.NoError(t, err)
		if lost {
			require.Equal(t, states[last-1], l.bindings)
			require.EqualValues(t, ends[last-1], l.end)
		} else {
			require.Equal(t, states[last], l.bindings)
		}
	}
}

// Sectors of zeros before the last frame are no torn append: what was there had
// been acknowledged.
func TestLeaseFileHoleIsRefused(t *testing.T) {
	whole, ends, _ := logOf(t)
	lastFrame := ends[len(ends)-2]
	for at := 0; at < lastFrame; at = (at/sector + 1) * sector {
		file := bytes.Clone(whole)
		clear(file[at:min(lastFrame, (at/sector+1)*sector)])
		_, err := readBytes(file)
		var damaged *DamagedLeasesError
		require.ErrorAs(t, err, &damaged, "zeros at %d", at)
	}
	file := append(bytes.Clone(whole), make([]byte, maxBody+frameHeaderLen)...)
	l, err := readBytes(file)
	require.NoError(t, err, "an append of which only the length came to disk")
	require.EqualValues(t, len(whole), l.end)
	_, err = readBytes(append(file, 0))
	require.ErrorContains(t, err, "not there any more", "no append is that long")
	_, err = readBytes(append(bytes.Clone(whole), whole[ends[0]:ends[1]]...))
	require.Error(t, err, "a frame that belongs elsewhere")
}

// A file with right checksums and a wrong content does not load either.
func TestLeaseFileContentOutOfOrder(t *testing.T) {
	frame := func(inSnapshot bool, records ...[]byte) []byte {
		g := &growing{}
		l := leaseLog{file: g, size: headerLen}
		require.NoError(t, l.write(bytes.Join(records, nil)))
		base := int64(headerLen)
		if inSnapshot {
			base = l.size
		}
		copy(g.p, appendHeader(nil, fileHeader{base: base, version: 10}))
		return g.p
	}
	record := func(version uint64) []byte { return appendBinding(nil, boundTo(1), version) }
	mask := record(11)
	mask[offsetAddrLen+5] = 33
	family := record(11)
	family[offsetAddrLen] = 5
	kind := record(11)
	kind[0] = 3
	for name, c := range map[string]struct {
		file []byte
		ok   bool
	}{
		"log":                       {frame(false, record(11), record(12)), true},
		"log, version missing":      {frame(false, record(11), record(13)), false},
		"log, version twice":        {frame(false, record(11), record(11)), false},
		"log, old version":          {frame(false, record(10)), false},
		"snapshot":                  {frame(true, record(3), record(10)), true},
		"snapshot, version 0":       {frame(true, record(0)), false},
		"snapshot, later version":   {frame(true, record(11)), false},
		"snapshot, backwards":       {frame(true, record(9), record(3)), false},
		"mask":                      {frame(false, mask), false},
		"address of five bytes":     {frame(false, family), false},
		"kind":                      {frame(false, kind), false},
		"record cut short":          {frame(false, record(11)[:40]), false},
		"removal of what is absent": {frame(false, appendRemoval(nil, boundTo(7).Addr, 11)), true},
	} {
		_, err := readBytes(c.file)
		var damaged *DamagedLeasesError
		if c.ok {
			require.NoError(t, err, name)
		} else {
			require.ErrorAs(t, err, &damaged, name)
		}
	}
	later := frame(false, record(11))
	later[8] = 2
	sum := crc32.Checksum(later[:36], castagnoli())
	later[36], later[37], later[38], later[39] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
	_, err := readBytes(later)
	require.ErrorContains(t, err, "version 2 of the format")
}

// The format is written down in the comment of LeaseFile; this is a file of one
// frame in it.
func TestLeaseFileFormat(t *testing.T) {
	b := Binding{HW: mac(1), ID: []byte{1, 2}, UUID: "u", Addr: netip.MustParsePrefix("192.0.2.100/32"),
		Until: time.Unix(1_800_000_000, 7).UTC(), State: Bound, Version: 1}
	g := &growing{}
	l := leaseLog{file: g, size: headerLen, salt: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}}
	require.NoError(t, l.append(appendBinding(nil, b, 1)))
	copy(g.p, appendHeader(nil, fileHeader{salt: l.salt, base: headerLen}))
	require.Equal(t, goldenLeases, hex.EncodeToString(g.p))
	golden, err := hex.DecodeString(goldenLeases)
	require.NoError(t, err)
	read, err := readBytes(golden)
	require.NoError(t, err)
	require.Equal(t, b, decodeBinding(read.bindings[b.Addr.Addr()]))
}

const goldenLeases = "7078656c6561736501000000" + "0102030405060708" + "2800000000000000" + "0000000000000000" + "b576f698" +
	"a529000000c7891432" + "6a525366" + "5a" +
	"010100000000000000" + "04c000026420" + "01" + "00d2496b00000000" + "07000000" + "06020000000001" + "020102" + "0175" + "5a"

// TestCVE_2021_25217_LeaseFileParserOverflow: a parser of ISC's lease file ran
// over its buffer. Ours is told of fields that are longer than their record, and
// of records that are longer than their frame.
func TestCVE_2021_25217_LeaseFileParserOverflow(t *testing.T) {
	record := appendBinding(nil, boundTo(1), 1)
	for n := range record {
		_, _, err := scanRecord(record[:n])
		require.Error(t, err, "%d bytes", n)
		for v := range 256 {
			p := bytes.Clone(record)
			p[n] = byte(v)
			if _, length, err := scanRecord(p); err == nil && p[0] == recordBinding {
				require.LessOrEqual(t, length, len(p))
				decodeBinding(string(p[:length]))
			}
		}
	}
	// The longest that can be said of a frame is more than the file has.
	g := &growing{}
	l := leaseLog{file: g, size: headerLen}
	require.NoError(t, l.write(record))
	copy(g.p, appendHeader(nil, fileHeader{base: headerLen}))
	for _, n := range []int{0, maxBody, maxBody + 1, 1<<31 - 1, 1<<32 - 1} {
		p := append(g.p[:headerLen:headerLen], appendFrameHeader(nil, l.salt, headerLen, n, 0)...)
		p = append(p, g.p[headerLen+frameHeaderLen:]...)
		_, err := readBytes(p)
		require.Equal(t, n == maxBody, err == nil, "%d bytes: %v", n, err) // which may be an append cut short
	}
	f := openLeases(t, filepath.Join(t.TempDir(), "leases"))
	pool := small(3)
	pool.Store = f
	dora(t, newServer(withPool(pool)), mac(1))
}

func TestRepairLeaseFile(t *testing.T) {
	whole, ends, states := logOf(t)
	path := filepath.Join(t.TempDir(), "leases")
	write := func(p []byte) { require.NoError(t, os.WriteFile(path, p, 0o600)) }

	write(whole)
	kept, err := RepairLeaseFile(path)
	require.NoError(t, err)
	require.Len(t, states[len(states)-1], kept)
	same, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, whole, same, "nothing to repair")
	require.NoFileExists(t, path+".damaged")

	damaged := bytes.Clone(whole)
	damaged[ends[3]+20] ^= 1
	damaged[ends[5]+3] ^= 1
	write(damaged)
	_, err = OpenLeaseFile(path)
	var problem *DamagedLeasesError
	require.ErrorAs(t, err, &problem)
	require.Equal(t, path, problem.Path)
	require.EqualValues(t, ends[3], problem.Offset)
	kept, err = RepairLeaseFile(path)
	require.NoError(t, err)
	copied, err := os.ReadFile(path + ".damaged")
	require.NoError(t, err)
	require.Equal(t, damaged, copied)
	f := openLeases(t, path)
	require.Equal(t, states[len(states)-1], f.bindings, "later frames had it all")
	require.Len(t, f.bindings, kept)
	require.NoError(t, f.Close())

	write(whole[:ends[0]-1]) // in the snapshot
	kept, err = RepairLeaseFile(path)
	require.NoError(t, err)
	require.Equal(t, 2, kept)

	damaged[12] ^= 1
	write(damaged)
	_, err = RepairLeaseFile(path)
	require.ErrorAs(t, err, &problem)
	require.Zero(t, problem.Offset)
	same, err = os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, damaged, same)
}

func TestLeaseFileOpensATornFile(t *testing.T) {
	whole, ends, states := logOf(t)
	path := filepath.Join(t.TempDir(), "leases")
	last := len(ends) - 1
	require.NoError(t, os.WriteFile(path, whole[:ends[last]-1], 0o600))
	for i := range 2 {
		f := openLeases(t, path)
		require.Equal(t, states[last-1], f.bindings)
		want := 0
		if i == 0 {
			want = ends[last] - 1 - ends[last-1]
		}
		require.EqualValues(t, want, f.Discarded())
		require.NoError(t, f.Close())
	}
}
