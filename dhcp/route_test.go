package dhcp

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/stretchr/testify/require"
)

func TestRoute(t *testing.T) {
	hw := mac(1)
	infiniband := func(p *dhcpv4.DHCPv4) { p.HWType = iana.HWTypeInfiniband; p.ClientHWAddr = nil; opt(61, 0, 1, 2)(p) }
	for name, c := range map[string]struct {
		p     *dhcpv4.DHCPv4
		kind  string
		route Route
		to    string
		hw    net.HardwareAddr
	}{
		"D-080 OFFER by relay":               {discover(hw, giaddr("192.0.2.2")), "OFFER", ByRelay, "192.0.2.2:67", nil},
		"D-080 relay before broadcast flag":  {discover(hw, giaddr("192.0.2.2"), broadcastFlag), "OFFER", ByRelay, "192.0.2.2:67", nil},
		"D-081 RENEW to ciaddr":              {request(hw, ciaddr("192.0.2.100")), "ACK", ByUnicast, "192.0.2.100:68", nil},
		"D-081 ciaddr before broadcast flag": {request(hw, ciaddr("192.0.2.100"), broadcastFlag), "ACK", ByUnicast, "192.0.2.100:68", nil},
		"D-082 broadcast flag":               {discover(hw, broadcastFlag), "OFFER", ByBroadcast, "255.255.255.255:68", nil},
		"D-083 frame":                        {discover(hw), "OFFER", ByFrame, "192.0.2.100:68", hw},
		"D-083 frame for ACK":                {request(hw, selecting("192.0.2.100")), "ACK", ByFrame, "192.0.2.100:68", hw},
		"D-003 no frame without Ethernet":    {discover(hw, infiniband), "OFFER", ByBroadcast, "255.255.255.255:68", nil},
		"D-061 NAK is broadcast":             {request(hw, selecting("192.0.2.7")), "NAK", ByBroadcast, "255.255.255.255:68", nil},
		"D-061 NAK not to ciaddr":            {request(hw, ciaddr("192.0.2.101")), "NAK", ByBroadcast, "255.255.255.255:68", nil},
		"D-062 NAK by relay":                 {request(hw, selecting("192.0.2.7"), giaddr("192.0.2.2")), "NAK", ByRelay, "192.0.2.2:67", nil},
		"D-074 INFORM":                       {message(dhcpv4.MessageTypeInform, hw, ciaddr("192.0.2.50")), "ACK", ByUnicast, "192.0.2.50:68", nil},
		"D-074 INFORM by relay":              {message(dhcpv4.MessageTypeInform, hw, ciaddr("192.0.2.50"), giaddr("192.0.2.2")), "ACK", ByUnicast, "192.0.2.50:68", nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(withPool(&Pool{First: addr("192.0.2.100"), Last: addr("192.0.2.199"),
				Reservations: []Reservation{{HardwareAddr: hw, Addr: addr("192.0.2.100")}}}))
			x := ask(t, s, c.p)
			if c.kind == "OFFER" && c.p.ClientHWAddr == nil {
				require.NotEmpty(t, x.addr())
			}
			require.Equal(t, c.kind, x.kind(), "%s %v", x.reason, x.err)
			require.Equal(t, c.route, x.d.Route)
			require.Equal(t, c.to, x.d.To.String())
			require.Equal(t, c.hw, x.d.HardwareAddr)
			require.Equal(t, "eth1", x.d.Interface, "D-084")
			require.Equal(t, addr(serverIP), x.d.From)
			require.Equal(t, c.kind == "NAK" && x.d.Route == ByRelay || c.p.IsBroadcast(), x.reply.IsBroadcast(), "D-062: B only for a relayed NAK")
		})
	}
}

func TestD084_ReplyLeavesByTheIngressInterface(t *testing.T) {
	s := newServer(func(s *Server) {
		s.Networks = append(s.Networks, Network{Interface: "eth2", Addr: netip.MustParsePrefix("198.51.100.1/24"), Mode: Full,
			Leases: &Pool{First: addr("198.51.100.100"), Last: addr("198.51.100.199")}})
	})
	c := serve(t, s)
	for ifname, server := range map[string]string{"eth1": "192.0.2.1", "eth2": "198.51.100.1"} {
		c.in <- fakePacket{discover(mac(1)).ToBytes(), netip.MustParseAddrPort("0.0.0.0:68"), addr("255.255.255.255"), ifname}
		p, sent := c.next(t)
		require.Equal(t, ifname, sent.ifname)
		require.Equal(t, server+":67", sent.src.String(), "D-086")
		require.Equal(t, server, net.IP(p.Options.Get(dhcpv4.OptionServerIdentifier)).String())
	}
}

func TestD086_RequestsFromAnyPortAreAnsweredToTheClientPort(t *testing.T) {
	s := newServer()
	x := askFrom(t, s, discover(mac(1)).ToBytes(), netip.MustParseAddrPort("192.0.2.9:40000"), netip.Addr{}, "eth1", nil)
	require.EqualValues(t, 68, x.d.To.Port())
	s = newServer(func(s *Server) { s.ClientPort, s.RelayPort = 1068, 1067 })
	require.EqualValues(t, 1068, ask(t, s, discover(mac(1))).d.To.Port())
	require.EqualValues(t, 1067, ask(t, s, discover(mac(1), giaddr("192.0.2.2"))).d.To.Port())
}

