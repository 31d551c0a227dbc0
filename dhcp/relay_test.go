package dhcp

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// withRelays adds the networks 198.51.100.0/24 and 203.0.113.0/24 of relays.
func withRelays(s *Server) {
	s.Networks = append(s.Networks,
		Network{Subnet: netip.MustParsePrefix("198.51.100.0/24"), Relays: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}, Mode: Full, Routers: []netip.Addr{addr("198.51.100.1")},
			Leases: &Pool{First: addr("198.51.100.100"), Last: addr("198.51.100.199")}},
		Network{Subnet: netip.MustParsePrefix("203.0.113.0/24"), Interface: "eth2", Mode: Full,
			Leases: &Pool{First: addr("203.0.113.100"), Last: addr("203.0.113.199")}})
}

// subOptions writes option 82.
func relayOptions(list ...[]byte) dhcpv4.Modifier { return opt(82, bytes.Join(list, nil)...) }

func subOption(code byte, v ...byte) []byte { return append([]byte{code, byte(len(v))}, v...) }

func selects(a string) []byte { return subOption(5, addr(a).AsSlice()...) }

// ask82 sends a packet by a relay at 198.51.100.1 to our address, on eth1.
func ask82(t testing.TB, s *Server, p *dhcpv4.DHCPv4) result {
	return askFrom(t, s, p.ToBytes(), netip.MustParseAddrPort("192.0.2.2:1067"), addr(serverIP), "eth1", links{"eth1": {netip.MustParsePrefix("192.0.2.1/24")}})
}

// links are the addresses of interfaces.
type links map[string][]netip.Prefix

// InterfaceAddrs implements [AddrLister].
func (l links) InterfaceAddrs(ifname string) ([]netip.Prefix, error) { return l[ifname], nil }

func TestRelayOption(t *testing.T) {
	for name, c := range map[string]struct {
		option []byte
		want   map[uint8][]byte
	}{
		"none":                   {nil, map[uint8][]byte{1: nil}},
		"circuit and remote":     {[]byte{1, 2, 'a', 'b', 2, 1, 'c'}, map[uint8][]byte{1: []byte("ab"), 2: {'c'}, 3: nil}},
		"empty is not absent":    {[]byte{19, 0}, map[uint8][]byte{19: {}, 0: nil}},
		"the first of two":       {[]byte{1, 1, 'a', 1, 1, 'b'}, map[uint8][]byte{1: {'a'}}},
		"O-012 runs past":        {[]byte{1, 1, 'a', 2, 9, 'b'}, map[uint8][]byte{1: {'a'}, 2: nil}},
		"O-012 a code alone":     {[]byte{2, 1, 'a', 1}, map[uint8][]byte{1: nil, 2: {'a'}}},
		"O-012 first one broken": {[]byte{2, 200, 1, 1, 'a'}, map[uint8][]byte{1: nil, 2: nil}},
		"over 255 bytes":         {append(subOption(1, make([]byte, 255)...), subOption(2, 'x')...), map[uint8][]byte{2: {'x'}}},
	} {
		t.Run(name, func(t *testing.T) {
			p := discover(mac(1))
			if c.option != nil {
				opt(82, c.option...)(p)
			}
			x := ask(t, newServer(), p)
			require.NotNil(t, x.reply)
			for code, v := range c.want {
				require.Equal(t, v, x.r.RelayOption(code), "code %d", code)
			}
			if len(c.option) > 0 {
				require.Equal(t, c.option, x.reply.Options.Get(dhcpv4.OptionRelayAgentInformation))
			}
		})
	}
}

