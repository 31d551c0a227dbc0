package rootfs_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/rootfs"
)

func tagOf(t *testing.T, h http.Handler, name string) string {
	t.Helper()
	r := do(h, "HEAD", "/"+name)
	require.Equal(t, http.StatusOK, r.StatusCode)
	return r.Header.Get("ETag")
}

func TestW005_IfRange(t *testing.T) {
	files := oneFile(noise(1000))
	tag := tagOf(t, files, "file")
	tests := []struct {
		name, value string
		status      int
	}{
		{"strong tag", tag, http.StatusPartialContent},
		{"date", modified.Format(http.TimeFormat), http.StatusPartialContent},
		{"weak tag", "W/" + tag, http.StatusOK},
		{"other tag", `"other"`, http.StatusOK},
		{"other date", modified.Add(time.Second).Format(http.TimeFormat), http.StatusOK},
		{"neither tag nor date", "yesterday", http.StatusOK},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := do(files, "GET", "/file", "Range", "bytes=5-9", "If-Range", test.value)
			require.Equal(t, test.status, r.StatusCode)
			if test.status == http.StatusOK {
				require.Equal(t, noise(1000), body(t, r))
			}
		})
	}
}

func TestW006_IfMatchAndIfNoneMatch(t *testing.T) {
	files := oneFile(noise(1000))
	tag := tagOf(t, files, "file")
	date := modified.Format(http.TimeFormat)
	earlier := modified.Add(-time.Hour).Format(http.TimeFormat)
	tests := []struct {
		name, header, value string
		status              int
	}{
		{"if-match same", "If-Match", tag, http.StatusOK},
		{"if-match list", "If-Match", `"other", ` + tag, http.StatusOK},
		{"if-match any", "If-Match", "*", http.StatusOK},
		{"if-match other", "If-Match", `"other"`, http.StatusPreconditionFailed},
		{"if-match weak", "If-Match", "W/" + tag, http.StatusPreconditionFailed},
		{"if-none-match same", "If-None-Match", tag, http.StatusNotModified},
		{"if-none-match weak", "If-None-Match", "W/" + tag, http.StatusNotModified},
		{"if-none-match other", "If-None-Match", `"other"`, http.StatusOK},
		{"if-unmodified-since same", "If-Unmodified-Since", date, http.StatusOK},
		{"if-unmodified-since earlier", "If-Unmodified-Since", earlier, http.StatusPreconditionFailed},
		{"if-modified-since same", "If-Modified-Since", date, http.StatusNotModified},
		{"if-modified-since earlier", "If-Modified-Since", earlier, http.StatusOK},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, method := range []string{"GET", "HEAD"} {
				require.Equal(t, test.status, do(files, method, "/file", test.header, test.value).StatusCode, method)
			}
		})
	}
}

func TestW007_HeadHasTheHeadersOfGet(t *testing.T) {
	files := oneFile(noise(5000))
	get, head := do(files, "GET", "/file"), do(files, "HEAD", "/file")
	require.Equal(t, get.StatusCode, head.StatusCode)
	require.Equal(t, get.Header, head.Header)
	require.Equal(t, "5000", head.Header.Get("Content-Length"))
	require.Empty(t, body(t, head))
}

func TestW007_HeadOfErrorsAndRanges(t *testing.T) {
	files := oneFile(noise(5000))
	r := do(files, "HEAD", "/none")
	require.Equal(t, http.StatusNotFound, r.StatusCode)
	require.Empty(t, body(t, r))

	// RFC 9110 section 14.2: ranges are for GET alone.
	for _, header := range []string{"bytes=0-0", "bytes=9000-", "bytes=u-u"} {
		seen := newRecord()
		files.Trace = seen.trace()
		r = do(files, "HEAD", "/file", "Range", header)
		require.Equal(t, http.StatusOK, r.StatusCode)
		require.Equal(t, "5000", r.Header.Get("Content-Length"))
		result := <-seen.done
		require.NoError(t, result.Err)
		require.False(t, result.RangeIgnored)
	}
}

