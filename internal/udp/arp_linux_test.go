package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/pxekit/pxe/dhcp"
)

// street lays a cable from srv0, 192.0.2.1, to cli0 in a house of its own, where
// a machine has these addresses.
func street(t *testing.T, addrs ...string) (h house, machine net.HardwareAddr) {
	t.Helper()
	ip(t) // skips
	need(t, "nsenter", "util-linux")
	h = newHouse(t)
	ip(t, "link add srv0 type veth peer name cli0 address 02:00:00:00:00:99")
	t.Cleanup(func() { _ = runIP("link del srv0") })
	ip(t, fmt.Sprintf("link set cli0 netns %d", h.pid), "addr add 192.0.2.1/24 dev srv0", "link set srv0 up")
	for _, a := range addrs {
		h.run(t, "ip addr add "+a+" dev cli0")
	}
	h.run(t, "ip link set cli0 up")
	carries := func() bool {
		ifi, err := net.InterfaceByName("srv0")
		return err == nil && ifi.Flags&net.FlagRunning != 0
	}
	require.Eventually(t, carries, patience, time.Millisecond)
	return h, net.HardwareAddr{2, 0, 0, 0, 0, 0x99}
}

// listenToARP makes a wire hear ARP in place of IP.
func (w *wire) listenToARP(t *testing.T) {
	t.Helper()
	bound, err := unix.Getsockname(w.fd)
	require.NoError(t, err)
	require.NoError(t, unix.Bind(w.fd, &unix.SockaddrLinklayer{
		Protocol: networkOrder(unix.ETH_P_ARP), Ifindex: bound.(*unix.SockaddrLinklayer).Ifindex,
	}))
}

// probes reads ARP requests in the house and returns how many are probes for each
// address; it fails the test on one that claims an address.
func (w *wire) probes(t *testing.T, own net.HardwareAddr, until netip.Addr) map[netip.Addr]int {
	t.Helper()
	seen := map[netip.Addr]int{}
	buf := make([]byte, 2048)
	for end := time.Now().Add(patience); seen[until] == 0 && time.Now().Before(end); {
		n, _, err := unix.Recvfrom(w.fd, buf, 0)
		if err != nil || n < etherHeaderLen+arpLen || net.HardwareAddr(buf[6:12]).String() != own.String() {
			continue
		}
		if netip.AddrFrom4([4]byte(buf[28:32])).IsUnspecified() { // not the kernel's own
			seen[netip.AddrFrom4([4]byte(buf[38:42]))]++
		}
	}
	return seen
}

func TestD023_ARPFindsWhoUsesAnAddress(t *testing.T) {
	h, machine := street(t, "192.0.2.100/24")
	conn, err := Listen(t.Context(), ":67", true)
	require.NoError(t, err)
	defer conn.Close()
	used, unused := netip.MustParseAddr("192.0.2.100"), netip.MustParseAddr("192.0.2.101")
	w := h.wire(t, "cli0")
	ifi, err := net.InterfaceByName("srv0")
	require.NoError(t, err)
	w.listenToARP(t)

	for _, ifname := range []string{"srv0", ""} {
		hw, inUse, err := conn.ProbeAddr(t.Context(), used, ifname)
		require.NoError(t, err)
		require.True(t, inUse)
		require.Equal(t, machine, hw)
	}
	hw, inUse, err := conn.ProbeAddr(t.Context(), unused, "srv0")
	require.NoError(t, err)
	require.False(t, inUse, "%s", hw)
	require.Nil(t, hw)
	require.Equal(t, map[netip.Addr]int{used: 2, unused: 1}, w.probes(t, ifi.HardwareAddr, unused), "the first for 101 follows the two for 100")

	_, inUse, err = conn.ProbeAddr(t.Context(), netip.MustParseAddr("192.0.2.1"), "srv0")
	require.NoError(t, err)
	require.False(t, inUse, "we do not ask ourselves")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = conn.ProbeAddr(ctx, unused, "srv0")
	require.ErrorIs(t, err, context.Canceled)

	_, _, err = conn.ProbeAddr(t.Context(), unused, "lo")
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, _, err = conn.ProbeAddr(t.Context(), unused, "no-such-if0")
	require.ErrorContains(t, err, "192.0.2.101")
	_, _, err = conn.ProbeAddr(t.Context(), netip.MustParseAddr("203.0.113.1"), "")
	require.ErrorContains(t, err, "no interface has an address in its subnet")
	_, _, err = conn.ProbeAddr(t.Context(), netip.MustParseAddr("2001:db8::1"), "srv0")
	require.ErrorContains(t, err, "no IPv4")
	ip(t, "link set srv0 down")
	_, _, err = conn.ProbeAddr(t.Context(), unused, "srv0")
	require.Error(t, err)
	require.NotErrorIs(t, err, errors.ErrUnsupported, "it may come up again")
}

