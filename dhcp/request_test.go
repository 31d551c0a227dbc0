package dhcp

import (
	"context"
	"errors"
	"math"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// TestRequestStates goes through RFC 2131 section 4.3.2. Machine 1 has a lease
// of 192.0.2.100, machine 2 of 192.0.2.101, machine 3 an offer of 192.0.2.102;
// machine 9 is unknown. The network is 192.0.2.0/24.
func TestRequestStates(t *testing.T) {
	reboot := func(a string) dhcpv4.Modifier { return optAddr(50, a) }
	for name, c := range map[string]struct {
		who           int
		mod           dhcpv4.Modifier
		want          string // of a server that is not authoritative
		authoritative string // "": the same
	}{
		"D-040 SELECTING, offered":                  {3, selecting("192.0.2.102"), "ACK", ""},
		"D-040 SELECTING, has it already":           {1, selecting("192.0.2.100"), "ACK", ""},
		"D-041 SELECTING, another server":           {3, func(p *dhcpv4.DHCPv4) { optAddr(54, "192.0.2.2")(p); optAddr(50, "192.0.2.102")(p) }, "silence", ""},
		"D-042 SELECTING, taken":                    {3, selecting("192.0.2.100"), "NAK", ""},
		"D-042 SELECTING, offered to another":       {9, selecting("192.0.2.102"), "NAK", ""},
		"D-042 SELECTING, not the one offered":      {3, selecting("192.0.2.150"), "NAK", ""},
		"D-042 SELECTING, outside of the pool":      {9, selecting("192.0.2.7"), "NAK", ""},
		"D-042 SELECTING, off-net":                  {9, selecting("198.51.100.7"), "NAK", ""},
		"D-042 SELECTING, the server's own":         {9, selecting(serverIP), "NAK", ""},
		"SELECTING, free, the offer forgotten":      {9, selecting("192.0.2.150"), "ACK", ""},
		"D-044 INIT-REBOOT, right":                  {1, reboot("192.0.2.100"), "ACK", ""},
		"D-045 INIT-REBOOT, another one":            {1, reboot("192.0.2.150"), "NAK", ""},
		"D-045 INIT-REBOOT, another's":              {1, reboot("192.0.2.101"), "NAK", ""},
		"D-046 D-063 INIT-REBOOT, known, off-net":   {1, reboot("198.51.100.7"), "silence", "NAK"},
		"D-046 D-063 INIT-REBOOT, unknown, off-net": {9, reboot("198.51.100.7"), "silence", "NAK"},
		"D-047 INIT-REBOOT, unknown, free":          {9, reboot("192.0.2.150"), "silence", ""},
		"D-047 INIT-REBOOT, unknown, another's":     {9, reboot("192.0.2.100"), "silence", ""},
		"D-047 INIT-REBOOT, unknown, not in pool":   {9, reboot("192.0.2.7"), "silence", ""},
		"D-048 RENEWING, right":                     {1, ciaddr("192.0.2.100"), "ACK", ""},
		"D-049 REBINDING, another's":                {1, ciaddr("192.0.2.101"), "NAK", ""},
		"D-050 REBINDING, unknown":                  {9, ciaddr("192.0.2.150"), "silence", "NAK"},
		"D-050 D-063 REBINDING, unknown, off-net":   {9, ciaddr("198.51.100.7"), "silence", "NAK"},
		"D-050 REBINDING, known, off-net":           {1, ciaddr("198.51.100.7"), "silence", "NAK"},
		"D-051 ciaddr and 50: by ciaddr":            {1, func(p *dhcpv4.DHCPv4) { ciaddr("192.0.2.100")(p); optAddr(50, "192.0.2.101")(p) }, "ACK", ""},
		"D-051 ciaddr and 54 of another server":     {1, func(p *dhcpv4.DHCPv4) { ciaddr("192.0.2.100")(p); optAddr(54, "192.0.2.2")(p) }, "silence", ""},
		"D-052 nothing":                             {1, func(*dhcpv4.DHCPv4) {}, "silence", ""},
		"D-052 only 54":                             {1, optAddr(54, serverIP), "silence", ""},
		"D-052 50 of zeros":                         {1, opt(50, 0, 0, 0, 0), "silence", ""},
	} {
		for _, auth := range []bool{false, true} {
			want := c.want
			sub := name
			if auth {
				sub += ", authoritative"
				if c.authoritative != "" {
					want = c.authoritative
				}
			}
			t.Run(sub, func(t *testing.T) {
				s := newServer()
				s.Networks[0].Authoritative = auth
				require.Equal(t, "192.0.2.100", dora(t, s, mac(1), optAddr(50, "192.0.2.100")))
				require.Equal(t, "192.0.2.101", dora(t, s, mac(2), optAddr(50, "192.0.2.101")))
				require.Equal(t, "192.0.2.102", ask(t, s, discover(mac(3), optAddr(50, "192.0.2.102"))).addr())
				x := ask(t, s, request(mac(c.who), c.mod))
				require.Equal(t, want, x.kind(), "%s %v", x.reason, x.err)
				require.Equal(t, want == "silence", x.reason != "", "silence has a reason")
				if want == "ACK" {
					require.Equal(t, x.r.RequestedAddr().String(), x.addr())
					require.Equal(t, x.r.Packet.ClientIPAddr.String(), x.reply.ClientIPAddr.String(), "D-055")
				}
				require.Equal(t, "192.0.2.100", dora(t, s, mac(1)), "what was is still")
			})
		}
	}
}

func TestD041_AnotherServerWasChosen_EndsTheHold(t *testing.T) {
	s := newServer(withPool(&Pool{First: addr("192.0.2.100"), Last: addr("192.0.2.100")}))
	require.Equal(t, "OFFER", ask(t, s, discover(mac(1))).kind())
	require.Equal(t, NoAddress, ask(t, s, discover(mac(2))).reason)
	other := ask(t, s, request(mac(1), optAddr(54, "192.0.2.2"), optAddr(50, "192.0.2.100")))
	require.Equal(t, NotForUs, other.reason)
	dora(t, s, mac(2))
}

func TestD043_AnyAddressOfOursIsThisServer(t *testing.T) {
	lister := newFakeConn(t)
	lister.addrs["eth1"] = append(lister.addrs["eth1"], netip.MustParsePrefix("192.0.2.2/24"))
	s := newServer(func(s *Server) { s.Networks[0].ServerAddr = addr("198.51.100.77") })
	from := netip.MustParseAddrPort("0.0.0.0:68")
	for id, want := range map[string]string{"192.0.2.1": "ACK", "192.0.2.2": "ACK", "198.51.100.77": "ACK", "192.0.2.3": "silence"} {
		p := request(mac(1), optAddr(54, id), optAddr(50, "192.0.2.150"))
		require.Equal(t, want, askFrom(t, s, p.ToBytes(), from, netip.Addr{}, "eth1", lister).kind(), id)
	}
}

func TestD051_IsCounted(t *testing.T) {
	s := newServer()
	a := dora(t, s, mac(1))
	require.Equal(t, "ACK", ask(t, s, request(mac(1), ciaddr(a), optAddr(50, "192.0.2.7"))).kind())
	require.EqualValues(t, 1, s.Drops()[RFCViolation])
}

func TestD053_DuplicateRequestsGiveTheSameAck(t *testing.T) {
	store := &MemoryStore{}
	s := newServer(withPool(&Pool{First: addr("192.0.2.100"), Last: addr("192.0.2.199"), Store: store}))
	a := dora(t, s, mac(1))
	for range 5 {
		x := ask(t, s, request(mac(1), selecting(a)))
		require.Equal(t, "ACK", x.kind())
		require.Equal(t, a, x.addr())
	}
	require.Len(t, bindings(t, store), 1)
}

func bindings(t testing.TB, s Store) (all []Binding) {
	t.Helper()
	for b, err := range s.Load(context.Background()) {
		require.NoError(t, err)
		all = append(all, b)
	}
	return all
}

// The codec writes addresses into 16 bytes when it makes a packet, and into 4
// when it reads one.
func TestRequestedAddrOfAPacketThatWasNeverOnTheWire(t *testing.T) {
	r := &Request{Packet: request(mac(1), optAddr(50, "192.0.2.7"))}
	r.Packet.ClientIPAddr = net.IPv4zero
	require.Len(t, r.Packet.ClientIPAddr, 16)
	require.Equal(t, addr("192.0.2.7"), r.RequestedAddr())
	r.Packet.ClientIPAddr = net.IPv4(192, 0, 2, 8)
	require.Equal(t, addr("192.0.2.8"), r.RequestedAddr())
	require.False(t, (&Request{Packet: discover(mac(1))}).RequestedAddr().IsValid())
}

func TestD026_D054_D056_OfferAndAck(t *testing.T) {
	s := newServer(rich)
	offer := ask(t, s, discover(mac(1)))
	ack := ask(t, s, request(mac(1), selecting(offer.addr())))
	for _, x := range []result{offer, ack} {
		require.Equal(t, []byte{192, 0, 2, 1}, x.reply.Options[54])
		require.Equal(t, []byte{0, 0, 14, 16}, x.reply.Options[51], "an hour")
		require.Equal(t, []byte{0, 0, 7, 8}, x.reply.Options[58])
		require.Equal(t, []byte{0, 0, 12, 78}, x.reply.Options[59])
		require.Equal(t, net.IPv4zero.To4(), x.reply.ClientIPAddr.To4())
		require.Equal(t, serverIP, x.reply.ServerIPAddr.String(), "P-021")
	}
	offer.reply.Options[53] = ack.reply.Options[53]
	require.Equal(t, offer.reply.Options, ack.reply.Options)
}

func TestD091_D092_D093_ClientIdentifier(t *testing.T) {
	long := make([]byte, 255)
	for name, c := range map[string]struct{ sent, echoed []byte }{
		"absent": {nil, nil}, "MAC": {[]byte{1, 2, 0, 0, 0, 0, 1}, []byte{1, 2, 0, 0, 0, 0, 1}},
		"two bytes": {[]byte{0, 0}, []byte{0, 0}}, "D-092 one byte": {[]byte{1}, nil}, "D-092 empty": {[]byte{}, nil},
		"D-093 255 bytes": {long, long},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer()
			var mods []dhcpv4.Modifier
			if c.sent != nil {
				mods = append(mods, opt(61, c.sent...))
			}
			offer := ask(t, s, discover(mac(1), mods...))
			ack := ask(t, s, request(mac(1), append(mods, selecting(offer.addr()))...))
			nak := ask(t, s, request(mac(1), append(mods, selecting("192.0.2.7"))...))
			require.Equal(t, "NAK", nak.kind())
			for _, x := range []result{offer, ack, nak} {
				require.NotNil(t, x.reply, "%s %v", x.reason, x.err)
				require.Equal(t, c.echoed, x.reply.Options[61])
				require.Equal(t, c.echoed != nil, x.reply.Options.Has(dhcpv4.OptionClientIdentifier))
			}
		})
	}
}

