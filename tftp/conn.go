package tftp

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// LocalReader is an optional upgrade of the [net.PacketConn] given to
// [Server.Serve]: it also tells which address a datagram was sent to and which
// interface it came in on. to and ifname may be zero where unknown.
type LocalReader interface {
	ReadFromLocal(p []byte) (n int, from netip.AddrPort, to netip.Addr, ifname string, err error)
}

// LocalWriter is an optional upgrade of the [net.PacketConn] given to
// [Server.Serve]: it sends from an address and through an interface, either of
// which may be zero. Refused requests are answered by it.
type LocalWriter interface {
	WriteToLocal(p []byte, dst netip.AddrPort, from netip.Addr, ifname string) (int, error)
}

// AddrLister is an optional upgrade of the [net.PacketConn] given to
// [Server.Serve], of use together with [LocalReader]: the addresses of an
// interface, by which requests sent to the broadcast address of a subnet are
// recognised.
type AddrLister interface {
	InterfaceAddrs(ifname string) ([]netip.Prefix, error)
}

// addrPortConn is the part of [net.UDPConn] that reads and writes without
// allocating addresses.
type addrPortConn interface {
	ReadFromUDPAddrPort(p []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(p []byte, to netip.AddrPort) (int, error)
}

// packetConn reads and writes datagrams by netip addresses over any
// net.PacketConn, in the best way that it offers.
type packetConn struct {
	net.PacketConn
	fast addrPortConn // nil if the conn is none
}

func newPacketConn(conn net.PacketConn) packetConn {
	fast, _ := conn.(addrPortConn)
	return packetConn{conn, fast}
}

func (c packetConn) read(p []byte) (int, netip.AddrPort, error) {
	if c.fast != nil {
		n, from, err := c.fast.ReadFromUDPAddrPort(p)
		return n, unmap(from), err
	}
	n, from, err := c.ReadFrom(p)
	return n, addrPort(from), err
}

func (c packetConn) write(p []byte, to netip.AddrPort) error {
	var err error
	if c.fast != nil {
		_, err = c.fast.WriteToUDPAddrPort(p, to)
	} else {
		_, err = c.WriteTo(p, net.UDPAddrFromAddrPort(to))
	}
	return err
}

// localAddr is the address that the conn is bound to; zero if it is bound to all.
func (c packetConn) localAddr() netip.Addr {
	addr := addrPort(c.LocalAddr()).Addr()
	if addr.IsUnspecified() {
		return netip.Addr{}
	}
	return addr
}

// addrPort returns the zero AddrPort for what is no UDP address.
func addrPort(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case nil:
		return netip.AddrPort{}
	case interface{ AddrPort() netip.AddrPort }:
		return unmap(a.AddrPort())
	default:
		parsed, _ := netip.ParseAddrPort(a.String())
		return unmap(parsed)
	}
}

// unmap makes IPv4 addresses of those that an IPv6 socket reports as mapped.
func unmap(a netip.AddrPort) netip.AddrPort {
	if !a.Addr().Is4In6() {
		return a
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// samePeer compares without zones, which conns may or may not report.
func samePeer(a, b netip.AddrPort) bool {
	return a == b || a.Port() == b.Port() && a.Addr().WithZone("") == b.Addr().WithZone("")
}

// openUDP is the default of Server.OpenTransfer.
func openUDP(local netip.Addr, remote netip.AddrPort) (net.PacketConn, error) {
	network := "udp4"
	if remote.Addr().Is6() {
		network = "udp6"
	}
	addr := &net.UDPAddr{}
	if local.IsValid() {
		addr.IP, addr.Zone = local.AsSlice(), local.Zone()
		if local.IsLinkLocalUnicast() && addr.Zone == "" {
			addr.Zone = remote.Addr().Zone()
		}
	}
	return net.ListenUDP(network, addr)
}

// passing reports whether a socket's error says something about one datagram
// or about the moment, so that the socket is still good.
func passing(err error) bool {
	for _, errno := range []syscall.Errno{
		syscall.EINTR, syscall.EAGAIN, syscall.ENOBUFS, syscall.ENOMEM, syscall.EMSGSIZE, syscall.EPERM,
		// ICMP, and interfaces that come and go.
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EHOSTUNREACH, syscall.ENETUNREACH,
		syscall.EHOSTDOWN, syscall.ENETDOWN, syscall.EPROTO, syscall.ENOPROTOOPT,
		// Windows: WSAEMSGSIZE, WSAENETRESET, WSAECONNRESET, WSAENOBUFS,
		// WSAECONNREFUSED, WSAEHOSTUNREACH. The numbers mean nothing elsewhere.
		10040, 10052, 10054, 10055, 10061, 10065,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
