package rootfstest_test

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/pxekit/pxe/rootfs"
	"github.com/pxekit/pxe/rootfs/rootfstest"
)

// stuck ends with the test: what hangs until then is let go.
func stuck(t *testing.T) <-chan struct{} {
	c := make(chan struct{})
	t.Cleanup(func() { close(c) })
	return c
}

// acceptAll accepts until Accept fails and the toy was stopped, or failed says so.
func acceptAll(t *toy, l net.Listener, use func(net.Conn), failed func(error) bool) error {
	defer l.Close()
	if !t.begin(l) {
		return rootfs.ErrServerClosed
	}
	for {
		conn, err := l.Accept()
		if err == nil {
			use(conn)
			continue
		}
		t.mu.Lock()
		stopped := t.stopped
		t.mu.Unlock()
		if stopped {
			return rootfs.ErrServerClosed
		}
		if failed(err) {
			return err
		}
	}
}

func TestBrokenLifecycle(t *testing.T) {
	forever := stuck(t)
	tests := []struct {
		name   string
		faults faults
		want   string
	}{
		{"Shutdown is lost before Serve", faults{shutdown: func(t *toy, _ context.Context) error {
			t.mu.Lock()
			early := t.ls == nil
			t.mu.Unlock()
			if early {
				return nil
			}
			return t.stop()
		}}, "Serve does not return after a Shutdown before it"},
		{"Close is lost before Serve", faults{closing: func(t *toy) error {
			t.mu.Lock()
			early := t.ls == nil
			t.mu.Unlock()
			if early {
				return nil
			}
			return t.stop()
		}}, "Serve does not return after a Close before it"},
		{"refused with the listener open", faults{serve: func(t *toy, l net.Listener, site rootfs.Site) error {
			if !t.begin(l) {
				return rootfs.ErrServerClosed
			}
			return t.serve(l, site)
		}}, "leaves its listener open"},
		{"error of its own", faults{serve: func(t *toy, l net.Listener, site rootfs.Site) error {
			if err := t.serve(l, site); !errors.Is(err, rootfs.ErrServerClosed) {
				return err
			}
			return net.ErrClosed
		}}, "it must return ErrServerClosed"},
		{"nil", faults{serve: func(t *toy, l net.Listener, site rootfs.Site) error {
			t.serve(l, site)
			return nil
		}}, "Serve returns <nil>"},
		{"Shutdown does nothing", faults{shutdown: func(*toy, context.Context) error { return nil }}, "Serve does not return after"},
		{"Close hangs", faults{closing: func(*toy) error { <-forever; return nil }}, "Close does not return"},
		{"Shutdown hangs", faults{shutdown: func(*toy, context.Context) error { <-forever; return nil }}, "Shutdown does not return"},
		{"Close fails", faults{closing: func(t *toy) error { return errors.Join(t.stop(), net.ErrClosed) }}, "Close fails"},
		{"only once", faults{closing: func(t *toy) error {
			t.mu.Lock()
			again := t.stopped
			t.mu.Unlock()
			if again {
				return net.ErrClosed
			}
			return t.stop()
		}}, "when it is called more than once"},
		{"does not serve", faults{serve: func(t *toy, l net.Listener, _ rootfs.Site) error {
			l.Close()
			return rootfs.ErrServerClosed
		}}, "Serve does not serve"},
		{"does not accept", faults{serve: func(t *toy, l net.Listener, _ rootfs.Site) error {
			defer l.Close()
			if !t.begin(l) {
				return rootfs.ErrServerClosed
			}
			<-forever
			return rootfs.ErrServerClosed
		}}, "Serve does not call Accept"},
		{"serves again", faults{serve: func(t *toy, l net.Listener, site rootfs.Site) error {
			err := t.serve(l, site)
			t.mu.Lock()
			defer t.mu.Unlock()
			if len(t.ls) > 0 { // only a Shutdown before the first Serve is kept
				t.stopped = false
			}
			return err
		}}, "Serve does not return after an earlier"},
		{"goroutine left", faults{serve: func(t *toy, l net.Listener, site rootfs.Site) error {
			go func() { <-forever }()
			return t.serve(l, site)
		}}, "before all of its goroutines have ended"},
		{"broken listener is a shutdown", faults{serve: func(t *toy, l net.Listener, site rootfs.Site) error {
			t.serve(l, site)
			return rootfs.ErrServerClosed
		}}, "when Accept fails for good"},
		{"tries again for ever", faults{serve: func(t *toy, l net.Listener, site rootfs.Site) error {
			return acceptAll(t, l, func(c net.Conn) { c.Close() }, func(error) bool { runtime.Gosched(); return false })
		}}, "Serve does not return after its listener broke"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			caught(t, test.want, func() rootfs.RootFSTransport { return &toy{faults: test.faults} },
				rootfstest.Schemes("toy"), rootfstest.Client(talk), rootfstest.Patience(hasty))
		})
	}
}

