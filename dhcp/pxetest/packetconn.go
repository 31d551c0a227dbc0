package pxetest

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// queueLength is how many datagrams wait at a socket before more are dropped.
	queueLength = 256
	// maxPayload is what fits into an IPv4 UDP datagram.
	maxPayload = 65507
)

// PacketConn is a UDP socket in memory. Beyond net.PacketConn it has the methods
// with which the servers of this module learn and choose addresses and interfaces
// (ReadFromLocal, WriteToLocal, WriteFrame, InterfaceAddrs): wrap it in
// struct{ net.PacketConn }{conn} to see how a server does without them.
//
// At most 256 datagrams wait to be read; what comes beyond that is lost, as with
// UDP. All methods are safe for concurrent use.
type PacketConn struct {
	host   *Host
	local  netip.AddrPort
	frames bool // hears unicast frames while the interface has no address

	queue chan datagram
	done  chan struct{}
	close sync.Once
	read  *deadline
	write *deadline
}

type datagram struct {
	payload []byte
	from    netip.AddrPort
	to      netip.Addr
	ifname  string
}

// ListenPacket opens a UDP socket on local, which may be the unspecified address
// (every address of the host, and broadcasts) and port 0 (a free one).
func (h *Host) ListenPacket(local netip.AddrPort) (*PacketConn, error) {
	return h.listenPacket(local, false)
}

func (h *Host) listenPacket(local netip.AddrPort, frames bool) (*PacketConn, error) {
	if !local.Addr().IsValid() {
		local = netip.AddrPortFrom(netip.IPv4Unspecified(), local.Port())
	}
	fail := func(err error) (*PacketConn, error) {
		return nil, &net.OpError{Op: "listen", Net: "udp4", Addr: net.UDPAddrFromAddrPort(local), Err: err}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return fail(net.ErrClosed)
	}
	if !local.Addr().IsUnspecified() && !h.hasAddr(local.Addr()) {
		return fail(syscall.EADDRNOTAVAIL)
	}
	if local.Port() == 0 {
		port, err := h.freePort(func(p uint16) bool {
			return conflict(h.udp, netip.AddrPortFrom(local.Addr(), p))
		})
		if err != nil {
			return fail(err)
		}
		local = netip.AddrPortFrom(local.Addr(), port)
	}
	if conflict(h.udp, local) {
		return fail(syscall.EADDRINUSE)
	}
	c := &PacketConn{
		host: h, local: local, frames: frames,
		queue: make(chan datagram, queueLength), done: make(chan struct{}),
		read: newDeadline(), write: newDeadline(),
	}
	h.udp[local] = c
	return c, nil
}

func (c *PacketConn) enqueue(d datagram) {
	select {
	case c.queue <- d:
	default: // full: lost, as with UDP
	}
}

// ReadFromLocal reads one datagram and says, beyond what ReadFrom does, to which
// address it was sent and by which interface it came in.
func (c *PacketConn) ReadFromLocal(p []byte) (n int, from netip.AddrPort, to netip.Addr, ifname string, err error) {
	fail := func(err error) (int, netip.AddrPort, netip.Addr, string, error) {
		return 0, netip.AddrPort{}, netip.Addr{}, "", c.opError("read", err)
	}
	// What is closed or late stays so even when datagrams wait.
	select {
	case <-c.done:
		return fail(net.ErrClosed)
	default:
	}
	if c.read.passed() {
		return fail(os.ErrDeadlineExceeded)
	}
	select {
	case d := <-c.queue:
		return copy(p, d.payload), d.from, d.to, d.ifname, nil
	case <-c.done:
		return fail(net.ErrClosed)
	case <-c.read.wait():
		return fail(os.ErrDeadlineExceeded)
	}
}

// ReadFrom implements net.PacketConn; the address is a *net.UDPAddr.
func (c *PacketConn) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, _, _, err := c.ReadFromLocal(p)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// WriteTo implements net.PacketConn; addr is a *net.UDPAddr.
func (c *PacketConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	u, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, c.opError("write", syscall.EAFNOSUPPORT)
	}
	return c.WriteToLocal(p, u.AddrPort(), netip.Addr{}, "")
}

