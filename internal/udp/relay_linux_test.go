package udp

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/pxekit/pxe/dhcp"
)

// house is a network namespace beside the tests' own.
type house struct{ pid int }

// newHouse makes one that ends with the test: a process that does nothing keeps
// it, for ten minutes at most.
func newHouse(t *testing.T) house {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return house{cmd.Process.Pid}
}

func (h house) path() string { return fmt.Sprintf("/proc/%d/ns/net", h.pid) }

func (h house) command(line ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=" + h.path(), "--"}, line...)...)
}

func (h house) run(t *testing.T, line string) {
	t.Helper()
	out, err := h.command("sh", "-c", line).CombinedOutput()
	require.NoError(t, err, "%s: %s", line, out)
}

// wire opens one on an interface of the house.
func (h house) wire(t *testing.T, ifname string) *wire {
	t.Helper()
	ns, err := os.Open(h.path())
	require.NoError(t, err)
	defer ns.Close()
	own, err := os.Open("/proc/thread-self/ns/net")
	require.NoError(t, err)
	defer own.Close()
	runtime.LockOSThread()
	require.NoError(t, unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET))
	w := newWire(t, ifname)
	require.NoError(t, unix.Setns(int(own.Fd()), unix.CLONE_NEWNET))
	runtime.UnlockOSThread()
	return w
}

// start runs a program in the house until the test ends, and returns its lines.
func (h house) start(t *testing.T, line ...string) (lines <-chan string, signal func(os.Signal)) {
	t.Helper()
	cmd := h.command(line...)
	out, in, err := os.Pipe()
	require.NoError(t, err)
	cmd.Stdout, cmd.Stderr = in, in
	require.NoError(t, cmd.Start())
	require.NoError(t, in.Close())
	c := make(chan string, 10000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := bufio.NewScanner(out); s.Scan(); {
			c <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = out.Close()
		<-done
		for t.Failed() && len(c) > 0 {
			t.Logf("%s: %s", line[0], <-c)
		}
	})
	return c, func(s os.Signal) { require.NoError(t, cmd.Process.Signal(s)) }
}

// wait returns the first line that begins so.
func wait(t *testing.T, lines <-chan string, begin string) string {
	t.Helper()
	end := time.After(2 * patience)
	for {
		select {
		case line := <-lines:
			t.Log(line)
			if strings.HasPrefix(line, begin) {
				return line
			}
		case <-end:
			t.Fatalf("no line begins with %q", begin)
		}
	}
}

// need skips a test where a Debian package is missing, and fails it in CI.
func need(t *testing.T, program, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		require.Empty(t, os.Getenv("CI"), "in CI this test is not skipped: apt-get install %s", pkg)
		t.Skipf("%s is missing: apt-get install %s", program, pkg)
	}
}

// setAddress is what udhcpc calls: it says what it was told, and does it.
const setAddress = `#!/bin/sh
case $1 in
bound|renew)
	ip addr replace "$ip/$mask" dev "$interface"
	ip route replace default via "$router"
	;;
esac
echo "udhcpc-$1 $ip by $serverid"
`

