package rootfs_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/rootfs"
)

// bigSize is large enough for every way of sending a file.
const bigSize = 300_001

// inImage serves content under the name "file" from the middle of a file of the
// system, as one of an ISO image is. All requests share that file.
func inImage(t testing.TB, content []byte) *rootfs.Files {
	t.Helper()
	return inImageFile(imageWith(t, content), int64(len(content)))
}

func inImageFile(image *os.File, size int64) *rootfs.Files {
	return &rootfs.Files{Open: func(_ context.Context, name string) (fs.File, error) {
		if name != "file" {
			return nil, fs.ErrNotExist
		}
		return extentFile(image, size), nil
	}}
}

// margin is what lies before and after the content in an image, and is not to
// be seen by anybody.
const margin = 4096

func imageWith(t testing.TB, content []byte) *os.File {
	name := filepath.Join(t.TempDir(), "image.iso")
	around := bytes.Repeat([]byte("\xee"), margin)
	require.NoError(t, os.WriteFile(name, bytes.Join([][]byte{around, content, around}, nil), 0o600))
	image, err := os.Open(name)
	require.NoError(t, err)
	t.Cleanup(func() { image.Close() })
	return image
}

// extentFile is size bytes of an image, after its margin.
func extentFile(image *os.File, size int64) *fakeFile {
	return &fakeFile{
		ReaderAt: readerAtFunc(func(p []byte, off int64) (int, error) { return image.ReadAt(p, margin+off) }),
		info:     fakeInfo{size: size, time: modified},
		extent:   func() (*os.File, int64, int64, bool) { return image, margin, size, true },
	}
}

// onDisk serves content from a directory, by files that are *os.File.
func onDisk(t testing.TB, content []byte) *rootfs.Files {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, content, 0o600))
	require.NoError(t, os.Chtimes(name, modified, modified))
	return &rootfs.Files{Open: openFS(os.DirFS(filepath.Dir(name)))}
}

// sources are the ways in which a file can lie somewhere.
func sources(t testing.TB, content []byte) map[string]*rootfs.Files {
	return map[string]*rootfs.Files{
		"memory": oneFile(content), "image": inImage(t, content), "disk": onDisk(t, content),
	}
}

// question is one request for "file", and what the answer must be.
type question struct {
	method  string
	headers []string // in pairs; TAG stands for the file's entity tag
	status  int
	first   int // of the body, if there is one
	last    int
}

// questions are those that the tables of the W lines ask about a small file,
// about one that is large enough to be sent by the kernel.
func questions() []question {
	const end = bigSize - 1
	date := modified.Format(http.TimeFormat)
	earlier := modified.Add(-time.Hour).Format(http.TimeFormat)
	list := []question{
		{"GET", nil, 200, 0, end},
		{"HEAD", nil, 200, 0, end},
		{"HEAD", []string{"Range", "bytes=5-9"}, 200, 0, end},
		{"POST", nil, 405, 0, 0},
		{"GET", []string{"Range", "bytes=0-0"}, 206, 0, 0},
		{"GET", []string{"Range", "bytes=100-"}, 206, 100, end},
		{"GET", []string{"Range", "bytes=0-299999"}, 206, 0, 299_999},
		{"GET", []string{"Range", "bytes=1-131071"}, 206, 1, 131_071},
		{"GET", []string{"Range", "bytes=1-131072"}, 206, 1, 131_072},
		{"GET", []string{"Range", "bytes=-200000"}, 206, bigSize - 200_000, end},
		{"GET", []string{"Range", "bytes=-999999999"}, 206, 0, end},
		{"GET", []string{"Range", "bytes=100000-99999999999999999999999"}, 206, 100_000, end},
		{"GET", []string{"Range", "bytes=300001-"}, 416, 0, 0},
		{"GET", []string{"Range", "bytes=-0"}, 416, 0, 0},
		{"GET", []string{"Range", "bytes=0-,0-,0-"}, 200, 0, end},
		{"GET", []string{"Range", "bytes=7-200000", "If-Range", "TAG"}, 206, 7, 200_000},
		{"GET", []string{"Range", "bytes=7-200000", "If-Range", date}, 206, 7, 200_000},
		{"GET", []string{"Range", "bytes=7-200000", "If-Range", "W/TAG"}, 200, 0, end},
		{"GET", []string{"Range", "bytes=7-200000", "If-Range", `"other"`}, 200, 0, end},
		{"GET", []string{"Range", "bytes=7-200000", "If-Range", earlier}, 200, 0, end},
		{"GET", []string{"Range", "bytes=7-200000", "If-Match", "TAG"}, 206, 7, 200_000},
		{"GET", []string{"Range", "bytes=7-200000", "If-Match", `"other"`}, 412, 0, 0},
		{"GET", []string{"Range", "bytes=7-200000", "If-Unmodified-Since", earlier}, 412, 0, 0},
		{"GET", []string{"If-None-Match", "TAG"}, 304, 0, 0},
		{"GET", []string{"If-None-Match", `"other"`}, 200, 0, end},
		{"GET", []string{"If-Modified-Since", date}, 304, 0, 0},
	}
	for _, header := range malformedRanges() {
		list = append(list, question{"GET", []string{"Range", header}, 200, 0, end})
	}
	return list
}

