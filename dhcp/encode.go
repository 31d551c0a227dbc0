package dhcp

import (
	"encoding/binary"
	"fmt"
	"net"
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// The encoder is ours because what the codec writes is not what firmware can
// read: it sorts options by code, splits those over 255 bytes that must stay
// whole, cuts names that do not fit and knows no limit.

const (
	// minBOOTP is the size that RFC 1542 section 2.1 asks for.
	minBOOTP = 300
	// headerIPUDP is what the IP and UDP headers take of a datagram.
	headerIPUDP = 28
	// minDatagram is what each client accepts (RFC 2131 section 2), and
	// maxPayload what UEFI firmware has room for, and an Ethernet frame.
	minDatagram = 576
	maxPayload  = 1472
)

// sizeLimit is how long the reply to p may be: an IP datagram of 576 bytes, or
// of option 57 if that is more, and never above an Ethernet frame.
func sizeLimit(p *dhcpv4.DHCPv4) int {
	size := minDatagram
	if v := p.Options.Get(dhcpv4.OptionMaximumDHCPMessageSize); len(v) == 2 {
		size = max(size, int(binary.BigEndian.Uint16(v)))
	}
	return min(size-headerIPUDP, maxPayload)
}

// encode writes reply as an answer to r. Options that find no room are taken
// out of reply, in the order that rank says. It returns an error, and nothing
// else, when what must be in the reply does not fit.
func encode(reply *dhcpv4.DHCPv4, r *Request) ([]byte, error) {
	if len(reply.BootFileName) >= fileLen {
		return nil, fmt.Errorf("dhcp: boot file name of %d bytes does not fit into the header's %d", len(reply.BootFileName), fileLen-1)
	}
	if len(reply.ServerHostName) >= snameLen {
		return nil, fmt.Errorf("dhcp: server name of %d bytes does not fit into the header's %d", len(reply.ServerHostName), snameLen-1)
	}
	for _, code := range []dhcpv4.OptionCode{dhcpv4.OptionVendorSpecificInformation, dhcpv4.OptionClassIdentifier, dhcpv4.OptionBootfileName} {
		// Firmware takes the first instance and does not join them.
		if n := len(reply.Options.Get(code)); n > 255 {
			return nil, fmt.Errorf("dhcp: option %d has %d bytes; firmware reads 255", code.Code(), n)
		}
	}
	order := writeOrder(reply, r)
	limit := sizeLimit(r.Packet)
	size := offsetOptions + 1
	for _, code := range order {
		size += wireSize(code, reply.Options[code])
	}
	for size > limit {
		i := firstToGo(order, reply.BootFileName != "")
		if i < 0 {
			return nil, fmt.Errorf("dhcp: the reply needs %d bytes, the client accepts %d", size, limit)
		}
		size -= wireSize(order[i], reply.Options[order[i]])
		delete(reply.Options, order[i])
		order = slices.Delete(order, i, i+1)
	}
	b := make([]byte, offsetOptions, max(size, minBOOTP))
	encodeHeader(b, reply, r)
	for _, code := range order {
		b = appendOption(b, code, reply.Options[code])
	}
	b = append(b, optionEnd)
	return b[:max(len(b), minBOOTP)], nil
}

func encodeHeader(b []byte, reply *dhcpv4.DHCPv4, r *Request) {
	b[0] = byte(reply.OpCode)
	b[1] = byte(reply.HWType)
	b[2] = byte(len(reply.ClientHWAddr))
	// hops and secs are 0 in a server's packet (RFC 2131 table 3).
	copy(b[4:8], reply.TransactionID[:])
	binary.BigEndian.PutUint16(b[10:], reply.Flags)
	for i, ip := range []net.IP{reply.ClientIPAddr, reply.YourIPAddr, reply.ServerIPAddr, reply.GatewayIPAddr} {
		copy(b[12+4*i:16+4*i], ip.To4())
	}
	// All of the field, padding included: klibc's ipconfig compares 16 bytes.
	copy(b[offsetChaddr:], r.chaddr[:])
	copy(b[offsetSname:], reply.ServerHostName)
	copy(b[offsetFile:], reply.BootFileName)
	copy(b[offsetCookie:], magicCookie)
}

// writeOrder returns the option codes of a reply as they go on the wire: what
// makes a packet DHCP first, mask before router (RFC 2132 section 3.3), then as
// the client asked, then by code, and the relay's option last (RFC 3046 section
// 2.1).
func writeOrder(reply *dhcpv4.DHCPv4, r *Request) []uint8 {
	order := make([]uint8, 0, len(reply.Options))
	var seen [256]bool
	add := func(codes ...uint8) {
		for _, code := range codes {
			if _, ok := reply.Options[code]; ok && !seen[code] {
				seen[code] = true
				order = append(order, code)
			}
		}
	}
	seen[optionPad], seen[optionEnd], seen[82] = true, true, true
	add(53, 54, 51, 58, 59, 1, 3)
	add(r.Packet.Options.Get(dhcpv4.OptionParameterRequestList)...)
	rest := len(order)
	for code := range reply.Options {
		add(code)
	}
	slices.Sort(order[rest:])
	seen[82] = false
	add(82)
	return order
}

// rank says in which order options go when the reply is too long, the highest
// first and among equals the last on the wire. Rank 0 never goes.
func rank(code uint8, fileInHeader bool) int {
	switch code {
	case 53, 54, 51, 1, 61, 60, 43:
		return 0
	case 67:
		if !fileInHeader {
			return 0
		}
		return 3
	case 82: // RFC 3046 section 2.2: if there is no room, without
		return 1
	case 3, 6, 97, 118, 175:
		return 2
	case 58, 59, 66, 15:
		return 3
	}
	return 4
}

// firstToGo is the index of the option to leave out next, -1 if none may go.
func firstToGo(order []uint8, fileInHeader bool) int {
	best, found := 0, -1
	for i, code := range order {
		if n := rank(code, fileInHeader); n > 0 && n >= best {
			best, found = n, i
		}
	}
	return found
}

// wireSize is the size of an option: over 255 bytes it is split (RFC 3396).
func wireSize(code uint8, v []byte) int {
	n := len(v) + 2*max(1, (len(v)+254)/255)
	if code == 67 {
		n++
	}
	return n
}

func appendOption(b []byte, code uint8, v []byte) []byte {
	for {
		n := min(len(v), 255)
		b = append(b, code, byte(n))
		b = append(b, v[:n]...)
		if v = v[n:]; len(v) == 0 {
			break
		}
	}
	if code == 67 {
		// UEFI firmware ends the name where it lies by writing a zero behind
		// it. A pad there keeps the next option whole.
		b = append(b, optionPad)
	}
	return b
}
