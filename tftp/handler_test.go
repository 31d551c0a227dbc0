package tftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestT012_ErrorsBecomeFixedTexts(t *testing.T) {
	secret := errors.New("open /srv/secret/db.sock: token=hunter2")
	for _, test := range []struct {
		name string
		err  error
		code ErrorCode
		text string
	}{
		{"not found", &fs.PathError{Op: "open", Path: "/srv/secret", Err: fs.ErrNotExist}, 1, "File not found"},
		{"wrapped", fmt.Errorf("/srv/secret: %w", os.ErrNotExist), 1, "File not found"},
		{"below a file", &fs.PathError{Op: "open", Path: "/srv/secret", Err: syscall.ENOTDIR}, 1, "File not found"},
		{"name too long", &fs.PathError{Op: "open", Path: "/srv/secret", Err: syscall.ENAMETOOLONG}, 1, "File not found"},
		{"directory", &fs.PathError{Op: "read", Path: "/srv/secret", Err: syscall.EISDIR}, 1, "File not found"},
		{"permission", &fs.PathError{Op: "open", Path: "/srv/secret", Err: fs.ErrPermission}, 2, "Access violation"},
		{"invalid name", &fs.PathError{Op: "open", Path: "/srv/secret", Err: fs.ErrInvalid}, 1, "File not found"},
		{"chosen for want of resources", fmt.Errorf("%w: %w", syscall.EMFILE, &Error{CodeUndefined, "Busy"}), 0, "Busy"},
		{"another", secret, 0, "Internal error"},
		{"chosen", &Error{Code: CodeNoSuchUser}, 7, "No such user"},
		{"chosen and wrapped", fmt.Errorf("%w: %w", secret, &Error{CodeUndefined, "Not for this machine"}), 0, "Not for this machine"},
		{"chosen text is made safe", &Error{CodeUndefined, "a\x00b\x1b[31m" + strings.Repeat("x", 600)}, 0, "a?b?[31m" + strings.Repeat("x", 120)},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := HandlerFunc(func(context.Context, *Transfer) error { return test.err })
			inMemory(t, func(s *Server) { s.Handler = h }, func(t *testing.T, b *bench) {
				c := b.client()
				c.request(rrq("x", "octet"))
				c.expectError(test.code, test.text)
				synctest.Wait()
				require.Equal(t, test.err, b.seen.last(t).Err, "the embedder sees it whole")
			})
		})
	}
	for code := ErrorCode(0); code < 10; code++ {
		require.NotEmpty(t, code.String())
	}
	require.Equal(t, "tftp: error 1: File not found", (&Error{Code: CodeNotFound}).Error())
	require.Equal(t, "tftp: error 0: busy", (&Error{Message: "busy"}).Error())
	require.Equal(t, `tftp: the client ended the transfer with error 3: "\x1b[31m"`, (&ClientError{3, "\x1b[31m"}).Error())
}

func TestOutOfResourcesIsToldToNobody(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN} {
		scarce := &fs.PathError{Op: "open", Path: "f", Err: errno}
		t.Run("file: "+errno.Error(), func(t *testing.T) {
			var left atomic.Int64
			left.Store(2)
			open := func(_ context.Context, r *Request) (fs.File, error) {
				if left.Add(-1) >= 0 {
					return nil, scarce
				}
				return testFiles.Open(r.Name)
			}
			inMemory(t, func(s *Server) { s.Handler = FileHandler(open) }, func(t *testing.T, b *bench) {
				c := b.client()
				for range 2 {
					c.request(rrq("short", "octet"))
					c.silence(time.Second)
					require.Equal(t, Result{Size: -1, Err: scarce}, b.seen.last(t))
				}
				require.Equal(t, map[DropReason]uint64{DropResources: 2}, b.server.Drops())
				require.Equal(t, testFiles["short"].Data, c.fetch("short"), "asked again, there is room")
			})
		})
		t.Run("socket: "+errno.Error(), func(t *testing.T) {
			inMemory(t, func(s *Server) {
				s.OpenTransfer = func(context.Context, netip.Addr, netip.AddrPort) (net.PacketConn, error) { return nil, scarce }
			}, func(t *testing.T, b *bench) {
				c := b.client()
				c.request(rrq("short", "octet"))
				c.silence(time.Minute)
				require.Equal(t, map[DropReason]uint64{DropResources: 1}, b.server.Drops())
			})
		})
	}
	t.Run("a file that cannot be read on is an error", func(t *testing.T) {
		h := HandlerFunc(func(_ context.Context, tr *Transfer) error {
			_, err := tr.ReadFrom(readerFunc(func([]byte) (int, error) { return 0, syscall.ENOMEM }))
			return err
		})
		inMemory(t, func(s *Server) { s.Handler = h }, func(t *testing.T, b *bench) {
			c := b.client()
			c.request(rrq("short", "octet"))
			c.expectError(CodeUndefined, "Internal error")
			require.Empty(t, b.server.Drops())
		})
	})
}

