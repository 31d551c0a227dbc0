package rootfs_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/rootfs"
)

// pipes is a net.Listener whose connections are net.Pipes: without buffers, so
// that a client that does not read has a window of zero, and with deadlines in
// the time of a synctest bubble.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accept:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// bubble serves h inside a synctest bubble and calls test with a way to
// connect.
func bubble(t *testing.T, h http.Handler, test func(t *testing.T, dial func() net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		listener := &pipes{accept: make(chan net.Conn), closed: make(chan struct{})}
		server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Hour}
		go server.Serve(listener)
		var conns []net.Conn
		test(t, func() net.Conn {
			ours, theirs := net.Pipe()
			conns = append(conns, ours)
			listener.accept <- theirs
			return ours
		})
		for _, conn := range conns {
			conn.Close()
		}
		require.NoError(t, server.Close())
	})
}

func get(t *testing.T, conn net.Conn, path string) {
	t.Helper()
	_, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n")
	require.NoError(t, err)
}

func TestW012_ZeroWindowIsCut(t *testing.T) {
	seen := newRecord()
	files := oneFile(noise(1 << 20))
	files.Trace = seen.trace()
	bubble(t, files, func(t *testing.T, dial func() net.Conn) {
		get(t, dial(), "/file")
		time.Sleep(63 * time.Second)
		synctest.Wait()
		require.Empty(t, seen.done, "given up too early")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Len(t, seen.done, 1)
		result := <-seen.done
		require.ErrorIs(t, result.Err, rootfs.ErrStalled)
		require.True(t, result.Aborted)
		require.Equal(t, int64(1<<20), result.Size)
	})
}

// What fits into net/http's buffers is flushed after the handler. That must be
// bounded too, or every such answer holds a connection for ever.
func TestW012_ZeroWindowIsCutOnSmallAnswers(t *testing.T) {
	for name, request := range map[string]string{
		"small file": "GET /file", "no body": "HEAD /file", "error": "GET /none", "refused path": "GET /a%5cb",
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, oneFile(noise(100)), func(t *testing.T, dial func() net.Conn) {
				conn := dial()
				_, err := io.WriteString(conn, request+" HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n")
				require.NoError(t, err)
				time.Sleep(65 * time.Second)
				synctest.Wait()
				_, err = conn.Read(make([]byte, 1))
				require.ErrorIs(t, err, io.EOF)
			})
		})
	}
}

func TestW012_SlowButProgressingIsServed(t *testing.T) {
	content := noise(512 << 10)
	bubble(t, oneFile(content), func(t *testing.T, dial func() net.Conn) {
		begin := time.Now()
		conn := dial()
		get(t, conn, "/file")
		// 1,600 bytes a second, in sips of ten seconds.
		r, err := http.ReadResponse(bufio.NewReaderSize(&sips{conn, 16_000, 10 * time.Second}, 16), nil)
		require.NoError(t, err)
		require.True(t, string(content) == string(body(t, r)))
		require.Greater(t, time.Since(begin), 5*time.Minute, "longer than any timeout for a whole answer")
	})
}

func TestW012_TooSlowIsCut(t *testing.T) {
	bubble(t, oneFile(noise(512<<10)), func(t *testing.T, dial func() net.Conn) {
		conn := dial()
		get(t, conn, "/file")
		r, err := http.ReadResponse(bufio.NewReaderSize(&sips{conn, 8_000, 10 * time.Second}, 16), nil)
		require.NoError(t, err)
		_, err = io.ReadAll(r.Body)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	})
}

func TestW012_MinRate(t *testing.T) {
	tests := []struct {
		name       string
		rate       int64
		cut, lives time.Duration // cut by then; alive until then
	}{
		{"set", 4096, 17 * time.Second, 15 * time.Second},
		{"absurd", 1 << 60, 2 * time.Second, 900 * time.Millisecond},
		{"off", -1, 0, 24 * time.Hour},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			seen := newRecord()
			files := oneFile(noise(1 << 20))
			files.MinRate, files.Trace = test.rate, seen.trace()
			bubble(t, files, func(t *testing.T, dial func() net.Conn) {
				get(t, dial(), "/file")
				time.Sleep(test.lives)
				synctest.Wait()
				require.Empty(t, seen.done)
				if test.cut != 0 {
					time.Sleep(test.cut - test.lives)
					synctest.Wait()
					require.Len(t, seen.done, 1)
				}
			})
		})
	}
}

// A deadline of ours must not be in force when the same connection asks another
// handler of the embedder.
func TestDeadlineEndsWithTheAnswer(t *testing.T) {
	files := oneFile(noise(100_000))
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			time.Sleep(time.Hour)
			_, _ = io.WriteString(w, "done")
			return
		}
		files.ServeHTTP(w, r)
	})
	bubble(t, handler, func(t *testing.T, dial func() net.Conn) {
		conn := dial()
		reader := bufio.NewReader(conn)
		for _, path := range []string{"/file", "/slow"} {
			get(t, conn, path)
			r, err := http.ReadResponse(reader, nil)
			require.NoError(t, err)
			require.NotEmpty(t, body(t, r))
		}
	})
}

