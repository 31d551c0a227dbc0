package tftp

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	serverAddr = netip.MustParseAddrPort("192.0.2.1:69")
	clientAddr = netip.MustParseAddrPort("192.0.2.100:2070")
)

// testFiles are what test servers serve.
var testFiles = fstest.MapFS{
	"empty":                {Data: nil},
	"short":                {Data: pattern(100)},
	"one":                  {Data: pattern(512)},
	"three":                {Data: pattern(2*512 + 1)},
	"big":                  {Data: pattern(20 * 512)},
	"boot/lpxelinux.0":     {Data: pattern(3000)},
	"pxelinux.cfg/default": {Data: []byte("DEFAULT x\nLABEL x\r\n")},
	"dir/file":             {Data: pattern(1)},
}

func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*7 + i/251)
	}
	return p
}

func fsHandler(fsys fs.FS) Handler {
	return FileHandler(func(_ context.Context, r *Request) (fs.File, error) { return fsys.Open(r.Name) })
}

// results collects what a server's Trace tells.
type results struct {
	mu      sync.Mutex
	started []*Request
	done    []Result
	dropped []DropReason
}

func (r *results) trace() *Trace {
	return &Trace{
		Start: func(q *Request) { r.mu.Lock(); r.started = append(r.started, q); r.mu.Unlock() },
		Done:  func(_ *Request, x Result) { r.mu.Lock(); r.done = append(r.done, x); r.mu.Unlock() },
		Dropped: func(d DropReason, _ netip.AddrPort) {
			r.mu.Lock()
			r.dropped = append(r.dropped, d)
			r.mu.Unlock()
		},
	}
}

func (r *results) starts() []*Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.started)
}

func (r *results) ends() []Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.done)
}

func (r *results) last(t *testing.T) Result {
	t.Helper()
	ends := r.ends()
	require.NotEmpty(t, ends, "no transfer has ended")
	return ends[len(ends)-1]
}

// bench is a server on a network in memory, under synctest.
type bench struct {
	t      *testing.T
	net    *memNet
	server *Server
	conn   *memConn
	seen   *results
	serve  chan error
}

// inMemory runs test in a synctest bubble with a server of testFiles, which
// change may alter before it serves.
func inMemory(t *testing.T, change func(*Server), test func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, change, nil)
		test(t, b)
	})
}

func newBench(t *testing.T, change func(*Server), wrap func(*memConn) net.PacketConn) *bench {
	b := &bench{t: t, net: newMemNet(), seen: &results{}, serve: make(chan error, 1)}
	b.server = &Server{
		Handler: fsHandler(testFiles),
		Trace:   b.seen.trace(),
		OpenTransfer: func(_ context.Context, local netip.Addr, _ netip.AddrPort) (net.PacketConn, error) {
			return b.net.listen(netip.AddrPortFrom(local, 0)), nil
		},
	}
	if change != nil {
		change(b.server)
	}
	b.conn = b.net.listen(serverAddr)
	var conn net.PacketConn = b.conn
	if wrap != nil {
		conn = wrap(b.conn)
	}
	go func() { b.serve <- b.server.Serve(conn) }()
	t.Cleanup(func() {
		require.NoError(t, b.server.Close())
		require.ErrorIs(t, <-b.serve, ErrServerClosed)
		require.Zero(t, b.net.sockets(serverAddr.Addr()), "sockets left open")
	})
	return b
}

func (b *bench) client() *client { return b.clientAt(clientAddr) }

func (b *bench) clientAt(addr netip.AddrPort) *client {
	c := &client{t: b.t, conn: b.net.listen(addr), server: serverAddr}
	b.t.Cleanup(func() { c.conn.Close() })
	return c
}

// alive fetches a file as a well-behaved client does.
func (b *bench) alive() {
	b.t.Helper()
	addr := netip.MustParseAddrPort("192.0.2.250:3000")
	c := &client{t: b.t, conn: b.net.listen(addr), server: serverAddr}
	defer c.conn.Close()
	require.Equal(b.t, testFiles["boot/lpxelinux.0"].Data, c.fetch("boot/lpxelinux.0"))
}

