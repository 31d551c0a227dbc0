package dhcp

import (
	"errors"
	"fmt"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// The layout of a packet (RFC 2131 section 2): the BOOTP header, the magic
// cookie, the options.
const (
	offsetChaddr  = 28
	offsetSname   = 44
	offsetFile    = 108
	offsetCookie  = 236
	offsetOptions = 240
	chaddrLen     = 16
	snameLen      = 64
	fileLen       = 128

	// maxPacket is the longest packet that is read. Clients send some 600
	// bytes, relays add less than 300.
	maxPacket = 4096

	// maxClientID is the longest client identifier: that of one instance.
	maxClientID = 255
)

const (
	magicCookie = "\x63\x82\x53\x63"

	optionPad = 0
	optionEnd = 255
)

// decoded is a packet that keeps the rules a server can check by looking at the
// packet alone.
type decoded struct {
	packet *dhcpv4.DHCPv4
	chaddr [chaddrLen]byte
	// tolerated tells of a violation that does not stop the packet.
	tolerated bool
}

// decode reads and checks a packet of a client. It keeps nothing of p. The
// reason is why the packet must be dropped, "" if it need not be.
func decode(p []byte) (d decoded, reason DropReason, err error) {
	switch {
	case len(p) < offsetOptions:
		return d, Malformed, fmt.Errorf("dhcp: packet of %d bytes is shorter than a header", len(p))
	case len(p) > maxPacket:
		return d, Malformed, fmt.Errorf("dhcp: packet is longer than %d bytes", maxPacket)
	case string(p[offsetCookie:offsetOptions]) != magicCookie:
		return d, Malformed, errors.New("dhcp: packet has no magic cookie")
	case p[0] != byte(dhcpv4.OpcodeBootRequest):
		return d, RFCViolation, fmt.Errorf("dhcp: op %d is not a request", p[0])
	case p[2] > chaddrLen:
		return d, Malformed, fmt.Errorf("dhcp: hardware address of %d bytes", p[2])
	}
	if n, ended := scanOptions(p[offsetOptions:]); n < 0 {
		return d, Malformed, errors.New("dhcp: an option runs past the end of the packet")
	} else if !ended {
		// The codec refuses what has no END.
		p = append(p[:len(p):len(p)], optionEnd)
		d.tolerated = true
	}
	d.packet, err = dhcpv4.FromBytes(p)
	if err != nil {
		return d, Malformed, fmt.Errorf("dhcp: %w", err)
	}
	copy(d.chaddr[:], p[offsetChaddr:])
	if err := joinOverloaded(d.packet, p); err != nil {
		return d, Malformed, err
	}
	if err := checkLengths(d.packet.Options); err != nil {
		return d, Malformed, err
	}
	if len(d.packet.ClientHWAddr) == 0 && !d.packet.Options.Has(dhcpv4.OptionClientIdentifier) {
		return d, RFCViolation, errors.New("dhcp: client has neither a hardware address nor a client identifier")
	}
	switch t := typeOf(d.packet); t {
	case dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeDecline,
		dhcpv4.MessageTypeRelease, dhcpv4.MessageTypeInform:
		return d, "", nil
	case dhcpv4.MessageTypeNone:
		return d, RFCViolation, errors.New("dhcp: no message type; BOOTP is not served")
	default:
		return d, RFCViolation, fmt.Errorf("dhcp: message type %d is not a client's", byte(t))
	}
}

// scanOptions walks over options, and returns how many there are and whether
// END comes; -1 when one runs past the end.
func scanOptions(b []byte) (n int, ended bool) {
	for len(b) > 0 {
		switch {
		case b[0] == optionPad:
			b = b[1:]
			continue
		case b[0] == optionEnd:
			return n, true
		case len(b) < 2 || len(b) < 2+int(b[1]):
			return -1, false
		}
		n++
		b = b[2+int(b[1]):]
	}
	return n, false
}

// joinOverloaded reads options out of the file and sname fields where option 52
// says that they are there, in this order (RFC 2131 section 4.1).
func joinOverloaded(d *dhcpv4.DHCPv4, p []byte) error {
	v := d.Options.Get(dhcpv4.OptionOptionOverload)
	if !d.Options.Has(dhcpv4.OptionOptionOverload) {
		return nil
	}
	if len(v) != 1 || v[0] < 1 || v[0] > 3 {
		return errors.New("dhcp: option 52 (overload) is not 1, 2 or 3")
	}
	fields := []struct {
		bit  byte
		text *string
		b    []byte
	}{
		{1, &d.BootFileName, p[offsetFile:offsetCookie]},
		{2, &d.ServerHostName, p[offsetSname:offsetFile]},
	}
	for _, f := range fields {
		if v[0]&f.bit == 0 {
			continue
		}
		if n, _ := scanOptions(f.b); n < 0 {
			return errors.New("dhcp: an option runs past the end of an overloaded field")
		}
		if err := d.Options.FromBytes(f.b); err != nil {
			return fmt.Errorf("dhcp: overloaded field: %w", err)
		}
		*f.text = ""
	}
	return nil
}

// checkLengths refuses a packet whose meaning hangs on an option of a wrong
// length, and takes out those without which it still makes sense.
func checkLengths(o dhcpv4.Options) error {
	for _, f := range []struct {
		code dhcpv4.OptionCode
		n    int
	}{
		{dhcpv4.OptionDHCPMessageType, 1},
		{dhcpv4.OptionRequestedIPAddress, 4},
		{dhcpv4.OptionServerIdentifier, 4},
	} {
		if o.Has(f.code) && len(o.Get(f.code)) != f.n {
			return fmt.Errorf("dhcp: option %d has %d bytes, not %d", f.code.Code(), len(o.Get(f.code)), f.n)
		}
	}
	if len(o.Get(dhcpv4.OptionIPAddressLeaseTime)) != 4 {
		o.Del(dhcpv4.OptionIPAddressLeaseTime)
	}
	if len(o.Get(dhcpv4.OptionMaximumDHCPMessageSize)) != 2 {
		o.Del(dhcpv4.OptionMaximumDHCPMessageSize)
	}
	// RFC 2132 section 9.14: two bytes at least.
	if len(o.Get(dhcpv4.OptionClientIdentifier)) < 2 {
		o.Del(dhcpv4.OptionClientIdentifier)
	}
	// Several instances (RFC 3396) could make one that a store cannot keep.
	if n := len(o.Get(dhcpv4.OptionClientIdentifier)); n > maxClientID {
		return fmt.Errorf("dhcp: option 61 has %d bytes, more than the %d of one instance", n, maxClientID)
	}
	return nil
}
