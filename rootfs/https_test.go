package rootfs_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Over TLS there is no sendfile; everything else is the same.
func TestHTTPS(t *testing.T) {
	content := noise(bigSize)
	for name, files := range sources(t, content) {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewTLSServer(files)
			defer server.Close()
			r, err := server.Client().Get(server.URL + "/file")
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, r.StatusCode)
			require.Equal(t, int64(bigSize), r.ContentLength)
			require.True(t, bytes.Equal(content, body(t, r)))

			request, err := http.NewRequest("GET", server.URL+"/file", nil)
			require.NoError(t, err)
			request.Header.Set("Range", "bytes=100-200000")
			r, err = server.Client().Do(request)
			require.NoError(t, err)
			require.Equal(t, http.StatusPartialContent, r.StatusCode)
			require.True(t, bytes.Equal(content[100:200_001], body(t, r)))
		})
	}
}

func TestHTTPSWithCurl(t *testing.T) {
	content := noise(bigSize)
	server := httptest.NewTLSServer(inImage(t, content))
	defer server.Close()
	got := filepath.Join(t.TempDir(), "got")
	out, code := curl(t, "-k", "-o", got, "-w", "%{http_code}", server.URL+"//file")
	require.Zero(t, code)
	require.Equal(t, "200", out)
	whole, err := os.ReadFile(got)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, whole))

	_, code = curl(t, "-o", os.DevNull, server.URL+"/file")
	require.Equal(t, 60, code, "curl's code for a certificate that it does not know")
}