// TestD094_FourClientsOfOneBootKeepOneAddress plays the DHCP clients that one
// machine runs in one boot.
func TestD094_FourClientsOfOneBootKeepOneAddress(t *testing.T) {
	hw := mac(7)
	uuid := append([]byte{0}, []byte("\x08\x59\x94\xb8\xa6\xd6\xa9\x41\x61\x1d\x74\xa6\xab\x80\xb8\x3d")...)
	stages := []struct {
		name string
		mods []dhcpv4.Modifier
		kind Kind
	}{
		{"firmware", []dhcpv4.Modifier{opt(61, uuid...), opt(97, uuid...), optText(60, "PXEClient:Arch:00007:UNDI:003016"), opt(93, 0, 7)}, PXE},
		{"iPXE", []dhcpv4.Modifier{opt(61, append([]byte{1}, hw...)...), opt(97, uuid...), optText(60, "PXEClient:Arch:00007:UNDI:003010"), optText(77, "iPXE"), opt(93, 0, 7)}, IPXE},
		{"klibc ipconfig", []dhcpv4.Modifier{opt(55, 1, 3, 6, 12, 15, 17, 26, 28, 40, 119)}, Plain},
		{"NetworkManager", []dhcpv4.Modifier{opt(61, 255, 1, 2, 3, 4, 0, 4, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9), optText(12, "rescue")}, Plain},
	}
	s := newServer(withBoot("snponly.efi"))
	for i := range 50 { // neighbours
		dora(t, s, mac(100+i))
	}
	first := ""
	for _, stage := range stages {
		got := dora(t, s, hw, stage.mods...)
		if first == "" {
			first = got
		}
		require.Equal(t, first, got, stage.name)
		require.Equal(t, stage.kind, classify(discover(hw, stage.mods...)).Kind, stage.name)
		ask(t, s, discover(mac(200), xid(9))) // life goes on between the stages
	}
}

