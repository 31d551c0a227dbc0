package dhcpload

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
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

// kind is the type of a message, as option 53 has it.
type kind byte

const (
	discover kind = 1
	offer    kind = 2
	request  kind = 3
	ack      kind = 5
	nak      kind = 6
)

// The layout of a message, and the options that are read.
const (
	offsetXID     = 4
	offsetYiaddr  = 16
	offsetChaddr  = 28
	offsetCookie  = 236
	offsetOptions = 240
	magicCookie   = "\x63\x82\x53\x63"

	optionKind   = 53
	optionServer = 54
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
	kind    kind
	client  mac
	address netip.Addr // yiaddr
	server  []byte     // option 54, in the frame
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
func message(client uint32, broadcast bool, offered *reply) []byte {
	b := make([]byte, offsetOptions, 300)
	b[0], b[1], b[2] = 1, 1, 6
	binary.BigEndian.PutUint32(b[offsetXID:], client)
	if broadcast {
		b[10] = 0x80
	}
	hw := macOf(client)
	copy(b[offsetChaddr:], hw[:])
	copy(b[offsetCookie:], magicCookie)
	k := discover
	if offered != nil {
		k = request
	}
	b = append(b, optionKind, 1, byte(k))
	b = append(append(b, 61, 7, 1), hw[:]...)
	if offered != nil {
		b = append(append(b, 50, 4), offered.address.AsSlice()...)
		b = append(append(b, optionServer, 4), offered.server...)
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
	p := ip[ipLen+udpLen : total]
	if len(p) < offsetOptions || string(p[offsetCookie:offsetOptions]) != magicCookie {
		return r, fmt.Errorf("dhcpload: %d bytes that are no DHCP packet", len(p))
	}
	copy(r.to[:], b)
	r.dst = netip.AddrFrom4([4]byte(ip[16:20]))
	r.xid = binary.BigEndian.Uint32(p[offsetXID:])
	copy(r.client[:], p[offsetChaddr:])
	r.address = netip.AddrFrom4([4]byte(p[offsetYiaddr:]))
	if err := r.readOptions(p[offsetOptions:]); err != nil {
		return r, err
	}
	if p[0] != 2 || r.client != macOf(r.xid) || len(r.server) != net.IPv4len {
		return r, fmt.Errorf("dhcpload: reply to %x (transaction %d) with op %d and option 54 %x", r.client, r.xid, p[0], r.server)
	}
	return r, nil
}

func (r *reply) readOptions(b []byte) error {
	for len(b) > 0 && b[0] != 255 {
		if b[0] == 0 {
			b = b[1:]
			continue
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return errors.New("dhcpload: an option runs past the end of a reply")
		}
		switch v := b[2 : 2+int(b[1])]; {
		case b[0] == optionKind && len(v) == 1:
			r.kind = kind(v[0])
		case b[0] == optionServer:
			r.server = v
		}
		b = b[2+int(b[1]):]
	}
	if len(b) == 0 {
		return errors.New("dhcpload: a reply without an end")
	}
	return nil
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
