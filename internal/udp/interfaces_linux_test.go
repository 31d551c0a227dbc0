package udp

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/dhcp"
)

// serveDHCP runs a server on the real port until the test ends.
func serveDHCP(t *testing.T, networks ...dhcp.Network) *dhcp.Server {
	t.Helper()
	return serveDHCPWith(t, true, networks...)
}

// serveDHCPWith is serveDHCP, with or without the means to send frames.
func serveDHCPWith(t *testing.T, frames bool, networks ...dhcp.Network) *dhcp.Server {
	t.Helper()
	conn, err := Listen(t.Context(), ":67", frames)
	require.NoError(t, err)
	server := &dhcp.Server{Networks: networks}
	served := make(chan error, 1)
	go func() { served <- server.Serve(conn) }()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-served, dhcp.ErrServerClosed)
	})
	return server
}

func pool(first, last string) *dhcp.Pool {
	return &dhcp.Pool{First: netip.MustParseAddr(first), Last: netip.MustParseAddr(last)}
}

var hardware = net.HardwareAddr{2, 0, 0, 0, 0, 1}

func indexOf(t *testing.T, ifname string) int {
	t.Helper()
	ifi, err := net.InterfaceByName(ifname)
	require.NoError(t, err)
	return ifi.Index
}

// An interface that is deleted and made again, with another index and another
// address, is served as before, in each way that a reply can take.
func TestD084_Dnsmasq_2_87_AnInterfaceComesAndGoes(t *testing.T) {
	cable(t, "srv0", "cli0", "192.0.2.1/24")
	serveDHCP(t, dhcp.Network{Interface: "srv0", Mode: dhcp.Full, Leases: pool("192.0.2.100", "192.0.2.199")})
	seen := make(map[int]bool)
	for round := range 3 {
		if round > 0 {
			ip(t, "link del srv0")
			ip(t, fmt.Sprintf("link add srv0 index %d type veth peer name cli0", 1000+round))
			plug(t, "srv0", "cli0", fmt.Sprintf("192.0.2.%d/24", 1+round))
		}
		own := fmt.Sprintf("192.0.2.%d", 1+round)
		require.False(t, seen[indexOf(t, "srv0")])
		seen[indexOf(t, "srv0")] = true
		c := client{newWire(t, "cli0"), hardware}
		require.Equal(t, own, c.lease(t, true).server(), "by broadcast")
		ack := c.lease(t, false)
		require.Equal(t, own, ack.server(), "by frame")
		require.Equal(t, own, c.renew(t, "srv0", ack, own).src.Addr().String(), "by unicast")
	}
}

// Who sends before anything came in has to notice by itself.
func TestD084_SendingByAnInterfaceThatWasMadeAgain(t *testing.T) {
	cable(t, "srv0", "cli0", "192.0.2.1/24")
	conn, err := Listen(t.Context(), ":67", true)
	require.NoError(t, err)
	defer conn.Close()
	src, dst := netip.MustParseAddrPort("192.0.2.1:67"), netip.MustParseAddrPort("255.255.255.255:68")
	reply := (&client{hw: hardware}).message(dhcpv4.MessageTypeOffer, func(p *dhcpv4.DHCPv4) { p.OpCode = dhcpv4.OpcodeBootReply }).ToBytes()
	ways := map[string]func() (int, error){
		"frame":     func() (int, error) { return conn.WriteFrame(reply, src, dst, hardware, "srv0") },
		"broadcast": func() (int, error) { return conn.WriteToLocal(reply, dst, src.Addr(), "srv0") },
	}
	for name, send := range ways {
		t.Run(name, func(t *testing.T) {
			// The index is remembered for a second: each round begins with one
			// that has just been asked for.
			_, err := send()
			require.NoError(t, err)
			index := indexOf(t, "srv0")
			ip(t, "link del srv0")
			_, err = send()
			require.Error(t, err, "there is none")
			ip(t, fmt.Sprintf("link add srv0 index %d type veth peer name cli0", index+100))
			plug(t, "srv0", "cli0", "192.0.2.1/24")
			w := newWire(t, "cli0")
			// What a second may hide: the answer that the name still has its old index.
			conn.interfaces.mu.Lock()
			conn.interfaces.asked, conn.interfaces.byName["srv0"] = time.Now(), index
			conn.interfaces.mu.Unlock()
			n, err := send()
			require.NoError(t, err)
			require.Equal(t, len(reply), n)
			require.Equal(t, src, w.next(t).src)
		})
	}
}

