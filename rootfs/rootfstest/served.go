package rootfstest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pxekit/pxe/rootfs"
)

// listener is a TCP listener on loopback that knows what happens to it.
type listener struct {
	net.Listener
	accepting chan struct{} // closed by the first Accept
	once      sync.Once
	accepted  atomic.Int64
	closed    atomic.Bool // by the transport
	broken    atomic.Bool
}

var errBroken = errors.New("the interface went away")

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	l.once.Do(func() { close(l.accepting) })
	conn, err := l.Listener.Accept()
	if l.broken.Load() {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: errBroken}
	}
	if err == nil {
		l.accepted.Add(1)
	}
	return conn, err
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.closed.Store(true)
	return l.Listener.Close()
}

// fail ends every Accept with an error that is nobody's wish.
func (l *listener) fail() {
	l.broken.Store(true)
	_ = l.Listener.Close()
}

// served is one transport over one listener.
type served struct {
	s         *suite
	r         *report
	transport rootfs.ListenerTransport
	listener  *listener
	site      *site
	url       *url.URL
	done      chan error
	label     string // of its goroutines, by which they are told from all others of the program
}

// prepare makes a transport and a listener for it; nil if there is no loopback.
func (s *suite) prepare(r *report, site *site) *served {
	transport, ok := s.create().(rootfs.ListenerTransport)
	if !ok {
		r.add("create makes transports that listen and others that do not")
		return nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.add("Test needs to listen on 127.0.0.1: %v", err)
		return nil
	}
	v := &served{s: s, r: r, transport: transport, site: site, done: make(chan error, 1), label: s.label + "/" + rand.Text(),
		listener: &listener{Listener: l, accepting: make(chan struct{})}}
	v.url = s.urlFor(transport, l.Addr().(*net.TCPAddr).AddrPort())
	return v
}

// start runs Serve, without waiting for anything.
func (v *served) start() {
	go labelled(v.label, func() { v.done <- v.transport.Serve(v.listener, v.site.public()) })
}

// started runs Serve and waits until it accepts.
func (v *served) started() bool {
	v.start()
	select {
	case <-v.listener.accepting:
		return true
	case err := <-v.done:
		v.r.add("Serve does not serve: %v", err)
	case <-time.After(v.s.patience):
		v.hangs("Serve does not call Accept")
	}
	v.release()
	return false
}

// labelled runs f so that the goroutines it starts have a label.
func labelled(label string, f func()) {
	pprof.Do(context.Background(), pprof.Labels(labelName, label), func(context.Context) { f() })
}

const labelName = "rootfstest"

// goroutines returns the stacks of goroutines with a label, or one below it.
func goroutines(label string) string {
	var profile bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&profile, 1) // 1: as text, with labels
	mark := fmt.Sprintf("%q:%s", labelName, strings.TrimSuffix(strconv.Quote(label), `"`))
	var found []string
	_, stanzas, _ := strings.Cut(profile.String(), "\n") // without the total
	for stanza := range strings.SplitSeq(stanzas, "\n\n") {
		if strings.Contains(stanza, mark) {
			found = append(found, stanza)
		}
	}
	return strings.Join(found, "\n")
}

// within runs f and reports whether it returned in time.
func (v *served) within(what string, f func()) bool {
	done := make(chan struct{})
	go labelled(v.label, func() {
		defer close(done)
		f()
	})
	select {
	case <-done:
		return true
	case <-time.After(v.s.patience):
		v.hangs(what + " does not return")
		return false
	}
}

func (v *served) hangs(what string) {
	v.s.hopeless.Store(true)
	v.r.add("%s within %v; what runs:\n%s", what, v.s.patience, goroutines(v.s.label))
}

// shutdown and close call the transport's, which must succeed.
func (v *served) shutdown() bool {
	return v.within("Shutdown", func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*v.s.patience)
		defer cancel()
		if err := v.transport.Shutdown(ctx); err != nil {
			v.r.add("Shutdown, with nothing left to wait for, fails: %v", err)
		}
	})
}

func (v *served) close() bool {
	return v.within("Close", func() {
		if err := v.transport.Close(); err != nil {
			v.r.add("Close fails: %v", err)
		}
	})
}

// ended waits for Serve after Shutdown or Close and checks what it leaves.
func (v *served) ended(after string) bool {
	err, ok := v.returned(after)
	if !ok {
		return false
	}
	if !errors.Is(err, rootfs.ErrServerClosed) {
		v.r.add("Serve returns %v after %s: it must return ErrServerClosed", err, after)
	}
	return v.leftNothing(after)
}

func (v *served) returned(after string) (error, bool) {
	select {
	case err := <-v.done:
		return err, true
	case <-time.After(v.s.patience):
		v.hangs("Serve does not return after " + after)
		v.release()
		return nil, false
	}
}

// leftNothing is for after Serve has returned.
func (v *served) leftNothing(after string) bool {
	if !v.listener.closed.Load() {
		v.r.add("Serve returns after %s and leaves its listener open: it owns the listener and always closes it", after)
		_ = v.listener.Listener.Close()
	}
	v.site.settle(v.r, after)
	if left := v.leaked(); left != "" {
		v.s.hopeless.Store(true)
		v.r.add("Serve returns after %s before all of its goroutines have ended; these are left:\n%s", after, left)
		return false
	}
	return true
}

// release lets go of a transport that broke a rule.
func (v *served) release() {
	v.listener.fail()
	go labelled(v.label, func() { _ = v.transport.Close() })
}

// leaked returns the stacks of goroutines that the transport started and that
// stay. One that has said that it ends may need a moment to be gone.
func (v *served) leaked() string {
	deadline := time.Now().Add(min(v.s.patience, 5*time.Second))
	for {
		left := goroutines(v.label)
		if left == "" || time.Now().After(deadline) {
			return left
		}
		time.Sleep(5 * time.Millisecond)
	}
}
