package dhcp

import (
	"context"
	"net"
	"net/netip"
)

// The interfaces below are optional upgrades of the [net.PacketConn] that
// [Server.Serve] is given. A plain PacketConn serves too: then one network can
// be served, and what would need a raw frame is broadcast.
//
// All methods must be safe for concurrent use, reads must honour
// SetReadDeadline, and Close must end blocked reads and writes. An interface
// name is the ingress or egress interface ("eth1"); "" means unknown or any.

// LocalReader is a conn that knows where a datagram arrived. It makes several
// networks on one socket possible: a packet belongs to the network of the
// interface it came in on.
type LocalReader interface {
	// ReadFromLocal reads one datagram into p, and returns its length, its
	// source, the destination address in its IP header and the name of the
	// interface it came in on. A datagram longer than p is cut. A destination
	// that is neither broadcast nor multicast is an address of this host.
	ReadFromLocal(p []byte) (n int, from netip.AddrPort, to netip.Addr, ifname string, err error)
}

// LocalWriter is a conn that can choose the interface and the source address
// of a datagram. Without it a broadcast leaves where the routing table says.
type LocalWriter interface {
	// WriteToLocal sends p to dst from the address from, out of the interface
	// ifname. The zero from and the empty ifname leave the choice to the conn.
	// Only an error makes a reply that was not sent a counted drop. A UDP socket
	// of Linux tells some only if it is asked to (IP_RECVERR in ip(7)), which
	// should not be the one that is read: it then fails with what ICMP says.
	WriteToLocal(p []byte, dst netip.AddrPort, from netip.Addr, ifname string) (int, error)
}

// FrameWriter is a conn that can reach a machine that has no address yet, and
// so cannot answer ARP: RFC 2131 section 4.1's unicast to a hardware address.
// Without it, or when it fails, such a reply is broadcast.
type FrameWriter interface {
	// WriteFrame sends p, a UDP payload, to the hardware address hw out of the
	// interface ifname, in an IP datagram from src to dst. The conn builds the
	// headers, with both checksums.
	WriteFrame(p []byte, src, dst netip.AddrPort, hw net.HardwareAddr, ifname string) (int, error)
}

// AddrProber is a conn that can find out whether a machine uses an address on a
// link of ours. Without it addresses are offered without a look. See
// [Pool.NoProbe].
type AddrProber interface {
	// ProbeAddr asks on the link of the interface ifname who uses addr, without
	// claiming it (RFC 5227 section 2.1.1: an ARP probe), and waits for less than
	// a second. inUse says that a machine other than this host does, and hw is
	// its hardware address, nil if that cannot be told. An error that wraps
	// [errors.ErrUnsupported] says that asking again is of no use.
	//
	// It must return at once when ctx ends, which it does when the server stops,
	// when a client gets the address and after five seconds. One that does not holds up the end of Serve for a
	// second, and no more are made while sixteen are under way.
	ProbeAddr(ctx context.Context, addr netip.Addr, ifname string) (hw net.HardwareAddr, inUse bool, err error)
}

// AddrLister is a conn that knows the host's own addresses. It is asked for
// each packet of a [Network] whose Addr is not set, and so should answer from
// memory or within microseconds; and where addresses are probed (see
// [AddrProber]) for those of all interfaces, up to five times a second for a pool.
type AddrLister interface {
	// InterfaceAddrs returns the IPv4 addresses of an interface with their
	// masks, the primary one first; those of all interfaces for "".
	InterfaceAddrs(ifname string) ([]netip.Prefix, error)
}
