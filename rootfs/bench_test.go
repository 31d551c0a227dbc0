package rootfs_test

import (
	"context"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/rootfs"
)

// benchmarkFiles serves a file of the given size from a directory.
func benchmarkFiles(b *testing.B, size int) *rootfs.Files {
	dir := b.TempDir()
	require.NoError(b, os.WriteFile(filepath.Join(dir, "file"), noise(size), 0o600))
	root := os.DirFS(dir)
	return &rootfs.Files{Open: func(_ context.Context, name string) (fs.File, error) { return root.Open(name) }}
}

func BenchmarkSmallFile(b *testing.B) {
	b.Run("handler", func(b *testing.B) {
		files := benchmarkFiles(b, 1000)
		r := httptest.NewRequest("GET", "/file", nil)
		b.ReportAllocs()
		for b.Loop() {
			files.ServeHTTP(&discard{header: http.Header{}}, r)
		}
	})
	b.Run("loopback", func(b *testing.B) {
		server := serve(b, benchmarkFiles(b, 1000))
		b.ReportAllocs()
		for b.Loop() {
			r, err := server.Client().Get(server.URL + "/file")
			require.NoError(b, err)
			_, _ = io.Copy(io.Discard, r.Body)
			r.Body.Close()
		}
	})
}

// discard is a ResponseWriter without a connection.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

func BenchmarkStream64MiB(b *testing.B) {
	const size = 64 << 20
	server := serve(b, benchmarkFiles(b, size))
	buf := make([]byte, 1<<20)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		// A plain socket, so that the client costs little.
		conn, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
		require.NoError(b, err)
		_, err = io.WriteString(conn, "GET /file HTTP/1.0\r\n\r\n")
		require.NoError(b, err)
		total := 0
		for {
			n, err := conn.Read(buf)
			total += n
			if err == io.EOF {
				break
			}
			require.NoError(b, err)
		}
		conn.Close()
		require.Greater(b, total, size)
	}
}
