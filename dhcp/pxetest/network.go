package pxetest

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// Ports are where a server listens: its DHCP port (where replies must come from,
// too), its TFTP port, the ports of http:// and https:// URLs that name none, its NBD
// port (zero: NBD roots are only looked at), and in place of port 4011 that of a
// boot server (zero: there is none; who is sent there fails).
type Ports struct {
	// All of them are the server's, as above.
	DHCP, TFTP, HTTP, HTTPS, NBD, PXE uint16
}

// link is a machine's plug in a network: a Segment, or the Loopback.
type link interface {
	ports() Ports
	// openDHCP opens the machine's DHCP client port. At most one is open.
	openDHCP() (dhcpPort, error)
	// alone: there is one server, so nobody waits for the OFFERs of others.
	alone() bool
	// openPXE opens a socket from which the machine asks at port 4011.
	openPXE(source uint16) (pxePortConn, error)
	// configure gives the machine its address and routers; the zero Prefix takes
	// them away.
	configure(p netip.Prefix, routers []netip.Addr) error
	// packetConn opens a UDP socket on the machine's address.
	packetConn() (net.PacketConn, error)
	// dial opens a TCP connection from the machine's address.
	dial(ctx context.Context, addr netip.AddrPort) (net.Conn, error)
	close()
}

// dhcpPort sends to all servers and hears what a machine without an address hears.
type dhcpPort interface {
	send(msg []byte) error
	dhcpReader
	close()
}

type dhcpReader interface {
	// receive returns os.ErrDeadlineExceeded at the time until.
	receive(ctx context.Context, until time.Time) ([]byte, netip.AddrPort, error)
}

// pxePortConn sends to a boot server's port 4011.
type pxePortConn interface {
	send(msg []byte, to netip.Addr) error
	dhcpReader
	close()
}

// segmentLink is a machine on a Segment.
type segmentLink struct{ host *Host }

func (s *Segment) plug(hw net.HardwareAddr) (link, error) {
	h := newHost(s.t)
	h.attach(s, "eth0", hw, nil)
	return segmentLink{h}, nil
}

func (l segmentLink) ports() Ports {
	return Ports{dhcpServerPort, tftpPort, httpPort, httpsPort, nbdPort, pxePort}
}

func (l segmentLink) alone() bool { return false }

func (l segmentLink) configure(p netip.Prefix, routers []netip.Addr) error {
	l.host.setPrefix(p, routers)
	return nil
}

func (l segmentLink) packetConn() (net.PacketConn, error) {
	c, err := l.host.ListenPacket(netip.AddrPort{})
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (l segmentLink) dial(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	return l.host.Dial(ctx, addr)
}

func (l segmentLink) close() { l.host.Close() }

func (l segmentLink) openDHCP() (dhcpPort, error) {
	c, err := l.host.listenPacket(netip.AddrPortFrom(netip.IPv4Unspecified(), dhcpClientPort), true)
	if err != nil {
		return nil, err
	}
	return &segmentDHCP{udpReader{conn: c}}, nil
}

func (l segmentLink) openPXE(source uint16) (pxePortConn, error) {
	c, err := l.host.ListenPacket(netip.AddrPortFrom(netip.IPv4Unspecified(), source))
	if err != nil {
		return nil, err
	}
	return &segmentPXE{udpReader{conn: c}}, nil
}

type segmentDHCP struct{ udpReader }

func (p *segmentDHCP) send(msg []byte) error {
	_, err := p.conn.WriteTo(msg, net.UDPAddrFromAddrPort(netip.AddrPortFrom(broadcastAddr(), dhcpServerPort)))
	return err
}

type segmentPXE struct{ udpReader }

func (p *segmentPXE) send(msg []byte, to netip.Addr) error {
	_, err := p.conn.WriteTo(msg, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, pxePort)))
	return err
}

// udpReader reads from a socket until a time, or until a context is done, which
// closes it.
type udpReader struct {
	conn net.PacketConn
	buf  [1 << 16]byte // more than any reply: its length is checked
}

func (p *udpReader) receive(ctx context.Context, until time.Time) ([]byte, netip.AddrPort, error) {
	if err := p.conn.SetReadDeadline(until); err != nil {
		return nil, netip.AddrPort{}, err
	}
	stop := context.AfterFunc(ctx, func() { p.conn.Close() })
	defer stop()
	n, addr, err := p.conn.ReadFrom(p.buf[:])
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, netip.AddrPort{}, err
	}
	from := addr.(*net.UDPAddr).AddrPort()
	return p.buf[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), nil
}

func (p *udpReader) close() { p.conn.Close() }
