package nbd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"runtime/metrics"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pojntfx/go-nbd/pkg/backend"
	"github.com/stretchr/testify/require"
)

// fuzzServer is what the fuzz targets talk to.
func fuzzServer() *Server {
	return &Server{Exports: []Export{
		exportOf("disk", ReaderAt(pattern{}, diskSize)),
		{Name: "a", Description: "small", Open: exportOf("", ReaderAt(pattern{}, 7)).Open},
	}}
}

// pipe serves one connection, and returns the client's end and what is closed
// when the server has done with it.
func pipe(t testing.TB, s *Server, near, far net.Conn) (*client, <-chan struct{}) {
	require.NoError(t, near.SetDeadline(time.Now().Add(patience)))
	c := newConn(s, far, make(chan struct{}))
	_, ok := s.table.admit(c, 1<<30, 1<<30)
	require.True(t, ok)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.serve(context.Background())
	}()
	return newClient(t, near), done
}

func newClient(t testing.TB, conn net.Conn) *client {
	return &client{t: t, Conn: conn, in: bufio.NewReaderSize(conn, 64<<10)}
}

// heapBytes is all that was ever allocated.
func heapBytes() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// wellFramed makes options of a fuzzer's bytes: an ID, a length and data each.
func wellFramed(data []byte) (ids []uint32, payloads [][]byte) {
	for len(data) >= 2 && len(ids) < 50 {
		id, n := uint32(data[0]), int(data[1])
		data = data[2:]
		if id >= 128 { // INFO and GO of a name, with what the fuzzer has for the rest
			name := [][]byte{[]byte("disk"), []byte("a"), []byte("none"), {0xff}}[id%4]
			p := append(binary.BigEndian.AppendUint32(nil, uint32(len(name))), name...)
			n = min(n, len(data))
			ids, payloads = append(ids, oInfo+id/4%2), append(payloads, append(p, data[:n]...))
			data = data[n:]
			continue
		}
		n = min(n, len(data))
		if id == oExportName || id == oAbort {
			id = 77
		}
		ids, payloads = append(ids, id), append(payloads, data[:n])
		data = data[n:]
	}
	return ids, payloads
}

// lastReply is what doc/proto.md wants as the last reply to an option.
func lastReply(id uint32, p []byte) uint32 {
	switch id {
	case oList, oStructured:
		if len(p) != 0 {
			return rInvalid
		}
		return rACK
	case oStartTLS:
		if len(p) != 0 {
			return rInvalid
		}
		return rUnsup
	case oInfo, oGo:
		if len(p) < 6 {
			return rInvalid
		}
		n := uint64(binary.BigEndian.Uint32(p))
		if n > uint64(len(p)-6) || !utf8.Valid(p[4:4+n]) || bytes.IndexByte(p[4:4+n], 0) >= 0 ||
			6+n+2*uint64(binary.BigEndian.Uint16(p[4+n:])) != uint64(len(p)) {
			return rInvalid
		}
		if name := string(p[4 : 4+n]); name != "disk" && name != "a" {
			return rUnknown
		}
		return rACK
	}
	return rUnsup
}

