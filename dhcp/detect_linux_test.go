package dhcp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pxekit/pxe/internal/udp"
	"github.com/stretchr/testify/require"
)

// detectInside says that the test runs in its own network namespace.
const detectInside = "PXE_DETECT_IN_NAMESPACE"

// TestDetectDnsmasq finds two dnsmasq, one that gives out addresses and one as a
// proxyDHCP server, each in a network namespace of its own on one segment.
func TestDetectDnsmasq(t *testing.T) {
	if os.Getenv(detectInside) == "" {
		inDetectNamespace(t)
		return
	}
	ipCommand(t, "link", "set", "lo", "up")
	ipCommand(t, "link", "add", "br0", "type", "bridge", "forward_delay", "0")
	ipCommand(t, "link", "set", "br0", "up")
	leases := filepath.Join(t.TempDir(), "leases")
	startDnsmasq(t, "veth1", "192.0.2.9/24",
		"--dhcp-range=192.0.2.100,192.0.2.199,1h", "--dhcp-boot=pxelinux.0,,192.0.2.7", "--dhcp-leasefile="+leases)
	startDnsmasq(t, "veth2", "192.0.2.8/24",
		"--dhcp-range=192.0.2.0,proxy", "--pxe-service=x86PC,Rescue,undionly", "--pxe-service=X86-64_EFI,Rescue,snponly.efi")

	conn, err := udp.Listen(t.Context(), "0.0.0.0:68", false)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	var found []Detected
	// More than once, for a machine on which dnsmasq gets no time to answer in.
	for range 20 {
		found, err = Detect(t.Context(), conn, Detection{Interface: "br0"})
		require.NoError(t, err)
		if len(found) == 2 && found[0].PXE && found[1].PXE {
			break
		}
	}
	require.Len(t, found, 2)
	proxy, full := found[0], found[1]
	t.Logf("%s\n%s", proxy, full)
	require.Equal(t, "192.0.2.8", proxy.ServerID.String())
	require.True(t, proxy.PXE)
	require.False(t, proxy.DHCP, "a proxy gives out no addresses")
	require.False(t, proxy.HTTPBoot)
	require.Equal(t, `192.0.2.9 gives out addresses and boot files ("pxelinux.0" from 192.0.2.7)`, full.String())
	require.Equal(t, "192.0.2.9:67", full.Source.String())
	require.True(t, netip.MustParsePrefix("192.0.2.0/24").Contains(full.Addr))

	known, err := Detect(t.Context(), conn, Detection{Interface: "br0", Own: []netip.Addr{proxy.ServerID, full.ServerID}, Duration: time.Second})
	require.NoError(t, err)
	require.Empty(t, known)
	leased, err := os.ReadFile(leases)
	if !errors.Is(err, os.ErrNotExist) {
		require.NoError(t, err)
	}
	require.Empty(t, string(leased), "nothing is leased by looking")
}

// inDetectNamespace runs the calling test again in a new network namespace.
func inDetectNamespace(t *testing.T) {
	skip := func(why string) {
		if os.Getenv("CI") != "" {
			t.Fatalf("in CI this test is not skipped: %s", why)
		}
		t.Skip(why)
	}
	for program, pkg := range map[string]string{"dnsmasq": "dnsmasq-base", "ip": "iproute2"} {
		if _, err := exec.LookPath(program); err != nil {
			skip(fmt.Sprintf("%s is not installed; install the package %s", program, pkg))
		}
	}
	runtime.LockOSThread() // the copy dies with the thread that started it
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=8m")
	cmd.Env = append(os.Environ(), detectInside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		skip("a network namespace takes root")
	}
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name())
	t.Logf("%s", out)
}

// startDnsmasq starts a dnsmasq in a new network namespace that is connected to
// br0, and waits until it listens.
func startDnsmasq(t *testing.T, name, prefix string, args ...string) {
	t.Helper()
	script := fmt.Sprintf(`read go && ip link set lo up && ip addr add %s dev %s && ip link set %s up && exec "$@"`, prefix, name, name)
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", script, "sh", "dnsmasq", "--conf-file=/dev/null", "--port=0",
		"--keep-in-foreground", "--user=root", "--pid-file=", "--log-facility=-", "--log-dhcp", "--bind-interfaces", "--interface=" + name}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	log := &dnsmasqLog{listening: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = log, log
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("dnsmasq on %s:\n%s", name, log)
		}
	})
	ipCommand(t, "link", "add", name+"b", "type", "veth", "peer", "name", name)
	ipCommand(t, "link", "set", name+"b", "master", "br0", "up")
	ipCommand(t, "link", "set", name, "netns", fmt.Sprint(cmd.Process.Pid))
	_, err = io.WriteString(stdin, "go\n")
	require.NoError(t, err)
	select {
	case <-log.listening:
	case err := <-ended:
		ended <- err
		t.Fatalf("dnsmasq ended: %v\n%s", err, log)
	}
}

func ipCommand(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ip", args...).CombinedOutput()
	require.NoError(t, err, "ip %s: %s", strings.Join(args, " "), out)
}

// dnsmasqLog keeps what dnsmasq says. It speaks of its ranges once it listens.
type dnsmasqLog struct {
	mu        sync.Mutex
	b         bytes.Buffer
	listening chan struct{}
	closed    bool
}

func (l *dnsmasqLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Write(p)
	if !l.closed && strings.Contains(l.b.String(), "DHCP, ") {
		close(l.listening)
		l.closed = true
	}
	return len(p), nil
}

func (l *dnsmasqLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