// FuzzRelayOption sends any option 82 by a relay, and without one, and compares
// what becomes of it with a second reading of the list.
func FuzzRelayOption(f *testing.F) {
	f.Add([]byte{1, 2, 'a', 'b', 5, 4, 198, 51, 100, 0, 11, 4, 192, 0, 2, 9, 19, 0})
	f.Add([]byte{5, 4, 192, 0, 2, 9, 11, 4, 192, 0, 2, 100, 19, 1, 7})
	f.Add([]byte{5, 4, 203, 0, 113, 9, 5, 4, 192, 0, 2, 9})
	f.Add([]byte{5, 3, 203, 0, 113, 11, 4, 224, 0, 0, 1})
	f.Add([]byte{1, 200, 'x'})
	f.Add([]byte{5})
	f.Fuzz(func(t *testing.T, option []byte) {
		if len(option) == 0 || len(option) > 200 {
			return
		}
		s, list := newServer(withRelays), firstOfEach(option)
		selected, id, port := addr("198.51.100.1"), addr(serverIP), uint16(67)
		if link, ok := list.host(5); ok {
			selected = link
		}
		if override, ok := list.host(11); ok {
			id = override
		}
		if _, ok := list[19]; ok {
			port = 1067
		}
		x := ask82(t, s, discover(mac(1), giaddr("198.51.100.1"), opt(82, option...)))
		subnets := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24")}
		if served := slices.IndexFunc(subnets, func(p netip.Prefix) bool { return p.Contains(selected) }); served < 0 {
			if x.reason != NoNetwork {
				t.Fatalf("%s for a client of %s: %q", x.kind(), selected, x.reason)
			}
		} else {
			checkRelayed(t, x, option, netip.AddrPortFrom(addr("198.51.100.1"), port), id)
			if x.r.Network != &s.Networks[served] || !subnets[served].Contains(addr(x.addr())) {
				t.Fatalf("%s, the relay selects %s", x.addr(), selected)
			}
		}
		for code := range 256 {
			v, ok := list[byte(code)]
			if got := x.r.RelayOption(uint8(code)); !bytes.Equal(got, v) || ok != (got != nil) {
				t.Fatalf("sub-option %d is %x, not %x", code, got, v)
			}
		}
		// Without a relay it is the word of anybody.
		x = ask(t, s, discover(mac(2), opt(82, option...)))
		checkRelayed(t, x, option, x.d.To, addr(serverIP))
		if x.d.To.Port() != 68 || x.r.Network != &s.Networks[0] {
			t.Fatalf("%s to %s", x.addr(), x.d.To)
		}
	})
}

// checkRelayed checks an OFFER to a packet with option 82.
func checkRelayed(t *testing.T, x result, option []byte, to netip.AddrPort, id netip.Addr) {
	switch {
	case x.kind() != "OFFER":
		t.Fatalf("%s: %s %v", x.kind(), x.reason, x.err)
	case !bytes.Equal(option, x.reply.Options[82]):
		t.Fatal("O-012: option 82 changed")
	case x.d.To != to || x.d.From != addr(serverIP):
		t.Fatalf("O-013: sent to %s from %s", x.d.To, x.d.From)
	case addrOf(x.reply.Options[54]) != id:
		t.Fatalf("O-014: option 54 is %x, not %s", x.reply.Options[54], id)
	case addrOf(x.reply.ServerIPAddr) != addr(serverIP):
		t.Fatal("the boot server is always ours")
	case addrOf(x.reply.YourIPAddr) == id:
		t.Fatalf("%s is the server's", id)
	}
}

// subOptionList is what a list has of each code, the first where there are several.
type subOptionList map[byte][]byte

// firstOfEach reads a list of sub-options up to where it ceases to make sense.
func firstOfEach(b []byte) subOptionList {
	list := subOptionList{}
	for at := 0; at+1 < len(b); {
		end := at + 2 + int(b[at+1])
		if end > len(b) {
			break
		}
		if _, ok := list[b[at]]; !ok {
			list[b[at]] = b[at+2 : end]
		}
		at = end
	}
	return list
}

// host is a sub-option that may be the address of a host or the first of a subnet.
func (l subOptionList) host(code byte) (a netip.Addr, ok bool) {
	v := l[code]
	if len(v) != 4 || v[0]&0xf0 == 0xe0 || string(v) == "\x00\x00\x00\x00" || string(v) == "\xff\xff\xff\xff" {
		return a, false
	}
	return netip.AddrFromSlice(v)
}

