package pxetest_test

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/dhcp/pxetest"
)

// TestDHCPServer speaks to the office router by the public codec.
func TestDHCPServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		segment := pxetest.NewSegment(t)
		router := segment.DHCPServer("192.0.2.254/24", "192.0.2.100", "192.0.2.101")
		client, err := segment.Host("eth0", "192.0.2.9/24").ListenPacket(netip.MustParseAddrPort("0.0.0.0:68"))
		require.NoError(t, err)
		ask := func(p *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
			p.SetBroadcast()
			_, err := client.WriteTo(p.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: 67})
			require.NoError(t, err)
			client.SetReadDeadline(time.Now().Add(time.Minute))
			b := make([]byte, 1500)
			n, _, err := client.ReadFrom(b)
			if err != nil {
				return nil
			}
			reply, err := dhcpv4.FromBytes(b[:n])
			require.NoError(t, err)
			require.Equal(t, p.TransactionID, reply.TransactionID)
			return reply
		}
		discover := func(last byte) *dhcpv4.DHCPv4 {
			p, err := dhcpv4.NewDiscovery(net.HardwareAddr{2, 0, 0, 0, 0, last})
			require.NoError(t, err)
			return p
		}
		offer := ask(discover(1))
		require.Equal(t, dhcpv4.MessageTypeOffer, offer.MessageType())
		require.Equal(t, "192.0.2.100", offer.YourIPAddr.String())
		require.Empty(t, offer.BootFileName)
		require.False(t, offer.Options.Has(dhcpv4.OptionClassIdentifier))
		require.Equal(t, "0.0.0.0", offer.ServerIPAddr.String())
		require.Equal(t, "192.0.2.254", offer.Router()[0].String())
		require.Equal(t, "192.0.2.101", ask(discover(2)).YourIPAddr.String())
		require.Nil(t, ask(discover(3)), "no address is left")
		require.Equal(t, map[string]netip.Addr{mac: netip.MustParseAddr("192.0.2.100"),
			"02:00:00:00:00:02": netip.MustParseAddr("192.0.2.101")}, router.Leases())

		request, err := dhcpv4.NewRequestFromOffer(offer)
		require.NoError(t, err)
		require.Equal(t, dhcpv4.MessageTypeAck, ask(request).MessageType())
		request.UpdateOption(dhcpv4.OptRequestedIPAddress(net.IP{192, 0, 2, 7}))
		require.Equal(t, dhcpv4.MessageTypeNak, ask(request).MessageType())
		request.UpdateOption(dhcpv4.OptServerIdentifier(net.IP{192, 0, 2, 1}))
		require.Nil(t, ask(request), "another server was chosen")
		release, err := dhcpv4.NewReleaseFromACK(offer)
		require.NoError(t, err)
		require.Nil(t, ask(release))

		router.SetBootFile("evil.0", netip.MustParseAddr("192.0.2.66"))
		router.SetOption(60, []byte("PXEClient"))
		router.SetOption(6, nil)
		router.SetDelay(10 * time.Second)
		started := time.Now()
		offer = ask(discover(1))
		require.Equal(t, 10*time.Second, time.Since(started))
		require.Equal(t, "evil.0", offer.BootFileName)
		require.Equal(t, "evil.0", offer.BootFileNameOption())
		require.Equal(t, "192.0.2.66", offer.ServerIPAddr.String())
		require.Equal(t, "PXEClient", offer.ClassIdentifier())
		require.Empty(t, offer.DNS())
		router.SetBootFile("", netip.Addr{})
		require.Empty(t, ask(discover(1)).BootFileName)

		require.NoError(t, router.Close())
		require.Nil(t, ask(discover(1)))
	})
}

func TestDHCPServerMisuse(t *testing.T) {
	for _, tt := range [][3]string{
		{"192.0.2.254/24", "198.51.100.1", "198.51.100.2"}, {"192.0.2.254/24", "192.0.2.9", "192.0.2.1"}, {"192.0.2.254/24", "", ""},
	} {
		var f fatal
		pxetest.NewSegment(&f).DHCPServer(tt[0], tt[1], tt[2])
		require.Contains(t, f.text, "cannot give out")
	}
}
