package pxetest_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/dhcp/pxetest"
)

// connected returns both ends of a connection.
func connected(t *testing.T) (client, server net.Conn) {
	t.Helper()
	s := pxetest.NewSegment(t)
	l, err := s.Host("eth0", "192.0.2.1/24").Listen(addrPort("0.0.0.0:80"))
	require.NoError(t, err)
	client, err = s.Host("eth0", "192.0.2.2/24").Dial(t.Context(), addrPort("192.0.2.1:80"))
	require.NoError(t, err)
	server, err = l.Accept()
	require.NoError(t, err)
	return client, server
}

func TestStreamAddresses(t *testing.T) {
	client, server := connected(t)
	require.Equal(t, net.TCPAddrFromAddrPort(addrPort("192.0.2.1:80")), server.LocalAddr())
	require.Equal(t, server.LocalAddr(), client.RemoteAddr())
	require.Equal(t, client.LocalAddr(), server.RemoteAddr())
	require.Equal(t, "192.0.2.2", client.LocalAddr().(*net.TCPAddr).IP.String())
}

func TestStreamIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connected(t)
		require.NoError(t, client.SetWriteDeadline(time.Now().Add(time.Second)))
		n, err := client.Write(make([]byte, 1<<20))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, 64<<10, n)
		got, err := io.CopyN(io.Discard, server, int64(n))
		require.NoError(t, err)
		require.Equal(t, int64(n), got)
		require.NoError(t, client.SetWriteDeadline(time.Time{}))
		go func() {
			client.Write(bytes.Repeat([]byte("0123456789"), 100_000))
			client.Close()
		}()
		all, err := io.ReadAll(server)
		require.NoError(t, err)
		require.Equal(t, bytes.Repeat([]byte("0123456789"), 100_000), all)
	})
}

func TestStreamClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connected(t)
		_, err := client.Write([]byte("request"))
		require.NoError(t, err)
		require.NoError(t, client.(interface{ CloseWrite() error }).CloseWrite())
		got, err := io.ReadAll(server)
		require.NoError(t, err)
		require.Equal(t, "request", string(got))
		_, err = client.Write([]byte("more"))
		require.ErrorIs(t, err, syscall.EPIPE)

		_, err = server.Write([]byte("reply"))
		require.NoError(t, err)
		require.NoError(t, server.Close())
		require.ErrorIs(t, server.Close(), net.ErrClosed)
		_, err = server.Read(make([]byte, 1))
		require.ErrorIs(t, err, net.ErrClosed)
		got, err = io.ReadAll(client)
		require.NoError(t, err)
		require.Equal(t, "reply", string(got))
	})
	synctest.Test(t, func(t *testing.T) {
		client, server := connected(t)
		require.NoError(t, client.Close())
		_, err := server.Write([]byte("x"))
		require.ErrorIs(t, err, syscall.EPIPE)
	})
}

func TestStreamReadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connected(t)
		started := time.Now()
		require.NoError(t, server.SetDeadline(started.Add(time.Minute)))
		_, err := server.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, time.Minute, time.Since(started))
		require.NoError(t, server.SetReadDeadline(time.Time{}))
		_, err = client.Write([]byte("x"))
		require.NoError(t, err)
		_, err = server.Read(make([]byte, 1))
		require.NoError(t, err)
	})
}

func TestDialAndListenErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := pxetest.NewSegment(t)
		h := s.Host("eth0", "192.0.2.1/24")
		client := s.Host("eth0", "192.0.2.2/24")
		dial := func(to string) error {
			_, err := client.Dial(t.Context(), addrPort(to))
			return err
		}
		require.ErrorIs(t, dial("192.0.2.1:80"), syscall.ECONNREFUSED)
		require.ErrorIs(t, dial("192.0.2.9:80"), syscall.EHOSTUNREACH)
		require.ErrorIs(t, dial("198.51.100.1:80"), syscall.ENETUNREACH)
		require.ErrorIs(t, dial("[2001:db8::1]:80"), syscall.EAFNOSUPPORT)
		_, err := s.Host("eth0", "").Dial(t.Context(), addrPort("192.0.2.1:80"))
		require.Error(t, err)

		l, err := h.Listen(addrPort("192.0.2.1:0"))
		require.NoError(t, err)
		_, err = h.Listen(l.Addr().(*net.TCPAddr).AddrPort())
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		_, err = h.Listen(addrPort("192.0.2.7:80"))
		require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)

		// A full backlog makes the client wait, until somebody gives up.
		to := l.Addr().(*net.TCPAddr).AddrPort()
		for range 128 {
			_, err := client.Dial(t.Context(), to)
			require.NoError(t, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = client.Dial(ctx, to)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		done := make(chan error)
		go func() {
			_, err := client.Dial(t.Context(), to)
			done <- err
		}()
		synctest.Wait()
		require.NoError(t, l.Close())
		require.ErrorIs(t, <-done, syscall.ECONNREFUSED)
		_, err = l.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
		require.ErrorIs(t, l.Close(), net.ErrClosed)
	})
}

// TestHTTP: net/http serves and asks over the segment, in a bubble.
func TestHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := pxetest.NewSegment(t)
		sockets := s.Sockets("192.0.2.1/24")
		content := bytes.Repeat([]byte("0123456789"), 300_000)
		server := &http.Server{
			ReadHeaderTimeout: 10 * time.Second,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.ServeContent(w, r, "x", time.Time{}, bytes.NewReader(content))
			}),
		}
		served := make(chan error)
		go func() { served <- server.Serve(sockets.HTTP) }()
		machine := s.Host("eth0", "192.0.2.2/24")
		transport := &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return machine.Dial(ctx, netip.MustParseAddrPort(addr))
		}}
		client := &http.Client{Transport: transport, Timeout: time.Minute}
		for _, tt := range []struct {
			rng    string
			status int
			want   []byte
		}{{"", 200, content}, {"bytes=5-14", 206, []byte("5678901234")}} {
			request, err := http.NewRequest("GET", "http://192.0.2.1:80/x", nil)
			require.NoError(t, err)
			if tt.rng != "" {
				request.Header.Set("Range", tt.rng)
			}
			response, err := client.Do(request)
			require.NoError(t, err)
			got, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Equal(t, tt.status, response.StatusCode)
			require.True(t, bytes.Equal(tt.want, got))
		}
		require.NoError(t, server.Shutdown(t.Context()))
		require.ErrorIs(t, <-served, http.ErrServerClosed)
		transport.CloseIdleConnections()

		// A client that says nothing is cut off by the header timeout.
		s2 := pxetest.NewSegment(t)
		l := s2.Sockets("192.0.2.1/24").HTTP
		server = &http.Server{ReadHeaderTimeout: 10 * time.Second}
		go server.Serve(l)
		conn, err := s2.Host("eth0", "192.0.2.2/24").Dial(t.Context(), addrPort("192.0.2.1:80"))
		require.NoError(t, err)
		started := time.Now()
		_, err = io.ReadAll(conn)
		require.NoError(t, err)
		require.Equal(t, 10*time.Second, time.Since(started))
		require.NoError(t, server.Close())
	})
}