// A machine sits on an address of the range, and our own host on another: clients get
// others, and it is told. When the machine has gone, so has the quarantine.
func TestD023_AMachineOnAnAddressOfTheRange(t *testing.T) {
	h, machine := street(t, "192.0.2.100/24")
	ip(t, "addr add 192.0.2.103/32 dev srv0")
	conflicts := make(chan dhcp.Conflict, 100)
	leases := pool("192.0.2.100", "192.0.2.103")
	leases.Quarantine = 8 * time.Second
	server := &dhcp.Server{
		Networks: []dhcp.Network{{Interface: "srv0", Mode: dhcp.Full, Leases: leases}},
		Trace: &dhcp.Trace{Conflict: func(c dhcp.Conflict) {
			select {
			case conflicts <- c:
			default: // once is enough
			}
		}},
	}
	conn, err := Listen(t.Context(), ":67", true)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve(conn) }()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-served, dhcp.ErrServerClosed)
	})
	require.Eventually(t, func() bool { return leases.Probes().Free >= 2 && leases.Probes().InUse >= 1 }, patience, time.Millisecond)
	require.Equal(t, dhcp.Conflict{Addr: netip.MustParseAddr("192.0.2.100"), HardwareAddr: machine, Interface: "srv0"}, <-conflicts)

	w := h.wire(t, "cli0")
	given := map[string]bool{}
	for i := range 2 {
		c := client{w, net.HardwareAddr{2, 0, 0, 0, 0, byte(i)}}
		given[c.lease(t, true).dhcp.YourIPAddr.String()] = true
	}
	require.Equal(t, map[string]bool{"192.0.2.101": true, "192.0.2.102": true}, given)
	require.Zero(t, leases.Probes().Unprobed)

	// Asked for again after each quarantine, it is still there.
	before := leases.Probes().InUse
	require.Eventually(t, func() bool { return leases.Probes().InUse > before }, patience, time.Millisecond)
	third := client{w, net.HardwareAddr{2, 0, 0, 0, 0, 3}}
	third.shout(t, third.message(dhcpv4.MessageTypeDiscover, dhcpv4.WithBroadcast(true)))
	require.Eventually(t, func() bool { return server.Drops()[dhcp.NoAddress] == 1 }, patience, time.Millisecond)

	free := leases.Probes().Free
	h.run(t, "ip addr del 192.0.2.100/24 dev cli0")
	require.Eventually(t, func() bool { return leases.Probes().Free > free }, patience, time.Millisecond)
	require.Equal(t, "192.0.2.100", third.lease(t, true).dhcp.YourIPAddr.String())
	require.Zero(t, leases.Probes().Unprobed)
}

// The machine itself gets the address that it uses, and keeps it however often it
// starts again; that it answers ARP with it is no conflict.
func TestD023_AMachineKeepsTheAddressItUses(t *testing.T) {
	h, machine := street(t, "192.0.2.100/24")
	conflicts := make(chan dhcp.Conflict, 100)
	leases := pool("192.0.2.100", "192.0.2.102")
	server := &dhcp.Server{
		Networks: []dhcp.Network{{Interface: "srv0", Mode: dhcp.Full, Leases: leases}},
		Trace:    &dhcp.Trace{Conflict: func(c dhcp.Conflict) { conflicts <- c }},
	}
	conn, err := Listen(t.Context(), ":67", true)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve(conn) }()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-served, dhcp.ErrServerClosed)
	})
	its := client{h.wire(t, "cli0"), machine}
	require.Eventually(t, func() bool { return leases.Probes().InUse == 1 }, patience, time.Millisecond)
	require.Equal(t, machine, (<-conflicts).HardwareAddr)
	for range 3 {
		require.Equal(t, "192.0.2.100", its.lease(t, true).dhcp.YourIPAddr.String())
	}
	other := client{its.wire, net.HardwareAddr{2, 0, 0, 0, 0, 4}}
	require.NotEqual(t, "192.0.2.100", other.lease(t, true).dhcp.YourIPAddr.String())
	require.Empty(t, conflicts)
	require.Equal(t, uint64(1), leases.Probes().InUse)
}