func TestH008_HeadThenGetAgree(t *testing.T) {
	server := serve(t, oneFile(noise(5000)))
	head, err := server.Client().Head(server.URL + "/file")
	require.NoError(t, err)
	get, err := server.Client().Get(server.URL + "/file")
	require.NoError(t, err)
	require.Equal(t, noise(5000), body(t, get))
	require.NotEmpty(t, head.Header.Get("ETag"))
	require.Equal(t, get.Header.Get("ETag"), head.Header.Get("ETag"))
	require.Equal(t, int64(5000), head.ContentLength)
	require.Equal(t, int64(5000), get.ContentLength)
}

func TestH008_DifferentFilesDisagree(t *testing.T) {
	files := &rootfs.Files{Open: openFS(fstest.MapFS{
		"a": {Data: noise(10), ModTime: modified}, "b": {Data: noise(11), ModTime: modified},
	})}
	require.NotEqual(t, tagOf(t, files, "a"), tagOf(t, files, "b"))
}

func TestW008_TagIsStrongAndStableOverInstances(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), noise(1000), 0o600))
	first := tagOf(t, &rootfs.Files{Open: openFS(os.DirFS(dir))}, "file")
	second := tagOf(t, &rootfs.Files{Open: openFS(os.DirFS(dir))}, "file")
	require.Equal(t, first, second)
	require.Regexp(t, `^"[!#-~]+"$`, first)
}

func TestW008_TagChangesWithTheFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	write := func(content []byte, when time.Time) string {
		require.NoError(t, os.WriteFile(name, content, 0o600))
		require.NoError(t, os.Chtimes(name, when, when))
		return tagOf(t, &rootfs.Files{Open: openFS(os.DirFS(dir))}, "file")
	}
	seen := map[string]string{}
	add := func(what, tag string) {
		require.NotEmpty(t, tag)
		require.NotContains(t, seen, tag, what)
		seen[tag] = what
	}
	add("first", write(noise(1000), modified))
	add("a nanosecond later", write(noise(1000), modified.Add(time.Nanosecond)))
	add("longer", write(noise(1001), modified))
}

func TestW008_TagChangesWithTheInode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files have no inode here")
	}
	dir := t.TempDir()
	files := &rootfs.Files{Open: openFS(os.DirFS(dir))}
	for _, name := range []string{"old", "new"} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, noise(1000), 0o600))
		require.NoError(t, os.Chtimes(path, modified, modified))
	}
	before := tagOf(t, files, "old")
	require.NoError(t, os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "old")))
	require.NotEqual(t, before, tagOf(t, files, "old"), "replaced by a file of the same size and time")
}

func TestW008_TagOfAnExtent(t *testing.T) {
	name := filepath.Join(t.TempDir(), "image.iso")
	open := func() *os.File {
		f, err := os.Open(name)
		require.NoError(t, err)
		t.Cleanup(func() { f.Close() })
		return f
	}
	require.NoError(t, os.WriteFile(name, noise(4096), 0o600))
	require.NoError(t, os.Chtimes(name, modified, modified))
	tag := func(image *os.File, offset int64) string {
		// No time of its own, as a file in an image may have none.
		f := &fakeFile{ReaderAt: bytes.NewReader(noise(100)), info: fakeInfo{size: 100},
			extent: func() (*os.File, int64, int64, bool) { return image, offset, 100, true }}
		return tagOf(t, &rootfs.Files{Open: openOne(f)}, "file")
	}
	first := tag(open(), 2048)
	require.NotEmpty(t, first)
	require.Equal(t, first, tag(open(), 2048), "stable")
	require.NotEqual(t, first, tag(open(), 0), "another place")

	later := modified.Add(time.Second)
	require.NoError(t, os.Chtimes(name, later, later))
	require.NotEqual(t, first, tag(open(), 2048), "the image changed")

	closed := open()
	require.NoError(t, closed.Close())
	require.Empty(t, tag(closed, 2048), "an image that says nothing of itself")
}

func TestW008_NoTimeNoTag(t *testing.T) {
	for name, when := range map[string]time.Time{"zero": {}, "epoch": time.Unix(0, 0)} {
		t.Run(name, func(t *testing.T) {
			files := &rootfs.Files{Open: openFS(fstest.MapFS{"file": {Data: noise(100), ModTime: when}})}
			r := do(files, "GET", "/file")
			require.Equal(t, http.StatusOK, r.StatusCode)
			require.Empty(t, r.Header.Get("ETag"))
			require.Empty(t, r.Header.Get("Last-Modified"))
		})
	}
	require.Equal(t, modified.Format(http.TimeFormat), do(oneFile(nil), "GET", "/file").Header.Get("Last-Modified"))
}

