package rootfs_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/rootfs"
)

// withBody are requests whose body never comes, and what they get.
var withBody = map[string]struct {
	request string
	status  int
}{
	"length":          {"GET /file HTTP/1.1\r\nHost: 192.0.2.1\r\nContent-Length: 10\r\n\r\n", 400},
	"large length":    {"GET /file HTTP/1.1\r\nHost: 192.0.2.1\r\nContent-Length: 10000000\r\n\r\n", 400},
	"chunked":         {"GET /file HTTP/1.1\r\nHost: 192.0.2.1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
	"half a chunk":    {"GET /file HTTP/1.1\r\nHost: 192.0.2.1\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf", 400},
	"HEAD":            {"HEAD /file HTTP/1.1\r\nHost: 192.0.2.1\r\nContent-Length: 10\r\n\r\n", 400},
	"no such file":    {"GET /none HTTP/1.1\r\nHost: 192.0.2.1\r\nContent-Length: 10\r\n\r\n", 400},
	"HTTP/1.0":        {"GET /file HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 10\r\n\r\n", 400},
	"POST":            {"POST /file HTTP/1.1\r\nHost: 192.0.2.1\r\nContent-Length: 10\r\n\r\n", 405},
	"asks to go on":   {"PUT /file HTTP/1.1\r\nHost: 192.0.2.1\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n", 405},
	"asks to, by GET": {"GET /file HTTP/1.1\r\nHost: 192.0.2.1\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n", 400},
}

func TestBodyIsNotWaitedFor(t *testing.T) {
	for name, test := range withBody {
		t.Run(name, func(t *testing.T) {
			seen := newRecord()
			files := oneFile(noise(100))
			files.Trace = seen.trace()
			method, _, _ := strings.Cut(test.request, " ")
			r := rawResponse(t, files, method, test.request) // returns only when the server closes
			require.Equal(t, test.status, r.StatusCode)
			require.True(t, r.Close)
			result := <-seen.done
			require.Equal(t, test.status, result.Status)
			require.Error(t, result.Err)
			require.Empty(t, seen.started)
		})
	}
}

// The answer comes at once, and the connection is gone soon after.
func TestBodyHoldsNoConnection(t *testing.T) {
	for name, test := range withBody {
		t.Run(name, func(t *testing.T) {
			bubble(t, oneFile(noise(100)), func(t *testing.T, dial func() net.Conn) {
				conn := dial()
				began := time.Now()
				_, err := io.WriteString(conn, test.request)
				require.NoError(t, err)
				reader := bufio.NewReader(conn)
				method, _, _ := strings.Cut(test.request, " ")
				r, err := http.ReadResponse(reader, &http.Request{Method: method})
				require.NoError(t, err)
				require.Equal(t, test.status, r.StatusCode)
				require.Zero(t, time.Since(began))
				body(t, r)
				_, err = reader.ReadByte()
				require.ErrorIs(t, err, io.EOF)
				require.LessOrEqual(t, time.Since(began), 2*time.Second)
			})
		})
	}
}

// A client that did send its body reads the answer like any other.
func TestBodyThatWasSent(t *testing.T) {
	for _, request := range []string{
		"GET /file HTTP/1.1\r\nHost: 192.0.2.1\r\nContent-Length: 4\r\n\r\nbody",
		"GET /file HTTP/1.1\r\nHost: 192.0.2.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	} {
		r := rawResponse(t, oneFile(noise(100)), "GET", request)
		require.Equal(t, http.StatusBadRequest, r.StatusCode)
		require.Equal(t, "Bad Request\n", string(body(t, r)))
	}
	r := rawResponse(t, oneFile(noise(100)), "GET", "GET /file HTTP/1.1\r\nHost: 192.0.2.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	require.Equal(t, http.StatusOK, r.StatusCode, "no body at all")
}

func TestBodyOnWritersWithoutDeadlines(t *testing.T) {
	files := oneFile(noise(100))
	hidden := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { files.ServeHTTP(deadlineless{w}, r) })
	r := rawResponse(t, hidden, "GET", "GET /file HTTP/1.1\r\nHost: 192.0.2.1\r\nContent-Length: 4\r\n\r\nbody")
	require.Equal(t, http.StatusBadRequest, r.StatusCode)

	w := httptest.NewRecorder()
	(&rootfs.Files{}).ServeHTTP(w, httptest.NewRequest("GET", "/file", strings.NewReader("body")))
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Equal(t, "close", w.Header().Get("Connection"))
}
