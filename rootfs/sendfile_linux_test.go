package rootfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/rootfs"
)

// kernel is a ResponseWriter over a connection that sends files: it takes what
// lies at the position of the descriptor that it is given, as sendfile does. The
// clock may be that of a synctest bubble.
type kernel struct {
	header http.Header
	status int
	body   bytes.Buffer
	copied int // what came by Write

	room     func(asked int64) int64 // how much the client takes of what it could; nil: everything
	deadline time.Time
	fails    error // of sendfile
	after    int64 // how many bytes
}

func (k *kernel) Header() http.Header    { return k.header }
func (k *kernel) WriteHeader(status int) { k.status = status }
func (k *kernel) Flush()                 {}
func (k *kernel) Write(p []byte) (int, error) {
	k.copied += len(p)
	return k.body.Write(p)
}
func (k *kernel) SetWriteDeadline(t time.Time) error { k.deadline = t; return nil }

// ReadFrom returns before its time is over only with everything that was asked
// for, at the end of the file or after a failure.
func (k *kernel) ReadFrom(src io.Reader) (sent int64, err error) {
	limited := src.(*io.LimitedReader)
	conn, err := limited.R.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0, err
	}
	for limited.N > 0 {
		if k.fails != nil && int64(k.body.Len()) >= k.after {
			return sent, k.fails
		}
		n := limited.N
		if k.room != nil {
			n = min(n, k.room(n))
		}
		if k.fails != nil {
			n = min(n, k.after-int64(k.body.Len()))
		}
		if n == 0 {
			time.Sleep(time.Until(k.deadline))
			return sent, fmt.Errorf("sendfile: %w", os.ErrDeadlineExceeded)
		}
		p := make([]byte, n)
		var got int
		var readErr error
		if err := conn.Read(func(fd uintptr) bool {
			got, readErr = syscall.Read(int(fd), p)
			return true
		}); err != nil || readErr != nil {
			return sent, errors.Join(err, readErr)
		}
		if got == 0 {
			return sent, nil
		}
		k.body.Write(p[:got])
		sent += int64(got)
		limited.N -= int64(got)
	}
	return sent, nil
}

func (k *kernel) ask(files *rootfs.Files, headers ...string) (aborted any) {
	k.header = http.Header{}
	r := httptest.NewRequest("GET", "/file", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	defer func() { aborted = recover() }()
	files.ServeHTTP(k, r)
	return nil
}

func TestFilesGoBySendfile(t *testing.T) {
	content := noise(bigSize)
	for name, test := range map[string]struct {
		headers     []string
		first, last int
		copied      int
	}{
		"whole":          {nil, 0, bigSize - 1, 0},
		"range":          {[]string{"Range", "bytes=1000-200000"}, 1000, 200_000, 0},
		"rest":           {[]string{"Range", "bytes=150000-"}, 150_000, bigSize - 1, 0},
		"too small":      {[]string{"Range", "bytes=0-131070"}, 0, 131_070, 131_071},
		"smallest":       {[]string{"Range", "bytes=0-131071"}, 0, 131_071, 0},
		"if-range":       {[]string{"Range", "bytes=1000-200000", "If-Range", modified.Format(http.TimeFormat)}, 1000, 200_000, 0},
		"stale if-range": {[]string{"Range", "bytes=1000-200000", "If-Range", `"other"`}, 0, bigSize - 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			for source, files := range map[string]*rootfs.Files{"image": inImage(t, content), "disk": onDisk(t, content)} {
				k := new(kernel)
				require.Nil(t, k.ask(files, test.headers...))
				require.True(t, bytes.Equal(content[test.first:test.last+1], k.body.Bytes()), source)
				require.Equal(t, test.copied, k.copied, source)
			}
			k := new(kernel)
			require.Nil(t, k.ask(oneFile(content), test.headers...))
			require.Equal(t, test.last+1-test.first, k.copied, "a file in memory is always copied")
		})
	}
}

// Middleware may have a ReadFrom, but nothing that sends the headers ahead.
func TestSendfileNeedsFlush(t *testing.T) {
	k := &kernel{header: http.Header{}}
	inImage(t, noise(bigSize)).ServeHTTP(struct {
		http.ResponseWriter
		io.ReaderFrom
	}{k, k}, httptest.NewRequest("GET", "/file", nil))
	require.Equal(t, bigSize, k.copied)
	require.True(t, bytes.Equal(noise(bigSize), k.body.Bytes()))
}

