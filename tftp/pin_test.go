package tftp_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pin "github.com/pin/tftp/v3"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/tftp"
)

// pinHandler is the signature of github.com/pin/tftp/v3.NewServer's read handler.
type pinHandler = func(filename string, rf io.ReaderFrom) error

// A handler that fits there fits here.
var (
	_ = func(h pinHandler) *pin.Server { return pin.NewServer(h, nil) }
	_ = func(h pinHandler) tftp.Handler { return tftp.ReadHandler(h) }
)

func listen(t testing.TB, s *tftp.Server) string {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- s.Serve(conn) }()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-done, tftp.ErrServerClosed)
	})
	return conn.LocalAddr().String()
}

func pinClient(t testing.TB, addr string) *pin.Client {
	c, err := pin.NewClient(addr)
	require.NoError(t, err)
	c.SetTimeout(5 * time.Second)
	return c
}

// TestPinUsageExample runs the read handler of pin/tftp's own README, as it
// stands there, against its own client.
func TestPinUsageExample(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	content := bytes.Repeat([]byte("0123456789"), 1000)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "foobar.txt"), content, 0o600))

	// readHandler is called when client starts file download from server
	readHandler := func(filename string, rf io.ReaderFrom) error {
		file, err := os.Open(filename)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%v\n", err)
			return err
		}
		defer file.Close()
		n, err := rf.ReadFrom(file)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%v\n", err)
			return err
		}
		fmt.Printf("%d bytes sent\n", n)
		return nil
	}

	addr := listen(t, &tftp.Server{Handler: tftp.ReadHandler(readHandler)})
	c := pinClient(t, addr)
	c.RequestTSize(true)
	wt, err := c.Receive("foobar.txt", "octet")
	require.NoError(t, err)
	n, ok := wt.(pin.IncomingTransfer).Size()
	require.True(t, ok, "the size is found by seeking")
	require.EqualValues(t, len(content), n)
	var got bytes.Buffer
	_, err = wt.WriteTo(&got)
	require.NoError(t, err)
	require.Equal(t, content, got.Bytes())

	_, err = c.Receive("missing.txt", "octet")
	require.ErrorContains(t, err, "code: 1, message: File not found")
	require.NoError(t, os.Mkdir("sub", 0o700))
	_, err = c.Receive("sub", "octet")
	require.ErrorContains(t, err, "code: 1, message: File not found")
	_, err = c.Receive("../../etc/passwd", "octet")
	require.ErrorContains(t, err, "code: 2, message: Access violation")
}

func TestReadHandlerSeesPinsInterfaces(t *testing.T) {
	type addrs struct {
		remote net.UDPAddr
		local  net.IP
	}
	seen := make(chan addrs, 1)
	h := func(filename string, rf io.ReaderFrom) error {
		seen <- addrs{rf.(pin.OutgoingTransfer).RemoteAddr(), rf.(pin.RequestPacketInfo).LocalIP()}
		rf.(pin.OutgoingTransfer).SetSize(int64(len(filename)))
		_, err := rf.ReadFrom(io.MultiReader(strings.NewReader(filename)))
		return err
	}
	addr := listen(t, &tftp.Server{Handler: tftp.ReadHandler(h)})
	c := pinClient(t, addr)
	c.RequestTSize(true)
	wt, err := c.Receive("/boot/x", "octet")
	require.NoError(t, err)
	n, ok := wt.(pin.IncomingTransfer).Size()
	require.True(t, ok)
	require.EqualValues(t, 6, n)
	var got bytes.Buffer
	_, err = wt.WriteTo(&got)
	require.NoError(t, err)
	require.Equal(t, "boot/x", got.String())
	a := <-seen
	require.Equal(t, "127.0.0.1", a.remote.IP.String())
	require.NotZero(t, a.remote.Port)
	require.Equal(t, "127.0.0.1", a.local.String())
}

// counter is a file of size bytes that takes no memory; its bytes tell where
// they are.
type counter struct{ at, size int64 }

func (c *counter) Read(p []byte) (int, error) {
	if c.at == c.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), c.size-c.at)]
	for i := range p {
		p[i] = byteAt(c.at + int64(i))
	}
	c.at += int64(len(p))
	return len(p), nil
}

func byteAt(i int64) byte { return byte(i ^ i>>9 ^ i>>25) }

// checker takes what a counter gave.
type checker struct {
	at  int64
	bad bool
}

func (c *checker) Write(p []byte) (int, error) {
	for i, b := range p {
		c.bad = c.bad || b != byteAt(c.at+int64(i))
	}
	c.at += int64(len(p))
	return len(p), nil
}

