package rootfs_test

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Programs and procedures of RFC 1833 and RFC 1813.
const (
	portmapper, nfsProgram, mountProgram = 100000, 100003, 100005

	getPort                           = portmapper*10 + 3
	mnt, umnt                         = mountProgram*10 + 1, mountProgram*10 + 3
	null, getAttr, lookup, accessProc = nfsProgram*10 + 0, nfsProgram*10 + 1, nfsProgram*10 + 3, nfsProgram*10 + 4
)

// fakeCall is a call as the fake server got it.
type fakeCall struct {
	program, version, procedure uint32
	flavor                      uint32 // of the credentials
	args                        []byte
	sourcePort                  uint16
}

// id is program and procedure in one number, such as getPort.
func (c fakeCall) id() int { return int(c.program*10 + c.procedure) }

// fakeNFS is a portmapper, MOUNT and NFS server on one port of loopback, whose
// answers a test changes: answer has the reply to a call, from the accept state or
// the reject state on.
type fakeNFS struct {
	port   uint16
	answer map[int]func(fakeCall) []byte

	// send writes a reply with its record mark; nil: in one piece.
	send func(c net.Conn, reply []byte)

	mu    sync.Mutex
	calls []fakeCall
}

// Replies. A reply begins with reply_stat.
func u32(values ...uint32) (b []byte) {
	for _, v := range values {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

func success(results ...uint32) []byte    { return u32(append([]uint32{0, 0, 0, 0}, results...)...) }
func acceptState(values ...uint32) []byte { return u32(append([]uint32{0, 0, 0}, values...)...) }
func authError(stat uint32) []byte        { return u32(1, 1, stat) }

func always(reply []byte) func(fakeCall) []byte { return func(fakeCall) []byte { return reply } }

// attributes is fattr3 with a type and a mode.
func attributes(kind, mode uint32) []uint32 {
	return append([]uint32{kind, mode}, make([]uint32, 19)...)
}

const regular, directory, symlink = 1, 2, 5

// newFakeNFS starts a server that has nothing wrong with it. Its handles are the
// depth of a file below the export: 0 is the export, all else are files.
func newFakeNFS(t *testing.T) *fakeNFS {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	f := &fakeNFS{port: netip.MustParseAddrPort(listener.Addr().String()).Port()}
	f.answer = map[int]func(fakeCall) []byte{
		getPort: always(success(uint32(f.port))),
		null:    always(success()),
		mnt:     always(success(0, 4, 0, 2, 0, 1)), // handle 0, flavours none and sys
		umnt:    always(success()),
		getAttr: func(c fakeCall) []byte {
			if c.args[7] == 0 {
				return success(append([]uint32{0}, attributes(directory, 0o755)...)...)
			}
			return success(append([]uint32{0}, attributes(regular, 0o444)...)...)
		},
		lookup:     func(c fakeCall) []byte { return success(0, 4, uint32(c.args[7])+1, 0, 0) },
		accessProc: always(success(append(append([]uint32{0, 1}, attributes(regular, 0o444)...), 1)...)),
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				f.serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		require.NoError(t, listener.Close())
		wg.Wait()
	})
	return f
}

// serve answers the calls of one connection until it ends.
func (f *fakeNFS) serve(conn net.Conn) {
	for {
		var mark [4]byte
		if _, err := io.ReadFull(conn, mark[:]); err != nil {
			return
		}
		message := make([]byte, binary.BigEndian.Uint32(mark[:])&0xffff)
		if _, err := io.ReadFull(conn, message); err != nil {
			return
		}
		word := func(i int) uint32 { return binary.BigEndian.Uint32(message[4*i:]) }
		credentials := int(word(7))
		call := fakeCall{
			program: word(3), version: word(4), procedure: word(5), flavor: word(6),
			args:       message[32+credentials+8:],
			sourcePort: netip.MustParseAddrPort(conn.RemoteAddr().String()).Port(),
		}
		f.mu.Lock()
		f.calls = append(f.calls, call)
		f.mu.Unlock()
		answer := f.answer[call.id()]
		if answer == nil {
			return
		}
		reply := slices.Concat(u32(word(0), 1), answer(call))
		reply = slices.Concat(u32(1<<31|uint32(len(reply))), reply)
		if f.send != nil {
			f.send(conn, reply)
		} else if _, err := conn.Write(reply); err != nil {
			return
		}
	}
}

// ids are the calls so far.
func (f *fakeNFS) ids() (ids []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		ids = append(ids, c.id())
	}
	return ids
}
