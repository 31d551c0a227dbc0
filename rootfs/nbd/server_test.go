package nbd

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pojntfx/go-nbd/pkg/backend"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/internal/lifecycle/lifecycletest"
)

func TestLifecycle(t *testing.T) {
	t.Run("in memory", func(t *testing.T) {
		lifecycletest.Test(t, func(testing.TB) lifecycletest.Subject {
			l := newMemListener()
			s := disk()
			return lifecycletest.Subject{
				Serve: func() error { return s.Serve(l) }, Shutdown: s.Shutdown, Close: s.Close,
				Closed: l.isClosed,
				Fail:   func() { l.Close() }, FailName: "192.0.2.1:10809",
			}
		})
	})
	t.Run("over TCP", func(t *testing.T) {
		lifecycletest.Test(t, func(t testing.TB) lifecycletest.Subject {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			s := disk()
			return lifecycletest.Subject{
				Serve: func() error { return s.Serve(l) }, Shutdown: s.Shutdown, Close: s.Close,
				Closed: func() bool { return errors.Is(l.(*net.TCPListener).SetDeadline(time.Time{}), net.ErrClosed) },
				Fail:   func() { l.Close() }, FailName: "127.0.0.1",
			}
		})
	})
	require.ErrorContains(t, disk().Serve(nil), "l is nil")
}

func TestValidate(t *testing.T) {
	open := exportOf("", ReaderAt(pattern{}, 1)).Open
	s := &Server{
		Exports: []Export{
			{Name: "a"}, {Name: "a", Open: open}, {Name: "\xff", Open: open},
			{Name: strings.Repeat("x", 4097), Open: open}, {Name: "b\x00", Description: "\x00", Open: open},
		},
		RequireTLS: true, MaxConnections: -1, MaxConnectionsPerClient: -2,
	}
	err := s.Validate()
	for _, want := range []string{
		"Exports[0].Open is nil", "Exports[1].Name is \"a\", as is that of another", "Exports[2].Name is not UTF-8",
		"Exports[3].Name is of 4097 bytes: 4096 are allowed", "Exports[4].Name contains a NUL", "Exports[4].Description contains a NUL",
		"RequireTLS is set and Server.TLS is nil", "MaxConnections is -1", "MaxConnectionsPerClient is -2",
	} {
		require.ErrorContains(t, err, want)
	}
	l := newMemListener()
	require.EqualError(t, s.Serve(l), err.Error())
	require.True(t, l.isClosed())
	require.ErrorContains(t, (&Server{}).Validate(), "nothing to serve")
	require.ErrorContains(t, (&Server{Exports: disk().Exports, TLS: &tls.Config{}}).Validate(), "no certificate")
	require.NoError(t, disk().Validate())
	require.NoError(t, (&Server{Find: func(context.Context, string) (*Export, error) { return nil, nil }}).Validate())
}

func TestN043_ShutdownInNegotiation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, b := counted()
		l := newMemListener()
		done := make(chan error, 1)
		go func() { done <- s.Serve(l) }()
		haggling, old, silent := l.dial(t), l.dial(t), l.dial(t)
		for _, c := range []*client{haggling, old, silent} {
			c.greet(cFixed)
		}
		require.EqualValues(t, rACK, haggling.ask(oInfo, naming("disk")...))
		down := make(chan error, 1)
		go func() { down <- s.Shutdown(t.Context()) }()
		synctest.Wait()
		require.True(t, l.isClosed())
		for _, id := range []uint32{oGo, oInfo, oList, oStructured, oStartTLS, 99} {
			require.EqualValues(t, rShutdown, haggling.ask(id, naming("disk")...))
		}
		require.EqualValues(t, rACK, haggling.ask(oAbort))
		haggling.requireClosed()
		old.put(option(oExportName, []byte("disk")...))
		old.requireClosed()
		require.Empty(t, done, "the silent client has its ten seconds")
		silent.requireClosed()
		require.ErrorIs(t, <-done, ErrServerClosed)
		require.NoError(t, <-down)
		require.EqualValues(t, 1, b.opens.Load())
		require.EqualValues(t, 1, b.closes.Load())
		require.Equal(t, map[DropReason]uint64{DropShutdown: 2}, s.Drops())
	})
}

