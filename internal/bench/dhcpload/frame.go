package dhcpload

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// The layout of what is sent and received: Ethernet, IPv4 without options, UDP.
const (
	ethernetLen = 14
	ipLen       = 20
	udpLen      = 8
	headersLen  = ethernetLen + ipLen + udpLen
)

const (
	serverPort = 67
	clientPort = 68
)

type mac [6]byte

// macOf is the hardware address of a client: locally administered, and so
// nobody's.
func macOf(client uint32) (m mac) {
	m[0] = 2
	binary.BigEndian.PutUint32(m[2:], client)
	return m
}

var everybody = mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// reply is what is used of a frame from the server.
type reply struct {
	to      mac
	dst     netip.Addr
	xid     uint32
	kind    dhcpv4.MessageType
	client  mac
	address netip.Addr // yiaddr
	server  []byte     // option 54
}

// appendFrame appends a client's packet in a broadcast frame. The UDP checksum is
// left out, which IPv4 allows.
func appendFrame(b []byte, from mac, payload []byte) []byte {
	b = append(b, everybody[:]...)
	b = append(b, from[:]...)
	b = append(b, 0x08, 0x00)
	ip := len(b)
	b = append(b, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255)
	binary.BigEndian.PutUint16(b[ip+2:], uint16(ipLen+udpLen+len(payload)))
	var sum uint32
	for i := ip; i < ip+ipLen; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(b[ip+10:], ^uint16(sum>>16+sum))
	b = binary.BigEndian.AppendUint16(b, clientPort)
	b = binary.BigEndian.AppendUint16(b, serverPort)
	b = binary.BigEndian.AppendUint16(b, uint16(udpLen+len(payload)))
	return append(append(b, 0, 0), payload...)
}

// message writes a packet of a client: a DISCOVER without an offer, else the
// REQUEST that takes it.
func message(client uint32, broadcast bool, offer *reply) []byte {
	b := make([]byte, 240, 300)
	b[0], b[1], b[2] = 1, 1, 6
	binary.BigEndian.PutUint32(b[4:], client)
	if broadcast {
		b[10] = 0x80
	}
	hw := macOf(client)
	copy(b[28:], hw[:])
	copy(b[236:], "\x63\x82\x53\x63")
	kind := dhcpv4.MessageTypeDiscover
	if offer != nil {
		kind = dhcpv4.MessageTypeRequest
	}
	b = append(b, 53, 1, byte(kind))
	b = append(append(b, 61, 7, 1), hw[:]...)
	if offer != nil {
		b = append(append(b, 50, 4), offer.address.AsSlice()...)
		b = append(append(b, 54, 4), offer.server...)
	}
	b = append(b, 57, 2, 0x05, 0xc0, 55, 4, 1, 3, 6, 15, 255)
	return b[:300]
}

// errOther means a frame that is no reply of a DHCP server.
var errOther = errors.New("dhcpload: another frame")

// parseReply reads a frame. What has the ports of a reply must be a whole one.
func parseReply(b []byte) (r reply, err error) {
	if len(b) < headersLen || b[ethernetLen] != 0x45 || b[ethernetLen+9] != 17 ||
		binary.BigEndian.Uint16(b[ethernetLen+ipLen+2:]) != clientPort {
		return r, errOther
	}
	ip := b[ethernetLen:]
	total, datagram := int(binary.BigEndian.Uint16(ip[2:])), int(binary.BigEndian.Uint16(ip[ipLen+4:]))
	if total > len(ip) || total != ipLen+datagram || datagram < udpLen {
		return r, fmt.Errorf("dhcpload: IP length %d and UDP length %d in a frame of %d bytes", total, datagram, len(b))
	}
	p, err := dhcpv4.FromBytes(ip[ipLen+udpLen : total])
	if err != nil {
		return r, fmt.Errorf("dhcpload: reply: %w", err)
	}
	copy(r.to[:], b)
	r.dst = netip.AddrFrom4([4]byte(ip[16:20]))
	r.xid = binary.BigEndian.Uint32(p.TransactionID[:])
	r.kind = p.MessageType()
	copy(r.client[:], p.ClientHWAddr)
	r.address, _ = netip.AddrFromSlice(p.YourIPAddr.To4())
	r.server = p.Options.Get(dhcpv4.OptionServerIdentifier)
	if p.OpCode != dhcpv4.OpcodeBootReply || r.client != macOf(r.xid) || len(r.server) != net.IPv4len {
		return r, fmt.Errorf("dhcpload: reply to %x (transaction %d) with op %d and option 54 %x", r.client, r.xid, p.OpCode, r.server)
	}
	return r, nil
}

// delivered reports whether a client without an address receives the reply as RFC
// 2131 section 4.1 has it. The broadcast flag is about the IP address; Kea sends
// what bears it in a frame to the client alone.
func (r reply) delivered(broadcast bool) bool {
	if broadcast {
		return (r.to == everybody || r.to == r.client) && r.dst == netip.AddrFrom4([4]byte{255, 255, 255, 255})
	}
	return r.to == r.client && r.dst == r.address
}
