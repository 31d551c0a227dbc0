package dhcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Sub-options of option 43 for PXEClient (PXE 2.1 table 2-1).
const (
	pxeMTFTPAddr        = 1
	pxeMTFTPClientPort  = 2
	pxeMTFTPServerPort  = 3
	pxeMTFTPTimeout     = 4
	pxeMTFTPDelay       = 5
	pxeDiscoveryControl = 6
	pxeDiscoveryAddr    = 7
	pxeBootServers      = 8
	pxeBootMenu         = 9
	pxeMenuPrompt       = 10
	pxeBootItem         = 71

	// pxeCredentials is the bit of a boot item's layer that asks for the file
	// with which the boot file is verified.
	pxeCredentials = 0x8000
)

// PXEControl says how firmware looks for boot servers. Values are combined with |.
type PXEControl uint8

// The values of a discovery control (PXE 2.1, option 43 sub-option 6).
const (
	PXENoBroadcast PXEControl = 1 << iota // not by broadcast
	PXENoMulticast                        // not by multicast
	PXEListedOnly                         // answers of other servers than [PXEOptions].Servers do not count
	PXEUseBootFile                        // not at all: the boot file of this reply is used
)

// PXEOptions are what a server can tell PXE firmware in option 43: which boot
// servers there are, and a menu of what they have. The zero value tells nothing.
// Send it in [BootFile].Options to clients of Kind PXE only: to all others
// option 43 means something else. UEFI firmware that stumbles over it is common.
type PXEOptions struct {
	// Control is sent unless it is zero.
	Control PXEControl
	// Multicast is the group in which boot servers are looked for; zero: not sent.
	Multicast netip.Addr
	// Servers are boot servers by what they have.
	Servers []PXEServer
	// Menu is what the user may choose from. The first item is the default.
	Menu []PXEMenuItem
	// Prompt is shown before the menu; nil: the menu comes at once.
	Prompt *PXEPrompt
	// MTFTP tells of a multicast TFTP server; nil: there is none. UEFI firmware
	// ignores a reply with it.
	MTFTP *PXEMTFTP
	// Item says which boot item the boot file of this reply is; nil: not sent. A
	// reply at port 4011 says so by itself.
	Item *PXEBootItem
}

// PXEServer are the boot servers that have the boot items of a type.
type PXEServer struct {
	// Type is the item's: 0 a boot server as such, 1-32767 as the PXE
	// specification lists them, from 32768 on for everyone.
	Type uint16
	// Addrs are 1 to 255 IPv4 addresses.
	Addrs []netip.Addr
}

// PXEMenuItem is a line of a boot menu.
type PXEMenuItem struct {
	// Type is looked for among the boot servers. 0 boots the local disk.
	Type uint16
	// Text is 1 to 255 characters of printable ASCII.
	Text string
}

// PXEPrompt is shown before a boot menu.
type PXEPrompt struct {
	// Timeout is in seconds, after which the first item is taken: 0 at once, 255
	// never.
	Timeout uint8
	// Text is printable ASCII.
	Text string
}

// PXEMTFTP is a multicast TFTP server (PXE 2.1 section 3.4.4).
type PXEMTFTP struct {
	Addr                   netip.Addr // the multicast group
	ClientPort, ServerPort uint16
	Timeout, Delay         uint8 // in seconds
}

// PXEBootItem is a boot item that a client asks for, or is given.
type PXEBootItem struct {
	// Type is what [PXEServer].Type is.
	Type uint16
	// Layer is 0 for the boot file, and more for what that fetches in turn. With
	// bit 15 it asks for credentials.
	Layer uint16
}

func (i PXEBootItem) bytes() []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, i.Type), i.Layer)
}

// Option encodes o as option 43. It returns an error that names the field when
// firmware could not read what is in it, or it is more than 255 bytes.
func (o PXEOptions) Option() (dhcpv4.Option, error) {
	var b []byte
	add := func(code byte, v ...byte) { b = append(append(b, code, byte(len(v))), v...) }
	if o.Control > PXENoBroadcast|PXENoMulticast|PXEListedOnly|PXEUseBootFile {
		return dhcpv4.Option{}, fmt.Errorf("dhcp: PXEOptions: Control %#x has bits that are reserved", uint8(o.Control))
	}
	if m := o.MTFTP; m != nil {
		if !m.Addr.Is4() || !m.Addr.IsMulticast() {
			return dhcpv4.Option{}, fmt.Errorf("dhcp: PXEOptions: MTFTP: %s is not an IPv4 multicast group", m.Addr)
		}
		add(pxeMTFTPAddr, m.Addr.AsSlice()...)
		// The ports are as an Intel processor stores them.
		add(pxeMTFTPClientPort, binary.LittleEndian.AppendUint16(nil, m.ClientPort)...)
		add(pxeMTFTPServerPort, binary.LittleEndian.AppendUint16(nil, m.ServerPort)...)
		add(pxeMTFTPTimeout, m.Timeout)
		add(pxeMTFTPDelay, m.Delay)
	}
	if o.Control != 0 {
		add(pxeDiscoveryControl, byte(o.Control))
	}
	if o.Multicast.IsValid() {
		if !o.Multicast.Is4() || !o.Multicast.IsMulticast() {
			return dhcpv4.Option{}, fmt.Errorf("dhcp: PXEOptions: Multicast %s is not an IPv4 multicast group", o.Multicast)
		}
		add(pxeDiscoveryAddr, o.Multicast.AsSlice()...)
	}
	lists := []struct {
		code byte
		make func() ([]byte, error)
	}{{pxeBootServers, o.servers}, {pxeBootMenu, o.menu}, {pxeMenuPrompt, o.prompt}}
	for _, l := range lists {
		v, err := l.make()
		if err != nil {
			return dhcpv4.Option{}, err
		}
		if len(v) > 0 {
			add(l.code, v...)
		}
	}
	if o.Item != nil {
		add(pxeBootItem, o.Item.bytes()...)
	}
	if b = append(b, optionEnd); len(b) > 255 {
		return dhcpv4.Option{}, fmt.Errorf("dhcp: PXEOptions: %d bytes; firmware reads 255", len(b))
	}
	return dhcpv4.OptGeneric(dhcpv4.OptionVendorSpecificInformation, b), nil
}

