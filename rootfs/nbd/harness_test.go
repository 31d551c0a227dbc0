package nbd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pojntfx/go-nbd/pkg/backend"
	"github.com/stretchr/testify/require"
)

// The protocol in the tests' own words, from doc/proto.md.
const (
	wantMagic    = 0x4e42444d41474943
	wantOption   = 0x49484156454F5054
	wantReply    = 0x0003e889045565a9
	wantRequest  = 0x25609513
	wantSimple   = 0x67446698
	wantChunk    = 0x668e33ef
	cFixed       = 1
	cNoZeroes    = 2
	oExportName  = 1
	oAbort       = 2
	oList        = 3
	oStartTLS    = 5
	oInfo        = 6
	oGo          = 7
	oStructured  = 8
	oListMeta    = 9
	oSetMeta     = 10
	rACK         = 1
	rServer      = 2
	rInfo        = 3
	rUnsup       = 1<<31 + 1
	rPolicy      = 1<<31 + 2
	rInvalid     = 1<<31 + 3
	rTLSReqd     = 1<<31 + 5
	rUnknown     = 1<<31 + 6
	rShutdown    = 1<<31 + 7
	rTooBig      = 1<<31 + 9
	kRead        = 0
	kWrite       = 1
	kDisc        = 2
	kFlush       = 3
	kTrim        = 4
	kCache       = 5
	kWriteZeroes = 6
	kBlockStatus = 7
	kResize      = 8
	fDF          = 4
	ePERM        = 1
	eIO          = 5
	eINVAL       = 22
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// diskSize is the size of the export of most tests: not a whole number of
// anything.
const diskSize = 3<<20 + 1234

// exportOf is an export of a backend.
func exportOf(name string, b backend.Backend) Export {
	return Export{Name: name, Open: func(context.Context) (backend.Backend, error) { return b, nil }}
}

// disk is a server of one export, "disk".
func disk() *Server {
	return &Server{Exports: []Export{exportOf("disk", ReaderAt(pattern{}, diskSize))}}
}

// patternFile writes n bytes of the pattern into a file after before bytes of
// something else.
func patternFile(t testing.TB, before, n int) *os.File {
	t.Helper()
	f, err := os.Create(t.TempDir() + "/image")
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	_, err = f.Write(append(bytes.Repeat([]byte{0xee}, before), patternBytes(0, n)...))
	require.NoError(t, err)
	_, err = f.Write(bytes.Repeat([]byte{0xdd}, 1<<20)) // what must not be sent
	require.NoError(t, err)
	return f
}

// extentBackend lies in a file from an offset on.
type extentBackend struct {
	backend.Backend
	file         *os.File
	offset, size int64
}

func newExtentBackend(f *os.File, offset, size int64) *extentBackend {
	return &extentBackend{ReaderAt(io.NewSectionReader(f, offset, size), size), f, offset, size}
}

func (e *extentBackend) Extent() (*os.File, int64, int64, bool) {
	return e.file, e.offset, e.size, true
}

// recorder collects what a server's Trace tells.
type recorder struct {
	mu      sync.Mutex
	started []Session
	dropped []DropReason
	done    chan Result
}

func record(s *Server) *recorder {
	r := &recorder{done: make(chan Result, 10000)}
	s.Trace = &Trace{
		Start: func(session Session) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.started = append(r.started, session)
		},
		Done: func(_ Session, result Result) { r.done <- result },
		Dropped: func(reason DropReason, _ netip.AddrPort, _ error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.dropped = append(r.dropped, reason)
		},
	}
	return r
}

// memListener is a listener for tests in a bubble of synctest, and for those
// that want no buffers in between.
type memListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newMemListener() *memListener {
	return &memListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *memListener) Addr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 10809}
}

func (l *memListener) isClosed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

// dial connects a client without buffers and deadlines.
func (l *memListener) dial(t testing.TB) *client {
	server, c := net.Pipe()
	l.conns <- server
	return &client{t: t, Conn: c, in: bufio.NewReader(c)}
}

// dialFrom is dial by a client that has an address.
func (l *memListener) dialFrom(t testing.TB, addr string) *client {
	server, c := net.Pipe()
	l.conns <- addressed{server, &net.TCPAddr{IP: net.ParseIP(addr), Port: 1024}}
	return &client{t: t, Conn: c, in: bufio.NewReader(c)}
}

type addressed struct {
	net.Conn
	remote net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.remote }

// start runs a server on a loopback port until the test ends, and returns its
// address.
func start(t testing.TB, s *Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	runOn(t, s, l)
	return l.Addr().String()
}

func runOn(t testing.TB, s *Server, l net.Listener) {
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-done, ErrServerClosed)
	})
}