func TestD074_D075_Inform(t *testing.T) {
	inform := func(mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
		return message(dhcpv4.MessageTypeInform, mac(1), mods...)
	}
	store := &MemoryStore{}
	s := newServer(rich, withPool(&Pool{First: addr("192.0.2.100"), Last: addr("192.0.2.199"), Store: store}))
	x := ask(t, s, inform(ciaddr("192.0.2.50")))
	require.Equal(t, "ACK", x.kind())
	require.True(t, x.reply.YourIPAddr.IsUnspecified())
	for _, code := range []uint8{51, 58, 59} {
		require.NotContains(t, x.reply.Options, code)
	}
	require.Equal(t, "example.org", string(x.reply.Options[15]))
	require.Empty(t, bindings(t, store))
	require.Equal(t, NoNetwork, ask(t, s, inform(ciaddr("203.0.113.9"))).reason, "a forged address gets no reply")
	require.Equal(t, RFCViolation, ask(t, s, inform()).reason, "D-075: no address at all")
	x = askFrom(t, s, inform().ToBytes(), netip.MustParseAddrPort("192.0.2.60:68"), netip.Addr{}, "eth1", nil)
	require.Equal(t, "192.0.2.60:68", x.d.To.String(), "D-075: the source")
	require.Equal(t, NoNetwork, askFrom(t, s, inform().ToBytes(), netip.MustParseAddrPort("203.0.113.9:68"), netip.Addr{}, "eth1", nil).reason)
}