func TestO011_OptionWithoutARelayIsEchoedAndNotTrusted(t *testing.T) {
	s := newServer(withRelays)
	option := bytes.Join([][]byte{subOption(1, 'a'), selects("198.51.100.0"), subOption(11, 198, 51, 100, 9), subOption(19)}, nil)
	x := askFrom(t, s, discover(mac(1), opt(82, option...)).ToBytes(), netip.MustParseAddrPort("0.0.0.0:1068"), netip.Addr{}, "eth1", nil)
	require.Equal(t, "OFFER", x.kind(), "%v", x.err)
	require.Contains(t, x.addr(), "192.0.2.")
	require.Equal(t, serverIP, net.IP(x.reply.Options.Get(dhcpv4.OptionServerIdentifier)).String())
	require.EqualValues(t, 68, x.d.To.Port())
	require.Equal(t, option, x.reply.Options.Get(dhcpv4.OptionRelayAgentInformation))
	require.Equal(t, []byte("a"), x.r.RelayOption(1), "who knows the switches may read it")

	x = ask82(t, s, discover(mac(1), giaddr("192.0.2.2"), opt(82, option...)))
	require.Contains(t, x.addr(), "198.51.100.", "of a relay it counts")
}

func TestSubnetSelection(t *testing.T) {
	hw := mac(1)
	wish := func(a string) dhcpv4.Modifier { return optAddr(118, a) }
	for name, c := range map[string]struct {
		p    *dhcpv4.DHCPv4
		net  string // the offer's, "" for none
		echo bool
	}{
		"D-020 giaddr":                        {discover(hw, giaddr("198.51.100.1")), "198.51.100.", false},
		"giaddr of a link of ours":            {discover(hw, giaddr("192.0.2.2")), "192.0.2.", false},
		"giaddr unknown":                      {discover(hw, giaddr("10.0.0.1")), "", false},
		"giaddr of another interface's relay": {discover(hw, giaddr("203.0.113.1")), "", false},
		"O-013 link selection":                {discover(hw, giaddr("192.0.2.2"), relayOptions(selects("198.51.100.0"))), "198.51.100.", false},
		"O-013 an address in the link":        {discover(hw, giaddr("10.0.0.1"), relayOptions(selects("198.51.100.7"))), "198.51.100.", false},
		"O-013 by a relay from anywhere":      {discover(hw, giaddr("8.8.8.8"), relayOptions(selects("198.51.100.7"))), "", false},
		"O-015 by a relay from anywhere":      {discover(hw, giaddr("8.8.8.8"), wish("198.51.100.0")), "", false},
		"O-013 unknown: no guess":             {discover(hw, giaddr("192.0.2.2"), relayOptions(selects("10.0.0.0"))), "", false},
		"O-012 too short: giaddr":             {discover(hw, giaddr("192.0.2.2"), relayOptions(subOption(5, 198, 51, 100))), "192.0.2.", false},
		"O-012 zero: giaddr":                  {discover(hw, giaddr("192.0.2.2"), relayOptions(selects("0.0.0.0"))), "192.0.2.", false},
		"O-013 multicast: giaddr":             {discover(hw, giaddr("192.0.2.2"), relayOptions(selects("224.0.0.1"))), "192.0.2.", false},
		"O-012 cut: giaddr":                   {discover(hw, giaddr("192.0.2.2"), opt(82, 5, 4, 198, 51, 100)), "192.0.2.", false},
		"O-013 before O-015":                  {discover(hw, giaddr("192.0.2.2"), wish("192.0.2.0"), relayOptions(selects("198.51.100.0"))), "198.51.100.", false},
		"O-015 by relay":                      {discover(hw, giaddr("192.0.2.2"), wish("198.51.100.0")), "198.51.100.", true},
		"O-015 by relay, of its own subnet":   {discover(hw, giaddr("198.51.100.1"), wish("198.51.100.0")), "198.51.100.", true},
		"O-015 unknown: giaddr, no echo":      {discover(hw, giaddr("198.51.100.1"), wish("10.0.0.0")), "198.51.100.", false},
		"O-015 ill-formed: giaddr, no echo":   {discover(hw, giaddr("198.51.100.1"), opt(118, 192, 0, 2)), "198.51.100.", false},
		"O-015 direct, another link":          {discover(hw, wish("198.51.100.0")), "192.0.2.", false},
		"O-015 direct, this link":             {discover(hw, wish("192.0.2.0")), "192.0.2.", true},
	} {
		t.Run(name, func(t *testing.T) {
			x := ask82(t, newServer(withRelays), c.p)
			if c.net == "" {
				require.Equal(t, NoNetwork, x.reason, "%v", x.err)
				require.ErrorContains(t, x.err, "none of the networks")
				return
			}
			require.Equal(t, "OFFER", x.kind(), "%s %v", x.reason, x.err)
			require.Contains(t, x.addr(), c.net)
			if relay := x.r.RelayAddr(); relay.IsValid() {
				require.Equal(t, ByRelay, x.d.Route)
				require.Equal(t, netip.AddrPortFrom(relay, 67), x.d.To, "O-013: to giaddr whatever is selected")
			}
			want := []byte(nil)
			if c.echo {
				want = c.p.Options.Get(dhcpv4.OptionSubnetSelection)
			}
			require.Equal(t, want, x.reply.Options.Get(dhcpv4.OptionSubnetSelection))
		})
	}
	t.Run("O-015 is echoed before what may go", func(t *testing.T) {
		x := ask(t, newServer(rich), discover(hw, opt(61, bytes.Repeat([]byte{7}, 255)...), wish("192.0.2.0")))
		require.Contains(t, wireCodes(x.raw), byte(118))
		require.NotContains(t, wireCodes(x.raw), byte(15))
	})
	t.Run("of two interfaces with the subnet it is the packet's", func(t *testing.T) {
		s := newServer(func(s *Server) {
			s.Networks = append(s.Networks, s.Networks[0])
			s.Networks[1].Interface = "eth2"
		})
		require.NoError(t, s.Validate())
		for i, ifname := range []string{"eth1", "eth2"} {
			x := askFrom(t, s, discover(hw, giaddr("192.0.2.2")).ToBytes(), netip.MustParseAddrPort("192.0.2.2:67"), addr(serverIP), ifname, nil)
			require.Equal(t, &s.Networks[i], x.r.Network)
		}
	})
	nak := ask82(t, newServer(withRelays, authoritative), request(hw, selecting("192.0.2.7"), giaddr("192.0.2.2"), wish("192.0.2.0")))
	require.Equal(t, "NAK", nak.kind())
	require.Nil(t, nak.reply.Options.Get(dhcpv4.OptionSubnetSelection), "D-060")
}

