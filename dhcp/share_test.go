package dhcp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// memberOf is a policy that says whom it knows, and counts what it hears.
type memberOf struct {
	*Pool
	known     map[string]bool
	err       error
	nothing   bool
	withdrawn int
}

func (m *memberOf) Knows(_ context.Context, r *Request) bool {
	return m.known[r.HardwareAddr().String()]
}
func (m *memberOf) Covers(a netip.Addr) bool { return !a.Less(m.First) && !m.Last.Less(a) }
func (m *memberOf) WithdrawOffer(ctx context.Context, r *Request) {
	m.withdrawn++
	m.Pool.WithdrawOffer(ctx, r)
}

func (m *memberOf) Discover(ctx context.Context, r *Request) (Lease, error) {
	if m.err != nil || m.nothing {
		return nil, m.err
	}
	return m.Pool.Discover(ctx, r)
}

// shared is a server with three networks of one address each on eth1, and two
// behind relays on one link.
func shared() (*Server, []*memberOf) {
	s := &Server{}
	var policies []*memberOf
	add := func(n Network, client string) {
		policies = append(policies, &memberOf{Pool: &Pool{First: addr(client), Last: addr(client)}, known: make(map[string]bool)})
		n.Mode, n.Leases = Full, policies[len(policies)-1]
		s.Networks = append(s.Networks, n)
	}
	add(Network{Interface: "eth1", Addr: netip.MustParsePrefix("192.0.2.1/24"), ServerAddr: addr("192.0.2.80")}, "192.0.2.100")
	add(Network{Interface: "eth1", Addr: netip.MustParsePrefix("198.51.100.1/24"), Routers: []netip.Addr{addr("198.51.100.2")}}, "198.51.100.100")
	add(Network{Interface: "eth1", Addr: netip.MustParsePrefix("203.0.113.1/24")}, "203.0.113.100")
	add(Network{Subnet: netip.MustParsePrefix("10.1.0.0/16"), Link: "far"}, "10.1.0.100")
	add(Network{Subnet: netip.MustParsePrefix("10.2.0.0/16"), Link: "far"}, "10.2.0.100")
	add(Network{Subnet: netip.MustParsePrefix("10.3.0.0/16")}, "10.3.0.100")
	return s, policies
}

// knownTo makes a client known to some of the policies.
func knownTo(p []*memberOf, hw net.HardwareAddr, which ...int) {
	for _, i := range which {
		p[i].known[hw.String()] = true
	}
}

