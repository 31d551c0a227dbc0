package tcp

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// pair returns both ends of a connection.
func pair(t *testing.T) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	client, err = net.Dial("tcp4", l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	server, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { server.Close() })
	return server, client
}

func userTimeout(t *testing.T, conn net.Conn) (ms int) {
	t.Helper()
	raw, err := below(conn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		ms, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
	}))
	require.NoError(t, err)
	return ms
}

func TestSetUserTimeout(t *testing.T) {
	server, _ := pair(t)
	for _, conn := range []net.Conn{server, tls.Server(server, &tls.Config{})} {
		SetUserTimeout(conn, 3*time.Second)
		require.Equal(t, 3000, userTimeout(t, conn))
		SetUserTimeout(conn, 0)
		require.Zero(t, userTimeout(t, conn))
	}
	require.NoError(t, server.Close())
	SetUserTimeout(server, time.Second) // nothing happens

	pipe, _ := net.Pipe()
	SetUserTimeout(pipe, time.Second)
}

func TestReset(t *testing.T) {
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"plain": func(c net.Conn) net.Conn { return c },
		"TLS":   func(c net.Conn) net.Conn { return tls.Server(c, &tls.Config{}) },
	} {
		t.Run(name, func(t *testing.T) {
			server, client := pair(t)
			_, err := server.Write([]byte("hello"))
			require.NoError(t, err)
			Reset(wrap(server))
			_, err = io.ReadAll(client)
			require.ErrorIs(t, err, unix.ECONNRESET)
			Reset(wrap(server)) // nothing happens
		})
	}
	one, other := net.Pipe()
	Reset(one)
	_, err := other.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}
