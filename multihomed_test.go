package pxe_test

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/dhcp/pxetest"
)

// A server with a leg in each of two networks answers every machine with the
// address by which that machine reaches it, in each place where one stands.
func TestEachNetworkIsServedFromItsOwnAddress(t *testing.T) {
	var events recorder
	srv := rescueServer(&events)
	pool := func(first, last string) *dhcp.Pool {
		return &dhcp.Pool{First: netip.MustParseAddr(first), Last: netip.MustParseAddr(last)}
	}
	srv.Networks = []pxe.Network{
		{Interface: "eth1", Mode: dhcp.Full, Leases: pool("192.0.2.100", "192.0.2.199")},
		{Interface: "eth2", Mode: dhcp.Full, Leases: pool("198.51.100.100", "198.51.100.199")},
	}
	synctest.Test(t, func(t *testing.T) {
		first, second, third := newSegment(t), newSegment(t), newSegment(t)
		sockets := first.Host("eth1", "192.0.2.1/24").Attach(second, "eth2", "198.51.100.1/24").
			Attach(third, "eth3", "203.0.113.1/24").Sockets()
		served := make(chan error, 1)
		go func() { served <- srv.Serve(sockets) }()

		var group sync.WaitGroup
		for server, segment := range map[string]*pxetest.Segment{"192.0.2.1": first, "198.51.100.1": second} {
			for n, firmware := range []pxetest.Firmware{pxetest.BIOSPXE, pxetest.UEFIx64, pxetest.IPXEROM} {
				machine := segment.Machine([]string{"02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c"}[n], firmware)
				if server == "198.51.100.1" {
					machine.HardwareAddr[4] = 1
				}
				group.Go(func() {
					boot, err := machine.Boot(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					require.True(t, strings.HasPrefix(boot.Root.URL, "http://"+server+"/~"), boot.Root.URL)
					for _, lease := range boot.Leases {
						require.Equal(t, server, lease.Server.String())
						require.Equal(t, server, lease.NextServer.String())
						require.True(t, lease.Addr.Contains(lease.Server))
					}
					for _, file := range boot.Files {
						require.True(t, file.Protocol == "tftp" || strings.HasPrefix(file.Name, "http://"+server+"/"), file.Name)
					}
				})
			}
		}
		group.Wait()

		_, err := third.Machine("02:00:00:00:00:0d", pxetest.IPXEROM).Boot(t.Context())
		require.ErrorIs(t, err, pxetest.ErrNoOffer, "nobody serves the third network")
		require.NoError(t, srv.Shutdown(t.Context()))
		require.ErrorIs(t, <-served, pxe.ErrServerClosed)
	})
	require.NotZero(t, srv.Drops()["dhcp: not-for-us"])
}