// inventory is a policy as an embedder writes it.
type inventory struct {
	lease Lease
	err   error
}

func (i inventory) Discover(context.Context, *Request) (Lease, error) { return i.lease, i.err }
func (i inventory) Request(context.Context, *Request) (Lease, error)  { return i.lease, i.err }
func (i inventory) Release(context.Context, *Request) error           { return i.err }
func (i inventory) Decline(context.Context, *Request) error           { return i.err }

type richLease struct {
	Binding
	options []dhcpv4.Option
}

func (l richLease) LeaseOptions() []dhcpv4.Option { return l.options }

func lease(prefix string) Binding {
	return Binding{HW: mac(1), Addr: netip.MustParsePrefix(prefix), State: Bound}
}

func TestPolicy(t *testing.T) {
	broken := errors.New("database is down")
	generic := func(code uint8, v string) []dhcpv4.Option {
		return []dhcpv4.Option{dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(code), []byte(v))}
	}
	for name, c := range map[string]struct {
		policy   inventory
		p        *dhcpv4.DHCPv4
		kind     string
		reason   DropReason
		contains string
	}{
		"a lease":                           {inventory{lease: lease("192.0.2.50/32")}, discover(mac(1)), "OFFER", "", ""},
		"asked for this one":                {inventory{lease: lease("192.0.2.50/32")}, request(mac(1), selecting("192.0.2.50")), "ACK", "", ""},
		"asked for another":                 {inventory{lease: lease("192.0.2.50/32")}, request(mac(1), selecting("192.0.2.51")), "NAK", "", ""},
		"nil: silence":                      {inventory{}, discover(mac(1)), "silence", Policy, ""},
		"D-025 ErrNoAddress":                {inventory{err: ErrNoAddress}, discover(mac(1)), "silence", NoAddress, "pool"},
		"ErrNAK":                            {inventory{err: ErrNAK}, request(mac(1), selecting("192.0.2.50")), "NAK", "", ""},
		"ErrNAK for DISCOVER is silence":    {inventory{err: ErrNAK}, discover(mac(1)), "silence", Policy, ""},
		"a failure":                         {inventory{err: broken}, discover(mac(1)), "silence", Error, "database"},
		"a failure at REQUEST: no ACK":      {inventory{err: broken}, request(mac(1), selecting("192.0.2.50")), "silence", Error, "database"},
		"RELEASE failed":                    {inventory{err: ErrNotHolder}, message(dhcpv4.MessageTypeRelease, mac(1), ciaddr("192.0.2.50")), "silence", Policy, ""},
		"DECLINE limited":                   {inventory{err: ErrLimit}, message(dhcpv4.MessageTypeDecline, mac(1), optAddr(50, "192.0.2.50")), "silence", LimitExceeded, ""},
		"outside of the network":            {inventory{lease: lease("203.0.113.5/32")}, discover(mac(1)), "silence", Error, "outside"},
		"outside with a mask of its own":    {inventory{lease: lease("203.0.113.5/28")}, discover(mac(1)), "OFFER", "", ""},
		"IPv6":                              {inventory{lease: lease("2001:db8::5/128")}, discover(mac(1)), "silence", Error, "IPv4"},
		"the server's own":                  {inventory{lease: lease("192.0.2.1/32")}, discover(mac(1)), "silence", Error, "own"},
		"zero lease":                        {inventory{lease: Binding{}}, discover(mac(1)), "silence", Error, "IPv4"},
		"an option of its own":              {inventory{lease: richLease{lease("192.0.2.50/32"), generic(12, "node1")}}, discover(mac(1)), "OFFER", "", ""},
		"S-002 a host name with a command":  {inventory{lease: richLease{lease("192.0.2.50/32"), generic(12, "a$(reboot)")}}, discover(mac(1)), "silence", Error, "option 12"},
		"S-002 a root path with a quote":    {inventory{lease: richLease{lease("192.0.2.50/32"), generic(17, "/srv';reboot")}}, discover(mac(1)), "silence", Error, "option 17"},
		"O-021 a label of 64":               {inventory{lease: richLease{lease("192.0.2.50/32"), generic(12, "a123456789a123456789a123456789a123456789a123456789a123456789abcd")}}, discover(mac(1)), "silence", Error, "label"},
		"an option that is the server's":    {inventory{lease: richLease{lease("192.0.2.50/32"), generic(51, "aaaa")}}, discover(mac(1)), "silence", Error, "option 51"},
		"an IPv6 route panics in the codec": {inventory{lease: richLease{lease("192.0.2.50/32"), []dhcpv4.Option{dhcpv4.OptClasslessStaticRoute(&dhcpv4.Route{Dest: &net.IPNet{IP: net.ParseIP("2001:db8::"), Mask: net.CIDRMask(32, 128)}, Router: net.ParseIP("2001:db8::1")})}}}, discover(mac(1)), "silence", Error, "121"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(func(s *Server) { s.Networks[0].Leases = c.policy })
			x := ask(t, s, c.p)
			require.Equal(t, c.kind, x.kind(), "%s %v", x.reason, x.err)
			require.Equal(t, c.reason, x.reason)
			if c.contains != "" {
				require.ErrorContains(t, x.err, c.contains)
			}
		})
	}
}