// TestPinClientCrossChecks fetches files of many sizes by many block sizes, by
// a client that is not ours.
func TestPinClientCrossChecks(t *testing.T) {
	handler := tftp.HandlerFunc(func(_ context.Context, tr *tftp.Transfer) error {
		var size int64
		if _, err := fmt.Sscanf(tr.Request().Name, "%d", &size); err != nil {
			return err
		}
		tr.SetSize(size)
		_, err := tr.ReadFrom(&counter{size: size})
		return err
	})
	var retransmits, failures atomic.Int64
	addr := listen(t, &tftp.Server{Handler: handler, MaxBlockSize: 65464, Trace: &tftp.Trace{
		Done: func(_ *tftp.Request, r tftp.Result) {
			retransmits.Add(int64(r.Retransmits))
			if r.Err != nil {
				failures.Add(1)
			}
		},
	}})
	fetch := func(t *testing.T, size int64, blockSize int, tsize bool) {
		c := pinClient(t, addr)
		if blockSize != 0 {
			c.SetBlockSize(blockSize)
		}
		c.RequestTSize(tsize)
		wt, err := c.Receive(fmt.Sprint(size), "octet")
		require.NoError(t, err)
		// pin's client takes a tsize of 0 for none.
		if n, ok := wt.(pin.IncomingTransfer).Size(); tsize && size > 0 {
			require.True(t, ok)
			require.Equal(t, size, n)
		}
		check := &checker{}
		_, err = wt.WriteTo(check)
		require.NoError(t, err)
		require.Equal(t, size, check.at)
		require.False(t, check.bad, "content differs")
	}
	// Below 512 pin's client ignores what it was granted.
	for _, blockSize := range []int{0, 512, 513, 1024, 1428, 1468, 8192, 65464} {
		for _, size := range []int64{0, 1, 511, 512, 513, 1023, 1024, 1468, 65464, 65465} {
			for _, tsize := range []bool{false, true} {
				fetch(t, size, blockSize, tsize)
			}
		}
	}
	t.Run("TestT020_BlockNumbersRollOver", func(t *testing.T) {
		if testing.Short() {
			t.Skip("files of 32 and 94 MB take seconds")
		}
		fetch(t, 65536*512, 0, true) // the empty block at the end has number 1 again
		fetch(t, 65537*1428+7, 1428, true)
	})
	require.Zero(t, failures.Load())
}

func TestPinRemoteAddrOverIPv6(t *testing.T) {
	conn, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 loopback here: ", err)
	}
	s := &tftp.Server{Handler: tftp.ReadHandler(func(_ string, rf io.ReaderFrom) error {
		remote := rf.(pin.OutgoingTransfer).RemoteAddr()
		_, err := rf.ReadFrom(strings.NewReader(remote.AddrPort().Addr().String()))
		return err
	})}
	done := make(chan error, 1)
	go func() { done <- s.Serve(conn) }()
	wt, err := pinClient(t, conn.LocalAddr().String()).Receive("x", "octet")
	require.NoError(t, err)
	var got bytes.Buffer
	_, err = wt.WriteTo(&got)
	require.NoError(t, err)
	require.Equal(t, netip.IPv6Loopback().String(), got.String())
	require.NoError(t, s.Shutdown(t.Context()))
	require.ErrorIs(t, <-done, tftp.ErrServerClosed)
}

// The plain path, for conns that offer nothing but net.PacketConn.
func TestPinClientOverAPlainPacketConn(t *testing.T) {
	s := &tftp.Server{
		Handler: tftp.ReadHandler(func(_ string, rf io.ReaderFrom) error {
			_, err := rf.ReadFrom(&counter{size: 5000})
			return err
		}),
		OpenTransfer: func(_ context.Context, local netip.Addr, _ netip.AddrPort) (net.PacketConn, error) {
			conn, err := net.ListenPacket("udp", netip.AddrPortFrom(local, 0).String())
			return struct{ net.PacketConn }{conn}, err
		},
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- s.Serve(struct{ net.PacketConn }{conn}) }()
	wt, err := pinClient(t, conn.LocalAddr().String()).Receive("x", "octet")
	require.NoError(t, err)
	check := &checker{}
	_, err = wt.WriteTo(check)
	require.NoError(t, err)
	require.EqualValues(t, 5000, check.at)
	require.False(t, check.bad)
	require.NoError(t, s.Shutdown(t.Context()))
	require.ErrorIs(t, <-done, tftp.ErrServerClosed)
}
