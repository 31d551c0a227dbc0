package dhcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// The kinds of a record.
const (
	recordBinding = 1
	recordRemoved = 2
)

const (
	// maxField is the longest HW, ID and UUID.
	maxField = 255
	// offsetAddrLen is where the length of the address is in a record, behind
	// the kind and the version.
	offsetAddrLen = 1 + 8
	// fixedFields is the length of State and Until.
	fixedFields = 1 + 8 + 4
)

// storable refuses what could not be read back.
func storable(b Binding) error {
	switch {
	case !b.Addr.IsValid():
		return errors.New("dhcp: a binding without a valid address cannot be stored")
	case b.State < 0 || b.State > 255:
		return fmt.Errorf("dhcp: the binding of %s cannot be stored: its state %d is not from 0 to 255", b.Addr.Addr(), int(b.State))
	}
	for i, n := range [...]int{len(b.HW), len(b.ID), len(b.UUID)} {
		if n > maxField {
			name := [...]string{"hardware address", "client identifier", "UUID"}[i]
			return fmt.Errorf("dhcp: the binding of %s cannot be stored: its %s has %d bytes, more than %d", b.Addr.Addr(), name, n, maxField)
		}
	}
	return nil
}

func appendKey(p []byte, kind byte, prefix netip.Prefix, version uint64) []byte {
	p = append(p, kind)
	p = binary.LittleEndian.AppendUint64(p, version)
	addr := prefix.Addr().AsSlice()
	p = append(p, byte(len(addr)))
	p = append(p, addr...)
	return append(p, byte(prefix.Bits()))
}

func appendBinding(p []byte, b Binding, version uint64) []byte {
	p = appendKey(p, recordBinding, b.Addr, version)
	p = append(p, byte(b.State))
	p = binary.LittleEndian.AppendUint64(p, uint64(b.Until.Unix()))
	p = binary.LittleEndian.AppendUint32(p, uint32(b.Until.Nanosecond()))
	p = append(append(p, byte(len(b.HW))), b.HW...)
	p = append(append(p, byte(len(b.ID))), b.ID...)
	return append(append(p, byte(len(b.UUID))), b.UUID...)
}

func appendRemoval(p []byte, prefix netip.Prefix, version uint64) []byte {
	return appendKey(p, recordRemoved, prefix, version)
}

// recordVersion is the Version of a whole record.
func recordVersion(record string) uint64 {
	return binary.LittleEndian.Uint64([]byte(record[1:offsetAddrLen]))
}

// errRecord has a checksum that is right and a content that is not: no crash and
// no disk does that.
var errRecord = errors.New("a record that no lease file has")

// scanRecord finds out how long the record is that p begins with, and whose it
// is.
func scanRecord(p []byte) (addr netip.Addr, n int, err error) {
	if len(p) <= offsetAddrLen {
		return addr, 0, errRecord
	}
	addrLen := int(p[offsetAddrLen])
	n = offsetAddrLen + 1 + addrLen + 1
	if addrLen != 4 && addrLen != 16 || len(p) < n {
		return addr, 0, errRecord
	}
	addr, _ = netip.AddrFromSlice(p[offsetAddrLen+1 : n-1])
	if int(p[n-1]) > addr.BitLen() {
		return addr, 0, errRecord
	}
	switch p[0] {
	case recordRemoved:
		return addr, n, nil
	case recordBinding:
		n += fixedFields
		for range 3 {
			if n >= len(p) || n+1+int(p[n]) > len(p) {
				return addr, 0, errRecord
			}
			n += 1 + int(p[n])
		}
		return addr, n, nil
	}
	return addr, 0, errRecord
}

// decodeBinding reads a record of the kind recordBinding that scanRecord has
// found to be whole. UUID shares the record's memory.
func decodeBinding(record string) Binding {
	b := Binding{Version: recordVersion(record)}
	n := offsetAddrLen + 1 + int(record[offsetAddrLen])
	addr, _ := netip.AddrFromSlice([]byte(record[offsetAddrLen+1 : n]))
	b.Addr = netip.PrefixFrom(addr, int(record[n]))
	fixed := []byte(record[n+1 : n+1+fixedFields])
	b.State = BindingState(fixed[0])
	b.Until = time.Unix(int64(binary.LittleEndian.Uint64(fixed[1:])), int64(binary.LittleEndian.Uint32(fixed[9:]))).UTC()
	rest := record[n+1+fixedFields:]
	field := func() string {
		v := rest[1 : 1+int(rest[0])]
		rest = rest[1+len(v):]
		return v
	}
	b.HW = append(b.HW, field()...) // nil if it is empty
	b.ID = append(b.ID, field()...)
	b.UUID = field()
	return b
}