// A sendfile that fails, in the beginning or on its way, is made up for by
// copying; if that fails too, it tells why.
func TestSendfileThatFails(t *testing.T) {
	content := noise(bigSize)
	for _, after := range []int64{0, 1, 100_000} {
		k := &kernel{fails: syscall.EIO, after: after}
		require.Nil(t, k.ask(inImage(t, content)))
		require.True(t, bytes.Equal(content, k.body.Bytes()))
		require.Equal(t, bigSize-int(after), k.copied)
	}

	image := imageWith(t, content)
	broken := errors.New("sector 4711")
	f := extentFile(image, bigSize)
	f.ReaderAt = readerAtFunc(func([]byte, int64) (int, error) { return 0, broken })
	seen := newRecord()
	files := &rootfs.Files{Open: openOne(f), Trace: seen.trace()}
	require.Equal(t, http.ErrAbortHandler, (&kernel{fails: syscall.EIO, after: 1000}).ask(files))
	result := <-seen.done
	require.ErrorIs(t, result.Err, broken)
	require.False(t, result.Aborted)
	require.Equal(t, int64(1000), result.Bytes)
}

// Clients of the kernel, second by second: those that take 64 KiB within 64
// seconds are served to the end, whether they take it at once or byte by byte.
func TestW012_ProgressOfSendfile(t *testing.T) {
	every := func(pause time.Duration, bytes int64) func(began time.Time) func(int64) int64 {
		return func(began time.Time) func(int64) int64 {
			taken := int64(0)
			return func(int64) int64 {
				n := int64(time.Since(began)/pause)*bytes - taken
				taken += n
				return n
			}
		}
	}
	for name, test := range map[string]struct {
		rate   int64 // MinRate
		room   func(time.Time) func(int64) int64
		served bool
		least  time.Duration // it took at least
		most   time.Duration
	}{
		"slow":                  {0, every(time.Second, 1100), true, 4 * time.Minute, 5 * time.Minute},
		"too slow":              {0, every(time.Second, 900), false, 64 * time.Second, 66 * time.Second},
		"in gulps":              {0, every(time.Minute, 70_000), true, 5 * time.Minute, 6 * time.Minute},
		"in gulps, too far off": {0, every(70*time.Second, 200_000), false, 64 * time.Second, 66 * time.Second},
		"never":                 {0, every(time.Hour, 0), false, 64 * time.Second, 66 * time.Second},
		"never, higher rate":    {8192, every(time.Hour, 0), false, 8 * time.Second, 10 * time.Second},
		"never, absurd rate":    {1 << 40, every(time.Hour, 0), false, time.Second, 2 * time.Second},
		"days, no rate":         {-1, every(time.Hour, 10_000), true, 30 * time.Hour, 31 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			content := noise(bigSize)
			files, seen := inImage(t, content), newRecord()
			files.MinRate, files.Trace = test.rate, seen.trace()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				k := &kernel{room: test.room(began)}
				require.Nil(t, k.ask(files), "a client's doing aborts no handler")
				took := time.Since(began)
				require.GreaterOrEqual(t, took, test.least)
				require.LessOrEqual(t, took, test.most)
				require.True(t, bytes.HasPrefix(content, k.body.Bytes()))
			})
			result := <-seen.done
			require.Equal(t, !test.served, errors.Is(result.Err, rootfs.ErrStalled), result.Err)
			require.Equal(t, !test.served, result.Aborted)
			if test.served {
				require.Equal(t, int64(bigSize), result.Bytes)
			}
			if len(seen.progress) > 1 {
				require.IsIncreasing(t, seen.progress)
			}
		})
	}
}

// What sendfile leaves behind bounds the end of the answer as ever: by the
// client's patience, not by a turn of ours, and not at all without MinRate.
func TestDeadlineAfterSendfile(t *testing.T) {
	for rate, want := range map[int64]time.Duration{0: 64 * time.Second, 32 << 10: 2 * time.Second, -1: 0} {
		files := inImage(t, noise(bigSize))
		files.MinRate = rate
		synctest.Test(t, func(t *testing.T) {
			k := new(kernel)
			require.Nil(t, k.ask(files))
			if want == 0 {
				require.True(t, k.deadline.IsZero())
				return
			}
			require.Equal(t, want, time.Until(k.deadline))
		})
	}
}

// Time that a limit costs is not the client's.
func TestRateBySendfile(t *testing.T) {
	content := noise(16 * mebi)
	files, seen := inImage(t, content), newRecord()
	files.Limits = rootfs.Limits{Rate: 512, ClientRate: 600}
	files.Trace = seen.trace()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		k := new(kernel)
		require.Nil(t, k.ask(files))
		require.Zero(t, k.copied)
		require.True(t, bytes.Equal(content, k.body.Bytes()))
		lasts(t, (16*mebi-64<<10)/512*time.Second, began) // the last piece leaves when it is paid for
	})
	require.NoError(t, (<-seen.done).Err)
	require.NotEmpty(t, seen.progress)
}