// client speaks to a server byte by byte.
type client struct {
	net.Conn
	t  testing.TB
	in *bufio.Reader
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	t.Cleanup(func() { c.Close() })
	return &client{t: t, Conn: c, in: bufio.NewReaderSize(c, 64<<10)}
}

// connect is dial and the greeting.
func connect(t testing.TB, addr string) *client {
	t.Helper()
	c := dial(t, addr)
	c.greet(cFixed | cNoZeroes)
	return c
}

func (c *client) take(n int) []byte {
	c.t.Helper()
	p := make([]byte, n)
	_, err := io.ReadFull(c.in, p)
	require.NoError(c.t, err)
	return p
}

func (c *client) put(p []byte) {
	c.t.Helper()
	_, err := c.Write(p)
	require.NoError(c.t, err)
}

func (c *client) greet(flags uint32) {
	c.t.Helper()
	hello := c.take(18)
	require.EqualValues(c.t, wantMagic, binary.BigEndian.Uint64(hello))
	require.EqualValues(c.t, wantOption, binary.BigEndian.Uint64(hello[8:]))
	require.EqualValues(c.t, cFixed|cNoZeroes, binary.BigEndian.Uint16(hello[16:]))
	c.put(binary.BigEndian.AppendUint32(nil, flags))
}

// requireClosed says that the server sends nothing more and closes.
func (c *client) requireClosed() {
	c.t.Helper()
	_, err := c.in.ReadByte()
	require.Error(c.t, err, "the server sent more")
	require.NotErrorIs(c.t, err, os.ErrDeadlineExceeded, "the server did not close the connection")
}

func option(id uint32, data ...byte) []byte {
	p := binary.BigEndian.AppendUint64(nil, wantOption)
	p = binary.BigEndian.AppendUint32(p, id)
	p = binary.BigEndian.AppendUint32(p, uint32(len(data)))
	return append(p, data...)
}

// naming is the data of INFO and GO.
func naming(name string, infos ...uint16) []byte {
	p := binary.BigEndian.AppendUint32(nil, uint32(len(name)))
	p = append(p, name...)
	p = binary.BigEndian.AppendUint16(p, uint16(len(infos)))
	for _, info := range infos {
		p = binary.BigEndian.AppendUint16(p, info)
	}
	return p
}

type reply struct {
	kind uint32
	data []byte
}

// reply reads one reply to an option.
func (c *client) reply(to uint32) reply {
	c.t.Helper()
	header := c.take(20)
	require.EqualValues(c.t, uint64(wantReply), binary.BigEndian.Uint64(header))
	require.Equal(c.t, to, binary.BigEndian.Uint32(header[8:]))
	length := binary.BigEndian.Uint32(header[16:])
	require.LessOrEqual(c.t, length, uint32(9000))
	return reply{binary.BigEndian.Uint32(header[12:]), c.take(int(length))}
}

// replies reads the replies to an option to the last, which is returned apart.
func (c *client) replies(to uint32) (before []reply, last uint32) {
	c.t.Helper()
	for {
		r := c.reply(to)
		if r.kind == rACK || r.kind >= 1<<31 {
			require.LessOrEqual(c.t, len(r.data), 4096)
			return before, r.kind
		}
		before = append(before, r)
	}
}

// ask sends an option and returns what the last reply to it is.
func (c *client) ask(id uint32, data ...byte) uint32 {
	c.t.Helper()
	c.put(option(id, data...))
	_, last := c.replies(id)
	return last
}

// open is a GO that succeeds, and returns the size and the flags.
func (c *client) open(name string) (size uint64, flags uint16) {
	c.t.Helper()
	c.put(option(oGo, naming(name)...))
	infos, last := c.replies(oGo)
	require.EqualValues(c.t, rACK, last)
	require.Len(c.t, infos, 1)
	return exportInfo(c.t, infos[0])
}

func exportInfo(t testing.TB, r reply) (size uint64, flags uint16) {
	t.Helper()
	require.EqualValues(t, rInfo, r.kind)
	require.Len(t, r.data, 12)
	require.Zero(t, binary.BigEndian.Uint16(r.data))
	return binary.BigEndian.Uint64(r.data[2:]), binary.BigEndian.Uint16(r.data[10:])
}

// session is a client that has opened "disk".
func session(t testing.TB, addr string, structured bool) *client {
	t.Helper()
	c := connect(t, addr)
	if structured {
		require.EqualValues(t, rACK, c.ask(oStructured))
	}
	c.open("disk")
	return c
}