func TestSharedNetworks(t *testing.T) {
	broken := errors.New("the disk is full")
	for name, c := range map[string]struct {
		prepare func(p []*memberOf)
		mods    []dhcpv4.Modifier
		addr    string // "" for none
		reason  DropReason
	}{
		"the first":                        {func([]*memberOf) {}, nil, "192.0.2.100", ""},
		"it is full: the next":             {func(p []*memberOf) { p[0].err = ErrNoAddress }, nil, "198.51.100.100", ""},
		"it has nothing: the next":         {func(p []*memberOf) { p[0].nothing = true; p[1].err = ErrNoAddress }, nil, "203.0.113.100", ""},
		"the one that knows the client":    {func(p []*memberOf) { knownTo(p, mac(1), 2) }, nil, "203.0.113.100", ""},
		"two know it: in order":            {func(p []*memberOf) { knownTo(p, mac(1), 1, 2) }, nil, "198.51.100.100", ""},
		"known where it is full":           {func(p []*memberOf) { knownTo(p, mac(1), 2); p[2].err = ErrNoAddress }, nil, "192.0.2.100", ""},
		"others are known":                 {func(p []*memberOf) { knownTo(p, mac(2), 2) }, nil, "192.0.2.100", ""},
		"a policy fails: nobody else does": {func(p []*memberOf) { p[0].err = broken }, nil, "", Error},
		"all are full, or have nothing": {func(p []*memberOf) { p[0].err = ErrNoAddress; p[1].nothing = true; p[2].nothing = true },
			nil, "", NoAddress},
		"nobody has anything":         {func(p []*memberOf) { p[0].nothing, p[1].nothing, p[2].nothing = true, true, true }, nil, "", Policy},
		"O-015 the one it selects":    {func(p []*memberOf) { knownTo(p, mac(1), 0) }, []dhcpv4.Modifier{optAddr(118, "203.0.113.0")}, "203.0.113.100", ""},
		"O-015 it is full":            {func(p []*memberOf) { p[2].err = ErrNoAddress }, []dhcpv4.Modifier{optAddr(118, "203.0.113.0")}, "192.0.2.100", ""},
		"relay: the selected one":     {func([]*memberOf) {}, []dhcpv4.Modifier{giaddr("10.2.0.1")}, "10.2.0.100", ""},
		"relay: then of its link":     {func(p []*memberOf) { p[4].err = ErrNoAddress }, []dhcpv4.Modifier{giaddr("10.2.0.1")}, "10.1.0.100", ""},
		"relay: the one that knows":   {func(p []*memberOf) { knownTo(p, mac(1), 3) }, []dhcpv4.Modifier{giaddr("10.2.0.1")}, "10.1.0.100", ""},
		"relay: never of another":     {func(p []*memberOf) { p[5].err = ErrNoAddress; knownTo(p, mac(1), 0, 3) }, []dhcpv4.Modifier{giaddr("10.3.0.1")}, "", NoAddress},
		"relay: a link of ours, full": {func(p []*memberOf) { p[1].err = ErrNoAddress }, []dhcpv4.Modifier{giaddr("198.51.100.2")}, "192.0.2.100", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, policies := shared()
			require.NoError(t, s.Validate())
			c.prepare(policies)
			from, to := netip.MustParseAddrPort("192.0.2.9:67"), addr("192.0.2.1")
			if c.mods == nil || c.mods[0] == nil {
				to = addr("255.255.255.255")
			}
			x := askFrom(t, s, discover(mac(1), c.mods...).ToBytes(), from, to, "eth1", newFakeConn(t))
			require.Equal(t, c.reason, x.reason, "%v", x.err)
			require.Equal(t, c.addr, x.addr())
			if c.addr == "" {
				return
			}
			require.True(t, x.r.Prefix.Contains(addr(c.addr)), "the place is that of the offer")
			require.Equal(t, x.r.Network.Routers != nil, x.reply.Options.Has(dhcpv4.OptionRouter))
			server := x.r.ServerID
			if x.r.Network.ServerAddr.IsValid() {
				server = x.r.Network.ServerAddr
			}
			require.Equal(t, server.String(), x.reply.ServerIPAddr.String())

			took := append(c.mods, optAddr(50, c.addr), optAddr(54, x.r.ServerID.String()))
			x = askFrom(t, s, request(mac(1), took...).ToBytes(), from, to, "eth1", newFakeConn(t))
			require.Equal(t, "ACK", x.kind(), "%s %v", x.reason, x.err)
			require.Equal(t, c.addr, x.addr())
		})
	}
}