func TestO014_ServerIdentifierOverride(t *testing.T) {
	s := newServer(withRelays)
	override := relayOptions(subOption(1, 'a'), subOption(11, 198, 51, 100, 100))
	relay := giaddr("198.51.100.1")
	id := func(x result) string { return net.IP(x.reply.Options.Get(dhcpv4.OptionServerIdentifier)).String() }
	offer := ask82(t, s, discover(mac(1), relay, override))
	require.Equal(t, "OFFER", offer.kind(), "%v", offer.err)
	require.Equal(t, "198.51.100.100", id(offer))
	require.Equal(t, addr(serverIP), offer.d.From, "packets come from an address that is ours")
	require.Equal(t, serverIP, offer.reply.ServerIPAddr.String(), "files too")
	require.NotEqual(t, "198.51.100.100", offer.addr(), "the relay's address is no client's")

	chosen := optAddr(54, "198.51.100.100")
	ack := ask82(t, s, request(mac(1), relay, override, optAddr(50, offer.addr()), chosen))
	require.Equal(t, "ACK", ack.kind(), "%s %v", ack.reason, ack.err)
	require.Equal(t, "198.51.100.100", id(ack))
	renewed := ask82(t, s, request(mac(1), relay, override, ciaddr(offer.addr())))
	require.Equal(t, "ACK", renewed.kind())
	require.Equal(t, ByRelay, renewed.d.Route)
	released := message(dhcpv4.MessageTypeRelease, mac(1), relay, override, ciaddr(offer.addr()), chosen)
	require.Empty(t, ask82(t, s, released).reason)

	s.Networks[1].Leases = &Pool{First: addr("198.51.100.100"), Last: addr("198.51.100.100")}
	require.Equal(t, NoAddress, ask82(t, s, discover(mac(3), relay, override)).reason, "the relay has the last address")
	require.Equal(t, "198.51.100.100", ask82(t, s, discover(mac(3), relay)).addr())

	s = newServer(withRelays)
	for name, v := range map[string][]byte{
		"absent": nil, "short": {198, 51, 100}, "long": {198, 51, 100, 100, 0}, "zero": {0, 0, 0, 0},
		"multicast": {224, 0, 0, 1}, "broadcast": {255, 255, 255, 255},
	} {
		t.Run(name, func(t *testing.T) {
			mods := []dhcpv4.Modifier{relay}
			if v != nil {
				mods = append(mods, relayOptions(subOption(11, v...)))
			}
			x := ask82(t, s, discover(mac(2), mods...))
			require.Equal(t, serverIP, id(x))
			x = ask82(t, s, request(mac(2), append(mods, optAddr(50, x.addr()), chosen)...))
			require.Equal(t, NotForUs, x.reason, "then the address is another server's")
		})
	}
}

