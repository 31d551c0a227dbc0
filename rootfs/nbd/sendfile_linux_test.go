package nbd

import (
	"io"
	"net"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A file that has become shorter ends the connection: the rest of the reply
// that was promised does not exist.
func TestFileThatShrinks(t *testing.T) {
	f := patternFile(t, 0, diskSize)
	s := &Server{Exports: []Export{exportOf("disk", ReaderAt(f, diskSize))}}
	r := record(s)
	addr := start(t, s)
	inBothForms(t, func(t *testing.T, structured bool) {
		require.NoError(t, f.Truncate(diskSize+1<<20))
		c := session(t, addr, structured)
		c.alive(structured)
		require.NoError(t, f.Truncate(1<<20))
		c.put(command(0, kRead, 1, 1<<20-sendfileSize, 2*sendfileSize))
		n, err := io.Copy(io.Discard, c.in)
		require.NoError(t, err)
		require.LessOrEqual(t, n, int64(sendfileSize+28))
		result := <-r.done
		require.ErrorIs(t, result.Err, io.ErrUnexpectedEOF)
		require.False(t, result.Aborted)
	})
}

// What sendfile cannot send is read: a pipe has no offsets, its other end is not
// there to be read, and a closed file is nothing.
func TestFilesThatSendfileRefuses(t *testing.T) {
	in, out, err := os.Pipe()
	require.NoError(t, err)
	defer in.Close()
	defer out.Close()
	closed := patternFile(t, 0, 1)
	closed.Close()
	for name, file := range map[string]*os.File{"pipe": in, "write end": out, "closed": closed} {
		t.Run(name, func(t *testing.T) {
			b := newExtentBackend(patternFile(t, 0, diskSize), 0, diskSize)
			b.file = file
			addr := start(t, &Server{Exports: []Export{exportOf("disk", b)}})
			inBothForms(t, func(t *testing.T, structured bool) {
				c := session(t, addr, structured)
				for range 3 {
					data, errno := c.read(structured, 17, 5*sendfileSize)
					require.Zero(t, errno)
					require.Equal(t, patternBytes(17, 5*sendfileSize), data)
				}
			})
		})
	}
}

// A client that asks for all it may and takes nothing holds no buffer of ours
// where the system sends the file.
func TestN044_SendfileHoldsNoBuffer(t *testing.T) {
	const clients, size = 100, 32 << 20
	f := patternFile(t, 0, 0)
	require.NoError(t, f.Truncate(size))
	addr := start(t, &Server{Exports: []Export{exportOf("disk", ReaderAt(f, size))}})
	memory := func() uint64 {
		for range 3 { // what pools hold goes with the second
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := memory()
	all := make([]*client, clients)
	for i := range all {
		all[i] = session(t, addr, i%2 == 0)
		all[i].put(command(0, kRead, 1, 0, size))
		all[i].take(16) // the header has left: the data is on its way
		all[i].in = nil // the client's own buffer
	}
	each := (int64(memory()) - int64(before)) / clients
	t.Logf("a client that does not read takes %d bytes", each)
	require.Less(t, each, int64(64<<10))
	runtime.KeepAlive(all)
}

func TestKeepAlive(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	listener := &keepingListener{Listener: l, conns: make(chan net.Conn, 1)}
	runOn(t, disk(), listener)
	c := session(t, l.Addr().String(), false)
	c.alive(false)
	raw, err := (<-listener.conns).(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		for option, want := range map[int]int{unix.TCP_KEEPIDLE: 120, unix.TCP_KEEPINTVL: 60, unix.TCP_KEEPCNT: 15} {
			got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		on, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
		require.NoError(t, err)
		require.Equal(t, 1, on)
	}))
}

// keepingListener hands the server's end of a connection to the test.
type keepingListener struct {
	net.Listener
	conns chan net.Conn
}

func (l *keepingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.conns <- c
	}
	return c, err
}