func TestN043_ShutdownInTransmission(t *testing.T) {
	inBothForms(t, func(t *testing.T, structured bool) {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			s := &Server{Exports: []Export{exportOf("disk", ReaderAt(readerFunc(func(p []byte, off int64) (int, error) {
				<-release
				return pattern{}.ReadAt(p, off)
			}), diskSize))}}
			r := record(s)
			l := newMemListener()
			done := make(chan error, 1)
			go func() { done <- s.Serve(l) }()
			c := l.dial(t)
			c.greet(cFixed)
			if structured {
				require.EqualValues(t, rACK, c.ask(oStructured))
			}
			c.open("disk")
			go c.Write(command(0, kRead, 0xfeedfacecafebeef, 5, 100))
			synctest.Wait()
			down := make(chan error, 1)
			go func() { down <- s.Shutdown(t.Context()) }()
			synctest.Wait()
			close(release)
			if structured {
				require.Equal(t, patternBytes(5, 100), c.chunk().data)
			} else {
				_, errno := c.simple()
				require.Zero(t, errno, "what is in work is finished")
				require.Equal(t, patternBytes(5, 100), c.take(100))
			}
			// A machine that copies goes on to its end, however long that takes.
			copied := []byte{}
			for len(copied) < diskSize {
				time.Sleep(time.Hour)
				data, errno := c.read(structured, uint64(len(copied)), uint32(min(1<<20, diskSize-len(copied))))
				require.Zero(t, errno)
				copied = append(copied, data...)
			}
			require.True(t, bytes.Equal(patternBytes(0, diskSize), copied))
			c.put(command(0, kFlush, 1, 0, 0))
			_, errno := c.simple()
			require.Zero(t, errno)
			require.Empty(t, done)
			require.Empty(t, down)
			c.put(command(0, kDisc, 0, 0, 0))
			c.requireClosed()
			require.NoError(t, <-down)
			require.ErrorIs(t, <-done, ErrServerClosed)
			require.Equal(t, Result{Bytes: 100 + diskSize}, <-r.done)
		})
	})
}

func TestShutdownEndsItsWaitWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := disk()
		r := record(s)
		l := newMemListener()
		done := make(chan error, 1)
		go func() { done <- s.Serve(l) }()
		c := l.dial(t)
		c.greet(cFixed)
		c.open("disk")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, s.Shutdown(ctx), context.DeadlineExceeded)
		c.alive(false) // the session stays
		require.NoError(t, s.Close())
		c.requireClosed()
		require.ErrorIs(t, <-done, ErrServerClosed)
		result := <-r.done
		require.ErrorIs(t, result.Err, ErrServerClosed)
		require.False(t, result.Aborted)
	})
}

func TestListenerThatFailsCutsSessionsOff(t *testing.T) {
	s, b := counted()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	c := session(t, l.Addr().String(), false)
	l.Close()
	require.ErrorIs(t, <-done, net.ErrClosed)
	c.requireClosed()
	require.EqualValues(t, 1, b.closes.Load())
}

// failingListener fails before its first connections.
type failingListener struct {
	*memListener
	fails int
	err   error
}

func (l *failingListener) Accept() (net.Conn, error) {
	if l.fails > 0 {
		l.fails--
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", l.err)}
	}
	return l.memListener.Accept()
}