// WriteToLocal sends a datagram from an address of the host (the zero Addr: one
// of the interface) by an interface ("": by the route). To an address that nobody
// on the segment answers for it is lost without an error.
func (c *PacketConn) WriteToLocal(p []byte, dst netip.AddrPort, from netip.Addr, ifname string) (int, error) {
	dst = netip.AddrPortFrom(dst.Addr().Unmap(), dst.Port())
	if err := c.writable(p, dst); err != nil {
		return 0, c.opError("write", err)
	}
	h := c.host
	h.mu.Lock()
	n, via, src, err := c.source(dst.Addr(), from.Unmap(), ifname)
	if err != nil {
		h.mu.Unlock()
		return 0, c.opError("write", err)
	}
	self := h.hasAddr(dst.Addr())
	broadcast := n.isBroadcast(dst.Addr())
	h.mu.Unlock()

	switch {
	case self:
		h.receive(n, src, dst, p)
	case broadcast:
		n.segment.send(n, broadcastHW, src, dst, p)
	default:
		n.unicast(via, src, dst, p)
	}
	return len(p), nil
}

// WriteFrame sends a datagram to a hardware address without asking who has the
// IP address: the only unicast that reaches a machine which has none yet. p is
// the UDP payload.
func (c *PacketConn) WriteFrame(p []byte, src, dst netip.AddrPort, hw net.HardwareAddr, ifname string) (int, error) {
	if err := c.writable(p, dst); err != nil {
		return 0, c.opError("write", err)
	}
	var to hwAddr
	if len(hw) != len(to) || !src.Addr().Is4() {
		return 0, c.opError("write", syscall.EINVAL)
	}
	copy(to[:], hw)
	c.host.mu.Lock()
	n, _, err := c.host.route(dst.Addr(), src.Addr(), ifname)
	c.host.mu.Unlock()
	if err != nil {
		return 0, c.opError("write", err)
	}
	n.segment.send(n, to, src, dst, p)
	return len(p), nil
}

// InterfaceAddrs lists the addresses of an interface of the host, with their masks.
func (c *PacketConn) InterfaceAddrs(ifname string) ([]netip.Prefix, error) {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	for _, n := range c.host.nics {
		if n.name == ifname {
			return slices.Clone(n.prefixes), nil
		}
	}
	return nil, c.opError("route", syscall.ENODEV)
}

func (c *PacketConn) writable(p []byte, dst netip.AddrPort) error {
	select {
	case <-c.done:
		return net.ErrClosed
	default:
	}
	switch {
	case c.write.passed():
		return os.ErrDeadlineExceeded
	case !dst.Addr().Is4() || dst.Addr().IsUnspecified() || dst.Port() == 0:
		return syscall.EINVAL
	case len(p) > maxPayload:
		return syscall.EMSGSIZE
	}
	return nil
}

// source wants host.mu held.
func (c *PacketConn) source(dst, from netip.Addr, ifname string) (n *nic, via netip.Addr, src netip.AddrPort, err error) {
	h := c.host
	if !from.IsValid() || from.IsUnspecified() {
		from = c.local.Addr()
	}
	if !from.IsUnspecified() && !h.hasAddr(from) {
		return nil, via, src, syscall.EADDRNOTAVAIL
	}
	if n, via, err = h.route(dst, from, ifname); err != nil {
		return nil, via, src, err
	}
	if from.IsUnspecified() && len(n.prefixes) > 0 {
		from = n.prefixes[0].Addr()
	}
	return n, via, netip.AddrPortFrom(from, c.local.Port()), nil
}

// Close implements net.PacketConn. Waiting reads return an error that is net.ErrClosed.
func (c *PacketConn) Close() error {
	err := c.opError("close", net.ErrClosed)
	c.close.Do(func() {
		close(c.done)
		c.read.set(time.Time{})
		c.write.set(time.Time{})
		c.host.mu.Lock()
		delete(c.host.udp, c.local)
		c.host.mu.Unlock()
		err = nil
	})
	return err
}

// LocalAddr implements net.PacketConn; it is a *net.UDPAddr.
func (c *PacketConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.local) }

// SetDeadline implements net.PacketConn.
func (c *PacketConn) SetDeadline(t time.Time) error {
	c.write.set(t)
	return c.SetReadDeadline(t)
}

// SetReadDeadline implements net.PacketConn; it also wakes a read that waits.
func (c *PacketConn) SetReadDeadline(t time.Time) error {
	c.read.set(t)
	return nil
}

// SetWriteDeadline implements net.PacketConn. Writing never blocks.
func (c *PacketConn) SetWriteDeadline(t time.Time) error {
	c.write.set(t)
	return nil
}

func (c *PacketConn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "udp4", Addr: c.LocalAddr(), Err: err}
}
