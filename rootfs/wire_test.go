package rootfs_test

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/rootfs"
)

func TestW011_OldClients(t *testing.T) {
	content := noise(50_000)
	for name, request := range map[string]string{
		"HTTP/1.0 without Host":          "GET /file HTTP/1.0\r\n\r\n",
		"HTTP/1.0 with Host":             "GET /file HTTP/1.0\r\nHost: 192.0.2.1\r\n\r\n",
		"HTTP/1.0 asking for keep-alive": "GET /file HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
		"HTTP/1.0 with doubled slashes":  "GET //file HTTP/1.0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			// raw returns only when the server closes.
			r := rawResponse(t, oneFile(content), "GET", request)
			require.Equal(t, http.StatusOK, r.StatusCode)
			require.Equal(t, int64(len(content)), r.ContentLength)
			require.Equal(t, "close", r.Header.Get("Connection"))
			require.True(t, bytes.Equal(content, body(t, r)))
		})
	}
}

func TestW011_RangeOverHTTP10(t *testing.T) {
	r := rawResponse(t, oneFile(noise(100)), "GET", "GET /file HTTP/1.0\r\nRange: bytes=5-9\r\n\r\n")
	require.Equal(t, http.StatusPartialContent, r.StatusCode)
	require.Equal(t, noise(100)[5:10], body(t, r))
}

// RFC 9112 section 3.2 wants status 400 for HTTP/1.1 without Host, and net/http
// gives it before any handler.
func TestW011_HTTP11NeedsHost(t *testing.T) {
	r := rawResponse(t, oneFile(noise(100)), "GET", "GET /file HTTP/1.1\r\nConnection: close\r\n\r\n")
	require.Equal(t, http.StatusBadRequest, r.StatusCode)
}

func TestW011_KeepAliveOnHTTP11(t *testing.T) {
	request := "GET /file HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n"
	got := raw(t, oneFile(noise(100)), request+request+strings.Replace(request, "Host", "Connection: close\r\nHost", 1), false)
	require.Equal(t, 3, strings.Count(got, "HTTP/1.1 200 OK\r\n"))
}

func TestHalfClosedClientIsServed(t *testing.T) {
	got := raw(t, oneFile(noise(50_000)), "GET /file HTTP/1.0\r\n\r\n", true)
	_, content, _ := strings.Cut(got, "\r\n\r\n")
	require.True(t, string(noise(50_000)) == content)
}

func TestW013_NoContentEncoding(t *testing.T) {
	content := bytes.Repeat([]byte("a"), 10_000)
	plain := do(oneFile(content), "GET", "/file")
	for _, accept := range []string{"gzip", "gzip, deflate, br, zstd", "*", "identity;q=0", ""} {
		r := do(oneFile(content), "GET", "/file", "Accept-Encoding", accept)
		require.Equal(t, plain.Header, r.Header, accept)
		require.NotContains(t, r.Header, "Content-Encoding")
		require.Equal(t, content, body(t, r))
	}
}

// short is a file that ends, or fails, before its size.
func short(content []byte, size int64, err error) *rootfs.Files {
	at := readerAtFunc(func(p []byte, off int64) (int, error) {
		n := 0
		if off < int64(len(content)) {
			n = copy(p, content[off:])
		}
		if n < len(p) {
			return n, err
		}
		return n, nil
	})
	return &rootfs.Files{Open: openOne(&fakeFile{ReaderAt: at, info: fakeInfo{size: size, time: modified}})}
}