func TestTheAddressTellsWhichNetworkIsMeant(t *testing.T) {
	lease := func(s *Server) {
		x := ask(t, s, discover(mac(1)))
		require.Equal(t, "192.0.2.1", x.r.ServerID.String())
		for i, a := range []string{"192.0.2.100", "198.51.100.100", "203.0.113.100"} {
			x := ask(t, s, request(mac(i+1), optAddr(50, a), optAddr(54, s.Networks[i].Addr.Addr().String())))
			require.Equal(t, "ACK", x.kind(), "%s %v", x.reason, x.err)
			require.Equal(t, a, x.addr())
			require.Equal(t, &s.Networks[i], x.r.Network)
		}
	}
	t.Run("REQUEST in all states", func(t *testing.T) {
		s, _ := shared()
		lease(s)
		x := ask(t, s, request(mac(3), ciaddr("203.0.113.100")))
		require.Equal(t, "ACK", x.kind())
		require.Equal(t, addr("203.0.113.1"), x.r.ServerID)
		x = ask(t, s, request(mac(3), optAddr(50, "203.0.113.100")))
		require.Equal(t, "ACK", x.kind())
		x = ask(t, s, request(mac(1), ciaddr("203.0.113.100")))
		require.Equal(t, Policy, x.reason, "another client's; that network is not Authoritative")
		s.Networks[2].Authoritative = true
		require.Equal(t, "NAK", ask(t, s, request(mac(1), ciaddr("203.0.113.100"))).kind())
		x = ask(t, s, request(mac(3), optAddr(50, "172.16.0.9")))
		require.Equal(t, Policy, x.reason, "of none: the first, which is not Authoritative")
		require.Equal(t, &s.Networks[0], x.r.Network)
		s.Networks[0].Authoritative = true
		require.Equal(t, "NAK", ask(t, s, request(mac(3), optAddr(50, "172.16.0.9"))).kind())
	})
	t.Run("RELEASE and DECLINE", func(t *testing.T) {
		s, policies := shared()
		lease(s)
		require.Empty(t, ask(t, s, release(2, "198.51.100.100", optAddr(54, "198.51.100.1"))).reason)
		require.Equal(t, Policy, ask(t, s, release(2, "203.0.113.100", optAddr(54, "198.51.100.1"))).reason)
		require.Empty(t, ask(t, s, decline(3, "203.0.113.100", optAddr(54, "203.0.113.1"))).reason)
		policies[0].err = ErrNoAddress
		require.Equal(t, "198.51.100.100", ask(t, s, discover(mac(9))).addr())
	})
	t.Run("INFORM", func(t *testing.T) {
		s, _ := shared()
		x := ask(t, s, message(dhcpv4.MessageTypeInform, mac(1), ciaddr("198.51.100.50")))
		require.Equal(t, "ACK", x.kind())
		require.Equal(t, []byte{198, 51, 100, 2}, x.reply.Options.Get(dhcpv4.OptionRouter))
		require.Equal(t, NoNetwork, ask(t, s, message(dhcpv4.MessageTypeInform, mac(1), ciaddr("172.16.0.9"))).reason)
	})
	t.Run("an offer that is not taken ends in all", func(t *testing.T) {
		s, policies := shared()
		ask(t, s, discover(mac(1)))
		x := ask(t, s, request(mac(1), optAddr(50, "192.0.2.100"), optAddr(54, "192.0.2.5")))
		require.Equal(t, NotForUs, x.reason)
		require.Equal(t, []int{1, 1, 1, 0}, []int{policies[0].withdrawn, policies[1].withdrawn, policies[2].withdrawn, policies[3].withdrawn})
	})
}

// Real pools on one interface whose addresses nobody has configured twice: the
// address asked at is not taken for the client's network.
func TestSharedPoolsAskedByUnicast(t *testing.T) {
	s := newServer()
	s.Networks = append(s.Networks, Network{Interface: "eth1", Addr: netip.MustParsePrefix("198.51.100.1/24"), Mode: Full,
		Leases: &Pool{First: addr("198.51.100.100"), Last: addr("198.51.100.199")}})
	ack := ask(t, s, request(mac(1), optAddr(50, "198.51.100.100"), optAddr(54, "198.51.100.1")))
	require.Equal(t, "ACK", ack.kind(), "%s %v", ack.reason, ack.err)
	x := askFrom(t, s, request(mac(1), ciaddr("198.51.100.100")).ToBytes(),
		netip.MustParseAddrPort("198.51.100.100:68"), addr("192.0.2.1"), "eth1", nil)
	require.Equal(t, "ACK", x.kind(), "%s %v", x.reason, x.err)
	require.Equal(t, addr("192.0.2.1"), x.r.ServerID, "D-085: the address asked at")
	require.Equal(t, addr("198.51.100.1"), x.r.Prefix.Addr())

	// A sole network follows its interface; there too the pool says where it is.
	conn := newFakeConn(t)
	conn.addrs["eth1"] = []netip.Prefix{netip.MustParsePrefix("203.0.113.1/24"), netip.MustParsePrefix("192.0.2.1/24")}
	s = newServer(func(s *Server) { s.Networks[0].Addr = netip.Prefix{} })
	x = askFrom(t, s, discover(mac(1)).ToBytes(), netip.MustParseAddrPort("0.0.0.0:68"), addr("203.0.113.1"), "eth1", conn)
	require.Equal(t, "OFFER", x.kind(), "%s %v", x.reason, x.err)
	require.Equal(t, addr("203.0.113.1"), x.r.ServerID)
}