// A source may think longer than a client may.
func TestSlowSourceIsNoSlowClient(t *testing.T) {
	content := noise(200_000)
	slow := readerAtFunc(func(p []byte, off int64) (int, error) {
		time.Sleep(10 * time.Minute)
		return copy(p, content[off:]), nil
	})
	files := &rootfs.Files{Open: openOne(&fakeFile{ReaderAt: slow, info: fakeInfo{size: 200_000}})}
	bubble(t, files, func(t *testing.T, dial func() net.Conn) {
		conn := dial()
		get(t, conn, "/file")
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		require.True(t, string(content) == string(body(t, r)))
	})
}

func TestProgressIsBounded(t *testing.T) {
	seen := newRecord()
	files := oneFile(noise(1 << 20))
	files.Trace = seen.trace()
	bubble(t, files, func(t *testing.T, dial func() net.Conn) {
		conn := dial()
		get(t, conn, "/file")
		r, err := http.ReadResponse(bufio.NewReaderSize(&sips{conn, 16_384, 100 * time.Millisecond}, 16), nil)
		require.NoError(t, err)
		body(t, r)
	})
	// 6.4 seconds in pieces of 0.4 seconds.
	require.NotEmpty(t, seen.progress)
	require.LessOrEqual(t, len(seen.progress), 6)
	require.IsIncreasing(t, seen.progress)
	for _, size := range seen.progressSizes {
		require.Equal(t, int64(1<<20), size)
	}
	require.Equal(t, rootfs.Result{Status: 200, Bytes: 1 << 20, Size: 1 << 20}, <-seen.done)
}

// sips reads at most size bytes at a time and pauses before each.
type sips struct {
	r     io.Reader
	size  int
	pause time.Duration
}

func (s *sips) Read(p []byte) (int, error) {
	// Whatever the reader above asks for, take a whole sip from below.
	time.Sleep(s.pause * time.Duration(min(len(p), s.size)) / time.Duration(s.size))
	return s.r.Read(p[:min(len(p), s.size)])
}

type readerAtFunc func(p []byte, off int64) (int, error)

func (f readerAtFunc) ReadAt(p []byte, off int64) (int, error) { return f(p, off) }

// deadlineless hides everything of a ResponseWriter but its three methods.
type deadlineless struct{ http.ResponseWriter }

func TestWritersWithoutDeadlines(t *testing.T) {
	files := oneFile(noise(200_000))
	server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		files.ServeHTTP(deadlineless{w}, r)
	}))
	r, err := server.Client().Get(server.URL + "/file")
	require.NoError(t, err)
	require.Len(t, body(t, r), 200_000)
}

// wrapped reaches the connection through Unwrap, as middleware does, and counts
// deadlines.
type wrapped struct {
	http.ResponseWriter
	deadlines *int
}

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }
func (w wrapped) SetWriteDeadline(time.Time) error {
	*w.deadlines++
	return nil
}

func TestDeadlineIsSetForEveryPiece(t *testing.T) {
	files, deadlines := oneFile(noise(10*64<<10)), 0
	server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		files.ServeHTTP(wrapped{w, &deadlines}, r)
	}))
	r, err := server.Client().Get(server.URL + "/file")
	require.NoError(t, err)
	body(t, r)
	require.Equal(t, 11, deadlines, "headers and ten pieces")
}

func TestClientThatGoesAwayIsAborted(t *testing.T) {
	seen := newRecord()
	files := oneFile(noise(1 << 20))
	files.Trace = seen.trace()
	bubble(t, files, func(t *testing.T, dial func() net.Conn) {
		conn := dial()
		get(t, conn, "/file")
		_, err := io.ReadFull(conn, make([]byte, 100_000))
		require.NoError(t, err)
		conn.Close()
		result := <-seen.done
		require.True(t, result.Aborted)
		require.Error(t, result.Err)
		require.NotErrorIs(t, result.Err, rootfs.ErrStalled)
		require.False(t, errors.Is(result.Err, os.ErrDeadlineExceeded))
		require.Less(t, result.Bytes, int64(1<<20))
	})
	require.Equal(t, []string{"file"}, seen.started)
	require.Equal(t, []int64{1 << 20}, seen.sizes)
}

// Several ranges are read ahead on another goroutine. A client that is cut
// meanwhile must not have the file closed under that read.
func TestFileIsNotClosedDuringRead(t *testing.T) {
	var reading, overlap, late atomic.Bool
	closed := false
	at := readerAtFunc(func(p []byte, off int64) (int, error) {
		late.Store(late.Load() || closed)
		reading.Store(true)
		if off > 0 {
			time.Sleep(10 * time.Minute)
		}
		reading.Store(false)
		return len(p), nil
	})
	f := &fakeFile{ReaderAt: at, info: fakeInfo{size: 1 << 20}, closed: &closed}
	files := &rootfs.Files{Open: func(context.Context, string) (fs.File, error) {
		return closeHook{f, func() { overlap.Store(reading.Load()) }}, nil
	}}
	bubble(t, files, func(t *testing.T, dial func() net.Conn) {
		_, err := io.WriteString(dial(), "GET /file HTTP/1.1\r\nHost: 192.0.2.1\r\nRange: bytes=0-99999,200000-299999\r\n\r\n")
		require.NoError(t, err)
		time.Sleep(time.Hour)
		synctest.Wait()
	})
	require.True(t, closed)
	require.False(t, overlap.Load(), "closed during a read")
	require.False(t, late.Load(), "read after closing")
}

// closeHook calls before ahead of Close.
type closeHook struct {
	*fakeFile
	before func()
}

func (f closeHook) Close() error {
	f.before()
	return f.fakeFile.Close()
}