func TestH006_FirmwareHeaders(t *testing.T) {
	types := map[string]string{
		"EFI/boot/bootx64.efi":                "application/efi",
		"EFI/BOOT/BOOTX64.EFI":                "application/efi",
		"rescue.iso":                          "application/vnd.efi-iso",
		"disk.img":                            "application/vnd.efi-img",
		"boot.ipxe":                           "text/plain; charset=utf-8",
		"sysresccd/boot/syslinux/sys.cfg":     "text/plain; charset=utf-8",
		"sysresccd/x86_64/airootfs.sha512":    "text/plain; charset=utf-8",
		"sysresccd/x86_64/airootfs.sfs":       "application/octet-stream",
		"sysresccd/boot/x86_64/vmlinuz":       "application/octet-stream",
		"sysresccd/boot/syslinux/lpxelinux.0": "application/octet-stream",
	}
	fsys := fstest.MapFS{}
	for name := range types {
		fsys[name] = &fstest.MapFile{Data: noise(100_000), ModTime: modified}
	}
	server := serve(t, &rootfs.Files{Open: openFS(fsys)})
	for name, want := range types {
		r, err := server.Client().Get(server.URL + "/" + name)
		require.NoError(t, err)
		require.Equal(t, want, r.Header.Get("Content-Type"), name)
		require.Equal(t, int64(100_000), r.ContentLength, name)
		require.Empty(t, r.TransferEncoding, name)
		require.Len(t, body(t, r), 100_000)
	}
}

func TestH006_NothingIsEverChunked(t *testing.T) {
	files := oneFile(noise(100_000))
	for _, request := range []string{
		"GET /file", "GET /none", "POST /file", "GET /a/../b",
		"GET /file|Range: bytes=9-10", "GET /file|Range: bytes=0-1,5-6", "GET /file|Range: bytes=900000-",
		"GET /file|If-Match: \"x\"", "HEAD /file",
	} {
		line, header, _ := strings.Cut(request, "|")
		if header != "" {
			header += "\r\n"
		}
		got := raw(t, files, line+" HTTP/1.1\r\nHost: 192.0.2.1\r\nConnection: close\r\n"+header+"\r\n", false)
		head, _, _ := strings.Cut(got, "\r\n\r\n")
		require.NotContains(t, head, "Transfer-Encoding", request)
		require.Contains(t, head, "Content-Length: ", request)
	}
}

func TestH007_ResumeByEDK2(t *testing.T) {
	content := noise(10_000)
	files := oneFile(content)
	first := do(files, "HEAD", "/file")
	tag := first.Header.Get("ETag")
	unmodified := first.Header.Get("Last-Modified")
	for _, condition := range [][2]string{{"If-Match", tag}, {"If-Unmodified-Since", unmodified}} {
		r := do(files, "GET", "/file", "Range", "bytes=4000-9999", condition[0], condition[1])
		require.Equal(t, http.StatusPartialContent, r.StatusCode)
		require.Equal(t, "bytes 4000-9999/10000", r.Header.Get("Content-Range"))
		require.Equal(t, tag, r.Header.Get("ETag"))
		require.Equal(t, content[4000:], body(t, r))
	}
}

func TestH007_ResumeOfAChangedFile(t *testing.T) {
	first := do(oneFile(noise(10_000)), "HEAD", "/file")
	changed := &rootfs.Files{Open: openFS(fstest.MapFS{"file": {Data: noise(10_000), ModTime: modified.Add(time.Minute)}})}
	for _, condition := range [][2]string{{"If-Match", first.Header.Get("ETag")}, {"If-Unmodified-Since", first.Header.Get("Last-Modified")}} {
		r := do(changed, "GET", "/file", "Range", "bytes=4000-9999", condition[0], condition[1])
		require.Equal(t, http.StatusPreconditionFailed, r.StatusCode)
		require.Empty(t, body(t, r))
	}
}
