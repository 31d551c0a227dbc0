package rootfstest

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"time"
)

// How much trouble is made. Servers may bound connections per client address,
// and all of these come from one: far fewer than a rack behind one NAT.
const (
	silentClients = 12
	babblers      = 16
	floodBytes    = 1 << 20
	cuts          = 24      // of what a well-behaved client sends
	recordLimit   = 4 << 10 // how much of that is kept
)

// recorder is a connection that keeps the first bytes it sends.
type recorder struct {
	net.Conn
	sent []byte
}

// Write implements io.Writer.
func (c *recorder) Write(p []byte) (int, error) {
	c.sent = append(c.sent, p[:min(len(p), recordLimit-len(c.sent))]...)
	return c.Conn.Write(p)
}

// reset closes with a TCP reset instead of an orderly end.
func (c *recorder) reset() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Conn.Close()
}

// troubled checks that the clients of one kind do not keep the others from what
// they came for, nor leave anything behind.
func (s *suite) troubled(r *report) {
	v := s.prepare(r, s.site())
	if v == nil || !v.started() {
		return
	}
	var script []byte
	if s.talk != nil {
		if conn, ok := v.client("before there is trouble"); ok {
			script = conn.sent
		}
	}
	// Those who connect and say nothing stay until the end.
	for range silentClients {
		conn := v.dial()
		if conn == nil {
			break
		}
		defer conn.Close()
	}
	random := rand.New(rand.NewPCG(1, 2)) // the same in every run
	for i := range babblers {
		v.send(noise(random, 1<<(i%12)), i%2 == 0)
	}
	v.send(noise(random, floodBytes), true)
	v.send(bytes.Repeat([]byte{0xff}, floodBytes), false)
	for _, garbled := range garble(random, script) {
		v.send(garbled, len(garbled)%2 == 0)
	}
	if s.talk != nil {
		v.client("beside silent clients and after hasty and babbling ones")
	} else if before := v.listener.accepted.Load(); len(r.problems) == 0 {
		if conn := v.dial(); conn != nil {
			defer conn.Close()
			v.accepts(before + 1)
		}
	}
	if v.close() {
		v.ended("Close")
	}
}

// send plays one client that sends data and leaves, by a reset or in order,
// without waiting for all that the server has to say.
func (v *served) send(data []byte, reset bool) {
	conn := v.dial()
	if conn == nil {
		return
	}
	// The server may close early, or not read on: neither is a fault.
	_ = conn.Conn.SetDeadline(time.Now().Add(min(v.s.patience, time.Second)))
	_, _ = conn.Conn.Write(data)
	if reset {
		conn.reset()
		return
	}
	if tcp, ok := conn.Conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	_ = conn.Conn.SetDeadline(time.Now().Add(min(v.s.patience, 50*time.Millisecond)))
	_, _ = io.CopyN(io.Discard, conn.Conn, 1<<16)
	_ = conn.Close()
}

func noise(random *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

// garble returns what a well-behaved client sends, cut short, with a bit wrong,
// with a length of all ones, and twice.
func garble(random *rand.Rand, script []byte) [][]byte {
	if len(script) == 0 {
		return nil
	}
	var list [][]byte
	for range cuts {
		at := random.IntN(len(script))
		flipped, long := slices.Clone(script), slices.Clone(script)
		flipped[at] ^= 1 << random.IntN(8)
		for i := at; i < min(at+4, len(long)); i++ {
			long[i] = 0xff
		}
		list = append(list, script[:at], flipped, long)
	}
	return append(list, slices.Concat(script, script))
}

// closedUnderClients checks that Close ends the connections that there are, and
// that Shutdown waits for them no longer than its context.
func (s *suite) closedUnderClients(r *report) {
	v := s.prepare(r, s.site())
	if v == nil || !v.started() {
		return
	}
	var conns []*recorder
	for range 3 {
		if conn := v.dial(); conn != nil {
			defer conn.Close()
			conns = append(conns, conn)
		}
	}
	if !v.accepts(int64(len(conns))) {
		v.release()
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if !v.within("Shutdown, with a context that is done and clients connected,", func() { _ = v.transport.Shutdown(ctx) }) {
		v.release()
		return
	}
	if !v.close() || !v.ended("Close") {
		return
	}
	for _, conn := range conns {
		if _, err := io.CopyN(io.Discard, conn.Conn, 1<<20); isTimeout(err) {
			r.add("Serve has returned after Close, and a client's connection is still open: close each that was accepted")
		}
	}
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}
