package connlimit_test

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/internal/connlimit"
)

// pipes hands out connections of net.Pipe, inside a synctest bubble.
type pipes struct {
	accept chan net.Conn
	failed chan error
	closed chan struct{}
}

func newPipes() *pipes {
	return &pipes{make(chan net.Conn, 100), make(chan error, 1), make(chan struct{})}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accept:
		return conn, nil
	case err := <-p.failed:
		return nil, err
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.accept <- theirs
	return ours
}

func TestNoMoreThanTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most, states atomic.Int32
		server := &http.Server{
			ConnState: func(net.Conn, http.ConnState) { states.Add(1) },
			Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				most.Store(max(most.Load(), running.Add(1)))
				time.Sleep(time.Second)
				running.Add(-1)
			}),
		}
		below := newPipes()
		go server.Serve(connlimit.Listener(below, 3, server))
		began := time.Now()
		var group sync.WaitGroup
		for range 12 {
			conn := below.dial()
			group.Go(func() {
				_, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
				require.NoError(t, err)
				_, err = io.ReadAll(conn)
				require.NoError(t, err)
			})
		}
		group.Wait()
		require.Equal(t, int32(3), most.Load())
		require.Equal(t, 4*time.Second, time.Since(began), "three at a time")
		require.NotZero(t, states.Load(), "the hook that was there is called too")
		require.NoError(t, server.Close())
	})
}

// A connection that a handler takes over gives its place back, or two would
// fill the server for ever.
func TestHijackedConnectionsDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			require.NoError(t, err)
			_, _ = io.WriteString(conn, "taken")
		})}
		below := newPipes()
		go server.Serve(connlimit.Listener(below, 1, server))
		for range 3 {
			conn := below.dial()
			_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n")
			require.NoError(t, err)
			got := make([]byte, 5)
			_, err = io.ReadFull(conn, got)
			require.NoError(t, err)
			require.Equal(t, "taken", string(got))
			defer conn.Close()
		}
		require.NoError(t, server.Close())
	})
}

func TestCloseEndsAcceptThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, below := new(http.Server), newPipes()
		l := connlimit.Listener(below, 1, server)
		defer below.dial().Close()
		_, err := l.Accept()
		require.NoError(t, err)
		failed := make(chan error)
		go func() {
			_, err := l.Accept()
			failed <- err
		}()
		synctest.Wait()
		require.Empty(t, failed)
		require.NoError(t, l.Close())
		require.ErrorIs(t, <-failed, net.ErrClosed)
	})
}

func TestFailedAcceptTakesNoPlace(t *testing.T) {
	server, below := new(http.Server), newPipes()
	l := connlimit.Listener(below, 1, server)
	broken := errors.New("no descriptors")
	for range 3 {
		below.failed <- broken
		_, err := l.Accept()
		require.ErrorIs(t, err, broken)
	}
	defer below.dial().Close()
	_, err := l.Accept()
	require.NoError(t, err)
}

// What it is for: the connection is the system's own.
func TestConnectionsAreNotWrapped(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	var wrapped atomic.Bool
	server.Config.ConnState = func(conn net.Conn, _ http.ConnState) {
		if _, ok := conn.(*net.TCPConn); !ok {
			wrapped.Store(true)
		}
	}
	server.Listener = connlimit.Listener(server.Listener, 2, server.Config)
	server.Start()
	defer server.Close()
	for range 10 {
		r, err := server.Client().Get(server.URL)
		require.NoError(t, err)
		require.NoError(t, r.Body.Close())
		server.Client().CloseIdleConnections()
	}
	require.False(t, wrapped.Load())
}

// Connections whose TLS handshake fails come and go without a request.
func TestFailedHandshakesGiveTheirPlaceBack(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Listener = connlimit.Listener(server.Listener, 2, server.Config)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	for range 10 {
		_, err := tls.Dial("tcp", server.Listener.Addr().String(), &tls.Config{}) // does not know the certificate
		require.Error(t, err)
	}
	r, err := server.Client().Get(server.URL)
	require.NoError(t, err)
	require.NoError(t, r.Body.Close())
}