func TestD083_FallsBackToBroadcast(t *testing.T) {
	t.Run("the frame fails", func(t *testing.T) {
		var d Delivery
		sent := make(chan struct{})
		s := newServer(func(s *Server) {
			s.Trace = &Trace{Sent: func(_ *Request, _ *dhcpv4.DHCPv4, got Delivery) { d = got; close(sent) }}
		})
		c := serve(t, s)
		c.mu.Lock()
		c.frameErr = errors.New("not permitted")
		c.mu.Unlock()
		c.put(discover(mac(1)))
		_, got := c.next(t)
		<-sent
		require.Equal(t, "255.255.255.255:68", got.dst.String())
		require.Equal(t, "eth1", got.ifname)
		require.Nil(t, got.hw)
		require.Equal(t, ByBroadcast, d.Route)
		require.EqualError(t, d.Err, "not permitted")
	})
	t.Run("a plain conn", func(t *testing.T) {
		s := newServer()
		c := newFakeConn(t)
		done := make(chan error, 1)
		go func() { done <- s.Serve(struct{ net.PacketConn }{c}) }()
		c.put(discover(mac(1)))
		p, got := c.next(t)
		require.Equal(t, "255.255.255.255:68", got.dst.String())
		require.Equal(t, serverIP, net.IP(p.Options.Get(dhcpv4.OptionServerIdentifier)).String())
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-done, ErrServerClosed)
	})
}

func TestServerAddress(t *testing.T) {
	lister := newFakeConn(t)
	lister.addrs = map[string][]netip.Prefix{
		"eth1": {netip.MustParsePrefix("203.0.113.5/24"), netip.MustParsePrefix("192.0.2.3/24"), netip.MustParsePrefix("192.0.2.4/24")},
		"eth3": nil,
	}
	one := func(n Network) *Server { return newServer(func(s *Server) { s.Networks[0] = n }) }
	pool := &Pool{First: addr("192.0.2.100"), Last: addr("192.0.2.199")}
	fixed := Network{Interface: "eth1", Addr: netip.MustParsePrefix("192.0.2.1/24"), Mode: Full, Leases: pool}
	asked := Network{Interface: "eth1", Mode: Full, Leases: pool}
	nat := fixed
	nat.ServerAddr = addr("198.51.100.77")
	for name, c := range map[string]struct {
		n        Network
		to       string
		ifname   string
		id, next string
		reason   DropReason
	}{
		"D-085 broadcast: the network's address": {fixed, "255.255.255.255", "eth1", "192.0.2.1", "192.0.2.1", ""},
		"D-085 directed broadcast":               {fixed, "192.0.2.255", "eth1", "192.0.2.1", "192.0.2.1", ""},
		"D-085 unknown destination":              {fixed, "", "eth1", "192.0.2.1", "192.0.2.1", ""},
		"D-085 unicast: the destination":         {fixed, "192.0.2.4", "eth1", "192.0.2.4", "192.0.2.4", ""},
		"D-085 asked: where the pool lies":       {asked, "255.255.255.255", "eth1", "192.0.2.3", "192.0.2.3", ""},
		"D-085 asked, unicast: the destination":  {asked, "192.0.2.4", "eth1", "192.0.2.4", "192.0.2.4", ""},
		"override is next server and not 54":     {nat, "255.255.255.255", "eth1", "192.0.2.1", "198.51.100.77", ""},
		"no address: dropped by name":            {Network{Interface: "eth3", Mode: Full, Leases: pool}, "255.255.255.255", "eth3", "", "", NoServerAddr},
		"interface unknown to the system":        {Network{Interface: "eth4", Mode: Full, Leases: pool}, "255.255.255.255", "eth4", "", "", NoServerAddr},
		"an interface that is not configured":    {fixed, "255.255.255.255", "eth9", "", "", NotForUs},
		"unicast to an interface not configured": {fixed, "192.0.2.1", "eth9", "", "", NotForUs},
		"any interface":                          {Network{Addr: fixed.Addr, Mode: Full, Leases: pool}, "255.255.255.255", "eth9", "192.0.2.1", "192.0.2.1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var to netip.Addr
			if c.to != "" {
				to = addr(c.to)
			}
			x := askFrom(t, one(c.n), discover(mac(1)).ToBytes(), netip.MustParseAddrPort("0.0.0.0:68"), to, c.ifname, lister)
			require.Equal(t, c.reason, x.reason, "%v", x.err)
			if c.reason == NoServerAddr {
				require.ErrorContains(t, x.err, c.ifname)
			}
			if c.reason != "" {
				return
			}
			require.Equal(t, c.id, net.IP(x.reply.Options.Get(dhcpv4.OptionServerIdentifier)).String())
			require.Equal(t, c.next, x.reply.ServerIPAddr.String(), "P-021: siaddr, also for a plain client")
			require.Equal(t, c.next, x.r.ServerAddr.String())
			require.Equal(t, c.id, x.d.From.String())
		})
	}
}

func TestRelayedRequests(t *testing.T) {
	s := newServer(func(s *Server) {
		s.Networks = append(s.Networks, Network{Interface: "eth2", Addr: netip.MustParsePrefix("198.51.100.1/24"), Mode: Full,
			Leases: &Pool{First: addr("198.51.100.100"), Last: addr("198.51.100.199")}})
	})
	x := ask(t, s, discover(mac(1), giaddr("198.51.100.2")))
	require.Equal(t, "OFFER", x.kind())
	require.Contains(t, x.addr(), "198.51.100.", "D-020: the subnet of giaddr, not of the interface")
	x = ask(t, s, discover(mac(2), giaddr("203.0.113.2")))
	require.Equal(t, NoNetwork, x.reason)
	require.ErrorContains(t, x.err, "203.0.113.2")
}
