package udp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

const (
	ipv4HeaderLen = 20
	udpHeaderLen  = 8
	protocolUDP   = 17
	timeToLive    = 64
	maxPayload    = 65535 - ipv4HeaderLen - udpHeaderLen
)

// appendIPv4UDP appends an IPv4 packet (RFC 791) with a UDP datagram (RFC 768)
// that carries payload. Both checksums are filled in: klibc's ipconfig and
// firmware drop what has none.
func appendIPv4UDP(b []byte, src, dst netip.AddrPort, payload []byte) ([]byte, error) {
	if !src.Addr().Is4() || !dst.Addr().Is4() {
		return nil, fmt.Errorf("frame from %s to %s: IPv4 addresses are needed", src, dst)
	}
	if len(payload) > maxPayload {
		return nil, fmt.Errorf("frame of %d bytes: at most %d", len(payload), maxPayload)
	}
	start := len(b)
	b = append(b, make([]byte, ipv4HeaderLen+udpHeaderLen)...)
	b = append(b, payload...)
	ip := b[start:]
	ip[0] = 4<<4 | ipv4HeaderLen/4
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	ip[8] = timeToLive
	ip[9] = protocolUDP
	s4, d4 := src.Addr().As4(), dst.Addr().As4()
	copy(ip[12:], s4[:])
	copy(ip[16:], d4[:])
	binary.BigEndian.PutUint16(ip[10:], checksum(0, ip[:ipv4HeaderLen]))

	udp := ip[ipv4HeaderLen:]
	binary.BigEndian.PutUint16(udp[0:], src.Port())
	binary.BigEndian.PutUint16(udp[2:], dst.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	pseudo := uint32(protocolUDP) + uint32(len(udp)) +
		sum(ip[12:20]) // source and destination
	c := checksum(pseudo, udp)
	if c == 0 {
		c = 0xffff // RFC 768: zero means "no checksum"
	}
	binary.BigEndian.PutUint16(udp[6:], c)
	return b, nil
}

// checksum is the Internet checksum (RFC 1071) of p, begun with initial.
func checksum(initial uint32, p []byte) uint16 {
	s := initial + sum(p)
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

func sum(p []byte) uint32 {
	var s uint32
	for len(p) >= 2 {
		s += uint32(p[0])<<8 | uint32(p[1])
		p = p[2:]
	}
	if len(p) == 1 {
		s += uint32(p[0]) << 8
	}
	return s
}
