package pxe

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/dhcp"
)

func TestWhoIsInTheWay(t *testing.T) {
	router, proxy := dhcp.Detected{DHCP: true}, dhcp.Detected{PXE: true}
	web := dhcp.Detected{HTTPBoot: true}
	require.True(t, inTheWay(dhcp.Full, router))
	require.True(t, inTheWay(dhcp.Full, proxy))
	require.False(t, inTheWay(dhcp.Proxy, router), "it is what a proxy needs")
	require.True(t, inTheWay(dhcp.Proxy, proxy))
	require.True(t, inTheWay(dhcp.Proxy, web))
	require.False(t, inTheWay(dhcp.BootServer, router))
	require.False(t, inTheWay(dhcp.BootServer, proxy), "its options send machines here")
	require.False(t, inTheWay(dhcp.Full, dhcp.Detected{}))
}

func TestAConflictNamesTheServerAndTheRemedies(t *testing.T) {
	err := &ConflictError{Neighbours: []Neighbour{{
		Interface: "eth1", Conflict: true,
		Detected: dhcp.Detected{ServerID: netip.MustParseAddr("192.0.2.9"), DHCP: true, BootFile: "a\nb"},
	}}}
	for _, want := range []string{"on eth1 192.0.2.9 gives out addresses", `"a\nb"`, "mode Proxy", "DetectTime"} {
		require.ErrorContains(t, err, want)
	}
	require.NotContains(t, err.Error(), "\n")
}

func TestPortIn(t *testing.T) {
	for address, want := range map[string]uint16{"": 0, ":6767": 6767, "192.0.2.1:67": 67, "x": 0, ":http": 0, ":70000": 0} {
		require.Equal(t, want, portIn(address), address)
	}
}
