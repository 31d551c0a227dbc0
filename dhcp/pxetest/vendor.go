package pxetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Codes inside option 43 to clients of the class PXEClient, PXE 2.1 section 2.4.
const (
	vendorControl   = 6
	vendorMulticast = 7
	vendorServers   = 8
	vendorMenu      = 9
	vendorPrompt    = 10
	vendorItem      = 71
)

// Bits of vendorControl.
const (
	controlDirect = 1 << 3 // boot the file that is named, and do not search
)

// pxeVendor is option 43 of a PXE server.
type pxeVendor map[byte][]byte

// suboptions reads options that are packed into one. They may lack the END.
func suboptions(b []byte) (map[byte][]byte, error) {
	m := make(map[byte][]byte)
	for len(b) > 0 && b[0] != optEnd {
		if b[0] == 0 {
			b = b[1:]
			continue
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return m, fmt.Errorf("item %d runs past its end", b[0])
		}
		m[b[0]] = b[2 : 2+int(b[1])]
		b = b[2+int(b[1]):]
	}
	return m, nil
}

func parseVendor(b []byte) (pxeVendor, error) {
	m, err := suboptions(b)
	if err != nil {
		return nil, err
	}
	if c, ok := m[vendorControl]; ok && len(c) != 1 {
		return nil, fmt.Errorf("item %d has length %d", vendorControl, len(c))
	}
	return m, nil
}

// discovers: it says something about how the boot file is found.
func (v pxeVendor) discovers() bool {
	for _, code := range []byte{vendorControl, vendorMulticast, vendorServers, vendorMenu, vendorPrompt} {
		if _, ok := v[code]; ok {
			return true
		}
	}
	return false
}

func (v pxeVendor) control() byte {
	if c := v[vendorControl]; len(c) == 1 {
		return c[0]
	}
	return 0
}

func (v pxeVendor) direct() bool { return v.control()&controlDirect != 0 }

// bootServer finds the server of the first item of the menu, without the menu being
// looked at, and the boot item to ask it for. Servers that are searched for by
// broadcast or multicast are not played.
func (v pxeVendor) bootServer() (netip.Addr, []byte, error) {
	menu := v[vendorMenu]
	if len(menu) < 3 || len(menu) < 3+int(menu[2]) {
		return netip.Addr{}, nil, errors.New("option 43 wants boot servers to be discovered and has no menu (43.9)")
	}
	kind := binary.BigEndian.Uint16(menu)
	if kind == 0 {
		return netip.Addr{}, nil, errors.New("the first item of the menu in option 43.9 is the local disk")
	}
	for list := v[vendorServers]; len(list) >= 3; {
		size := 3 + 4*int(list[2])
		if len(list) < size {
			return netip.Addr{}, nil, errors.New("the list of boot servers in option 43.8 is cut short")
		}
		if binary.BigEndian.Uint16(list) == kind && size > 3 {
			return netip.AddrFrom4([4]byte(list[3:7])), []byte{byte(kind >> 8), byte(kind), 0, 0}, nil
		}
		list = list[size:]
	}
	return netip.Addr{}, nil, fmt.Errorf("option 43.8 lists no boot server of type %d, and those that are found by broadcast or multicast are not played", kind)
}