func TestBrokenService(t *testing.T) {
	forever := stuck(t)
	var kept []net.Conn // or the garbage collector would close them
	keep := func(conn net.Conn) { kept = append(kept, conn) }
	tests := []struct {
		name   string
		faults faults
		want   string
	}{
		{"opens at once", faults{open: func(site *rootfs.Site) {
			if site.Open != nil {
				if f, err := site.Open(context.Background(), "image"); err == nil {
					f.Close()
				}
			}
		}}, "before there is a client"},
		{"opens for everybody", faults{handle: func(t *toy, conn net.Conn, site rootfs.Site) {
			if site.Open != nil {
				if f, err := site.Open(context.Background(), "image"); err == nil {
					f.Close()
				}
			}
			t.handle(conn, site)
		}}, "connected and asked for nothing"},
		{"begins for everybody", faults{handle: func(t *toy, conn net.Conn, site rootfs.Site) {
			s := rootfs.Session{Client: conn.RemoteAddr().(*net.TCPAddr).AddrPort()}
			if site.Began != nil {
				site.Began(s)
				defer site.Ended(s)
			}
			t.handle(conn, site)
		}}, "it tells Site.Began of a client that connected"},
		{"opens any name", faults{handle: func(t *toy, conn net.Conn, site rootfs.Site) {
			if site.Open != nil {
				line, _ := bufio.NewReader(conn).ReadString('\n')
				if f, err := site.Open(context.Background(), line); err == nil {
					f.Close()
				}
			}
		}}, "none that fs.ValidPath accepts"},
		{"nil context", faults{open: func(site *rootfs.Site) {
			if open := site.Open; open != nil {
				site.Open = func(_ context.Context, name string) (fs.File, error) { return open(nil, name) }
			}
		}}, "a nil context"},
		{"keeps files", faults{close: func(fs.File) {}}, "files open that it got from Site.Open"},
		{"never ends", faults{goodbye: func(rootfs.Site, rootfs.Session) {}}, "did not end"},
		{"ends twice", faults{goodbye: func(site rootfs.Site, s rootfs.Session) {
			if site.Ended != nil {
				site.Ended(s)
				site.Ended(s)
			}
		}}, "or ended before"},
		{"another name at the end", faults{finished: func(s *rootfs.Session) { s.Name += "x" }}, "began with another"},
		{"no client", faults{session: func(s *rootfs.Session) { s.Client = netip.AddrPort{} }}, "no Client"},
		{"another client", faults{session: func(s *rootfs.Session) { s.Client = netip.MustParseAddrPort("192.0.2.9:1") }}, "the connection came from"},
		{"bytes at the beginning", faults{session: func(s *rootfs.Session) { s.Bytes = 1 }}, "set when the session has ended"},
		{"no bytes", faults{finished: func(s *rootfs.Session) { s.Bytes = 0 }}, "no session has Bytes"},
		{"negative bytes", faults{finished: func(s *rootfs.Session) { s.Bytes = -1 }}, "negative"},
		{"aborted by nothing", faults{finished: func(s *rootfs.Session) { s.Aborted, s.Err = true, nil }}, "Aborted without Err"},
		{"no boot", faults{session: func(s *rootfs.Session) { s.BootID = "" }}, "with the BootID"},
		{"boot in the name", faults{session: func(s *rootfs.Session) { s.Name += "~" + s.BootID }}, "that is what BootID is for"},
		{"a client's words for a reason", faults{dropped: func(site rootfs.Site, line string, client netip.AddrPort) {
			if site.Dropped != nil {
				site.Dropped("bad line "+line, client, nil)
			}
		}}, "it is a short fixed name"},
		{"nobody dropped", faults{dropped: func(site rootfs.Site, _ string, _ netip.AddrPort) {
			if site.Dropped != nil {
				site.Dropped("malformed", netip.AddrPort{}, nil)
			}
		}}, "Dropped has no client"},
		{"tells nobody", faults{open: func(site *rootfs.Site) { site.Began, site.Ended = nil, nil }}, "were not told of it"},
		{"serves nothing", faults{handle: func(*toy, net.Conn, rootfs.Site) {}}, "a well-behaved client that is alone fails"},
		{"one at a time", faults{handle: func() func(*toy, net.Conn, rootfs.Site) {
			var one sync.Mutex
			return func(t *toy, conn net.Conn, site rootfs.Site) {
				one.Lock()
				defer one.Unlock()
				t.handle(conn, site)
			}
		}()}, "a well-behaved client beside silent clients"},
		{"goroutine left by a client", faults{
			handle: func(t *toy, conn net.Conn, site rootfs.Site) {
				go func() { <-forever }()
				t.handle(conn, site)
			},
		}, "before all of its goroutines have ended"},
		{"keeps connections", faults{serve: func(t *toy, l net.Listener, _ rootfs.Site) error {
			return acceptAll(t, l, keep, func(error) bool { return true })
		}}, "a client's connection is still open"},
		{"gives up after garbage", faults{handle: func(t *toy, conn net.Conn, site rootfs.Site) {
			b := bufio.NewReader(conn)
			if first, err := b.Peek(1); err == nil && first[0] >= 0x80 {
				go t.stop()
				return
			}
			t.handle(buffered{conn, b}, site)
		}}, "nothing that a client sends ends a server"},
		{"waits for its clients", faults{shutdown: func(t *toy, ctx context.Context) error {
			// Not as long as there are connections: there may be one of a client that
			// has gone, which nobody may be said to hang for.
			if ctx.Err() != nil {
				<-forever
			}
			return t.stop()
		}}, "with a context that is done"},
	}
	hang := []string{"one at a time", "keeps connections", "waits for its clients"} // the others take as long as they need
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			options := []rootfstest.Option{rootfstest.Schemes("toy"), rootfstest.Client(talk)}
			if slices.Contains(hang, test.name) {
				options = append(options, rootfstest.Patience(hasty))
			}
			caught(t, test.want, func() rootfs.RootFSTransport { return &toy{faults: test.faults} }, options...)
		})
	}
}

// buffered is a connection of which something was read already.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

// Without a client that knows the protocol, what any client sees is still seen.
func TestBrokenServiceWithoutClient(t *testing.T) {
	caught(t, "accepting must not wait for a client", func() rootfs.RootFSTransport {
		return &toy{faults: faults{serve: func(t *toy, l net.Listener, site rootfs.Site) error {
			return t.serve(&oneByOne{Listener: l, t: t}, site)
		}}}
	}, rootfstest.Schemes("toy"), rootfstest.Patience(hasty))
}

// oneByOne accepts while there is no connection.
type oneByOne struct {
	net.Listener
	t *toy
}

func (l *oneByOne) Accept() (net.Conn, error) {
	l.t.group.Wait()
	return l.Listener.Accept()
}

// create may give different things, and a URL that nobody can dial.
func TestWantedTargetOfListener(t *testing.T) {
	create := func() rootfs.RootFSTransport {
		return &toy{faults: faults{url: func(u *url.URL) { u.Path = "/image" }}}
	}
	rootfstest.Test(t, create, rootfstest.Schemes("toy"))
}