func (o PXEOptions) servers() (b []byte, err error) {
	for _, s := range o.Servers {
		if len(s.Addrs) == 0 || len(s.Addrs) > 255 {
			return nil, fmt.Errorf("dhcp: PXEOptions: Servers: type %d has %d addresses, not 1 to 255", s.Type, len(s.Addrs))
		}
		b = append(binary.BigEndian.AppendUint16(b, s.Type), byte(len(s.Addrs)))
		for _, a := range s.Addrs {
			if !a.Is4() || a.IsUnspecified() {
				return nil, fmt.Errorf("dhcp: PXEOptions: Servers: %s is not an IPv4 address", a)
			}
			b = append(b, a.AsSlice()...)
		}
	}
	return b, nil
}

func (o PXEOptions) menu() (b []byte, err error) {
	for _, m := range o.Menu {
		if m.Text == "" || len(m.Text) > 255 || !printable(m.Text) {
			return nil, fmt.Errorf("dhcp: PXEOptions: Menu: %q is not 1 to 255 characters of printable ASCII", m.Text)
		}
		b = append(binary.BigEndian.AppendUint16(b, m.Type), byte(len(m.Text)))
		b = append(b, m.Text...)
	}
	return b, nil
}

func (o PXEOptions) prompt() ([]byte, error) {
	if o.Prompt == nil {
		return nil, nil
	}
	if !printable(o.Prompt.Text) {
		return nil, fmt.Errorf("dhcp: PXEOptions: Prompt: %q is not printable ASCII", o.Prompt.Text)
	}
	return append([]byte{o.Prompt.Timeout}, o.Prompt.Text...), nil
}

// BootItem returns the boot item that the client asks for in option 43, and
// whether it asks for one. At port 4011 a client that names none wants what a
// proxy has for it.
func (r *Request) BootItem() (PXEBootItem, bool) {
	v := pxeSubOption(r.Packet.Options.Get(dhcpv4.OptionVendorSpecificInformation), pxeBootItem)
	if len(v) != 4 {
		return PXEBootItem{}, false
	}
	return PXEBootItem{Type: binary.BigEndian.Uint16(v), Layer: binary.BigEndian.Uint16(v[2:])}, true
}

// pxeSubOption returns the first sub-option of a code, nil if there is none.
func pxeSubOption(b []byte, code byte) []byte {
	for len(b) > 0 && b[0] != optionEnd {
		switch {
		case b[0] == optionPad:
			b = b[1:]
			continue
		case len(b) < 2 || len(b) < 2+int(b[1]):
			return nil
		case b[0] == code:
			return b[2 : 2+int(b[1])]
		}
		b = b[2+int(b[1]):]
	}
	return nil
}

// pxeEnd is the offset where the sub-options of b end, -1 if one runs past it.
func pxeEnd(b []byte) int {
	i := 0
	for i < len(b) && b[i] != optionEnd {
		switch {
		case b[i] == optionPad:
			i++
		case i+1 >= len(b) || i+2+int(b[i+1]) > len(b):
			return -1
		default:
			i += 2 + int(b[i+1])
		}
	}
	return i
}

// addBootItem says which item the boot file of a reply is, beside what option 43
// says already.
func addBootItem(reply *dhcpv4.DHCPv4, item PXEBootItem) error {
	v := reply.Options[43]
	if pxeSubOption(v, pxeBootItem) != nil {
		return nil // the embedder's own
	}
	end := pxeEnd(v)
	if end < 0 {
		return errors.New("dhcp: option 43 is not a list of sub-options; use PXEOptions")
	}
	own := append([]byte{pxeBootItem, 4}, item.bytes()...)
	v = append(append(v[:end:end], own...), optionEnd)
	if len(v) > 255 {
		return fmt.Errorf("dhcp: option 43 has %d bytes with the boot item; firmware reads 255", len(v))
	}
	reply.Options[43] = v
	return nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
