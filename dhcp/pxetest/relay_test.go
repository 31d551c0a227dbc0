package pxetest_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/dhcp/pxetest"
)

// relayed has a server on one segment and clients on another.
func relayed(t *testing.T, option82 []byte) (*fakeServer, *pxetest.Segment) {
	servers, clients := pxetest.NewSegment(t), pxetest.NewSegment(t)
	server := prepared(t)
	server.first = netip.MustParseAddr("198.51.100.100")
	server.relayPort = 67
	server.mangle = func(q, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
		r.UpdateOption(dhcpv4.OptRouter(net.IP{198, 51, 100, 1}))
		if v := q.Options.Get(dhcpv4.OptionRelayAgentInformation); v != nil {
			r.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionRelayAgentInformation, v))
		}
		return r
	}
	server.on(servers)
	clients.Relay(pxetest.RelayAgent{Addr: "198.51.100.1/24", Servers: servers, ServersAddr: "192.0.2.2/24",
		To: []netip.Addr{server.addr}, Option82: option82})
	return server, clients
}

func TestRelayedBoot(t *testing.T) {
	for _, option82 := range [][]byte{nil, {1, 4, 'p', 'o', 'r', 't', 5, 4, 198, 51, 100, 0}} {
		for _, firmware := range []pxetest.Firmware{pxetest.UEFIx64, pxetest.IPXEROM} {
			synctest.Test(t, func(t *testing.T) {
				server, clients := relayed(t, option82)
				clients.Tap(func(f pxetest.Frame) bool {
					if f.Destination.Port() == 68 {
						p, err := dhcpv4.FromBytes(f.Payload)
						require.NoError(t, err)
						require.False(t, p.Options.Has(dhcpv4.OptionRelayAgentInformation), "clients do not see option 82")
					}
					return true
				})
				got, err := clients.Machine(mac, firmware).Boot(t.Context())
				require.NoError(t, err)
				require.True(t, got.Root.Verified)
				require.Equal(t, netip.MustParsePrefix("198.51.100.100/24"), got.Leases[0].Addr)
				for _, p := range server.packets() {
					require.Equal(t, "198.51.100.1", p.GatewayIPAddr.String())
					require.Equal(t, uint8(1), p.HopCount)
					require.Equal(t, option82, p.Options.Get(dhcpv4.OptionRelayAgentInformation))
				}
			})
		}
	}
}

// TestRelayedRefused: what a relay or a machine behind it does not put up with.
func TestRelayedRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(q, r *dhcpv4.DHCPv4)
		raw    func([]byte) []byte
		is     error
	}{
		{"no option 82 in the reply", func(_, r *dhcpv4.DHCPv4) { r.DeleteOption(dhcpv4.OptionRelayAgentInformation) }, nil, pxetest.ErrNoOffer},
		{"another option 82", func(_, r *dhcpv4.DHCPv4) {
			r.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionRelayAgentInformation, []byte{1, 1, 'y'}))
		}, nil, pxetest.ErrNoOffer},
		{"something behind option 82", nil, func(b []byte) []byte {
			b = bytes.TrimRight(b, "\x00")
			return append(b[:len(b)-1], 250, 1, 1, 255)
		}, pxetest.ErrNoOffer},
		{"another relay", func(_, r *dhcpv4.DHCPv4) { r.GatewayIPAddr = net.IP{198, 51, 100, 9} }, nil, pxetest.ErrNoOffer},
		{"no router for the machine", func(_, r *dhcpv4.DHCPv4) { r.DeleteOption(dhcpv4.OptionRouter) }, nil, syscall.ENETUNREACH},
		{"a router elsewhere", func(_, r *dhcpv4.DHCPv4) { r.UpdateOption(dhcpv4.OptRouter(net.IP{192, 0, 2, 2})) }, nil, syscall.ENETUNREACH},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, clients := relayed(t, []byte{1, 1, 'x'})
				before := server.mangle
				server.mangle = func(q, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
					r = before(q, r)
					if tt.change != nil {
						tt.change(q, r)
					}
					return r
				}
				server.raw = tt.raw
				_, err := clients.Machine(mac, pxetest.UEFIx64).Boot(t.Context())
				require.ErrorIs(t, err, tt.is)
			})
		})
	}
}

// TestRouting: hosts know the way through a relay in both directions.
func TestRouting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pxetest.NewSegment(t), pxetest.NewSegment(t)
		ha, hb := a.Host("eth0", "192.0.2.1/24"), b.Host("eth0", "198.51.100.5/24")
		_, err := ha.Dial(t.Context(), netip.MustParseAddrPort("198.51.100.5:80"))
		require.ErrorIs(t, err, syscall.ENETUNREACH, "without a relay")
		relay := b.Relay(pxetest.RelayAgent{Addr: "198.51.100.1/24", Servers: a, ServersAddr: "192.0.2.2/24",
			To: []netip.Addr{netip.MustParseAddr("192.0.2.1")}})
		l, err := hb.Listen(netip.MustParseAddrPort("0.0.0.0:80"))
		require.NoError(t, err)
		go func() {
			c, err := l.Accept()
			if err == nil {
				io.WriteString(c, "hello from "+c.LocalAddr().String())
				c.Close()
			}
		}()
		c, err := ha.Dial(context.Background(), netip.MustParseAddrPort("198.51.100.5:80"))
		require.NoError(t, err)
		text, err := io.ReadAll(c)
		require.NoError(t, err)
		require.Equal(t, "hello from 198.51.100.5:80", string(text))

		ua, err := ha.ListenPacket(netip.MustParseAddrPort("192.0.2.1:5000"))
		require.NoError(t, err)
		ub, err := hb.ListenPacket(netip.MustParseAddrPort("198.51.100.5:5000"))
		require.NoError(t, err)
		buf := make([]byte, 10)
		for _, step := range []struct{ from, to *pxetest.PacketConn }{{ua, ub}, {ub, ua}} {
			_, err := step.from.WriteTo([]byte("x"), step.to.LocalAddr())
			require.NoError(t, err)
			_, from, err := step.to.ReadFrom(buf)
			require.NoError(t, err)
			require.Equal(t, step.from.LocalAddr().String(), from.String())
		}
		_, err = ha.Dial(t.Context(), netip.MustParseAddrPort("198.51.100.6:80"))
		require.ErrorIs(t, err, syscall.EHOSTUNREACH)
		require.NoError(t, relay.Close())
		_, err = ha.Dial(t.Context(), netip.MustParseAddrPort("198.51.100.5:80"))
		require.ErrorIs(t, err, syscall.EHOSTUNREACH, "with the relay switched off")
	})
}

func TestRelayMisuse(t *testing.T) {
	var f fatal
	a, b := pxetest.NewSegment(&f), pxetest.NewSegment(&f)
	to := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	for says, agent := range map[string]pxetest.RelayAgent{
		`Addr "198.51.100.1"`:      {Addr: "198.51.100.1", Servers: b, ServersAddr: "192.0.2.2/24", To: to},
		`ServersAddr ""`:           {Addr: "198.51.100.1/24", Servers: b, To: to},
		"on another segment":       {Addr: "198.51.100.1/24", Servers: a, ServersAddr: "192.0.2.2/24", To: to},
		"needs To, the addresses":  {Addr: "198.51.100.1/24", Servers: b, ServersAddr: "192.0.2.2/24"},
		"Option82 of at most 255 ": {Addr: "198.51.100.1/24", Servers: b, ServersAddr: "192.0.2.2/24", To: to, Option82: make([]byte, 256)},
	} {
		f.text = ""
		a.Relay(agent)
		require.Contains(t, f.text, says)
	}
}