// A client of its own kind behind ISC's relay gets a lease, renews it past the
// relay, and is refused through it.
func TestThroughISCRelay(t *testing.T) {
	ip(t) // skips
	need(t, "dhcrelay", "isc-dhcp-relay")
	need(t, "busybox", "busybox-static")
	need(t, "nsenter", "util-linux")
	relay, home := newHouse(t), newHouse(t)
	ip(t, "link add srv0 type veth peer name up0")
	t.Cleanup(func() { _ = runIP("link del srv0") })
	ip(t, fmt.Sprintf("link set up0 netns %d", relay.pid), "addr add 192.0.2.1/24 dev srv0", "link set srv0 up")
	relay.run(t, fmt.Sprintf("ip link add down0 type veth peer name cli0 && ip link set cli0 netns %d", home.pid))
	relay.run(t, "ip addr add 192.0.2.2/24 dev up0 && ip addr add 198.51.100.1/24 dev down0 && ip link set up0 up && ip link set down0 up")
	relay.run(t, "echo 1 > /proc/sys/net/ipv4/ip_forward")
	home.run(t, "ip link set cli0 up")
	ip(t, "route add 198.51.100.0/24 via 192.0.2.2")

	type sent struct {
		d       dhcp.Delivery
		relay   netip.Addr
		circuit string
		reply   *dhcpv4.DHCPv4
	}
	replies := make(chan sent, 1000)
	server := &dhcp.Server{
		Networks: []dhcp.Network{
			{Interface: "srv0", Mode: dhcp.Full, Leases: pool("192.0.2.100", "192.0.2.199")},
			{Subnet: netip.MustParsePrefix("198.51.100.0/24"), Mode: dhcp.Full, Authoritative: true,
				Routers: []netip.Addr{netip.MustParseAddr("198.51.100.1")}, Leases: pool("198.51.100.100", "198.51.100.199")},
		},
		Trace: &dhcp.Trace{Sent: func(r *dhcp.Request, reply *dhcpv4.DHCPv4, d dhcp.Delivery) {
			replies <- sent{d, r.RelayAddr(), string(r.RelayOption(1)), reply}
		}},
	}
	conn, err := Listen(t.Context(), ":67", true)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve(conn) }()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-served, dhcp.ErrServerClosed)
		if t.Failed() {
			t.Log(server.Drops())
		}
	})
	lines, _ := relay.start(t, "dhcrelay", "-4", "-d", "-a", "--no-pid", "-iu", "up0", "-id", "down0", "192.0.2.1")
	wait(t, lines, "Sending on   Socket/fallback") // it is ready

	script := filepath.Join(t.TempDir(), "udhcpc.sh")
	require.NoError(t, os.WriteFile(script, []byte(setAddress), 0o755))
	lines, signal := home.start(t, "busybox", "udhcpc", "-f", "-i", "cli0", "-s", script, "-t", "20", "-T", "2")
	bound := wait(t, lines, "udhcpc-bound")
	require.Contains(t, bound, "198.51.100.1")
	require.Contains(t, bound, "by 192.0.2.1")
	next := func(kind dhcpv4.MessageType, route dhcp.Route) sent {
		t.Helper()
		for end := time.After(patience); ; {
			select {
			case s := <-replies:
				if s.reply.MessageType() == kind && s.d.Route == route {
					return s
				}
			case <-end:
				t.Fatalf("the server has sent no %s by %s", kind, route)
			}
		}
	}
	ack := next(dhcpv4.MessageTypeAck, dhcp.ByRelay)
	require.Equal(t, "198.51.100.1", ack.relay.String())
	require.Equal(t, "down0", ack.circuit)
	require.True(t, ack.reply.Options.Has(dhcpv4.OptionRelayAgentInformation))

	signal(unix.SIGUSR1)
	require.Equal(t, strings.TrimPrefix(bound, "udhcpc-bound"), strings.TrimPrefix(wait(t, lines, "udhcpc-renew"), "udhcpc-renew"))
	// The relay listens to everything and forwards a copy of this, too.
	again := next(dhcpv4.MessageTypeAck, dhcp.ByUnicast)
	require.False(t, again.relay.IsValid(), "past the relay")
	require.Equal(t, ack.reply.YourIPAddr.String(), again.d.To.Addr().String())

	other := client{home.wire(t, "cli0"), net.HardwareAddr{2, 0, 0, 0, 0, 7}}
	other.shout(t, other.message(dhcpv4.MessageTypeDiscover))
	offer := other.next(t)
	require.Equal(t, dhcpv4.MessageTypeOffer, offer.dhcp.MessageType())
	require.Contains(t, offer.dhcp.YourIPAddr.String(), "198.51.100.")
	require.False(t, offer.dhcp.Options.Has(dhcpv4.OptionRelayAgentInformation), "the relay knew its option again")

	other.shout(t, other.message(dhcpv4.MessageTypeRequest, dhcpv4.WithBroadcast(false),
		dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.IPv4(203, 0, 113, 9)))))
	nak := other.next(t)
	require.True(t, next(dhcpv4.MessageTypeNak, dhcp.ByRelay).reply.IsBroadcast(), "D-062: the relay is told to")
	require.Equal(t, dhcpv4.MessageTypeNak, nak.dhcp.MessageType())
	require.Equal(t, "255.255.255.255", nak.dst.Addr().String())
	require.Equal(t, "ff:ff:ff:ff:ff:ff", nak.to.String())
}
