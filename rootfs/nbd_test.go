package rootfs_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pojntfx/go-nbd/pkg/backend"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/rootfs"
	"github.com/pxekit/pxe/rootfs/nbd"
)

var _ rootfs.ListenerTransport = (*rootfs.NBD)(nil)
var _ rootfs.Mounter = (*rootfs.NBD)(nil)
var _ rootfs.Validator = (*rootfs.NBD)(nil)

// export is an export of the given content.
func export(name string, content []byte) nbd.Export {
	return nbd.Export{Name: name, Open: func(context.Context) (backend.Backend, error) {
		return nbd.ReaderAt(bytes.NewReader(content), int64(len(content))), nil
	}}
}

func TestNBDRootURL(t *testing.T) {
	target := rootfs.Target{NBD: netip.MustParseAddrPort("192.0.2.1:10809"), BootID: "abcdefghijklm"}
	archiso, x := export("archiso", nil), export("x", nil)
	elsewhere := netip.MustParseAddrPort("192.0.2.8:10809")
	tests := map[string]struct {
		root rootfs.RootFSTransport
		want string
	}{
		"default export":   {&rootfs.NBD{Exports: []nbd.Export{archiso}}, "nbd://192.0.2.1/archiso~abcdefghijklm"},
		"another":          {&rootfs.NBD{Exports: []nbd.Export{archiso, x}, Export: "x"}, "nbd://192.0.2.1/x~abcdefghijklm"},
		"elsewhere":        {rootfs.RemoteNBD{Addr: elsewhere}, "nbd://192.0.2.8/archiso"},
		"elsewhere, named": {rootfs.RemoteNBD{Addr: netip.MustParseAddrPort("192.0.2.8:10810"), Export: "x"}, "nbd://192.0.2.8:10810/x"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, test.root.(rootfs.Validator).Validate())
			u, err := test.root.RootURL(target)
			require.NoError(t, err)
			require.Equal(t, test.want, u.String())
		})
	}
	target.NBD = netip.MustParseAddrPort("[2001:db8::1]:10809")
	root := &rootfs.NBD{Exports: []nbd.Export{archiso}, Live: true}
	u, err := root.RootURL(target)
	require.NoError(t, err)
	require.Equal(t, "nbd://[2001:db8::1]/archiso~abcdefghijklm", u.String())

	_, err = root.RootURL(rootfs.Target{})
	require.EqualError(t, err, "rootfs: no nbd root for this machine: this server does not serve NBD to it; "+
		"give the server an NBD listener, or use RemoteNBD for a server that has the export")
	_, err = root.RootURL(rootfs.Target{NBD: target.NBD, BootID: "$(reboot)"})
	require.ErrorContains(t, err, "Target.BootID")
	for _, mounter := range []rootfs.Mounter{root, rootfs.RemoteNBD{Addr: elsewhere, Live: true}} {
		options, err := mounter.MountOptions(target)
		require.NoError(t, err)
		require.Equal(t, rootfs.MountOptions{Live: true}, options)
	}
}

func TestNBDMistakes(t *testing.T) {
	one := []nbd.Export{export("archiso", nil)}
	elsewhere := netip.MustParseAddrPort("192.0.2.8:10809")
	for want, root := range map[string]rootfs.RootFSTransport{
		"NBD.Exports is empty":             &rootfs.NBD{},
		`has no "rescue"`:                  &rootfs.NBD{Exports: one, Export: "rescue"},
		`'$'`:                              &rootfs.NBD{Exports: one, Export: "$(reboot)"},
		`'%'`:                              &rootfs.NBD{Exports: one, Export: "a%20b"},
		`rootfs: NBD.Export "a b" has ' '`: &rootfs.NBD{Exports: one, Export: "a b"},
		"names must differ":                &rootfs.NBD{Exports: append(one, one...)},
		"has no port":                      rootfs.RemoteNBD{Addr: netip.MustParseAddrPort("192.0.2.8:0")},
		"one machine":                      rootfs.RemoteNBD{Addr: netip.MustParseAddrPort("0.0.0.0:10809")},
		"rootfs: RemoteNBD.Addr":           rootfs.RemoteNBD{},
		`rootfs: RemoteNBD.Export "a b"`:   rootfs.RemoteNBD{Addr: elsewhere, Export: "a b"},
	} {
		t.Run(want, func(t *testing.T) {
			require.ErrorContains(t, root.(rootfs.Validator).Validate(), want)
			_, err := root.RootURL(rootfs.Target{NBD: elsewhere})
			require.ErrorContains(t, err, want)
		})
	}
}

