package rootfs_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/rootfs"
)

// names records what Open is asked for.
func names(asked *[]string) func(context.Context, string) (fs.File, error) {
	return func(_ context.Context, name string) (fs.File, error) {
		*asked = append(*asked, name)
		return nil, fs.ErrNotExist
	}
}

func TestW010_Methods(t *testing.T) {
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "BREW"} {
		t.Run(method, func(t *testing.T) {
			r := do(oneFile(noise(10)), method, "/file")
			require.Equal(t, http.StatusMethodNotAllowed, r.StatusCode)
			require.Equal(t, "GET, HEAD", r.Header.Get("Allow"))
			require.Equal(t, "Method Not Allowed\n", string(body(t, r)))
		})
	}
	for _, method := range []string{"GET", "HEAD"} {
		require.Equal(t, http.StatusOK, do(oneFile(noise(10)), method, "/file").StatusCode)
	}
}

func TestW010_Paths(t *testing.T) {
	tests := []struct {
		path string // as on the request line
		name string // what Open gets; "" with a status: it is not asked
		want int
	}{
		{"/file", "file", 404},
		{"/a/b/c.cfg", "a/b/c.cfg", 404},
		{"//a///b", "a/b", 404},
		{"/a%20b", "a b", 404},
		{"/a%2Fb", "a/b", 404},
		{"/%61", "a", 404},
		{"/%2561", "%61", 404}, // decoded once
		{"/%252e%252e/x", "%2e%2e/x", 404},
		{"/a?b=../c", "a", 404},
		{"/~boot-1/vmlinuz", "~boot-1/vmlinuz", 404},
		{"/...", "...", 404},
		{"/....//x", "..../x", 404},
		{"/pxelinux.cfg/01-02-00-00-00-00-01", "pxelinux.cfg/01-02-00-00-00-00-01", 404},
		{"http://192.0.2.1/a", "a", 404},
		{"/", "", 404},
		{"//", "", 404},
		{"/a/", "", 404},
		{"/.", "", 400},
		{"/..", "", 400},
		{"/a/./b", "", 400},
		{"/a/../b", "", 400},
		{"/a/..", "", 400},
		{"/%2e%2e/b", "", 400},
		{"/%2E./b", "", 400},
		{"/..%2fb", "", 400},
		{"/a%5c..%5cb", "", 400},
		{"/a\\b", "", 400},
		{"/a%00b", "", 400},
		{"/a%0ab", "", 400},
		{"/a%7f", "", 400},
		{"/a%ff", "", 400},
		{"/" + strings.Repeat("a", 5000), "", 414},
	}
	for _, test := range tests {
		t.Run(test.path[:min(len(test.path), 30)], func(t *testing.T) {
			var asked []string
			r := rawResponse(t, &rootfs.Files{Open: names(&asked)}, "GET",
				"GET "+test.path+" HTTP/1.1\r\nHost: 192.0.2.1\r\nConnection: close\r\n\r\n")
			require.Equal(t, test.want, r.StatusCode)
			require.Empty(t, r.Header.Get("Location"))
			if test.name == "" {
				require.Empty(t, asked)
			} else {
				require.Equal(t, []string{test.name}, asked)
			}
		})
	}
}