// FuzzNegotiation sends a fuzzer's bytes twice. Made into options, each gets the
// answer that a model says and nothing more, and then a GO works. Sent as they
// are, they end in a closed connection. Neither allocates much.
func FuzzNegotiation(f *testing.F) {
	f.Add([]byte{oList, 0, oStructured, 0, 128, 2, 0, 0, 133, 4, 0, 1, 0, 3})
	f.Add([]byte{oStartTLS, 0, oStartTLS, 1, 9, oListMeta, 5, 1, 2, 3, 4, 5, oInfo, 3, 1, 2, 3, 131, 2, 0, 0})
	f.Add(slices.Concat([]byte{0, 0, 0, 3}, option(oStructured), option(oInfo, naming("disk", 3)...), option(oGo, naming("disk")...), command(0, kRead, 1, 0, 512)))
	f.Add(slices.Concat([]byte{0, 0, 0, 1}, option(oExportName, []byte("disk")...), command(0, kWrite, 1, 0, 3), []byte{1, 2, 3}, command(0, kDisc, 1, 0, 0)))
	f.Add(append([]byte{0, 0, 0, 3}, option(99, make([]byte, 300)...)[:16]...))
	f.Fuzz(func(t *testing.T, data []byte) {
		before := heapBytes()
		near, far := net.Pipe()
		c, done := pipe(t, fuzzServer(), near, far)
		c.greet(cFixed)
		ids, payloads := wellFramed(data)
		structured, chosen := false, ""
		for i, id := range ids {
			want := lastReply(id, payloads[i])
			c.put(option(id, payloads[i]...))
			infos, last := c.replies(id)
			require.Equal(t, want, last, "option %d with %x", id, payloads[i])
			switch {
			case want != rACK || id == oStructured:
				require.Empty(t, infos)
			case id == oList:
				require.Len(t, infos, 2)
			default:
				require.LessOrEqual(t, len(infos), 4)
				exportInfo(t, infos[0])
			}
			structured = structured || id == oStructured && want == rACK
			if id == oGo && want == rACK {
				chosen = string(payloads[i][4 : 4+binary.BigEndian.Uint32(payloads[i])])
				break
			}
		}
		size := map[string]uint64{"a": 7, "disk": diskSize}[chosen]
		if chosen == "" {
			size, _ = c.open("disk")
			require.EqualValues(t, diskSize, size)
		}
		got, errno := c.read(structured, size-7, 7)
		require.Zero(t, errno)
		require.Equal(t, patternBytes(int64(size)-7, 7), got)
		c.Close()
		<-done

		near, far = net.Pipe()
		c, done = pipe(t, fuzzServer(), near, far)
		go io.Copy(io.Discard, c.in)
		c.Write(data) // which fails when the server has had enough
		c.Close()
		<-done
		// Four buffers, those of the client, and some room.
		require.Less(t, heapBytes()-before, uint64(2*(maxHelpers+1)*bufferSpace+4<<20))
	})
}

// fuzzCommand makes a request of 8 bytes, close to where something changes.
func fuzzCommand(p []byte) request {
	length := uint32(lengths[int(p[2])%len(lengths)]) + uint32(int8(p[3]))
	switch p[2] >> 4 {
	case 15:
		length = uint32(p[3]) << 24
	case 14:
		length = uint32(int8(p[3]))
	}
	offset := uint64(p[4])<<16 | uint64(p[5])<<8 | uint64(p[6])
	switch p[7] {
	case 0:
		offset = uint64(diskSize) - uint64(p[6])
	case 1:
		offset = -offset
	}
	flags := uint16(0)
	if p[1] >= 192 {
		flags = uint16(p[1] & 15)
	}
	return request{flags: flags, command: uint16(p[0]) % 10, offset: offset, length: length}
}

// wantErrno is what doc/proto.md wants as the answer to a request.
func wantErrno(r request, structured bool) uint32 {
	allowed := uint16(0)
	if structured && r.command == kRead {
		allowed = fDF
	}
	inside := r.offset <= diskSize && uint64(r.length) <= diskSize-r.offset
	switch r.command {
	case kWrite, kTrim, kWriteZeroes, kResize:
		return ePERM
	case kFlush:
		inside = true
	case kRead, kCache:
	default:
		return eINVAL
	}
	if r.flags&^allowed != 0 || !inside || r.command == kRead && r.length > 32<<20 {
		return eINVAL
	}
	return 0
}