// FuzzRequest holds for any request about any source: the answer is a status
// without a byte of the file, the file, or the ranges that its headers say,
// never what lies around it in the image; and where the file lies makes no
// difference.
func FuzzRequest(f *testing.F) {
	for _, header := range append(malformedRanges(), "", "bytes=0-0", "bytes=-1", "bytes=-0", "bytes=131072-", "bytes=0-149999",
		"bytes=1-131072", "bytes=18928-150100", "bytes=150000-", "bytes=0-9,20-29", "bytes=0-,0-", "bytes=18446744073709551615-") {
		f.Add("GET", "/file", header, "")
		f.Add("GET", "//file", header, "TAG")
	}
	for _, path := range []string{"/", "/file/", "/../file", "/file/../file", "/%66ile", "/a", "/file\x00", "/fil\xff", "//", "*", "/file?a#b", `/\file`} {
		f.Add("GET", path, "bytes=5-149000", "W/TAG")
		f.Add("HEAD", path, "", `"other"`)
	}
	content := noise(150_000)
	all := sources(f, content)
	tags := map[string]string{}
	for name, files := range all {
		r := do(files, "HEAD", "/file")
		tags[name] = r.Header.Get("ETag")
	}
	f.Fuzz(func(t *testing.T, method, path, header, ifRange string) {
		type answer struct {
			status              int
			length, rangeHeader string
			parts               []part
		}
		var first *answer
		for name, files := range all {
			k := &kernel{header: http.Header{}}
			asked := http.Header{}
			if header != "" {
				asked["Range"] = []string{header}
			}
			if ifRange != "" {
				asked["If-Range"] = []string{strings.ReplaceAll(ifRange, "TAG", tags[name])}
			}
			files.ServeHTTP(k, (&http.Request{Method: method, URL: &url.URL{Path: path}, ProtoMajor: 1, ProtoMinor: 1, Header: asked}).
				WithContext(context.Background()))
			got := answer{status: k.status, length: k.header.Get("Content-Length"), rangeHeader: k.header.Get("Content-Range")}
			mediaType := k.header.Get("Content-Type")
			several := strings.HasPrefix(mediaType, "multipart/")
			if got.status == http.StatusRequestedRangeNotSatisfiable {
				require.Equal(t, "bytes */150000", got.rangeHeader) // net/http adds the length
			} else if method != "HEAD" {
				require.Equal(t, got.length, fmt.Sprint(k.body.Len()))
			} else {
				require.Zero(t, k.body.Len())
			}
			switch {
			case got.status >= 400:
				require.LessOrEqual(t, k.body.Len(), 100)
				require.Equal(t, k.body.Len(), k.copied)
			case method == "HEAD":
				require.Equal(t, "150000", got.length)
			case got.status == 200:
				require.True(t, bytes.Equal(content, k.body.Bytes()))
				require.Empty(t, got.rangeHeader)
			case got.status == 206 && several:
				got.parts = readParts(t, &http.Response{Header: k.header, Body: io.NopCloser(&k.body)})
				require.LessOrEqual(t, len(got.parts), 16)
			case got.status == 206:
				got.parts = []part{{got.rangeHeader, k.body.String()}}
			default:
				t.Fatalf("status %d", got.status)
			}
			for _, p := range got.parts {
				var a, b int
				_, err := fmt.Sscanf(p.contentRange, "bytes %d-%d/150000", &a, &b)
				require.NoError(t, err)
				require.Equal(t, fmt.Sprintf("bytes %d-%d/150000", a, b), p.contentRange)
				require.True(t, string(content[a:b+1]) == p.body)
			}
			if first == nil {
				first = &got
			}
			require.Equal(t, *first, got, name)
		}
		segments := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
		found := len(segments) == 1 && segments[0] == "file" && !strings.HasSuffix(path, "/")
		switch m := singleRange.FindStringSubmatch(header); {
		case method != "GET" && method != "HEAD":
			require.Equal(t, http.StatusMethodNotAllowed, first.status)
		case !found:
			require.Contains(t, []int{400, 404, 414}, first.status)
		case method == "HEAD":
			require.Equal(t, 200, first.status)
		case ifRange == "" && m != nil:
			status, want := expectSingle(m[1], m[2], m[3], len(content))
			require.Equal(t, status, first.status)
			require.Equal(t, want, first.rangeHeader)
		case ifRange == "" && first.status == 206:
			require.Contains(t, header, "-")
		default:
			require.Contains(t, []int{200, 206, 416}, first.status)
		}
	})
}
