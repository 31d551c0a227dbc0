package rootfs_test

import (
	"bytes"
	"context"
	"io/fs"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/rootfs"
)

// curl runs curl, which is what archiso's initramfs fetches with, and returns
// its output and exit status.
func curl(t *testing.T, args ...string) (string, int) {
	t.Helper()
	path := need(t, "curl", "curl")
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), path, append([]string{"--silent", "--noproxy", "*"}, args...)...)
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// need returns the path of a program, and skips the test without it.
func need(t *testing.T, name, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		text := name + " is missing: apt-get install " + debianPackage
		if os.Getenv("CI") != "" {
			t.Fatal(text)
		}
		t.Skip(text)
	}
	return path
}

func TestW009_CurlProbe(t *testing.T) {
	server := serve(t, oneFile(noise(1000)))
	out, code := curl(t, "-r", "0-0", "-o", filepath.Join(t.TempDir(), "out"), "-w", "%{http_code} %{size_download}", server.URL+"/file")
	require.Zero(t, code)
	require.Equal(t, "206 1", out)
	out, code = curl(t, "--fail", "-r", "0-0", "-o", os.DevNull, "-w", "%{http_code}", server.URL+"/airootfs.erofs")
	require.Equal(t, 22, code)
	require.Equal(t, "404", out)
}

func TestW007_CurlHead(t *testing.T) {
	server := serve(t, oneFile(noise(1000)))
	out, code := curl(t, "--head", server.URL+"/file")
	require.Zero(t, code)
	require.Contains(t, out, "HTTP/1.1 200 OK\r\n")
	require.Contains(t, out, "Content-Length: 1000\r\n")
}

func TestW011_CurlHTTP10(t *testing.T) {
	server := serve(t, oneFile(noise(100_000)))
	out, code := curl(t, "--http1.0", "-H", "Host:", "--path-as-is", server.URL+"//file")
	require.Zero(t, code)
	require.True(t, string(noise(100_000)) == out)
}

// A download breaks in the middle; another instance of the server, on the same
// file, finishes it.
func TestCurlResumesOnAnotherInstance(t *testing.T) {
	content := noise(1 << 20)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "airootfs.sfs"), content, 0o600))
	open := openFS(os.DirFS(dir))
	got := filepath.Join(t.TempDir(), "got")

	breaks := &rootfs.Files{Open: func(ctx context.Context, name string) (fs.File, error) {
		f, err := open(ctx, name)
		return breakingFile{f}, err
	}}
	first := httptest.NewServer(breaks)
	_, code := curl(t, "-o", got, first.URL+"/airootfs.sfs")
	first.Close()
	require.Equal(t, 18, code, "curl's code for a partial file")
	part, err := os.ReadFile(got)
	require.NoError(t, err)
	require.NotEmpty(t, part)
	require.Less(t, len(part), len(content))

	second := serve(t, &rootfs.Files{Open: open})
	out, code := curl(t, "-C", "-", "-o", got, "-w", "%{http_code}", second.URL+"/airootfs.sfs")
	require.Zero(t, code)
	require.Equal(t, "206", strings.TrimSpace(out))
	whole, err := os.ReadFile(got)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, whole))
}

// breakingFile cannot be read past its first half MiB.
type breakingFile struct{ fs.File }

func (f breakingFile) ReadAt(p []byte, off int64) (int, error) {
	if off >= 1<<19 {
		return 0, fs.ErrClosed
	}
	return f.File.(*os.File).ReadAt(p, off)
}