// FuzzTransmission sends a sequence of requests at once, and each gets the reply
// that a model says, with the right bytes, and no other, whether the image is
// copied or sent from a file.
func FuzzTransmission(f *testing.F) {
	f.Add([]byte{0, kRead, 0, 3, 0, 1, 2, 3, 4, kRead, 0, 7, 1, 0, 0, 0, 9, kWrite, 0, 1, 0, 0, 0, 0, 9})
	f.Add([]byte{1, kRead, 255, 9, 0, 1, 2, 3, 4, kRead, 0, 5, 1, 0, 0, 0, 9, kCache, 0, 250, 0, 0, 0, 0, 9, kRead, 196, 6, 0, 1, 2, 3, 4})
	f.Add([]byte{2, kRead, 0, 4, 0, 1, 2, 3, 4, kRead, 0, 6, 0, 1, 2, 3, 4, kBlockStatus, 0, 1, 0, 0, 0, 0, 9, kRead, 0, 8, 0, 0, 2, 3, 4, kDisc, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{3, kRead, 0, 9, 0, 0, 0, 4, 0, kFlush, 0, 1, 0, 0, 0, 0, 9, kRead, 0, 9, 127, 1, 2, 3, 4, kRead, 0, 255, 2, 0, 0, 0, 9})
	l, err := net.Listen("unix", f.TempDir()+"/s")
	require.NoError(f, err)
	f.Cleanup(func() { l.Close() })
	file := newExtentBackend(patternFile(f, 4567, diskSize), 4567, diskSize)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return
		}
		before := heapBytes()
		structured, s := data[0]&1 != 0, fuzzServer()
		var b backend.Backend = file
		if data[0]&2 != 0 {
			b = ReaderAt(pattern{}, diskSize)
		}
		s.Exports[0] = exportOf("disk", b)
		near, err := net.Dial("unix", l.Addr().String())
		require.NoError(t, err)
		far, err := l.Accept()
		require.NoError(t, err)
		c, done := pipe(t, s, near, far)
		c.greet(cFixed)
		if structured {
			require.EqualValues(t, rACK, c.ask(oStructured))
		}
		c.open("disk")

		pending := make(map[uint64]request)
		var wire []byte
		for data = data[1:]; len(data) >= 8 && len(pending) < 24; data = data[8:] {
			r := fuzzCommand(data)
			r.cookie = uint64(len(pending))
			if r.command == kDisc {
				break
			}
			if r.command == kWrite && r.length > 1<<20 {
				r.length = 1 << 16
			}
			wire = append(wire, command(r.flags, r.command, r.cookie, r.offset, r.length)...)
			if r.command == kWrite {
				wire = append(wire, bytes.Repeat([]byte{0x25, 0x60, 0x95, 0x13}, int(r.length)/4+1)[:r.length]...)
			}
			pending[r.cookie] = r
		}
		wire = append(wire, command(0, kDisc, 0, 0, 0)...)
		go c.Write(wire)
		room := uint64(len(wire))*4 + 4<<20
		parts := make(map[uint64]int)
		for len(pending) > 0 {
			header, err := c.in.Peek(4)
			require.NoError(t, err)
			if binary.BigEndian.Uint32(header) == wantSimple {
				cookie, errno := c.simple()
				r, ok := pending[cookie]
				require.True(t, ok)
				require.False(t, structured && r.command == kRead)
				require.Equal(t, wantErrno(r, structured), errno)
				if r.command == kRead && errno == 0 {
					requirePattern(t, c.take(int(r.length)), r.offset)
					room += 3 * uint64(r.length)
				}
				delete(pending, cookie)
				continue
			}
			k := c.chunk()
			r, ok := pending[k.cookie]
			require.True(t, ok)
			require.True(t, structured && r.command == kRead)
			require.Equal(t, wantErrno(r, structured), k.errno)
			if k.kind == 1 {
				require.Equal(t, r.offset+uint64(parts[k.cookie]), k.offset)
				requirePattern(t, k.data, k.offset)
				parts[k.cookie] += len(k.data)
				room += 3 * uint64(len(k.data))
			}
			if k.flags == 1 {
				if k.errno == 0 {
					require.EqualValues(t, r.length, parts[k.cookie])
				}
				require.False(t, r.flags == fDF && k.kind == 1 && parts[k.cookie] != len(k.data), "DF")
				delete(pending, k.cookie)
			}
		}
		_, err = c.in.ReadByte()
		require.ErrorIs(t, err, io.EOF, "nothing follows the last reply")
		c.Close()
		<-done
		require.Less(t, heapBytes()-before, room+(maxHelpers+2)*bufferSpace)
	})
}

func requirePattern(t testing.TB, p []byte, offset uint64) {
	for i := range p {
		if p[i] != patternByte(int64(offset)+int64(i)) {
			t.Fatalf("another byte at %d", offset+uint64(i))
		}
	}
}