func TestFileHandler(t *testing.T) {
	files := fstest.MapFS{
		"f":      {Data: pattern(100)},
		"d/f":    {Data: pattern(1)},
		"secret": {Mode: 0},
		"device": {Data: pattern(700), Mode: fs.ModeDevice},
	}
	open := func(_ context.Context, r *Request) (fs.File, error) {
		if r.Name == "secret" {
			return nil, &fs.PathError{Op: "open", Path: r.Name, Err: fs.ErrPermission}
		}
		return files.Open(r.Name)
	}
	inMemory(t, func(s *Server) { s.Handler = FileHandler(open) }, func(t *testing.T, b *bench) {
		c := b.client()
		c.request(rrq("nothing", "octet", "tsize", "0"))
		c.expectError(CodeNotFound, "File not found")
		c.request(rrq("d", "octet", "tsize", "0"))
		c.expectError(CodeNotFound, "File not found")
		c.request(rrq("secret", "octet", "tsize", "0"))
		c.expectError(CodeAccessViolation, "Access violation")
		require.Equal(t, files["device"].Data, c.fetch("device", "tsize", "0"))
		synctest.Wait() // the end of one transfer may be told after the next has begun
		require.EqualValues(t, -1, b.seen.last(t).Size, "a device has no size")
		c.request(rrq("f", "octet", "tsize", "12345"))
		c.expectOACK("tsize", "100")
		c.abort(8)
	})
}

func TestFileHandlerClosesItsFiles(t *testing.T) {
	var opened, closed atomic.Int64
	open := func(_ context.Context, r *Request) (fs.File, error) {
		f, err := testFiles.Open(r.Name)
		if err != nil {
			return nil, err
		}
		opened.Add(1)
		return &closeCounter{f, &closed}, nil
	}
	inMemory(t, func(s *Server) { s.Handler = FileHandler(open) }, func(t *testing.T, b *bench) {
		c := b.client()
		c.fetch("three")
		c.request(rrq("dir", "octet"))
		c.expectError(CodeNotFound, "File not found")
		c.request(rrq("big", "octet"))
		c.receive(patience)
		c.abort(0)
		synctest.Wait()
		require.EqualValues(t, 3, opened.Load())
		require.EqualValues(t, 3, closed.Load())
	})
}

type closeCounter struct {
	fs.File
	n *atomic.Int64
}

func (c *closeCounter) Close() error { c.n.Add(1); return c.File.Close() }

func TestHandlersThatMisbehave(t *testing.T) {
	for _, test := range []struct {
		name    string
		handler HandlerFunc
		err     error
	}{
		{"neither sends nor fails", func(context.Context, *Transfer) error { return nil }, errNothingSent},
		{"sends twice", func(_ context.Context, tr *Transfer) error {
			_, _ = tr.ReadFrom(readerFunc(func([]byte) (int, error) { return 0, errShrunk }))
			_, err := tr.ReadFrom(strings.NewReader("x"))
			require.ErrorIs(t, err, errSentTwice)
			return nil
		}, errShrunk},
	} {
		t.Run(test.name, func(t *testing.T) {
			inMemory(t, func(s *Server) { s.Handler = test.handler }, func(t *testing.T, b *bench) {
				c := b.client()
				c.request(rrq("x", "octet"))
				c.expectError(CodeUndefined, "Internal error")
				synctest.Wait()
				require.ErrorIs(t, b.seen.last(t).Err, test.err)
			})
		})
	}
}

func TestSizes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	require.NoError(t, os.WriteFile(path, pattern(700), 0o600))
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	require.EqualValues(t, 700, sizeOf(f))
	_, err = f.Seek(300, io.SeekStart)
	require.NoError(t, err)
	require.EqualValues(t, 400, sizeOf(f), "what is left from where it stands")
	position, err := f.Seek(0, io.SeekCurrent)
	require.NoError(t, err)
	require.EqualValues(t, 300, position)
	require.EqualValues(t, -1, sizeOf(strings.NewReader("")), "nothing is no answer")
	require.EqualValues(t, -1, sizeOf(struct{ io.Reader }{f}))
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	require.EqualValues(t, -1, sizeOf(r))

	tr := &Transfer{size: 5}
	tr.SetSize(-7)
	require.EqualValues(t, -1, tr.size)
}