// client speaks TFTP packet by packet.
type client struct {
	t      testing.TB
	conn   net.PacketConn
	server netip.AddrPort
	peer   netip.AddrPort // where the last packet came from
	buf    [1 << 16]byte
}

const patience = time.Hour // of synctest's clock

func (c *client) sendTo(to netip.AddrPort, p []byte) {
	c.t.Helper()
	_, err := c.conn.WriteTo(p, net.UDPAddrFromAddrPort(to))
	require.NoError(c.t, err)
}

func (c *client) request(p []byte)     { c.t.Helper(); c.sendTo(c.server, p) }
func (c *client) ack(block uint16)     { c.t.Helper(); c.sendTo(c.peer, ackPacket(block)) }
func (c *client) abort(code ErrorCode) { c.t.Helper(); c.sendTo(c.peer, appendError(nil, code, "bye")) }

// receive waits for a packet, good until the next; none within the time is nil.
func (c *client) receive(within time.Duration) []byte {
	c.t.Helper()
	require.NoError(c.t, c.conn.SetReadDeadline(time.Now().Add(within)))
	n, from, err := c.conn.ReadFrom(c.buf[:])
	if err != nil {
		return nil
	}
	c.peer = unmap(from.(*net.UDPAddr).AddrPort())
	return c.buf[:n]
}

func (c *client) silence(d time.Duration) {
	c.t.Helper()
	require.Nil(c.t, c.receive(d), "a packet that should not have been sent")
}

func (c *client) expectData(block uint16, data []byte) {
	c.t.Helper()
	p := c.receive(patience)
	require.NotNil(c.t, p, "no answer")
	require.EqualValues(c.t, opDATA, opcode(p), "%q", p)
	require.Equal(c.t, block, binary.BigEndian.Uint16(p[2:]))
	require.True(c.t, bytes.Equal(data, p[4:]), "block %d differs", block)
}

func (c *client) expectOACK(pairs ...string) {
	c.t.Helper()
	want := []byte{0, opOACK}
	for _, s := range pairs {
		want = append(append(want, s...), 0)
	}
	require.Equal(c.t, string(want), string(c.receive(patience)))
}

func (c *client) expectError(code ErrorCode, text string) {
	c.t.Helper()
	require.Equal(c.t, string(appendError(nil, code, text)), string(c.receive(patience)))
}

// fetch gets a whole file by lock-step.
func (c *client) fetch(name string, options ...string) []byte {
	c.t.Helper()
	c.request(rrq(name, "octet", options...))
	size, block := 512, uint16(1)
	var file []byte
	for {
		p := c.receive(patience)
		require.NotNil(c.t, p, "no answer")
		switch opcode(p) {
		case opOACK:
			fields := bytes.Split(p[2:], []byte{0})
			for i := 0; i+1 < len(fields); i += 2 {
				if string(fields[i]) == "blksize" {
					size, _ = strconv.Atoi(string(fields[i+1]))
				}
			}
			c.ack(0)
		case opDATA:
			if binary.BigEndian.Uint16(p[2:]) != block {
				continue
			}
			file = append(file, p[4:]...)
			c.ack(block)
			block++
			if len(p)-4 < size {
				return file
			}
		default:
			require.Failf(c.t, "unexpected packet", "%q", p)
		}
	}
}

func rrq(name, mode string, options ...string) []byte {
	return encodeRequest(opRRQ, name, mode, options...)
}

func encodeRequest(op uint16, name, mode string, options ...string) []byte {
	p := binary.BigEndian.AppendUint16(nil, op)
	for _, s := range append([]string{name, mode}, options...) {
		p = append(append(p, s...), 0)
	}
	return p
}

func ackPacket(block uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{0, opACK}, block)
}

// counting is a file of n bytes that takes no memory; its bytes tell where they are.
type counting struct{ at, size int64 }

func (z *counting) Read(p []byte) (int, error) {
	if z.at == z.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), z.size-z.at)]
	for i := range p {
		p[i] = byte((z.at + int64(i)) >> 9)
	}
	z.at += int64(len(p))
	return len(p), nil
}