func TestAcceptTriesAgain(t *testing.T) {
	for _, err := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EPROTO, syscall.ENETDOWN,
		syscall.EHOSTUNREACH, syscall.EPERM, syscall.ECONNABORTED, syscall.Errno(64),
	} {
		t.Run(err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &failingListener{newMemListener(), 20, err}
				s := disk()
				runOn(t, s, l)
				c := l.dial(t)
				c.greet(cFixed)
				c.open("disk")
				c.alive(false)
				require.EqualValues(t, 20, s.Drops()[DropAccept])
			})
		})
	}
	for _, err := range []error{syscall.EBADF, syscall.EINVAL, net.ErrClosed} {
		require.ErrorIs(t, disk().Serve(&failingListener{newMemListener(), 1, err}), err)
	}
}

func TestShutdownWhileAcceptFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := disk()
		done := make(chan error, 1)
		go func() { done <- s.Serve(&failingListener{newMemListener(), 1 << 30, syscall.EMFILE}) }()
		time.Sleep(time.Minute)
		require.NoError(t, s.Shutdown(t.Context()))
		require.ErrorIs(t, <-done, ErrServerClosed)
	})
}

// N clients that never choose an export do not keep one away that does.
func TestNegotiatingConnectionsMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := disk()
		s.MaxConnections = 8
		l := newMemListener()
		runOn(t, s, l)
		reading := l.dial(t)
		reading.greet(cFixed)
		reading.open("disk")
		var silent []*client
		for range 100 {
			silent = append(silent, l.dial(t))
			synctest.Wait()
		}
		c := l.dial(t)
		c.greet(cFixed)
		c.open("disk")
		c.alive(false)
		reading.alive(false)
		synctest.Wait()
		require.Equal(t, map[DropReason]uint64{DropSuperseded: 94}, s.Drops())
		for _, gone := range silent[:94] {
			_, err := gone.Write([]byte{0})
			require.Error(t, err)
		}
		for range 6 { // the last of those that are silent
			c := l.dial(t)
			c.greet(cFixed)
			c.open("disk")
		}
		synctest.Wait()
		require.EqualValues(t, 100, s.Drops()[DropSuperseded])
		last := l.dial(t)
		last.requireClosed()
		synctest.Wait()
		require.EqualValues(t, 1, s.Drops()[DropLimit])
		c.put(command(0, kDisc, 0, 0, 0))
		c.requireClosed()
		synctest.Wait()
		c = l.dial(t)
		c.greet(cFixed)
		c.open("disk")
	})
}

func TestConnectionsPerClient(t *testing.T) {
	s := disk()
	s.MaxConnectionsPerClient = 3
	addr := start(t, s)
	var clients []*client
	for range 3 {
		c := session(t, addr, false)
		c.alive(false) // answers come when it counts as a session
		clients = append(clients, c)
	}
	dial(t, addr).requireClosed()
	require.EqualValues(t, 1, s.Drops()[DropLimit])
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	if other, err := dialer.Dial("tcp", addr); err == nil { // only Linux has all of 127.0.0.0/8
		other.Close()
	}
	clients[0].put(command(0, kDisc, 0, 0, 0))
	clients[0].requireClosed()
	require.Eventually(t, func() bool {
		s.table.mu.Lock()
		defer s.table.mu.Unlock()
		return s.table.conns <= 2
	}, patience, time.Millisecond)
	requireServes(t, addr)
	for _, c := range clients[1:] {
		c.alive(false)
	}
}

