package nbd

import (
	"bufio"
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// inputSize is the buffer for what a client sends, in bytes: 146 requests. It is
// most of what an idle connection costs.
const inputSize = 4096

// errAborted ends a negotiation as the protocol wants it.
var errAborted = errors.New("nbd: the client ended the negotiation")

// errTooLong is why the context of a negotiation ends that took too long.
var errTooLong = errors.New("nbd: the negotiation has taken 10 seconds")

// conn is one connection. It belongs to the goroutine of serve, but for what
// table guards.
type conn struct {
	server        *Server
	net           net.Conn
	client, local netip.AddrPort
	counted       netip.Addr // see clientOf
	draining      <-chan struct{}

	stream net.Conn // net, or TLS over it
	in     *bufio.Reader

	// Guarded by table.mu.
	negotiating *list.Element // in table.negotiating; nil once it has negotiated
	evicted     bool
}

func newConn(s *Server, nc net.Conn, draining <-chan struct{}) *conn {
	c := &conn{server: s, net: nc, stream: nc, draining: draining, client: addrPort(nc.RemoteAddr()), local: addrPort(nc.LocalAddr())}
	c.counted = clientOf(c.client.Addr(), c.local.Addr())
	return c
}

// addrPort returns the zero AddrPort for an address that is none of IP.
func addrPort(a net.Addr) netip.AddrPort {
	if a == nil {
		return netip.AddrPort{}
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// serve answers the client to the end of its connection.
func (c *conn) serve(parent context.Context) {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { c.net.Close() })()
	defer c.net.Close()

	// A client that has mounted its root here may be silent for days, and one
	// that was switched off is silent for ever: the system finds out which.
	if k, ok := c.net.(interface {
		SetKeepAliveConfig(net.KeepAliveConfig) error
	}); ok {
		k.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: probeAfter, Interval: probeEach, Count: probes})
	}
	c.in = bufio.NewReaderSize(c.net, inputSize)

	n := negotiation{conn: c, ctx: ctx}
	err := c.negotiate(&n, func() { cancel(errTooLong) })
	if n.export != nil {
		defer guard(n.export.close)
	}
	evicted := false
	if err == nil && !c.server.table.settle(c) {
		err = net.ErrClosed
	}
	if err == nil {
		c.session(parent, n.export, n.structured)
	}
	if evicted = c.server.table.leave(c); err != nil {
		c.report(parent, err, evicted)
	}
	if c.stream != c.net && parent.Err() == nil {
		c.stream.Close() // says so by TLS, which may take as long as the client
	}
}

// negotiate brings a connection to its session, or says why there is none, in
// the time that this may take.
func (c *conn) negotiate(n *negotiation, tooLong func()) (err error) {
	// One clock for all that may block: the end of ctx closes the connection, too.
	timer := time.AfterFunc(handshakeTime, tooLong)
	panicked := guard(func() { err = n.run() })
	if panicked != nil {
		return &dropped{DropPanic, panicked}
	}
	if !timer.Stop() && !errors.Is(err, errAborted) {
		err = &dropped{DropTimeout, errTooLong}
	}
	return err
}

// guard turns a panic of f into an error: what fails for one client must not
// end the others.
func guard(f func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("nbd: a function of the embedder panicked: %v", v)
		}
	}()
	f()
	return nil
}

// report says why a connection has not come to its session.
func (c *conn) report(parent context.Context, err error, evicted bool) {
	var why *dropped
	stopping := false
	select {
	case <-c.draining:
		stopping = true
	default:
	}
	reason := DropDisconnected
	switch {
	case errors.Is(err, errAborted):
		return
	case evicted:
		reason, err = DropSuperseded, nil
	case parent.Err() != nil || stopping:
		reason = DropShutdown
	case errors.As(err, &why):
		reason, err = why.reason, why.err
	}
	c.server.drop(reason, c.client, err)
}

// session serves an export until the client or the server ends it.
func (c *conn) session(parent context.Context, export *opened, structured bool) {
	s := Session{Client: c.client, Local: c.local, Export: export.name, Size: export.size}
	c.server.Trace.start(s)
	t := newTransmission(c, export, structured)
	err := t.run()
	result := Result{Bytes: t.bytes.Load(), Err: err}
	switch broken := export.failed.Load(); {
	case err != nil && parent.Err() != nil:
		result.Err = ErrServerClosed
	case broken != nil:
		result.Err = *broken // its client got NBD_EIO, whatever it did then
	case err == nil:
	default:
		result.Aborted = true
		if errors.Is(err, io.EOF) {
			result.Err = errGone
		}
	}
	c.server.Trace.done(s, result)
}
