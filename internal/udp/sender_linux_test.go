package udp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/pxekit/pxe/dhcp"
)

// noRoom leaves the IP stack no room on the interface, as for a receiver that has no
// place in a full table of neighbours: that table is the whole machine's, and other
// tests run. Frames of our own have room; they allow fragments, other than datagrams.
func noRoom(t *testing.T, ifname string) (room func()) {
	t.Helper()
	need(t, "tc", "iproute2")
	for _, line := range []string{
		"qdisc add dev %s root handle 1: htb default 2",
		"class add dev %s parent 1: classid 1:1 htb rate 1gbit",
		"class add dev %s parent 1: classid 1:2 htb rate 1gbit",
		"qdisc add dev %s parent 1:1 pfifo limit 0",
		"filter add dev %s parent 1: protocol ip u32 match u16 0x4000 0x4000 at 6 flowid 1:1",
	} {
		out, err := exec.Command("tc", strings.Fields(fmt.Sprintf(line, ifname))...).CombinedOutput()
		if err != nil && os.Getenv("CI") == "" {
			t.Skipf("the kernel has no htb or no u32: tc %s: %s", line, out)
		}
		require.NoError(t, err, "tc %s: %s", line, out)
	}
	return func() {
		out, err := exec.Command("tc", "qdisc", "del", "dev", ifname, "root").CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}

// srv0 is the network at the end of a cable.
func srv0() dhcp.Network {
	return dhcp.Network{Interface: "srv0", Mode: dhcp.Full, Leases: pool("192.0.2.100", "192.0.2.199")}
}

// A thousand machines that boot at once fill the kernel's table of neighbours. A
// broadcast has an entry in it, too.
func TestD082_BroadcastsWithoutRoom(t *testing.T) {
	t.Run("go as frames", func(t *testing.T) {
		cable(t, "srv0", "cli0", "192.0.2.1/24")
		noRoom(t, "srv0")
		server := serveDHCP(t, srv0())
		before := sendFailures(t)
		client{newWire(t, "cli0"), net.HardwareAddr{2, 0, 0, 0, 0, 7}}.lease(t, true)
		require.Equal(t, before+2, sendFailures(t), "the kernel had room")
		require.Empty(t, server.Drops())
	})
	t.Run("are counted drops without frames", func(t *testing.T) {
		cable(t, "srv0", "cli0", "192.0.2.1/24")
		room := noRoom(t, "srv0")
		server := serveDHCPWith(t, false, srv0())
		c := client{newWire(t, "cli0"), net.HardwareAddr{2, 0, 0, 0, 0, 7}}
		c.shout(t, c.message(dhcpv4.MessageTypeDiscover, dhcpv4.WithBroadcast(true)))
		require.Eventually(t, func() bool { return server.Drops()[dhcp.Error] == 1 }, patience, time.Millisecond)
		room()
		c.lease(t, true)
	})
}

func TestADatagramWithoutRoomIsAnError(t *testing.T) {
	cable(t, "srv0", "cli0", "192.0.2.1/24")
	ip(t, "neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 nud permanent dev srv0")
	room := noRoom(t, "srv0")
	own := netip.MustParseAddr("192.0.2.1")
	for _, withFrames := range []bool{false, true} {
		conn, err := Listen(t.Context(), ":67", withFrames)
		require.NoError(t, err)
		defer conn.Close()
		for _, to := range []string{"255.255.255.255:68", "192.0.2.2:68"} {
			sent, err := conn.WriteToLocal([]byte("reply"), netip.MustParseAddrPort(to), own, "srv0")
			if withFrames && to == "255.255.255.255:68" {
				require.NoError(t, err)
				require.Equal(t, len("reply"), sent)
				continue
			}
			require.ErrorIs(t, err, unix.ENOBUFS, "%s", to)
			require.ErrorContains(t, err, "gc_thresh3")
			require.Zero(t, sent)
		}
		_, err = conn.WriteToLocal([]byte("reply"), netip.MustParseAddrPort("255.255.255.255:68"), netip.Addr{}, "srv0")
		require.NoError(t, err, "from wherever: it is not known to be lost")
		require.NoError(t, conn.Close())
	}
	room()
	conn, err := Listen(t.Context(), ":67", false)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.WriteToLocal([]byte("reply"), netip.MustParseAddrPort("192.0.2.2:68"), own, "srv0")
	require.NoError(t, err)

	_, err = conn.WriteToLocal([]byte("reply"), netip.MustParseAddrPort("203.0.113.1:68"), own, "")
	require.ErrorIs(t, err, unix.ENETUNREACH)
	_, err = conn.WriteToLocal(make([]byte, 70_000), netip.MustParseAddrPort("192.0.2.2:68"), own, "srv0")
	require.ErrorIs(t, err, unix.EMSGSIZE)
	require.NoError(t, conn.Close())
	_, err = conn.WriteToLocal([]byte("reply"), netip.MustParseAddrPort("192.0.2.2:68"), own, "srv0")
	require.ErrorIs(t, err, net.ErrClosed)
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

// The socket that only sends has the port of the other one, which nobody else gets.
func TestNobodyElseGetsThePort(t *testing.T) {
	ip(t) // skips
	conn, err := Listen(t.Context(), ":67", false)
	require.NoError(t, err)
	defer conn.Close()
	require.NotNil(t, conn.sender)
	sharing := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error { return share(raw, true) }}
	for _, address := range []string{":67", "127.0.0.1:67", "127.255.255.254:67"} {
		_, err = Listen(t.Context(), address, false)
		require.ErrorIs(t, err, unix.EADDRINUSE, "%s", address)
		_, err = sharing.ListenPacket(context.Background(), "udp4", address)
		require.ErrorIs(t, err, unix.EADDRINUSE, "%s", address)
	}
	require.NoError(t, conn.Close())
	conn, err = Listen(t.Context(), ":67", false)
	require.NoError(t, err, "both are closed")
	require.NoError(t, conn.Close())
}

// Machines that are answered and gone make the network say so, be it the kernel, which
// finds no neighbour, or the machine, where nobody listens. That is no error of reading
// nor of the next reply. A socket that asks for such errors ends so.
func TestMachinesThatAreGoneEndNothing(t *testing.T) {
	cable(t, "srv0", "cli0", "192.0.2.1/24")
	// The kernel gives up a neighbour after three of these.
	if err := os.WriteFile("/proc/sys/net/ipv4/neigh/srv0/retrans_time_ms", []byte("50"), 0); err != nil {
		require.Empty(t, os.Getenv("CI"), "in CI this test is not skipped: %v", err)
		t.Skip("needs to be root: ", err)
	}
	server := serveDHCP(t, srv0())
	w := newWire(t, "cli0")
	informs := 0
	inform := func(addr string, times int) {
		for range times {
			informs++
			c := client{w, net.HardwareAddr{2, 0, 0, 1, byte(informs >> 8), byte(informs)}}
			c.send(t, c.message(dhcpv4.MessageTypeInform, dhcpv4.WithClientIP(net.ParseIP(addr))), addr+":68", "192.0.2.1:67")
		}
	}
	// The first failure of a neighbour is told while replies to others wait for theirs.
	for round := range 10 {
		inform(fmt.Sprintf("192.0.2.%d", 10+round), 3)
		time.Sleep(75 * time.Millisecond)
		for i := range 5 {
			inform(fmt.Sprintf("192.0.2.%d", 20+10*round+i), 30)
		}
		time.Sleep(150 * time.Millisecond)
	}
	client{w, net.HardwareAddr{2, 0, 0, 0, 0, 7}}.lease(t, true)
	require.Empty(t, server.Drops())

	conn, err := Listen(t.Context(), "127.0.0.1:0", false)
	require.NoError(t, err)
	defer conn.Close()
	nobody, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	gone := nobody.LocalAddr().(*net.UDPAddr).AddrPort()
	require.NoError(t, nobody.Close())
	for i := range 1000 {
		_, err := conn.WriteToLocal([]byte("reply"), gone, netip.MustParseAddr("127.0.0.1"), "lo")
		require.NoError(t, err, "reply %d", i)
	}
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Millisecond)))
	_, _, _, _, err = conn.ReadFromLocal(make([]byte, 100))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}
