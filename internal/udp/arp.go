package udp

import (
	"encoding/binary"
	"net"
	"net/netip"
)

const (
	etherHeaderLen = 14
	etherTypeARP   = 0x0806
	arpLen         = 28
)

// appendARPProbe appends an Ethernet frame that asks everybody who has an
// address, from a machine that has none (RFC 5227 section 2.1.1): nobody takes
// it for a claim.
func appendARPProbe(b []byte, own net.HardwareAddr, addr netip.Addr) []byte {
	b = append(b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	b = append(b, own...)
	b = binary.BigEndian.AppendUint16(b, etherTypeARP)
	b = append(b, 0, 1, 8, 0, 6, 4, 0, 1) // Ethernet, IPv4, their lengths, request
	b = append(b, own...)
	b = append(b, 0, 0, 0, 0) // the sender has no address
	b = append(b, 0, 0, 0, 0, 0, 0)
	target := addr.As4()
	return append(b, target[:]...)
}

// arpSender returns the hardware address of the machine that says in an ARP
// frame, a reply or a request, that it has addr; nil if the frame does not.
func arpSender(frame []byte, addr netip.Addr) net.HardwareAddr {
	if len(frame) < etherHeaderLen+arpLen || binary.BigEndian.Uint16(frame[12:]) != etherTypeARP {
		return nil
	}
	arp := frame[etherHeaderLen:]
	if string(arp[:6]) != "\x00\x01\x08\x00\x06\x04" || netip.AddrFrom4([4]byte(arp[14:18])) != addr {
		return nil
	}
	return net.HardwareAddr(append([]byte(nil), arp[8:14]...))
}