func command(flags, kind uint16, cookie, offset uint64, length uint32) []byte {
	p := binary.BigEndian.AppendUint32(nil, wantRequest)
	p = binary.BigEndian.AppendUint16(p, flags)
	p = binary.BigEndian.AppendUint16(p, kind)
	p = binary.BigEndian.AppendUint64(p, cookie)
	p = binary.BigEndian.AppendUint64(p, offset)
	return binary.BigEndian.AppendUint32(p, length)
}

// simple reads the header of a simple reply.
func (c *client) simple() (cookie uint64, errno uint32) {
	c.t.Helper()
	p := c.take(16)
	require.EqualValues(c.t, wantSimple, binary.BigEndian.Uint32(p))
	return binary.BigEndian.Uint64(p[8:]), binary.BigEndian.Uint32(p[4:])
}

type chunk struct {
	flags, kind uint16
	cookie      uint64
	offset      uint64 // of data
	data        []byte
	errno       uint32
}

// chunk reads a chunk and checks its form.
func (c *client) chunk() chunk {
	c.t.Helper()
	p := c.take(20)
	require.EqualValues(c.t, wantChunk, binary.BigEndian.Uint32(p))
	k := chunk{flags: binary.BigEndian.Uint16(p[4:]), kind: binary.BigEndian.Uint16(p[6:]), cookie: binary.BigEndian.Uint64(p[8:])}
	require.LessOrEqual(c.t, k.flags, uint16(1))
	length := binary.BigEndian.Uint32(p[16:])
	require.LessOrEqual(c.t, length, uint32(32<<20+8))
	payload := c.take(int(length))
	switch k.kind {
	case 0:
		require.Empty(c.t, payload)
		require.EqualValues(c.t, 1, k.flags)
	case 1:
		require.Greater(c.t, len(payload), 8, "a chunk of data has data")
		k.offset, k.data = binary.BigEndian.Uint64(payload), payload[8:]
	case 1<<15 + 1:
		require.GreaterOrEqual(c.t, len(payload), 6)
		k.errno = binary.BigEndian.Uint32(payload)
		require.NotZero(c.t, k.errno)
		require.Len(c.t, payload, 6+int(binary.BigEndian.Uint16(payload[4:])))
	default:
		c.t.Fatalf("a chunk of kind %d", k.kind)
	}
	return k
}

// read sends a READ and returns the data of the reply, or its error.
func (c *client) read(structured bool, offset uint64, length uint32) ([]byte, uint32) {
	c.t.Helper()
	const cookie = 0xfeedfacecafebeef
	c.put(command(0, kRead, cookie, offset, length))
	if !structured {
		got, errno := c.simple()
		require.EqualValues(c.t, uint64(cookie), got)
		if errno != 0 {
			return nil, errno
		}
		return c.take(int(length)), 0
	}
	data := []byte{}
	for {
		k := c.chunk()
		require.EqualValues(c.t, uint64(cookie), k.cookie)
		if k.errno != 0 {
			require.EqualValues(c.t, 1, k.flags)
			return nil, k.errno
		}
		if k.kind == 1 {
			require.Equal(c.t, offset+uint64(len(data)), k.offset)
			data = append(data, k.data...)
		}
		if k.flags == 1 {
			require.Len(c.t, data, int(length))
			return data, 0
		}
	}
}

// alive proves that the session still answers rightly.
func (c *client) alive(structured bool) {
	c.t.Helper()
	data, errno := c.read(structured, 1000, 512)
	require.Zero(c.t, errno)
	require.Equal(c.t, patternBytes(1000, 512), data)
}

// requireServes proves that a server is alive and right.
func requireServes(t testing.TB, addr string) {
	t.Helper()
	c := session(t, addr, true)
	c.alive(true)
	c.put(command(0, kDisc, 0, 0, 0))
	c.requireClosed()
}

// counting is a backend that counts how often it was opened and closed, and
// what was read.
type counting struct {
	backend.Backend
	opens, closes, bytes atomic.Int64
}

func (b *counting) Close() error {
	b.closes.Add(1)
	return nil
}

func (b *counting) ReadAt(p []byte, off int64) (int, error) {
	b.bytes.Add(int64(len(p)))
	return b.Backend.ReadAt(p, off)
}

// counted is a server of one export, "disk", that counts.
func counted() (*Server, *counting) {
	b := &counting{Backend: ReaderAt(pattern{}, diskSize)}
	return &Server{Exports: []Export{{Name: "disk", Open: func(context.Context) (backend.Backend, error) {
		b.opens.Add(1)
		return b, nil
	}}}}, b
}

// readerFunc is an io.ReaderAt.
type readerFunc func(p []byte, off int64) (int, error)

func (f readerFunc) ReadAt(p []byte, off int64) (int, error) { return f(p, off) }

var errBroken = errors.New("the disk under /srv is broken")