// N silent connections of one client, of a machine that many share an address
// with, take the place of each other and of nobody else.
func TestNegotiatingConnectionsOfAClientMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := disk()
		s.MaxConnections, s.MaxConnectionsPerClient = 20, 4
		l := newMemListener()
		runOn(t, s, l)
		silentOther := l.dialFrom(t, "192.0.2.8")
		reading := l.dialFrom(t, "192.0.2.9")
		reading.greet(cFixed)
		reading.open("disk")
		for range 100 {
			l.dialFrom(t, "192.0.2.9")
			synctest.Wait()
		}
		require.Equal(t, map[DropReason]uint64{DropSuperseded: 97}, s.Drops())
		c := l.dialFrom(t, "192.0.2.9")
		c.greet(cFixed)
		c.open("disk")
		c.alive(false)
		for range 2 {
			c := l.dialFrom(t, "192.0.2.9")
			c.greet(cFixed)
			c.open("disk")
		}
		synctest.Wait()
		require.Equal(t, map[DropReason]uint64{DropSuperseded: 100}, s.Drops())
		l.dialFrom(t, "192.0.2.9").requireClosed()
		synctest.Wait()
		require.Equal(t, map[DropReason]uint64{DropSuperseded: 100, DropLimit: 1}, s.Drops())
		reading.alive(false)
		c.alive(false)
		silentOther.greet(cFixed)
		silentOther.open("disk")
	})
}

func TestClientOf(t *testing.T) {
	for _, test := range []struct{ client, local, want string }{
		{"192.0.2.9", "192.0.2.1", "192.0.2.9"},
		{"2001:db8:9::1:2", "2001:db8::1", "2001:db8:9::"},
		{"2001:db8:9::ffff:2", "2001:db8::1", "2001:db8:9::"},
		{"2001:db8::9", "2001:db8::1", "2001:db8::9"}, // of the server's network
		{"fe80::9%eth0", "fe80::1%eth0", "fe80::9%eth0"},
		{"fe80::9%eth0", "2001:db8::1", "fe80::9%eth0"},
		{"fd00::9%eth0", "fd00:1::1", "fd00::"},
	} {
		got := clientOf(netip.MustParseAddr(test.client), netip.MustParseAddr(test.local))
		require.Equal(t, netip.MustParseAddr(test.want), got, "%s", test.client)
	}
	require.Equal(t, netip.Addr{}, clientOf(netip.Addr{}, netip.Addr{}))
	require.Equal(t, "2001:db8::", clientOf(netip.MustParseAddr("2001:db8::9"), netip.Addr{}).String())
}

// Who has a network of IPv6 is one client.
func TestConnectionsPerNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := disk()
		s.MaxConnectionsPerClient = 3
		l := newMemListener()
		runOn(t, s, l)
		for _, addr := range []string{"2001:db8::1", "2001:db8::2", "2001:db8::3:3", "2001:db8:0:1::1"} {
			c := l.dialFrom(t, addr)
			c.greet(cFixed)
			c.open("disk")
			c.alive(false)
		}
		l.dialFrom(t, "2001:db8::4").requireClosed()
		synctest.Wait()
		require.Equal(t, map[DropReason]uint64{DropLimit: 1}, s.Drops())
	})
}

// Nothing is left of connections that have ended.
func TestTableEmpties(t *testing.T) {
	s := disk()
	addr := start(t, s)
	for i := range 50 {
		c := connect(t, addr)
		if i%2 == 0 {
			c.open("disk")
		}
		c.Close()
	}
	require.Eventually(t, func() bool {
		s.table.mu.Lock()
		defer s.table.mu.Unlock()
		return s.table.conns == 0 && len(s.table.clients) == 0 && s.table.negotiating.Len() == 0 && s.table.evicted == 0
	}, patience, time.Millisecond)
}

func TestSessionIsTold(t *testing.T) {
	s := disk()
	r := record(s)
	addr := start(t, s)
	c := session(t, addr, false)
	c.alive(false)
	c.put(command(0, kDisc, 0, 0, 0))
	c.requireClosed()
	require.Equal(t, Result{Bytes: 512}, <-r.done)
	started := slices.Clone(r.started)
	require.Len(t, started, 1)
	require.Equal(t, Session{
		Client: addrPort(c.LocalAddr()), Local: addrPort(c.RemoteAddr()), Export: "disk", Size: diskSize,
	}, started[0])
	require.True(t, started[0].Client.IsValid())
}

var _ backend.Backend = (*readerBackend)(nil)