// Clients name a boot behind a tilde.
func TestNBDServesExports(t *testing.T) {
	image, file := noise(70_000), noise(5000)
	tests := map[string]struct {
		asked   string
		content []byte // nil: unknown
		session rootfs.Session
	}{
		"an export":            {"archiso", image, rootfs.Session{Name: "archiso"}},
		"with its boot":        {"archiso~b17", image, rootfs.Session{Name: "archiso", BootID: "b17"}},
		"another":              {"a/root.sfs", file, rootfs.Session{Name: "a/root.sfs"}},
		"another and its boot": {"a/root.sfs~b17", file, rootfs.Session{Name: "a/root.sfs", BootID: "b17"}},
		"no such export":       {"a/none", nil, rootfs.Session{}},
		"above the files":      {"../etc/passwd", nil, rootfs.Session{}},
		"from the root":        {"a/../../etc/passwd~b17", nil, rootfs.Session{}},
		"nothing":              {"", image, rootfs.Session{Name: "archiso"}},
		"a boot of a tune":     {"archiso~$(x)", nil, rootfs.Session{}},
		"a boot of a tale":     {"archiso~" + strings.Repeat("b", 65), nil, rootfs.Session{}},
		"a boot alone":         {"~b17", nil, rootfs.Session{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				root := &rootfs.NBD{Exports: []nbd.Export{export("archiso", image), export("a/root.sfs", file)}}
				began, ended := make(chan rootfs.Session, 1), make(chan rootfs.Session, 1)
				dropped := make(chan string, 1)
				l := newPipeListener()
				served := make(chan error, 1)
				go func() {
					served <- root.Serve(l, rootfs.Site{
						Began: func(s rootfs.Session) { began <- s }, Ended: func(s rootfs.Session) { ended <- s },
						Dropped: func(reason string, _ netip.AddrPort, _ error) { dropped <- reason },
					})
				}()
				conn := l.dial()
				got, err := readExport(conn, test.asked)
				conn.Close()
				if test.content == nil {
					require.Error(t, err)
					require.NotEmpty(t, <-dropped)
				} else {
					require.NoError(t, err)
					require.True(t, bytes.Equal(test.content, got))
					test.session.Size = int64(len(test.content))
					require.Equal(t, test.session, <-began)
					test.session.Bytes = test.session.Size
					require.Equal(t, test.session, <-ended)
				}
				require.NoError(t, root.Shutdown(t.Context()))
				require.ErrorIs(t, <-served, rootfs.ErrServerClosed)
			})
		})
	}
}

// A machine that copies may finish; one that lives on the export never would.
func TestNBDShutdown(t *testing.T) {
	for _, live := range []bool{false, true} {
		t.Run(fmt.Sprintf("live is %t", live), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				root := &rootfs.NBD{Exports: []nbd.Export{export("archiso", noise(5000))}, Live: live}
				began, ended := make(chan rootfs.Session, 1), make(chan rootfs.Session, 1)
				l := newPipeListener()
				served, stopped := make(chan error, 1), make(chan error, 1)
				go func() {
					served <- root.Serve(l, rootfs.Site{
						Began: func(s rootfs.Session) { began <- s }, Ended: func(s rootfs.Session) { ended <- s },
					})
				}()
				pause := make(chan struct{})
				conn := pausedConn{l.dial(), pause}
				read := make(chan error, 1)
				go func() {
					_, err := readExport(conn, "archiso")
					read <- err
				}()
				<-began
				synctest.Wait()
				go func() { stopped <- root.Shutdown(t.Context()) }()
				synctest.Wait()
				if live {
					require.NoError(t, <-stopped)
					close(pause)
					require.Error(t, <-read)
				} else {
					require.Empty(t, stopped)
					close(pause)
					require.NoError(t, <-read)
					require.NoError(t, <-stopped)
				}
				require.ErrorIs(t, <-served, rootfs.ErrServerClosed)
				if s := <-ended; live {
					require.ErrorIs(t, s.Err, rootfs.ErrServerClosed)
				} else {
					require.NoError(t, s.Err)
					require.EqualValues(t, 5000, s.Bytes)
				}
			})
		})
	}
}

// pausedConn holds the requests back.
type pausedConn struct {
	net.Conn
	pause <-chan struct{}
}

func (c pausedConn) Write(p []byte) (int, error) {
	if len(p) == 28 {
		<-c.pause
	}
	return c.Conn.Write(p)
}

// readExport is a client by the book: GO, one READ, DISC.
func readExport(conn net.Conn, name string) ([]byte, error) {
	be := binary.BigEndian
	greeting := make([]byte, 18)
	if _, err := io.ReadFull(conn, greeting); err != nil {
		return nil, err
	}
	b := be.AppendUint32(nil, 3)
	b = be.AppendUint64(b, 0x49484156454f5054)
	b = be.AppendUint32(b, 7)
	b = be.AppendUint32(b, uint32(6+len(name)))
	b = be.AppendUint32(b, uint32(len(name)))
	if _, err := conn.Write(append(append(b, name...), 0, 0)); err != nil {
		return nil, err
	}
	var size uint64
	for {
		header := make([]byte, 20)
		if _, err := io.ReadFull(conn, header); err != nil {
			return nil, err
		}
		data := make([]byte, be.Uint32(header[16:]))
		if _, err := io.ReadFull(conn, data); err != nil {
			return nil, err
		}
		switch be.Uint32(header[12:]) {
		case 1:
			b = be.AppendUint32(nil, 0x25609513)
			b = append(b, make([]byte, 20)...)
			b = be.AppendUint32(b, uint32(size))
			if _, err := conn.Write(b); err != nil {
				return nil, err
			}
			reply := make([]byte, 16+size)
			if _, err := io.ReadFull(conn, reply); err != nil {
				return nil, err
			}
			b[7] = 2 // NBD_CMD_DISC
			_, err := conn.Write(b)
			return reply[16:], err
		case 3:
			size = be.Uint64(data[2:])
		default:
			return nil, fs.ErrNotExist
		}
	}
}

// pipeListener accepts connections in memory.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) dial() net.Conn {
	client, server := net.Pipe()
	l.conns <- server
	return client
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	close(l.closed)
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }
