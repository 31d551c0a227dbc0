package rootfs_test

import (
	"bufio"
	"context"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/rootfs"
)

// modified is the modification time of the test files.
var modified = time.Date(2026, 3, 4, 5, 6, 7, 890, time.UTC)

// openFS opens from an fs.FS whose files are io.ReaderAt.
func openFS(fsys fs.FS) func(context.Context, string) (fs.File, error) {
	return func(_ context.Context, name string) (fs.File, error) { return fsys.Open(name) }
}

// noise is content that differs at every offset.
func noise(size int) []byte {
	p := make([]byte, size)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(p)
	return p
}

// oneFile serves content under the name "file".
func oneFile(content []byte) *rootfs.Files {
	return &rootfs.Files{Open: openFS(fstest.MapFS{"file": {Data: content, ModTime: modified}})}
}

// do answers one request with a recorder. Headers come in pairs.
func do(h http.Handler, method, target string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// body reads and closes the body of a response.
func body(t testing.TB, r *http.Response) []byte {
	t.Helper()
	defer r.Body.Close()
	p, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return p
}

// raw sends bytes to a server on loopback, closes its side for writing if told
// so, and returns everything that comes back until the server closes.
func raw(t *testing.T, h http.Handler, request string, halfClose bool) string {
	t.Helper()
	server := httptest.NewServer(h)
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second))) // a server that does not close fails the test
	_, err = io.WriteString(conn, request)
	require.NoError(t, err)
	if halfClose {
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	}
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	return string(got)
}

// rawResponse is raw, parsed as the answer to method.
func rawResponse(t *testing.T, h http.Handler, method, request string) *http.Response {
	t.Helper()
	got := raw(t, h, request, false)
	reader := bufio.NewReader(strings.NewReader(got))
	response, err := http.ReadResponse(reader, &http.Request{Method: method})
	require.NoError(t, err, "%q", got)
	return response
}

// serve starts a server on loopback for the length of a test.
func serve(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server
}

// record is a Trace that keeps what it is told.
type record struct {
	mu            sync.Mutex
	started       []string
	sizes         []int64
	progress      []int64
	progressSizes []int64
	names         []string
	results       []rootfs.Result
	done          chan rootfs.Result
}

func newRecord() *record { return &record{done: make(chan rootfs.Result, 100)} }

func (c *record) trace() *rootfs.Trace {
	return &rootfs.Trace{
		Start: func(_ *http.Request, name string, size int64) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.started, c.sizes = append(c.started, name), append(c.sizes, size)
		},
		Progress: func(_ *http.Request, _ string, n, size int64) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.progress, c.progressSizes = append(c.progress, n), append(c.progressSizes, size)
		},
		Done: func(_ *http.Request, name string, result rootfs.Result) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.names, c.results = append(c.names, name), append(c.results, result)
			c.done <- result
		},
	}
}

// fakeFile is a file that can lie about its size, lack a time or lie in another
// file.
type fakeFile struct {
	io.ReaderAt
	info   fakeInfo
	extent func() (*os.File, int64, int64, bool)
	closed *bool
}

func (f *fakeFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *fakeFile) Read([]byte) (int, error)   { return 0, fs.ErrInvalid }
func (f *fakeFile) Extent() (*os.File, int64, int64, bool) {
	if f.extent == nil {
		return nil, 0, 0, false
	}
	return f.extent()
}
func (f *fakeFile) Close() error {
	if f.closed != nil {
		*f.closed = true
	}
	return nil
}

type fakeInfo struct {
	size int64
	mode fs.FileMode
	time time.Time
}

func (i fakeInfo) Name() string       { return "file" }
func (i fakeInfo) Size() int64        { return i.size }
func (i fakeInfo) Mode() fs.FileMode  { return i.mode }
func (i fakeInfo) ModTime() time.Time { return i.time }
func (i fakeInfo) IsDir() bool        { return i.mode.IsDir() }
func (i fakeInfo) Sys() any           { return nil }

// openOne opens f for every name.
func openOne(f fs.File) func(context.Context, string) (fs.File, error) {
	return func(context.Context, string) (fs.File, error) { return f, nil }
}