func TestLeaseOnTheWire(t *testing.T) {
	give := func(l Lease, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
		s := newServer(rich, func(s *Server) { s.Networks[0].Leases = inventory{lease: l} })
		return ask(t, s, discover(mac(1), mods...)).reply
	}
	p := give(lease("192.0.2.50/32"))
	require.Equal(t, []byte{255, 255, 255, 0}, p.Options[1], "the network's mask")
	require.Equal(t, []byte{255, 255, 255, 255}, p.Options[51], "D-054: no expiry is for ever")
	require.NotContains(t, p.Options, uint8(58))
	require.Equal(t, []byte{255, 255, 255, 240}, give(lease("203.0.113.5/28")).Options[1], "its own mask")
	own := richLease{lease("192.0.2.50/32"), []dhcpv4.Option{
		dhcpv4.OptRouter(net.IP{192, 0, 2, 253}), dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(17), []byte("/srv/nfs"))}}
	require.Equal(t, []byte{192, 0, 2, 253}, give(own).Options[3], "replaces the network's")
	require.Equal(t, "/srv/nfs", string(give(own).Options[17]))
	require.NotContains(t, give(own, opt(55, 3)).Options, uint8(17), "not asked for")

	require.Equal(t, []byte{192, 0, 2, 255}, give(lease("192.0.2.50/32"), opt(55, 28)).Options[28])
	soon := lease("192.0.2.50/32")
	soon.Until = time.Now().Add(5 * time.Second)
	require.NotContains(t, give(soon).Options, uint8(58), "T1 < T2 < lease")
	soon.Until = time.Now().Add(-time.Hour)
	require.Equal(t, []byte{0, 0, 0, 0}, give(soon).Options[51])
}

func TestD054_LeaseSecondsDoNotOverflow(t *testing.T) {
	now := time.Now()
	for d, want := range map[time.Duration]uint32{
		0: 0, -1: 0, time.Second: 1, 1999 * time.Millisecond: 1,
		math.MaxUint32 * time.Second: math.MaxUint32 - 1, math.MaxInt64: math.MaxUint32 - 1,
	} {
		require.Equal(t, want, leaseSeconds(now.Add(d), now), d)
	}
	require.EqualValues(t, math.MaxUint32, leaseSeconds(time.Time{}, now))
}
