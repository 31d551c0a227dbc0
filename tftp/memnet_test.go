package tftp

import (
	"maps"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// memNet is a network in memory: it delivers at once and in order, except what
// lose takes. It works inside and outside of testing/synctest.
type memNet struct {
	mu    sync.Mutex
	conns map[netip.AddrPort]*memConn
	port  uint16
	lose  func(p memPacket) bool
	log   []memPacket
}

type memPacket struct {
	at       time.Time
	from, to netip.AddrPort
	data     string
}

func newMemNet() *memNet {
	return &memNet{conns: make(map[netip.AddrPort]*memConn), port: 40000}
}

// listen opens a conn at addr; port 0 takes the next free one.
func (n *memNet) listen(addr netip.AddrPort) *memConn {
	n.mu.Lock()
	defer n.mu.Unlock()
	if addr.Port() == 0 {
		n.port++
		addr = netip.AddrPortFrom(addr.Addr(), n.port)
	}
	c := &memConn{net: n, addr: addr, queue: make(chan memPacket, 4096), closed: make(chan struct{}), cancel: make(chan struct{})}
	n.conns[addr] = c
	return c
}

// alias gives a conn another address, as a wildcard socket has.
func (n *memNet) alias(addr netip.AddrPort, c *memConn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns[addr] = c
}

func (n *memNet) send(p memPacket) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p.at = time.Now()
	n.log = append(n.log, p)
	if n.lose != nil && n.lose(p) {
		return
	}
	if c := n.conns[p.to]; c != nil {
		select {
		case c.queue <- p:
		default:
		}
	}
}

// sentBy returns what was sent from an address, lost or not.
func (n *memNet) sentBy(addr netip.Addr) []memPacket {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []memPacket
	for _, p := range n.log {
		if p.from.Addr() == addr {
			out = append(out, p)
		}
	}
	return out
}

// sockets returns how many conns are open at an address.
func (n *memNet) sockets(addr netip.Addr) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := 0
	for a := range n.conns {
		if a.Addr() == addr {
			count++
		}
	}
	return count
}

type memConn struct {
	net    *memNet
	addr   netip.AddrPort
	queue  chan memPacket
	once   sync.Once
	closed chan struct{}

	mu     sync.Mutex
	timer  *time.Timer
	cancel chan struct{} // closed when the deadline passes
}

func (c *memConn) next() (memPacket, error) {
	c.mu.Lock()
	cancel := c.cancel
	c.mu.Unlock()
	select {
	case <-cancel:
		return memPacket{}, os.ErrDeadlineExceeded
	default:
	}
	select {
	case p := <-c.queue:
		return p, nil
	case <-c.closed:
		return memPacket{}, net.ErrClosed
	case <-cancel:
		return memPacket{}, os.ErrDeadlineExceeded
	}
}

func (c *memConn) ReadFrom(b []byte) (int, net.Addr, error) {
	p, err := c.next()
	if err != nil {
		return 0, nil, err
	}
	return copy(b, p.data), net.UDPAddrFromAddrPort(p.from), nil
}

func (c *memConn) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	default:
	}
	c.net.send(memPacket{from: c.addr, to: to.(*net.UDPAddr).AddrPort(), data: string(b)})
	return len(b), nil
}

func (c *memConn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.net.mu.Lock()
		maps.DeleteFunc(c.net.conns, func(_ netip.AddrPort, other *memConn) bool { return other == c })
		c.net.mu.Unlock()
	})
	return nil
}

func (c *memConn) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

func (c *memConn) LocalAddr() net.Addr                { return net.UDPAddrFromAddrPort(c.addr) }
func (c *memConn) SetDeadline(t time.Time) error      { return c.SetReadDeadline(t) }
func (c *memConn) SetWriteDeadline(_ time.Time) error { return nil }

func (c *memConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
	}
	cancel := make(chan struct{})
	c.cancel = cancel
	if !t.IsZero() {
		c.timer = time.AfterFunc(time.Until(t), func() { close(cancel) })
	}
	return nil
}

// localConn is a memConn that tells where its datagrams were sent to.
type localConn struct {
	*memConn
	ifname   string
	prefixes []netip.Prefix
	sent     func(dst netip.AddrPort, from netip.Addr, ifname string)
}

func (c *localConn) ReadFromLocal(b []byte) (int, netip.AddrPort, netip.Addr, string, error) {
	p, err := c.next()
	return copy(b, p.data), p.from, p.to.Addr(), c.ifname, err
}

func (c *localConn) InterfaceAddrs(string) ([]netip.Prefix, error) { return c.prefixes, nil }

func (c *localConn) WriteToLocal(b []byte, dst netip.AddrPort, from netip.Addr, ifname string) (int, error) {
	if c.sent != nil {
		c.sent(dst, from, ifname)
	}
	return c.WriteTo(b, net.UDPAddrFromAddrPort(dst))
}

func TestMemConnDeadline(t *testing.T) {
	c := newMemNet().listen(netip.MustParseAddrPort("192.0.2.1:69"))
	require.NoError(t, c.SetReadDeadline(time.Now().Add(-time.Second)))
	_, _, err := c.ReadFrom(nil)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}
