package rootfs_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The server of these tests is a process of its own: this test binary, told by
// the environment to serve an image until it is killed.
const (
	serveImage  = "ROOTFS_TEST_SERVE_IMAGE"  // the path; the test runs only if it is set
	serveListen = "ROOTFS_TEST_SERVE_LISTEN" // the address
)

func TestServerProcess(t *testing.T) {
	path := os.Getenv(serveImage)
	if path == "" {
		return // an ordinary run of the tests; the others start it
	}
	image, err := os.Open(path)
	require.NoError(t, err)
	info, err := image.Stat()
	require.NoError(t, err)
	files := inImageFile(image, info.Size()-2*margin)
	// A thousand clients that do not read must not take all the memory that the
	// system has for sockets, a send buffer of a megabyte each.
	small := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, 64<<10) })
	}}
	listener, err := small.Listen(t.Context(), "tcp", os.Getenv(serveListen))
	require.NoError(t, err)
	fmt.Println("serving", listener.Addr())
	server := &http.Server{Handler: files}
	require.NoError(t, server.Serve(listener)) // until it is killed
}

// process is a running TestServerProcess.
type process struct {
	cmd  *exec.Cmd
	addr string
}

// startServer serves an image at an address, "127.0.0.1:0" for any, by this
// test binary.
func startServer(t *testing.T, image, listen string, before ...string) *process {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	return startProgram(t, image, listen, append(before, self)...)
}

// startProgram is startServer with another test binary, or with a command in
// front.
func startProgram(t *testing.T, image, listen string, program ...string) *process {
	t.Helper()
	args := append(program, "-test.run=^TestServerProcess$", "-test.timeout=10m")
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), serveImage+"="+image, serveListen+"="+listen)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p := &process{cmd: cmd}
	t.Cleanup(p.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err, "the server did not start")
	p.addr = strings.TrimPrefix(strings.TrimSpace(line), "serving ")
	return p
}

// kill ends the process by SIGKILL. It may be called twice.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

// sendfileCall matches also a call that another thread's came between.
var sendfileCall = regexp.MustCompile(`sendfile(\(| resumed>).*= ([0-9]+)$`)

// What the kernel is seen to send is all that is sent.
func TestSendfileIsSeenByStrace(t *testing.T) {
	strace := need(t, "strace", "strace")
	log := filepath.Join(t.TempDir(), "strace")
	content := noise(8 * mebi)
	server := startServer(t, imageWith(t, content).Name(), "127.0.0.1:0",
		strace, "-D", "-f", "--seccomp-bpf", "-e", "trace=sendfile", "-o", log)
	total := 0
	for _, headers := range [][]string{nil, {"Range", "bytes=100000-7000000"}, {"Range", "bytes=-200000", "If-Range", modified.Format(http.TimeFormat)}} {
		r, err := http.NewRequest("GET", "http://"+server.addr+"/file", nil)
		require.NoError(t, err)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		response, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		got := body(t, response)
		switch {
		case headers == nil:
			require.True(t, bytes.Equal(content, got))
		case len(headers) == 2:
			require.True(t, bytes.Equal(content[100_000:7_000_001], got))
		default:
			require.True(t, bytes.Equal(content[len(content)-200_000:], got))
		}
		total += len(got)
	}
	http.DefaultClient.CloseIdleConnections()
	// strace writes as it goes, but a call may return after its bytes were read.
	sent := 0
	for range 100 {
		text, err := os.ReadFile(log)
		require.NoError(t, err)
		sent = 0
		for line := range strings.Lines(string(text)) {
			if m := sendfileCall.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
				n, err := strconv.Atoi(m[2])
				require.NoError(t, err)
				sent += n
			}
		}
		if sent == total {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	require.Equal(t, total, sent)
}

// The server dies in the middle of a download. Another one on the same address
// finishes it, and the file is whole.
func TestCurlResumesAfterKill(t *testing.T) {
	curlPath := need(t, "curl", "curl")
	const size = 64 * mebi
	image := imageWith(t, noise(size)).Name()
	got := filepath.Join(t.TempDir(), "got")
	first := startServer(t, image, "127.0.0.1:0")
	url := "http://" + first.addr + "/file"

	// 32 MiB a second leave time to see it in the middle.
	download := exec.CommandContext(t.Context(), curlPath, "--silent", "--noproxy", "*", "--limit-rate", "32M", "-o", got, url)
	require.NoError(t, download.Start())
	require.Eventually(t, func() bool {
		info, err := os.Stat(got)
		return err == nil && info.Size() > mebi
	}, time.Minute, time.Millisecond)
	first.kill()
	require.Error(t, download.Wait())
	require.Contains(t, []int{18, 56}, download.ProcessState.ExitCode(), "curl's codes for a broken transfer")
	part, err := os.Stat(got)
	require.NoError(t, err)
	require.Less(t, part.Size(), int64(size))

	second := startServer(t, image, first.addr)
	require.Equal(t, first.addr, second.addr)
	out, code := curl(t, "-C", "-", "-o", got, "-w", "%{http_code} %{size_download}", url)
	require.Zero(t, code)
	require.Equal(t, fmt.Sprintf("206 %d", size-part.Size()), out)
	whole, err := os.ReadFile(got)
	require.NoError(t, err)
	require.True(t, bytes.Equal(noise(size), whole))
}

// A thousand machines in the middle of a download, that take nothing for the
// moment, which is when an answer holds the most.
func TestMemoryOfAThousandDownloads(t *testing.T) {
	const clients, limit = 1000, 64 * mebi
	name := filepath.Join(t.TempDir(), "image.iso")
	require.NoError(t, os.WriteFile(name, nil, 0o600))
	require.NoError(t, os.Truncate(name, 2*margin+64*mebi))
	program, err := os.Executable()
	require.NoError(t, err)
	if raceDetector { // its memory is several times the server's
		program = filepath.Join(t.TempDir(), "server")
		out, err := exec.CommandContext(t.Context(), need(t, "go", "golang"), "test", "-c", "-o", program, ".").CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	server := startProgram(t, name, "127.0.0.1:0", program)
	before := residentMemory(t, server.cmd.Process.Pid)
	conns := make([]net.Conn, clients)
	for i := range conns {
		conn, err := net.Dial("tcp", server.addr)
		require.NoError(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, "GET /file HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n")
		require.NoError(t, err)
		conns[i] = conn
	}
	// All are answered: more than the headers has arrived.
	buf := make([]byte, 64<<10)
	for _, conn := range conns {
		_, err := io.ReadFull(conn, buf)
		require.NoError(t, err)
	}
	during := residentMemory(t, server.cmd.Process.Pid)
	t.Logf("%d KiB before, %d KiB during %d downloads", before>>10, during>>10, clients)
	require.Less(t, during, limit)
}

// residentMemory is all that a process has in memory, its program included.
func residentMemory(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	m := regexp.MustCompile(`VmRSS:\s*([0-9]+) kB`).FindSubmatch(status)
	require.NotNil(t, m)
	n, err := strconv.Atoi(string(m[1]))
	require.NoError(t, err)
	return n << 10
}