// Where a file lies makes no difference to any answer: all of them over real
// connections, where a file of the system goes by sendfile.
func TestW001_AnswersDoNotDependOnTheSource(t *testing.T) {
	content := noise(bigSize)
	for name, files := range sources(t, content) {
		t.Run(name, func(t *testing.T) {
			seen := newRecord()
			files.Trace = seen.trace()
			server, tag := serve(t, files), tagOf(t, files, "file")
			<-seen.done
			for _, q := range questions() {
				r, err := http.NewRequest(q.method, server.URL+"//file", nil)
				require.NoError(t, err)
				for i := 0; i < len(q.headers); i += 2 {
					r.Header[q.headers[i]] = []string{strings.ReplaceAll(q.headers[i+1], "TAG", tag)}
				}
				response, err := server.Client().Do(r)
				require.NoError(t, err)
				got, result := body(t, response), <-seen.done
				require.Equal(t, q.status, response.StatusCode, "%v", q)
				require.Equal(t, q.status, result.Status)
				if q.method == "POST" {
					continue
				}
				require.NoError(t, result.Err)
				want := content[q.first : q.last+1]
				switch {
				case q.status >= 300:
					continue
				case q.status == 206:
					require.Equal(t, fmt.Sprintf("bytes %d-%d/%d", q.first, q.last, bigSize), response.Header.Get("Content-Range"))
				default:
					require.Empty(t, response.Header.Get("Content-Range"))
				}
				require.Equal(t, strconv.Itoa(len(want)), response.Header.Get("Content-Length"))
				require.Equal(t, tag, response.Header.Get("ETag"))
				if q.method == "HEAD" {
					want = nil
				}
				require.True(t, bytes.Equal(want, got), "%v: %d bytes", q, len(got))
				require.Equal(t, int64(len(want)), result.Bytes)
			}
		})
	}
}

func TestW004_SeveralRangesFromAnImage(t *testing.T) {
	content := noise(bigSize)
	server := serve(t, inImage(t, content))
	r, err := http.NewRequest("GET", server.URL+"/file", nil)
	require.NoError(t, err)
	r.Header.Set("Range", "bytes=0-9,100-200000")
	response, err := server.Client().Do(r)
	require.NoError(t, err)
	require.Equal(t, []part{
		{"bytes 0-9/300001", string(content[:10])}, {"bytes 100-200000/300001", string(content[100:200_001])},
	}, readParts(t, response))
}