// Every traversal that TFTP and web servers have fallen for, raw, encoded and
// encoded twice, against a directory that has a secret beside it.
func TestW010_NothingLeavesTheRoot(t *testing.T) {
	top := t.TempDir()
	root := filepath.Join(top, "root")
	require.NoError(t, os.MkdirAll(filepath.Join(root, "sub"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(top, "secret"), []byte("SECRET"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(root, "sub", "file"), []byte("public"), 0o600))
	files := &rootfs.Files{Open: openFS(os.DirFS(root))}

	ups := []string{"..", "...", "....", ". .", "..;", "..%00", ".%2e", "%2e%2e", "%2E%2E", "%252e%252e", "%c0%ae%c0%ae", "..%c0%af", "..%ef%bc%8f"}
	separators := []string{"/", "//", "\\", "%2f", "%5c", "%252f", "%255c", "/./", "%c0%af"}
	prefixes := []string{"/", "//", "/sub/", "/sub//", "/%2f", "/C:/"}
	count := 0
	for _, prefix := range prefixes {
		for _, up := range ups {
			for _, separator := range separators {
				target := prefix + up + separator + "secret"
				deep := prefix + up + separator + up + separator + "secret"
				for _, path := range []string{target, deep} {
					r := rawRecorder(files, path)
					if r == nil {
						continue // net/http answers 400 by itself
					}
					require.Contains(t, []int{400, 403, 404}, r.StatusCode, path)
					require.NotContains(t, string(body(t, r)), "SECRET", path)
					count++
				}
			}
		}
	}
	require.Greater(t, count, 200)
	require.Equal(t, "public", string(body(t, rawRecorder(files, "//sub/file"))))
}

// rawRecorder answers a GET of a request line's path, without a socket. It
// returns nil where net/http would refuse the request line.
func rawRecorder(h http.Handler, path string) *http.Response {
	u, err := url.ParseRequestURI(path)
	if err != nil {
		return nil
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	r.URL, r.RequestURI = u, path
	h.ServeHTTP(w, r)
	return w.Result()
}

func TestW010_DirectoriesAreNotListed(t *testing.T) {
	files := &rootfs.Files{Open: openFS(fstest.MapFS{"dir/file": {Data: noise(10)}, "pipe": {Mode: fs.ModeNamedPipe}})}
	for _, path := range []string{"/", "/dir", "/dir/", "/pipe"} {
		r := do(files, "GET", path)
		require.Equal(t, http.StatusNotFound, r.StatusCode, path)
		require.Equal(t, "Not Found\n", string(body(t, r)))
	}
}

func TestW014_NoRedirects(t *testing.T) {
	files := &rootfs.Files{Open: openFS(fstest.MapFS{"dir/index.html": {Data: noise(10)}})}
	for _, path := range []string{"//dir//index.html", "/dir/index.html", "/dir", "/dir/", "/x/../dir/index.html"} {
		r := rawRecorder(files, path)
		require.NotEqual(t, 3, r.StatusCode/100, path)
		require.Empty(t, r.Header.Get("Location"), path)
	}
	require.Equal(t, noise(10), body(t, rawRecorder(files, "//dir//index.html")))
}

func TestI005_ErrorsBecomeStatuses(t *testing.T) {
	hidden := "/srv/secret/place"
	tests := []struct {
		name   string
		err    error
		status int
	}{
		{"not there", &fs.PathError{Op: "open", Path: hidden, Err: fs.ErrNotExist}, 404},
		{"below a file", &fs.PathError{Op: "open", Path: hidden, Err: syscall.ENOTDIR}, 404},
		{"name too long", &fs.PathError{Op: "open", Path: hidden, Err: syscall.ENAMETOOLONG}, 404},
		{"forbidden", fmt.Errorf("%s: %w", hidden, fs.ErrPermission), 403},
		{"invalid", &fs.PathError{Op: "open", Path: hidden, Err: fs.ErrInvalid}, 404},
		{"out of descriptors", &fs.PathError{Op: "open", Path: hidden, Err: syscall.EMFILE}, 503},
		{"system out of descriptors", &fs.PathError{Op: "open", Path: hidden, Err: syscall.ENFILE}, 503},
		{"out of memory", &fs.PathError{Op: "open", Path: hidden, Err: syscall.ENOMEM}, 503},
		{"try again", &fs.PathError{Op: "open", Path: hidden, Err: syscall.EAGAIN}, 503},
		{"anything else", errors.New("disk " + hidden + " on fire"), 500},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			seen := newRecord()
			files := &rootfs.Files{Trace: seen.trace(), Open: func(context.Context, string) (fs.File, error) { return nil, test.err }}
			r := do(files, "GET", "/file")
			require.Equal(t, test.status, r.StatusCode)
			text := http.StatusText(test.status) + "\n"
			require.Equal(t, text, string(body(t, r)))
			require.Empty(t, r.Header.Get("ETag"))
			wait := ""
			if test.status == 503 {
				wait = "5" // I-005: iPXE asks again after so many seconds
			}
			require.Equal(t, wait, r.Header.Get("Retry-After"))
			result := <-seen.done
			require.Equal(t, rootfs.Result{Status: test.status, First: -1, Bytes: int64(len(text)), Err: test.err}, result)
			require.Empty(t, seen.started)
			require.Equal(t, []string{"file"}, seen.names)
		})
	}
}

func TestFilesThatCannotBeServed(t *testing.T) {
	closed := false
	tests := []struct {
		name string
		open func(context.Context, string) (fs.File, error)
		want string
	}{
		{"no opener", nil, "Files.Open is nil"},
		{"no ReaderAt", openOne(struct{ fs.File }{&fakeFile{info: fakeInfo{size: 1}, closed: &closed}}), "no io.ReaderAt"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			seen := newRecord()
			r := do(&rootfs.Files{Open: test.open, Trace: seen.trace()}, "GET", "/file")
			require.Equal(t, http.StatusInternalServerError, r.StatusCode)
			require.Equal(t, "Internal Server Error\n", string(body(t, r)))
			require.ErrorContains(t, (<-seen.done).Err, test.want)
		})
	}
	require.True(t, closed)
}

func TestClientThatGoesAwayDuringOpen(t *testing.T) {
	seen := newRecord()
	files := &rootfs.Files{Trace: seen.trace(), Open: func(ctx context.Context, _ string) (fs.File, error) { return nil, ctx.Err() }}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	files.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/file", nil))
	result := <-seen.done
	require.True(t, result.Aborted)
	require.ErrorIs(t, result.Err, context.Canceled)
}

func TestHooksAreOptional(t *testing.T) {
	files := oneFile(noise(200_000))
	files.Trace = &rootfs.Trace{}
	require.Equal(t, http.StatusOK, do(files, "GET", "/file").StatusCode)
	require.Equal(t, http.StatusNotFound, do(files, "GET", "/none").StatusCode)
}

// FuzzPath holds for any path: what Open is asked for is a valid name without
// anything that a file system below could read in another way, and it is the
// path itself, less repeated slashes.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{"/a", "//a//b/", "/../x", "/%2e%2e/x", "/a%5cb", "/a%00", "/%252e", "a", "", "*", "/.../x", "/a/.", "/\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		check := func(u *url.URL) {
			var asked []string
			files := &rootfs.Files{Open: names(&asked)}
			w := httptest.NewRecorder()
			files.ServeHTTP(w, &http.Request{Method: "GET", URL: u, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}})
			require.Contains(t, []int{400, 404, 414}, w.Code)
			if len(asked) == 0 {
				return
			}
			require.Equal(t, 404, w.Code)
			require.Len(t, asked, 1)
			name := asked[0]
			require.True(t, fs.ValidPath(name), "%q", name)
			require.NotEqual(t, ".", name)
			require.False(t, strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f || r == '\\' }), "%q", name)
			for segment := range strings.SplitSeq(name, "/") {
				require.NotContains(t, []string{"", ".", ".."}, segment)
			}
			squeezed := "/" + u.Path
			for strings.Contains(squeezed, "//") {
				squeezed = strings.ReplaceAll(squeezed, "//", "/")
			}
			require.Equal(t, squeezed, "/"+name)
		}
		check(&url.URL{Path: path})
		if u, err := url.ParseRequestURI(path); err == nil {
			check(u)
		}
	})
}
