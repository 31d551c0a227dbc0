package pxetest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Loopback is a network of real sockets on 127.0.0.0/8 that needs no privilege: a
// server in the same process, or on the same computer, can be booted from without
// any interface of its own. Machines on it sit behind a DHCP relay: their messages
// reach the server by unicast, with 127.0.0.1 as the relay's address, and the
// server must send its replies to RelayPort. As the server is alone there, machines
// take its first OFFER and do not wait for others. TFTP and HTTP come from the leased
// address, so the server has to lease addresses of 127.0.0.0/8.
//
// Linux and Windows let a program use all of 127.0.0.0/8. Where a leased address
// cannot be bound (macOS without an alias) Boot says so; use a Segment there.
//
// All methods are safe for concurrent use.
type Loopback struct {
	relay  *net.UDPConn
	server netip.Addr
	done   chan struct{}

	mu      sync.Mutex
	servers Ports
	plugs   map[hwAddr]*loopbackLink
}

// relayAddr is the relay's address (giaddr).
func relayAddr() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }

// NewLoopback opens the relay's socket. server is the server's address, 127.0.0.1
// as a rule. Tell the server RelayPort, open its sockets, and tell their ports by
// SetPorts before a machine boots.
func NewLoopback(server netip.Addr) (*Loopback, error) {
	if !server.Is4() || !server.IsLoopback() {
		return nil, fmt.Errorf("pxetest: the server's address %v is not in 127.0.0.0/8", server)
	}
	relay, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(relayAddr(), 0)))
	if err != nil {
		return nil, fmt.Errorf("pxetest: the relay's socket: %w", err)
	}
	l := &Loopback{relay: relay, server: server, done: make(chan struct{}), plugs: make(map[hwAddr]*loopbackLink)}
	go l.forward()
	return l, nil
}

// RelayPort is the UDP port to which the server must reply.
func (l *Loopback) RelayPort() uint16 {
	return l.relay.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// SetPorts says where the server listens.
func (l *Loopback) SetPorts(p Ports) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.servers = p
}

// Close closes the relay and returns when its goroutine has ended.
func (l *Loopback) Close() error {
	err := l.relay.Close()
	<-l.done
	return err
}

// forward hands replies to the machines they are for.
func (l *Loopback) forward() {
	defer close(l.done)
	b := make([]byte, 1<<16)
	for {
		n, from, err := l.relay.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if n < headerSize || from.Addr() != l.server {
			continue
		}
		msg := append([]byte(nil), b[:n]...)
		l.mu.Lock()
		p := l.plugs[hwAddr(msg[28:34])]
		l.mu.Unlock()
		if p == nil {
			continue
		}
		select {
		case p.replies <- datagram{payload: msg, from: from}:
		default:
		}
	}
}

// loopbackLink is a machine on the Loopback.
type loopbackLink struct {
	loop    *Loopback
	hw      hwAddr
	servers Ports
	addr    netip.Addr
	replies chan datagram
}

func (l *Loopback) plug(hw net.HardwareAddr) (link, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.servers.DHCP == 0 || l.servers.TFTP == 0 {
		return nil, fmt.Errorf("the server's ports are not known: call SetPorts first")
	}
	p := &loopbackLink{loop: l, servers: l.servers, replies: make(chan datagram, 16)}
	copy(p.hw[:], hw)
	if l.plugs[p.hw] != nil {
		return nil, fmt.Errorf("a machine with the address %v is booting already", hw)
	}
	l.plugs[p.hw] = p
	return p, nil
}

func (p *loopbackLink) ports() Ports                { return p.servers }
func (p *loopbackLink) openDHCP() (dhcpPort, error) { return (*loopbackDHCP)(p), nil }

func (p *loopbackLink) alone() bool { return true }

func (p *loopbackLink) configure(prefix netip.Prefix, _ []netip.Addr) error {
	p.addr = prefix.Addr()
	if !prefix.IsValid() {
		return nil
	}
	if !p.addr.IsLoopback() {
		return fmt.Errorf("the leased address %v is not in 127.0.0.0/8: give the server a pool of such addresses", p.addr)
	}
	c, err := p.packetConn()
	if err != nil {
		return err
	}
	return c.Close()
}

func (p *loopbackLink) packetConn() (net.PacketConn, error) {
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.addr, 0)))
	if err != nil {
		return nil, fmt.Errorf("this system does not let a program use the leased address %v (%w): boot on a Segment in memory instead", p.addr, err)
	}
	return c, nil
}

func (p *loopbackLink) dial(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(p.addr, 0))}
	return d.DialContext(ctx, "tcp4", addr.String())
}

func (p *loopbackLink) close() {
	p.loop.mu.Lock()
	defer p.loop.mu.Unlock()
	delete(p.loop.plugs, p.hw)
}

// openPXE asks from any port, as the one that real clients use may need a privilege.
func (p *loopbackLink) openPXE(uint16) (pxePortConn, error) {
	if p.servers.PXE == 0 {
		return nil, fmt.Errorf("%w: the server's port in its place is not known: set PXE in SetPorts", ErrBootServer)
	}
	c, err := p.packetConn()
	if err != nil {
		return nil, err
	}
	return &loopbackPXE{udpReader{conn: c}, p.servers.PXE}, nil
}

type loopbackPXE struct {
	udpReader
	port uint16
}

func (p *loopbackPXE) send(msg []byte, to netip.Addr) error {
	_, err := p.conn.WriteTo(msg, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, p.port)))
	return err
}

// loopbackDHCP speaks to the server through the relay.
type loopbackDHCP loopbackLink

// send does what a relay does to a client's message, RFC 1542 section 4.1.1.
func (p *loopbackDHCP) send(msg []byte) error {
	msg[3]++ // hops
	giaddr := relayAddr().As4()
	copy(msg[24:28], giaddr[:])
	_, err := p.loop.relay.WriteToUDPAddrPort(msg, netip.AddrPortFrom(p.loop.server, p.servers.DHCP))
	return err
}

func (p *loopbackDHCP) receive(ctx context.Context, until time.Time) ([]byte, netip.AddrPort, error) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case d := <-p.replies:
		return d.payload, d.from, nil
	case <-timer.C:
		return nil, netip.AddrPort{}, os.ErrDeadlineExceeded
	case <-p.loop.done:
		return nil, netip.AddrPort{}, net.ErrClosed
	case <-ctx.Done():
		return nil, netip.AddrPort{}, ctx.Err()
	}
}

func (p *loopbackDHCP) close() {}
