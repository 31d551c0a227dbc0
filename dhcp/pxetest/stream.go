package pxetest

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// backlog is how many connections wait to be accepted.
const backlog = 128

// stream is one end of a TCP connection in memory. Closing it lets the other end
// read what is under way and then EOF; the other end's writes then fail.
type stream struct {
	host          *Host
	in, out       *pipe
	local, remote netip.AddrPort
	read, write   *deadline
	done          chan struct{}
	close         sync.Once
}

type listener struct {
	host  *Host
	local netip.AddrPort
	queue chan *stream
	done  chan struct{}
	close sync.Once
}

// Listen opens a TCP port on local, which may be the unspecified address and
// port 0 (a free one).
func (h *Host) Listen(local netip.AddrPort) (net.Listener, error) {
	if !local.Addr().IsValid() {
		local = netip.AddrPortFrom(netip.IPv4Unspecified(), local.Port())
	}
	fail := func(err error) (net.Listener, error) {
		return nil, &net.OpError{Op: "listen", Net: "tcp4", Addr: net.TCPAddrFromAddrPort(local), Err: err}
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
			return conflict(h.tcp, netip.AddrPortFrom(local.Addr(), p))
		})
		if err != nil {
			return fail(err)
		}
		local = netip.AddrPortFrom(local.Addr(), port)
	}
	if conflict(h.tcp, local) {
		return fail(syscall.EADDRINUSE)
	}
	l := &listener{host: h, local: local, queue: make(chan *stream, backlog), done: make(chan struct{})}
	h.tcp[local] = l
	return l, nil
}

// Dial opens a TCP connection to addr, from the host's address on that network.
// Nobody with that address is EHOSTUNREACH at once (a real host asks by ARP for
// three seconds first), nobody listening is ECONNREFUSED.
func (h *Host) Dial(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp4", Addr: net.TCPAddrFromAddrPort(addr), Err: err}
	}
	if !addr.Addr().Is4() {
		return fail(syscall.EAFNOSUPPORT)
	}
	h.mu.Lock()
	n, via, err := h.route(addr.Addr(), netip.Addr{}, "")
	if err == nil && len(n.prefixes) == 0 {
		err = syscall.EADDRNOTAVAIL
	}
	if err != nil {
		h.mu.Unlock()
		return fail(err)
	}
	src := n.prefixes[0].Addr()
	port, err := h.freePort(func(uint16) bool { return false })
	self := h.hasAddr(addr.Addr())
	h.mu.Unlock()
	if err != nil {
		return fail(err)
	}

	peer := h
	if !self {
		if peer = n.reach(via, addr.Addr(), nil); peer == nil || !peer.knows(src) {
			return fail(syscall.EHOSTUNREACH)
		}
	}
	peer.mu.Lock()
	l, ok := boundTo(peer.tcp, addr)
	peer.mu.Unlock()
	if !ok {
		return fail(syscall.ECONNREFUSED)
	}

	there, here := newPipe(), newPipe()
	client := newStream(h, here, there, netip.AddrPortFrom(src, port), addr)
	server := newStream(peer, there, here, addr, client.local)
	select {
	case l.queue <- server:
		select {
		case <-l.done: // closed meanwhile: perhaps after it emptied its queue
			err = syscall.ECONNREFUSED
		default:
			return client, nil
		}
	case <-l.done:
		err = syscall.ECONNREFUSED
	case <-ctx.Done():
		err = ctx.Err()
	}
	client.Close()
	server.Close()
	return fail(err)
}

func newStream(h *Host, in, out *pipe, local, remote netip.AddrPort) *stream {
	c := &stream{host: h, in: in, out: out, local: local, remote: remote,
		read: newDeadline(), write: newDeadline(), done: make(chan struct{})}
	h.mu.Lock()
	h.streams[c] = struct{}{}
	off := h.closed
	h.mu.Unlock()
	if off { // switched off meanwhile
		c.Close()
	}
	return c
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, l.opError("accept", net.ErrClosed)
	default:
	}
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.done:
		return nil, l.opError("accept", net.ErrClosed)
	}
}

// Close implements net.Listener; connections that wait to be accepted are closed.
func (l *listener) Close() error {
	err := l.opError("close", net.ErrClosed)
	l.close.Do(func() {
		close(l.done)
		l.host.mu.Lock()
		delete(l.host.tcp, l.local)
		l.host.mu.Unlock()
		for {
			select {
			case c := <-l.queue:
				c.Close()
				continue
			default:
			}
			break
		}
		err = nil
	})
	return err
}

// Addr implements net.Listener; it is a *net.TCPAddr.
func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.local) }

func (l *listener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp4", Addr: l.Addr(), Err: err}
}

func (c *stream) Read(b []byte) (int, error) {
	n, err := c.in.Read(b, c.read, c.done)
	return n, c.opError("read", err)
}

func (c *stream) Write(b []byte) (int, error) {
	n, err := c.out.Write(b, c.write, c.done)
	return n, c.opError("write", err)
}

func (c *stream) Close() error {
	err := c.opError("close", net.ErrClosed)
	c.close.Do(func() {
		close(c.done)
		c.read.set(time.Time{})
		c.write.set(time.Time{})
		c.out.end()
		c.in.abandon()
		c.host.mu.Lock()
		delete(c.host.streams, c)
		c.host.mu.Unlock()
		err = nil
	})
	return err
}

// CloseWrite ends our direction alone, as (*net.TCPConn).CloseWrite does.
func (c *stream) CloseWrite() error {
	c.out.end()
	return nil
}

func (c *stream) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.local) }
func (c *stream) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

func (c *stream) SetDeadline(t time.Time) error {
	c.read.set(t)
	c.write.set(t)
	return nil
}

func (c *stream) SetReadDeadline(t time.Time) error {
	c.read.set(t)
	return nil
}

func (c *stream) SetWriteDeadline(t time.Time) error {
	c.write.set(t)
	return nil
}

// opError leaves io.EOF bare: readers compare it.
func (c *stream) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp4", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
