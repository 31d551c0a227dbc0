package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/pxekit/pxe/dhcp"
)

// mostNeighbours is more than any table of neighbours here takes: Linux's limit is
// 1,024 unless somebody raised it.
const mostNeighbours = 70_000

// neighbourhood fills the kernel's table of neighbours with those of an interface.
type neighbourhood struct{ batch string }

func newNeighbourhood(t *testing.T, ifname string) neighbourhood {
	t.Helper()
	var b strings.Builder
	for i := range mostNeighbours {
		fmt.Fprintf(&b, "neigh replace 10.%d.%d.1 lladdr 02:00:00:00:00:01 nud reachable dev %s\n", i>>8, i&255, ifname)
	}
	n := neighbourhood{filepath.Join(t.TempDir(), "neighbours")}
	require.NoError(t, os.WriteFile(n.batch, []byte(b.String()), 0o600))
	return n
}

// fill leaves no room for another entry, for some seconds at most: the kernel then
// may throw these away, as it does with those of others when their interfaces go.
func (n neighbourhood) fill(t *testing.T) {
	t.Helper()
	out, err := exec.Command("ip", "-batch", n.batch).CombinedOutput()
	if err == nil {
		t.Skipf("this machine's table of neighbours takes %d entries", mostNeighbours)
	}
	require.Contains(t, string(out), "No buffer space available")
}

// A thousand machines that boot at once fill the kernel's table of neighbours. A
// broadcast has an entry in it, too.
func TestD082_BroadcastsWithAFullTableOfNeighbours(t *testing.T) {
	// Another interface may go, and leave room, at any time: once more then.
	untilThereIsNoRoom := func(t *testing.T, n neighbourhood, broadcast func()) {
		for end, before := time.Now().Add(patience), sendFailures(t); sendFailures(t) == before; {
			require.True(t, time.Now().Before(end), "the kernel always finds room")
			n.fill(t)
			broadcast()
		}
	}
	t.Run("go as frames", func(t *testing.T) {
		cable(t, "srv0", "cli0", "192.0.2.1/24")
		leases := pool("192.0.2.100", "192.0.2.199")
		leases.NoProbe = true
		server := &dhcp.Server{Networks: []dhcp.Network{{Interface: "srv0", Mode: dhcp.Full, Leases: leases}}}
		conn, err := Listen(t.Context(), ":67", true)
		require.NoError(t, err)
		served := make(chan error, 1)
		go func() { served <- server.Serve(conn) }()
		c := client{newWire(t, "cli0"), net.HardwareAddr{2, 0, 0, 0, 0, 7}}
		untilThereIsNoRoom(t, newNeighbourhood(t, "srv0"), func() { c.lease(t, true) })
		require.Empty(t, server.Drops())
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-served, dhcp.ErrServerClosed)
	})
	t.Run("fail without frames", func(t *testing.T) {
		cable(t, "srv0", "cli0", "192.0.2.1/24")
		n := newNeighbourhood(t, "srv0")
		conn, err := Listen(t.Context(), ":67", false)
		require.NoError(t, err)
		defer conn.Close()
		send := func() (int, error) {
			return conn.WriteToLocal([]byte("reply"), netip.MustParseAddrPort("255.255.255.255:68"), netip.MustParseAddr("192.0.2.1"), "srv0")
		}
		untilThereIsNoRoom(t, n, func() { _, err = send() })
		require.ErrorIs(t, err, unix.ENOBUFS)
		require.ErrorIs(t, err, errors.ErrUnsupported, "frames")
		require.ErrorContains(t, err, "gc_thresh3")
		ip(t, "neigh flush dev srv0 nud reachable")
		sent, err := send()
		require.NoError(t, err)
		require.Equal(t, len("reply"), sent)
	})
}

// sendFailures is how many datagrams UDP had no room for when sending.
func sendFailures(t *testing.T) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/thread-self/net/snmp")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		// InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors
		if _, err := fmt.Sscanf(line, "Udp: %d %d %d %d %d %d", new(int), new(int), new(int), new(int), new(int), &n); err == nil {
			return n
		}
	}
	t.Fatalf("no SndbufErrors: %s", text)
	return 0
}

// Who was answered and is gone makes the network say so. That is no error of the
// next read, nor of the next reply, and takes no room from the next request.
func TestWhatICMPSaysOfEarlierRepliesIsNoError(t *testing.T) {
	ip(t) // skips
	conn, err := Listen(t.Context(), "127.0.0.1:0", false)
	require.NoError(t, err)
	defer conn.Close()
	nobody, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	gone := nobody.LocalAddr().(*net.UDPAddr).AddrPort()
	require.NoError(t, nobody.Close())
	machine, err := net.DialUDP("udp4", nil, conn.LocalAddr().(*net.UDPAddr))
	require.NoError(t, err)
	defer machine.Close()

	loopback := netip.MustParseAddr("127.0.0.1")
	told := 0
	for i := range 20_000 { // twice as many as the socket has room for
		_, err := conn.WriteToLocal([]byte("reply"), gone, loopback, "lo")
		require.NoError(t, err, "reply %d", i)
	}
	// The same by the plain socket, to see that there is something to tolerate.
	for range 10 {
		if _, err := conn.WriteTo([]byte("reply"), net.UDPAddrFromAddrPort(gone)); err != nil {
			require.ErrorIs(t, err, unix.ECONNREFUSED)
			told++
		}
	}
	require.NotZero(t, told)

	_, err = machine.Write([]byte("request"))
	require.NoError(t, err)
	buf := make([]byte, 100)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	size, from, _, _, err := conn.ReadFromLocal(buf)
	require.NoError(t, err)
	require.Equal(t, "request", string(buf[:size]))
	require.Equal(t, machine.LocalAddr().String(), from.String())

	// And while the socket waits for a request.
	read := make(chan error, 1)
	go func() {
		_, _, _, _, err := conn.ReadFromLocal(buf)
		read <- err
	}()
	for range 1000 {
		_, err := conn.WriteToLocal([]byte("reply"), gone, loopback, "lo")
		require.NoError(t, err)
	}
	require.Empty(t, read)
	_, err = machine.Write([]byte("again"))
	require.NoError(t, err)
	require.NoError(t, <-read)
	require.Equal(t, "again", string(buf[:5]))
}

// What is an error of this call is told.
func TestASendThatFailsIsAnError(t *testing.T) {
	cable(t, "srv0", "cli0", "192.0.2.1/24")
	conn, err := Listen(t.Context(), ":67", true)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.WriteToLocal([]byte("reply"), netip.MustParseAddrPort("203.0.113.1:68"), netip.Addr{}, "")
	require.ErrorIs(t, err, unix.ENETUNREACH)
	_, err = conn.WriteToLocal(make([]byte, 70_000), netip.MustParseAddrPort("192.0.2.2:68"), netip.Addr{}, "srv0")
	require.ErrorIs(t, err, unix.EMSGSIZE)
	require.NoError(t, conn.Close())
	_, err = conn.WriteToLocal([]byte("reply"), netip.MustParseAddrPort("192.0.2.2:68"), netip.Addr{}, "srv0")
	require.ErrorIs(t, err, net.ErrClosed)
	_, _, _, _, err = conn.ReadFromLocal(make([]byte, 100))
	require.ErrorIs(t, err, net.ErrClosed)
}
