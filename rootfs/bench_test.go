package rootfs_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
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

// BenchmarkStream is what one download costs, and what sixteen at once do, by
// sendfile from an image, and copied from the same one.
func BenchmarkStream(b *testing.B) {
	const size = 64 << 20
	sendfile := inImage(b, noise(size))
	copied := &rootfs.Files{Open: func(ctx context.Context, name string) (fs.File, error) {
		f, err := sendfile.Open(ctx, name)
		if err == nil {
			f.(*fakeFile).extent = nil
		}
		return f, err
	}}
	for _, parallel := range []int{1, 16} {
		for name, files := range map[string]*rootfs.Files{"sendfile": sendfile, "copy": copied} {
			b.Run(fmt.Sprintf("%s/%d", name, parallel), func(b *testing.B) {
				addr := serve(b, files).Listener.Addr().String()
				b.SetBytes(size * int64(parallel))
				b.ReportAllocs()
				for b.Loop() {
					var group sync.WaitGroup
					for range parallel {
						group.Go(func() { drain(b, addr, "GET /file HTTP/1.0\r\n\r\n", size) })
					}
					group.Wait()
				}
			})
		}
	}
}

// BenchmarkRange is where the size from which files go by sendfile comes from.
func BenchmarkRange(b *testing.B) {
	for _, size := range []int{64 << 10, 128 << 10, 256 << 10} {
		content := noise(size)
		for name, files := range map[string]*rootfs.Files{"image": inImage(b, content), "memory": oneFile(content)} {
			b.Run(fmt.Sprintf("%s/%dKiB", name, size>>10), func(b *testing.B) {
				server := serve(b, files)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					r, err := server.Client().Get(server.URL + "/file")
					require.NoError(b, err)
					_, _ = io.Copy(io.Discard, r.Body)
					r.Body.Close()
				}
			})
		}
	}
}

// drain reads an answer by a plain socket, so that the client costs little.
func drain(b *testing.B, addr, request string, least int) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Error(err)
		return
	}
	defer conn.Close()
	_, err = io.WriteString(conn, request)
	buf, total := make([]byte, 256<<10), 0
	for err == nil {
		var n int
		n, err = conn.Read(buf)
		total += n
	}
	if err != io.EOF || total < least {
		b.Errorf("%d bytes: %v", total, err)
	}
}