func TestO023_RelaySourcePort(t *testing.T) {
	s := newServer(func(s *Server) { s.RelayPort = 6767 })
	from := netip.MustParseAddrPort("192.0.2.2:1067")
	for name, c := range map[string]struct {
		p    *dhcpv4.DHCPv4
		from netip.AddrPort
		port uint16
	}{
		"asked for":        {discover(mac(1), giaddr("192.0.2.2"), relayOptions(subOption(1, 'a'), subOption(19))), from, 1067},
		"not asked for":    {discover(mac(1), giaddr("192.0.2.2"), relayOptions(subOption(1, 'a'))), from, 6767},
		"in another value": {discover(mac(1), giaddr("192.0.2.2"), relayOptions(subOption(1, 19, 0))), from, 6767},
		"cut":              {discover(mac(1), giaddr("192.0.2.2"), opt(82, 19)), from, 6767},
		"no port":          {discover(mac(1), giaddr("192.0.2.2"), relayOptions(subOption(19))), netip.AddrPortFrom(from.Addr(), 0), 6767},
		"no relay":         {discover(mac(1), relayOptions(subOption(19))), from, 68},
	} {
		t.Run(name, func(t *testing.T) {
			x := askFrom(t, s, c.p.ToBytes(), c.from, addr("255.255.255.255"), "eth1", nil)
			require.Equal(t, "OFFER", x.kind(), "%v", x.err)
			require.Equal(t, c.port, x.d.To.Port())
		})
	}
}

