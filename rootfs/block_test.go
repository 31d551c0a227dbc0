package rootfs_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// iPXE boots from an image over HTTP (sanboot) as from a disk: one HEAD for the
// size, then a range of whole 512-byte blocks for every read, thousands of them,
// all on one connection.
func TestI004_BlocksOnOneConnection(t *testing.T) {
	const blockSize, blocks, requests = 512, 1000, 4000
	content := noise(blocks * blockSize)
	for source, files := range sources(t, content) {
		t.Run(source, func(t *testing.T) {
			conn, err := net.Dial("tcp", serve(t, files).Listener.Addr().String())
			require.NoError(t, err)
			defer conn.Close()
			require.NoError(t, conn.SetDeadline(time.Now().Add(5*time.Minute))) // a server that does not answer fails the test
			reader := bufio.NewReader(conn)
			ask := func(method, more string) *http.Response {
				_, err := fmt.Fprintf(conn, "%s /file HTTP/1.1\r\nConnection: keep-alive\r\nUser-Agent: iPXE/1.21.1\r\nHost: 192.0.2.1\r\n%s\r\n", method, more)
				require.NoError(t, err)
				response, err := http.ReadResponse(reader, &http.Request{Method: method})
				require.NoError(t, err)
				require.False(t, response.Close, "the connection is kept")
				return response
			}
			head := ask("HEAD", "")
			require.Equal(t, http.StatusOK, head.StatusCode)
			require.EqualValues(t, len(content), head.ContentLength)
			for i := range requests {
				first := i * 7919 % blocks
				count := min(1+i%16, blocks-first)
				if i%500 == 0 {
					first, count = 0, 600 // long enough for sendfile
				}
				from, to := first*blockSize, (first+count)*blockSize
				response := ask("GET", fmt.Sprintf("Range: bytes=%d-%d\r\n", from, to-1))
				require.Equal(t, http.StatusPartialContent, response.StatusCode)
				require.Equal(t, fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(content)), response.Header.Get("Content-Range"))
				got, err := io.ReadAll(response.Body)
				require.NoError(t, err)
				require.True(t, string(content[from:to]) == string(got), "%d-%d", from, to)
			}
		})
	}
}