func TestValidateNetworksTogether(t *testing.T) {
	pool := func(a string) *Pool { return &Pool{First: addr(a), Last: addr(a)} }
	subnet := func(p, link string) Network {
		n := netip.MustParsePrefix(p)
		return Network{Subnet: n, Link: link, Mode: Full, Leases: pool(n.Masked().Addr().Next().String())}
	}
	on := func(ifname, p, link string) Network {
		n := netip.MustParsePrefix(p)
		return Network{Interface: ifname, Addr: n, Link: link, Mode: Full, Leases: pool(n.Addr().Next().String())}
	}
	edit := func(n Network, e func(*Network)) Network { e(&n); return n }
	for name, c := range map[string]struct {
		networks []Network
		errs     []string
	}{
		"shared":                       {[]Network{on("eth1", "192.0.2.1/24", ""), on("eth1", "198.51.100.1/24", "")}, nil},
		"two interfaces":               {[]Network{on("eth1", "192.0.2.1/24", ""), on("eth2", "198.51.100.1/24", "")}, nil},
		"one link by two interfaces":   {[]Network{on("eth1", "192.0.2.1/24", "x"), on("eth2", "198.51.100.1/24", "x")}, nil},
		"one subnet on two interfaces": {[]Network{on("eth1", "192.0.2.1/24", ""), on("eth2", "192.0.2.1/24", "")}, nil},
		"relays beside a nameless one": {[]Network{on("", "192.0.2.1/24", ""), subnet("198.51.100.0/24", ""), subnet("203.0.113.0/24", "")}, nil},
		"relays alone":                 {[]Network{subnet("198.51.100.0/24", "")}, nil},
		"relays that share a link":     {[]Network{subnet("198.51.100.0/24", "x"), subnet("203.0.113.0/24", "x")}, nil},
		"two nameless":                 {[]Network{on("", "192.0.2.1/24", ""), on("", "198.51.100.1/24", "")}, []string{"sole network"}},
		"a nameless one and another":   {[]Network{on("", "192.0.2.1/24", ""), on("eth1", "198.51.100.1/24", "")}, []string{"network 1 of 2 has no Interface"}},
		"shared, no Addr":              {[]Network{on("eth1", "192.0.2.1/24", ""), edit(on("eth1", "198.51.100.1/24", ""), func(n *Network) { n.Addr = netip.Prefix{} })}, []string{`interface "eth1"; set Addr`}},
		"shared, two links":            {[]Network{on("eth1", "192.0.2.1/24", "x"), on("eth1", "198.51.100.1/24", "")}, []string{`Link "x" and ""`}},
		"shared, two modes":            {[]Network{on("eth1", "192.0.2.1/24", ""), edit(on("eth1", "198.51.100.1/24", ""), func(n *Network) { n.Mode = Proxy })}, []string{"mode full and proxy"}},
		"Link, two modes":              {[]Network{subnet("198.51.100.0/24", "x"), edit(on("eth1", "192.0.2.1/24", "x"), func(n *Network) { n.Mode = Proxy })}, []string{"mode full and proxy"}},
		"overlap on a link":            {[]Network{on("eth1", "192.0.2.1/24", "x"), on("eth2", "192.0.2.130/25", "x")}, []string{"overlap: 192.0.2.0/24 and 192.0.2.128/25"}},
		"subnets overlap":              {[]Network{subnet("198.51.100.0/24", ""), subnet("198.51.100.128/25", "")}, []string{"overlap"}},
		"subnets overlap with a link":  {[]Network{on("eth1", "198.51.100.1/24", ""), subnet("198.51.100.128/25", "")}, []string{"overlap"}},
		"Subnet and Addr":              {[]Network{edit(subnet("198.51.100.0/24", ""), func(n *Network) { n.Addr = netip.MustParsePrefix("192.0.2.1/24") })}, []string{"both set"}},
		"Subnet is an address":         {[]Network{subnet("198.51.100.1/24", "")}, []string{"the subnet is 198.51.100.0/24"}},
		"Subnet of IPv6":               {[]Network{edit(subnet("198.51.100.0/24", ""), func(n *Network) { n.Subnet = netip.MustParsePrefix("2001:db8::/64") })}, []string{"not an IPv4 subnet"}},
		"Subnet of everything":         {[]Network{edit(subnet("198.51.100.0/24", ""), func(n *Network) { n.Subnet = netip.MustParsePrefix("0.0.0.0/0") })}, []string{"not an IPv4 subnet"}},
		"Subnet invalid":               {[]Network{edit(subnet("198.51.100.0/24", ""), func(n *Network) { n.Subnet = netip.PrefixFrom(addr("198.51.100.0"), 33) })}, []string{"not an IPv4 subnet"}},
		"a pool outside of the Subnet": {[]Network{edit(subnet("198.51.100.0/24", ""), func(n *Network) { n.Leases = pool("192.0.2.9") })}, []string{`network "198.51.100.0/24"`, "not inside"}},
		"a reservation outside of a Subnet": {[]Network{edit(subnet("198.51.100.0/24", ""), func(n *Network) {
			n.Leases.(*Pool).Reservations = []Reservation{{HardwareAddr: mac(1), Addr: addr("192.0.2.9")}}
		})}, []string{"not inside"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := (&Server{Networks: c.networks}).Validate()
			if c.errs == nil {
				require.NoError(t, err)
			}
			for _, text := range c.errs {
				require.ErrorContains(t, err, text)
			}
		})
	}
}