func TestNetworksOfRelays(t *testing.T) {
	conn := newFakeConn(t)
	conn.addrs = map[string][]netip.Prefix{
		"eth1": {netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("10.0.0.1/8")},
		"eth2": {netip.MustParsePrefix("172.16.0.1/12")}, "eth3": nil,
	}
	relayed := discover(mac(1), giaddr("198.51.100.1"))
	bound := request(mac(1), ciaddr("198.51.100.100"))
	open := func(s *Server) { withRelays(s); s.Networks = s.Networks[1:2] } // no network names an interface
	alone := func(s *Server) { withRelays(s); s.Networks = s.Networks[1:] }
	for name, c := range map[string]struct {
		s        *Server
		p        *dhcpv4.DHCPv4
		from, to string
		ifname   string
		id       string
		reason   DropReason
	}{
		"the address that was asked":                {newServer(withRelays), relayed, "10.0.0.9", "192.0.2.77", "eth1", "192.0.2.77", ""},
		"directed broadcast: next to the relay":     {newServer(withRelays), relayed, "10.0.0.9", "10.255.255.255", "eth1", "10.0.0.1", ""},
		"broadcast, no neighbour: the first":        {newServer(withRelays), relayed, "172.31.0.9", "255.255.255.255", "eth1", "192.0.2.1", ""},
		"unknown destination":                       {newServer(withRelays), relayed, "10.0.0.9", "", "eth1", "10.0.0.1", ""},
		"no address there":                          {newServer(open), relayed, "10.0.0.9", "255.255.255.255", "eth3", "", NoServerAddr},
		"no address there, but one was asked":       {newServer(open), relayed, "10.0.0.9", "192.0.2.1", "eth3", "192.0.2.1", ""},
		"an interface that only the open one leads": {newServer(alone), relayed, "10.0.0.9", "172.16.0.1", "eth2", "172.16.0.1", ""},
		"a link's network by an interface not served": {newServer(withRelays), discover(mac(1), giaddr("192.0.2.2")),
			"192.0.2.2", "172.16.0.1", "eth2", "", NoNetwork},
		"the interface that it names":                    {newServer(withRelays), discover(mac(1), giaddr("203.0.113.1")), "172.16.0.2", "172.16.0.1", "eth2", "172.16.0.1", ""},
		"another interface":                              {newServer(withRelays), discover(mac(1), giaddr("203.0.113.1")), "172.16.0.2", "172.16.0.1", "eth3", "", NotForUs},
		"the open one by an interface that nobody names": {newServer(withRelays), relayed, "10.0.0.9", "172.16.0.1", "eth3", "", NotForUs},
		"an interface that is not served":                {newServer(), discover(mac(1), giaddr("192.0.2.2")), "172.16.0.2", "192.0.2.1", "eth2", "", NotForUs},
		"no direct clients":                              {newServer(withRelays), discover(mac(1)), "0.0.0.0", "255.255.255.255", "eth2", "", NotForUs},
		"no direct clients, none at all":                 {newServer(alone), discover(mac(1)), "0.0.0.0", "255.255.255.255", "eth2", "", NotForUs},
		"renewal without the relay":                      {newServer(withRelays), bound, "198.51.100.100", "192.0.2.1", "eth1", "192.0.2.1", ""},
		"renewal by another interface":                   {newServer(withRelays), bound, "198.51.100.100", "172.16.0.1", "eth2", "172.16.0.1", ""},
		"a stranger's broadcast is of the link":          {newServer(withRelays), bound, "198.51.100.100", "255.255.255.255", "eth1", "", Policy},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range c.s.Networks {
				if n := &c.s.Networks[i]; n.Subnet.IsValid() {
					n.Leases.(*Pool).Reservations = []Reservation{{HardwareAddr: mac(1), Addr: n.Leases.(*Pool).First}}
				}
			}
			var to netip.Addr
			if c.to != "" {
				to = addr(c.to)
			}
			require.NoError(t, c.s.Validate())
			if c.p == bound && c.reason == "" {
				x := askFrom(t, c.s, discover(mac(1), giaddr("198.51.100.1")).ToBytes(), netip.MustParseAddrPort("10.0.0.9:67"), to, c.ifname, conn)
				require.Equal(t, "198.51.100.100", x.addr())
				x = askFrom(t, c.s, request(mac(1), giaddr("198.51.100.1"), optAddr(50, x.addr()), optAddr(54, c.to)).ToBytes(),
					netip.MustParseAddrPort("10.0.0.9:67"), to, c.ifname, conn)
				require.Equal(t, "ACK", x.kind(), "%s %v", x.reason, x.err)
			}
			x := askFrom(t, c.s, c.p.ToBytes(), netip.AddrPortFrom(addr(c.from), 67), to, c.ifname, conn)
			require.Equal(t, c.reason, x.reason, "%v", x.err)
			if c.reason != "" {
				return
			}
			require.Equal(t, c.id, net.IP(x.reply.Options.Get(dhcpv4.OptionServerIdentifier)).String(), "D-085")
			require.Equal(t, c.id, x.r.ServerAddr.String())
			require.Equal(t, c.id, x.d.From.String())
			require.Equal(t, c.ifname, x.d.Interface, "D-084")
			require.Equal(t, x.r.Network.Subnet, x.r.Prefix)
			require.Equal(t, []byte{255, 255, 255, 0}, x.reply.Options.Get(dhcpv4.OptionSubnetMask))
			if c.p == bound {
				require.Equal(t, ByUnicast, x.d.Route)
			}
		})
	}
}