func TestAddressesAreFollowed(t *testing.T) {
	cable(t, "srv0", "cli0", "192.0.2.1/24")
	serveDHCP(t, dhcp.Network{Interface: "srv0", Mode: dhcp.Full, Leases: pool("192.0.2.100", "192.0.2.199")})
	c := client{newWire(t, "cli0"), hardware}
	require.Equal(t, "192.0.2.1", c.lease(t, false).server())
	ip(t, "addr add 192.0.2.9/24 dev srv0", "addr del 192.0.2.1/24 dev srv0", "addr replace 192.0.2.9/24 dev srv0")
	// It may take a second until the server asks again.
	server := ""
	for end := time.Now().Add(patience); server != "192.0.2.9" && time.Now().Before(end); {
		c.shout(t, c.message(dhcpv4.MessageTypeDiscover))
		if f, ok := c.receive(t); ok {
			server = f.server()
		}
	}
	require.Equal(t, "192.0.2.9", server)
}

func TestAnUnconfiguredInterfaceIsIgnored(t *testing.T) {
	cable(t, "srv0", "cli0", "192.0.2.1/24")
	cable(t, "other0", "cli1", "198.51.100.1/24")
	server := serveDHCP(t, dhcp.Network{Interface: "srv0", Mode: dhcp.Full, Leases: pool("192.0.2.100", "192.0.2.199")})
	ignored := client{newWire(t, "cli1"), hardware}
	ignored.shout(t, ignored.message(dhcpv4.MessageTypeDiscover, dhcpv4.WithBroadcast(true)))
	// To the address of the interface that is served, by one that is not.
	ignored.send(t, ignored.message(dhcpv4.MessageTypeDiscover), "198.51.100.9:68", "192.0.2.1:67")
	dropped := func() bool { return server.Drops()[dhcp.NotForUs] == 2 }
	require.Eventually(t, dropped, patience, time.Millisecond, "%v", server.Drops())
	served := client{newWire(t, "cli0"), hardware}
	require.Equal(t, "192.0.2.1", served.lease(t, false).server())
	_, ok := ignored.receive(t)
	require.False(t, ok, "a second after both were dropped")
}

// One socket serves two interfaces: a machine is told what holds on its own,
// also when another one there has the same hardware address.
func TestD084_TheSameMachineOnTwoInterfaces(t *testing.T) {
	cable(t, "srv0", "cli0", "192.0.2.1/24")
	cable(t, "srv1", "cli1", "198.51.100.1/24")
	serveDHCP(t,
		dhcp.Network{Interface: "srv0", Mode: dhcp.Full, Leases: pool("192.0.2.100", "192.0.2.199")},
		dhcp.Network{Interface: "srv1", Mode: dhcp.Full, Leases: pool("198.51.100.100", "198.51.100.199")})
	first, second := client{newWire(t, "cli0"), hardware}, client{newWire(t, "cli1"), hardware}
	for _, broadcast := range []bool{true, false} {
		one, two := first.lease(t, broadcast), second.lease(t, broadcast)
		require.Equal(t, "192.0.2.1", one.server())
		require.Contains(t, one.dhcp.YourIPAddr.String(), "192.0.2.")
		require.Equal(t, "198.51.100.1", two.server())
		require.Contains(t, two.dhcp.YourIPAddr.String(), "198.51.100.")
		require.Equal(t, "192.0.2.1", first.renew(t, "srv0", one, "192.0.2.1").server())
		require.Equal(t, "198.51.100.1", second.renew(t, "srv1", two, "198.51.100.1").server())
	}
	// Both at once, with one transaction: neither is taken for the other's copy.
	p := first.message(dhcpv4.MessageTypeDiscover)
	first.shout(t, p)
	second.shout(t, p)
	require.Equal(t, "192.0.2.1", first.next(t).server())
	require.Equal(t, "198.51.100.1", second.next(t).server())
}

func TestD085_TheAddressThatWasAskedAnswers(t *testing.T) {
	cable(t, "srv0", "cli0", "192.0.2.1/24", "192.0.2.2/24", "198.51.100.1/24")
	serveDHCP(t, dhcp.Network{Interface: "srv0", Mode: dhcp.Full, Leases: pool("192.0.2.100", "192.0.2.199")})
	c := client{newWire(t, "cli0"), hardware}
	ack := c.lease(t, false)
	require.Equal(t, "192.0.2.1", ack.server(), "asked at none: the first of the network")
	for _, asked := range []string{"192.0.2.2", "198.51.100.1", "192.0.2.1"} {
		reply := c.renew(t, "srv0", ack, asked)
		require.Equal(t, asked, reply.src.Addr().String())
		require.Equal(t, asked, reply.server())
		require.Equal(t, asked, reply.dhcp.ServerIPAddr.String())
	}
}
