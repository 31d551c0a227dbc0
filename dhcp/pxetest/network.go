package pxetest

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// Ports are where a server listens: its DHCP port (where replies must come from,
// too), its TFTP port, the ports of http:// and https:// URLs that name none, and
// its NBD port (zero: NBD roots are only looked at).
type Ports struct {
	DHCP, TFTP, HTTP, HTTPS, NBD uint16
}

// link is a machine's plug in a network: a Segment, or the Loopback.
type link interface {
	ports() Ports
	// openDHCP opens the machine's DHCP client port. At most one is open.
	openDHCP() (dhcpPort, error)
	// configure gives the machine its address; the zero Prefix takes it away.
	configure(p netip.Prefix) error
	// packetConn opens a UDP socket on the machine's address.
	packetConn() (net.PacketConn, error)
	// dial opens a TCP connection from the machine's address.
	dial(ctx context.Context, addr netip.AddrPort) (net.Conn, error)
	close()
}

// dhcpPort sends to all servers and hears what a machine without an address hears.
type dhcpPort interface {
	send(msg []byte) error
	// receive returns os.ErrDeadlineExceeded at the time until.
	receive(ctx context.Context, until time.Time) ([]byte, netip.AddrPort, error)
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
	return Ports{dhcpServerPort, tftpPort, httpPort, httpsPort, nbdPort}
}

func (l segmentLink) configure(p netip.Prefix) error {
	l.host.setPrefix(p)
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
	return &segmentDHCP{conn: c}, nil
}

type segmentDHCP struct {
	conn *PacketConn
	buf  [1 << 16]byte // more than any reply: its length is checked
}

func (p *segmentDHCP) send(msg []byte) error {
	_, err := p.conn.WriteToLocal(msg, netip.AddrPortFrom(broadcastAddr(), dhcpServerPort), netip.Addr{}, "")
	return err
}

func (p *segmentDHCP) receive(ctx context.Context, until time.Time) ([]byte, netip.AddrPort, error) {
	if err := p.conn.SetReadDeadline(until); err != nil {
		return nil, netip.AddrPort{}, err
	}
	stop := context.AfterFunc(ctx, func() { p.conn.Close() })
	defer stop()
	n, from, _, _, err := p.conn.ReadFromLocal(p.buf[:])
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return p.buf[:n], from, err
}

func (p *segmentDHCP) close() { p.conn.Close() }