func TestRelaysOnPlainSockets(t *testing.T) {
	relays := newServer(withRelays, func(s *Server) { s.Networks[2].Interface = "" })
	for name, c := range map[string]struct {
		s    *Server
		conn net.PacketConn
		err  string
	}{
		"an open network of relays beside one":      {relays, lister{newFakeConn(t)}, ""},
		"no addresses for a network of relays":      {relays, struct{ net.PacketConn }{newFakeConn(t)}, `"198.51.100.0/24" needs a socket that tells our addresses`},
		"two interfaces, and none is told":          {newServer(withRelays), lister{newFakeConn(t)}, "LocalReader"},
		"two interfaces, and both are told":         {newServer(withRelays), newFakeConn(t), ""},
		"several networks on the interface of both": {newServer(func(s *Server) { other, _ := shared(); s.Networks = other.Networks[:3] }), struct{ net.PacketConn }{newFakeConn(t)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.s.validateFor(upgrade(c.conn))
			if c.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.err)
		})
	}
	x := askFrom(t, relays, discover(mac(1), giaddr("198.51.100.1")).ToBytes(), netip.MustParseAddrPort("192.0.2.2:67"), netip.Addr{}, "", newFakeConn(t))
	require.Equal(t, "OFFER", x.kind(), "%s %v", x.reason, x.err)
	require.Equal(t, "eth1", x.d.Interface, "the only one that is named")
}

// lister is a conn that knows addresses and nothing else.
type lister struct{ net.PacketConn }

func (l lister) InterfaceAddrs(string) ([]netip.Prefix, error) {
	return []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}, nil
}