// All requests read one *os.File of the source; none may move it for another.
func TestW001_ConcurrentRangesOfOneImage(t *testing.T) {
	content := noise(1 << 20)
	server := serve(t, inImage(t, content))
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var group sync.WaitGroup
	for client := range uint64(8) {
		group.Go(func() {
			random := rand.New(rand.NewPCG(seed, client))
			for range 40 {
				first := random.IntN(len(content) - 1)
				last := first + random.IntN(len(content)-first)
				r, err := http.NewRequest("GET", server.URL+"/file", nil)
				if !checkNoError(t, err) {
					return
				}
				r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", first, last))
				response, err := server.Client().Do(r)
				if !checkNoError(t, err) {
					return
				}
				got := new(bytes.Buffer)
				_, err = got.ReadFrom(response.Body)
				response.Body.Close()
				if !checkNoError(t, err) || !bytes.Equal(content[first:last+1], got.Bytes()) {
					t.Errorf("range %d-%d is not that of the file", first, last)
					return
				}
			}
		})
	}
	group.Wait()
}

// checkNoError is for goroutines, which must not end a test.
func checkNoError(t *testing.T, err error) bool {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
	return err == nil
}

// An image that was cut short under the server ends the connection, and the
// embedder learns that it is the server's fault.
func TestCVE_2023_40547_TruncatedImage(t *testing.T) {
	image := imageWith(t, noise(bigSize))
	require.NoError(t, os.Truncate(image.Name(), margin+200_000))
	seen := newRecord()
	files := &rootfs.Files{Open: openOne(extentFile(image, bigSize)), Trace: seen.trace()}
	r := rawResponse(t, files, "GET", "GET /file HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n")
	got := new(bytes.Buffer)
	_, err := got.ReadFrom(r.Body)
	require.Error(t, err)
	require.True(t, bytes.Equal(noise(bigSize)[:200_000], got.Bytes()))
	result := <-seen.done
	require.ErrorContains(t, result.Err, "unexpected EOF")
	require.False(t, result.Aborted)
	require.Equal(t, int64(200_000), result.Bytes)
}

// A source whose extent is not all of the file, or no longer open, is read
// instead.
func TestExtentThatIsNoGood(t *testing.T) {
	content := noise(bigSize)
	image := imageWith(t, content)
	closed, err := os.Open(image.Name())
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	for name, extent := range map[string]func() (*os.File, int64, int64, bool){
		"shorter":  func() (*os.File, int64, int64, bool) { return image, margin, bigSize - 1, true },
		"longer":   func() (*os.File, int64, int64, bool) { return image, margin, bigSize + 1, true },
		"closed":   func() (*os.File, int64, int64, bool) { return closed, margin, bigSize, true },
		"none":     func() (*os.File, int64, int64, bool) { return image, 0, bigSize, false },
		"negative": func() (*os.File, int64, int64, bool) { return image, -bigSize, bigSize, true },
	} {
		t.Run(name, func(t *testing.T) {
			f := extentFile(image, bigSize)
			f.extent = extent
			server := serve(t, &rootfs.Files{Open: openOne(f)})
			r, err := server.Client().Get(server.URL + "/file")
			require.NoError(t, err)
			require.True(t, bytes.Equal(content, body(t, r)))
		})
	}
}

// hidesReadFrom is middleware that counts what is written, as many do, and so
// must see it.
type hidesReadFrom struct {
	http.ResponseWriter
	written *int
}

func (w hidesReadFrom) Unwrap() http.ResponseWriter { return w.ResponseWriter }
func (w hidesReadFrom) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	*w.written += n
	return n, err
}

func TestMiddlewareSeesWhatIsWritten(t *testing.T) {
	files, written := inImage(t, noise(bigSize)), 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		files.ServeHTTP(hidesReadFrom{w, &written}, r)
	}))
	r, err := server.Client().Get(server.URL + "/file")
	require.NoError(t, err)
	require.True(t, bytes.Equal(noise(bigSize), body(t, r)))
	server.Close()
	require.Equal(t, bigSize, written)
}

// Connections that a listener wraps cannot send files; they get copies.
func TestWrappedConnections(t *testing.T) {
	server := httptest.NewUnstartedServer(inImage(t, noise(bigSize)))
	server.Listener = &tap{server.Listener, func([]byte) {}}
	server.Start()
	defer server.Close()
	r, err := server.Client().Get(server.URL + "/file")
	require.NoError(t, err)
	require.True(t, bytes.Equal(noise(bigSize), body(t, r)))
}