// A body that is longer or shorter than its Content-Length is what shim
// CVE-2023-40547 was about, and half a file must never look like a whole one.
func TestCVE_2023_40547_BodyIsNeverOtherThanContentLength(t *testing.T) {
	broken := errors.New("sector 4711 of /dev/sdz")
	tests := []struct {
		name, headers string
		err, want     error
	}{
		{"ends early", "", io.EOF, io.ErrUnexpectedEOF},
		{"fails", "", broken, broken},
		{"ends early in a range", "Range: bytes=100000-\r\n", io.EOF, io.ErrUnexpectedEOF},
		{"ends early in parts", "Range: bytes=0-9,100000-200000\r\n", io.EOF, io.ErrUnexpectedEOF},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			seen := newRecord()
			files := short(noise(150_000), 300_000, test.err)
			files.Trace = seen.trace()
			r := rawResponse(t, files, "GET", "GET /file HTTP/1.1\r\nHost: 192.0.2.1\r\n"+test.headers+"\r\n")
			got, err := io.ReadAll(r.Body)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			require.Less(t, int64(len(got)), r.ContentLength)
			require.NotContains(t, string(got), "4711")
			result := <-seen.done
			require.ErrorIs(t, result.Err, test.want)
			require.False(t, result.Aborted, "the server's fault")
		})
	}
	t.Run("grows", func(t *testing.T) {
		r := rawResponse(t, short(noise(150_000), 100_000, io.EOF), "GET", "GET /file HTTP/1.0\r\n\r\n")
		require.Equal(t, int64(100_000), r.ContentLength)
		require.Equal(t, noise(100_000), body(t, r))
	})
	t.Run("not through middleware either", func(t *testing.T) {
		require.PanicsWithValue(t, http.ErrAbortHandler, func() { do(short(nil, 10, io.EOF), "GET", "/file") })
	})
}

// GRUB CVE-2022-28734 was about headers that come in pieces. All of ours leave
// in one write, and small.
func TestCVE_2022_28734_HeadersLeaveInOneWrite(t *testing.T) {
	var mu sync.Mutex
	var first []byte
	server := httptest.NewUnstartedServer(oneFile(noise(200_000)))
	server.Listener = &tap{server.Listener, func(p []byte) {
		mu.Lock()
		defer mu.Unlock()
		if first == nil {
			first = bytes.Clone(p)
		}
	}}
	server.Start()
	defer server.Close()
	for _, method := range []string{"GET", "HEAD"} {
		first = nil
		r, err := http.NewRequest(method, server.URL+"/file", nil)
		require.NoError(t, err)
		r.Header.Set("X-Long", strings.Repeat("x", 10_000))
		response, err := server.Client().Do(r)
		require.NoError(t, err)
		body(t, response)
		mu.Lock()
		end := bytes.Index(first, []byte("\r\n\r\n"))
		mu.Unlock()
		require.Greater(t, end, 0)
		require.Less(t, end, 1024)
	}
}

// tap shows what is written to connections.
type tap struct {
	net.Listener
	wrote func([]byte)
}

func (l *tap) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return &tapConn{conn, l.wrote}, err
}

type tapConn struct {
	net.Conn
	wrote func([]byte)
}

func (c *tapConn) Write(p []byte) (int, error) {
	c.wrote(p)
	return c.Conn.Write(p)
}

// Nothing that a client sends comes back, in headers or bodies, or reaches the
// server's log: boot loaders and shells read what we answer.
func TestClientTextIsNotReflected(t *testing.T) {
	const mark = `";$(touch /pwn)#!ipxe`
	var logged bytes.Buffer
	server := httptest.NewUnstartedServer(oneFile(noise(1000)))
	server.Config.ErrorLog = log.New(&logged, "", 0)
	server.Start()
	defer server.Close()
	for _, target := range []string{"/file", "/none", "/a/../b", "/%22;$(touch%20/pwn)%23!ipxe", "/a%5cb"} {
		for _, header := range []string{"Range", "If-Range", "If-Match", "If-None-Match", "User-Agent", "X-Forwarded-Host", "Accept-Encoding"} {
			r, err := http.NewRequest("GET", server.URL+target, nil)
			require.NoError(t, err)
			r.Header.Set(header, mark)
			r.Host = "pwn.example"
			response, err := server.Client().Do(r)
			require.NoError(t, err)
			var dump bytes.Buffer
			require.NoError(t, response.Write(&dump))
			require.NotContains(t, dump.String(), "pwn", "%s %s", target, header)
		}
	}
	require.Empty(t, logged.String())
}
