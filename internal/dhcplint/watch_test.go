package dhcplint

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	serverPort = netip.MustParseAddrPort("192.0.2.1:67")
	clientPort = netip.MustParseAddrPort("0.0.0.0:68")
	everybody  = netip.MustParseAddrPort("255.255.255.255:68")
	servers    = netip.MustParseAddrPort("255.255.255.255:67")
)

func TestWatchPairs(t *testing.T) {
	var w Watch
	require.Empty(t, w.Datagram(clientPort, servers, discoverPacket()))
	require.Empty(t, w.Datagram(serverPort, everybody, finish(offered())))
	require.Empty(t, w.Datagram(serverPort, everybody, finish(offered())), "a second time")
	require.NotEmpty(t, w.Datagram(serverPort, everybody, finish(acked())), "to a REQUEST that nobody sent")
	require.Empty(t, w.Datagram(clientPort, servers, requestPacket()))
	require.Empty(t, w.Datagram(serverPort, everybody, finish(acked())))
	require.Empty(t, w.Datagram(serverPort, everybody, finish(refused())))
	require.Contains(t, strings.Join(w.Datagram(serverPort, everybody, put(finish(acked()), 4, 9)), "\n"), "nobody asked")
	require.Contains(t, strings.Join(w.Datagram(serverPort, everybody, put(finish(acked()), 9, 1)), "\n"), "secs")
	require.Equal(t, 7, w.Replies())
}

func TestWatchTellsPortsAndRequestsApart(t *testing.T) {
	var w Watch
	w.Datagram(clientPort, netip.MustParseAddrPort("192.0.2.1:4011"), requestPacket())
	require.NotEmpty(t, w.Datagram(serverPort, everybody, finish(proxied(5))))
	require.Empty(t, w.Datagram(netip.MustParseAddrPort("192.0.2.1:4011"), everybody, finish(proxied(5))))

	// One transaction ID for two requests: either may be the one answered.
	w.Datagram(clientPort, servers, requestPacket())
	w.Datagram(clientPort, servers, finish(packet(1, o(53, 3), o(50, 192, 0, 2, 101))))
	require.Empty(t, w.Datagram(serverPort, everybody, finish(acked())))
	require.Empty(t, w.Datagram(serverPort, everybody, put(finish(acked()), offsetYiaddr, 192, 0, 2, 101)))
	require.NotEmpty(t, w.Datagram(serverPort, everybody, put(finish(acked()), offsetYiaddr, 192, 0, 2, 102)))
}

func TestWatchOfOneServer(t *testing.T) {
	w := Watch{Servers: []netip.Addr{serverPort.Addr()}}
	bad := put(finish(offered()), 3, 1)
	require.Empty(t, w.Datagram(netip.MustParseAddrPort("192.0.2.254:67"), everybody, bad))
	require.Zero(t, w.Replies())
	require.NotEmpty(t, w.Datagram(serverPort, everybody, bad))
	require.Empty(t, w.Datagram(serverPort, everybody, []byte("\x00\x05\x00\x04not DHCP\x00")))
}

func TestWatchIsBounded(t *testing.T) {
	var w Watch
	b := requestPacket()
	for n := range maxRemembered + 10 {
		w.Datagram(clientPort, servers, put(b, 4, byte(n>>16), byte(n>>8), byte(n)))
	}
	for range 100 {
		w.Datagram(clientPort, servers, put(b, 4, 0, 0, 1))
	}
	require.Len(t, w.requests, maxRemembered)
	for key, same := range w.requests {
		require.LessOrEqual(t, len(same), maxAlike, key)
	}
	require.Empty(t, w.Datagram(serverPort, everybody, put(finish(acked()), 4, 9, 9, 9)), "it may be forgotten")
}
