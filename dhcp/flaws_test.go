package dhcp

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// The tests below send what other servers fell over, over a socket, and then
// lease an address as if nothing had been.

func killed(t *testing.T, s *Server, packets ...[]byte) *fakeConn {
	t.Helper()
	c := serve(t, s)
	for _, b := range packets {
		c.in <- fakePacket{b, netip.MustParseAddrPort("0.0.0.0:68"), addr("255.255.255.255"), "eth1"}
	}
	doraOn(t, c, mac(4711))
	return c
}

func TestCVE_2010_2156_CVE_2012_3571_ShortClientIdentifier(t *testing.T) {
	killed(t, newServer(), raw(61, 0, 255), raw(61, 1, 0, 255), raw(61, 0), raw(61), edit(raw(61, 0, 255), 2, 0))
}

func TestCVE_2026_6507_BootReplyOnTheServerPort(t *testing.T) {
	s := newServer()
	killed(t, s, edit(raw(255), 0, 2), edit(raw(82, 4, 1, 2, 'a', 'b', 255), 0, 2))
	require.EqualValues(t, 2, s.Drops()[RFCViolation])
}

func TestCVE_2002_0835_PacketsOfTelephonesAndOthers(t *testing.T) {
	var packets [][]byte
	for i, class := range []string{"Cisco Systems, Inc. IP Phone", "MSFT 5.0", "android-dhcp-13", "Hewlett-Packard JetDirect",
		"onie_vendor:x86_64", "udhcp 1.36.1", "docsis3.0:", "AVAYA", "PXEClient", "PXEClien", "", "%s%n%x"} {
		packets = append(packets, discover(mac(i), optText(60, class), opt(43, 1, 2), opt(125, 0, 0), opt(124, 9)).ToBytes())
	}
	killed(t, newServer(withBoot("x")), packets...)
}

func TestDnsmasq_2_61_InformWithoutARange(t *testing.T) {
	s := newServer(withPool(&Pool{Reservations: []Reservation{{HardwareAddr: mac(4711), Addr: addr("192.0.2.50")}}}))
	killed(t, s, message(dhcpv4.MessageTypeInform, mac(1), ciaddr("192.0.2.9")).ToBytes(), message(dhcpv4.MessageTypeInform, mac(1)).ToBytes())
}

func TestDnsmasq_2_67_EmptyStringOptions(t *testing.T) {
	killed(t, newServer(withBoot("x")), raw(12, 0, 60, 0, 61, 0, 77, 0, 81, 0, 82, 0, 93, 0, 97, 0, 175, 0, 55, 0, 255))
}

func TestDnsmasq_2_44_RenewFromAnUnknownClient(t *testing.T) {
	killed(t, newServer(), request(mac(1), ciaddr("192.0.2.150")).ToBytes(), request(mac(1), ciaddr("203.0.113.1")).ToBytes())
}

func TestCVE_2025_40779_UnicastWithoutASubnet(t *testing.T) {
	s := newServer(func(s *Server) { s.Networks[0].Addr = netip.Prefix{}; s.Networks[0].Interface = "" })
	c := serve(t, s)
	for _, ifname := range []string{"eth7", "eth1"} {
		for _, mods := range [][]dhcpv4.Modifier{nil, {giaddr("203.0.113.1")}, {ciaddr("203.0.113.7")}, {optAddr(118, "203.0.113.0")}, {opt(82, 5, 4, 203, 0, 113, 0)}} {
			for _, kind := range []dhcpv4.MessageType{1, 3, 4, 7, 8} {
				c.in <- fakePacket{message(kind, mac(1), mods...).ToBytes(), netip.MustParseAddrPort("203.0.113.7:68"), addr("192.0.2.1"), ifname}
			}
		}
	}
	doraOn(t, c, mac(9))
	require.NotZero(t, s.Drops()[NoServerAddr])
	require.NotZero(t, s.Drops()[NoNetwork])
}

func TestKea_4424_NAKThroughARelayHasTheBroadcastBit(t *testing.T) {
	x := ask(t, newServer(), request(mac(1), selecting("192.0.2.7"), giaddr("192.0.2.2")))
	require.Equal(t, "NAK", x.kind())
	require.True(t, x.reply.IsBroadcast())
	x = ask(t, newServer(), request(mac(1), selecting("192.0.2.7")))
	require.Equal(t, "NAK", x.kind())
	require.False(t, x.reply.IsBroadcast(), "nobody reads it of a NAK that is broadcast anyway")
	dora(t, newServer(), mac(1), giaddr("192.0.2.2"))
}

func TestKea_2026_DoubleReleaseAndLeaseWithoutHardwareAddress(t *testing.T) {
	store := &MemoryStore{}
	pool := small(3)
	pool.Store = store
	s := newServer(withPool(pool))
	a := dora(t, s, nil, opt(61, 0, 1, 2))
	require.NotEqual(t, a, dora(t, s, nil, opt(61, 0, 1, 3)), "told apart by client-id")
	p := message(dhcpv4.MessageTypeRelease, nil, ciaddr(a), opt(61, 0, 1, 2))
	require.Empty(t, ask(t, s, p).reason)
	require.Equal(t, Policy, ask(t, s, p).reason)
	require.Len(t, bindings(t, store), 2)
	dora(t, s, mac(1))
}

func TestCVE_2019_6472_OversizedClientIdentifier(t *testing.T) {
	s := newServer()
	s.Networks[0].Leases.(*Pool).Store = openLeases(t, filepath.Join(t.TempDir(), "leases"))
	var packets [][]byte
	for _, n := range []int{256, 257, 1000} { // in several instances of the option
		big := opt(61, bytes.Repeat([]byte{1}, n)...)
		packets = append(packets, discover(mac(1), big).ToBytes(), discover(mac(1), big, opt(57, 5, 0xdc)).ToBytes(),
			request(nil, big, selecting("192.0.2.100")).ToBytes())
	}
	killed(t, s, packets...)
	require.EqualValues(t, len(packets), s.Drops()[Malformed], "whatever the store can keep")
	dora(t, s, mac(2), opt(61, bytes.Repeat([]byte{1}, 255)...))
	dora(t, s, nil, opt(61, bytes.Repeat([]byte{2}, 255)...))
}

func TestCoredhcp_182_DiscoverLeasesNothing_StarvationIsBoundedByHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &MemoryStore{}
		pool := &Pool{First: addr("192.0.2.100"), Last: addr("192.0.2.199"), Store: store,
			Reservations: []Reservation{{HardwareAddr: mac(1), Addr: addr("192.0.2.50")}}}
		s := newServer(withPool(pool))
		known := dora(t, s, mac(2))
		rnd := rand.New(rand.NewPCG(1, 1))
		for range 20000 {
			ask(t, s, discover(mac(1000+rnd.IntN(1<<24)), opt(61, byte(rnd.Int()), byte(rnd.Int()))))
		}
		require.Equal(t, "192.0.2.50", dora(t, s, mac(1)), "who has a reservation is served")
		require.Equal(t, known, dora(t, s, mac(2)), "who is known is served")
		require.Len(t, bindings(t, store), 2)
		require.Equal(t, NoAddress, ask(t, s, discover(mac(3))).reason)
		time.Sleep(defaultOfferTime)
		dora(t, s, mac(3))
		require.LessOrEqual(t, len(pool.table.slots), 102)
	})
}

func TestHoldsAreBoundedInLargePools(t *testing.T) {
	pool := &Pool{First: addr("10.0.0.2"), Last: addr("10.3.255.254")}
	s := newServer(withPool(pool), func(s *Server) { s.Networks[0].Addr = netip.MustParsePrefix("10.0.0.1/8") })
	first := ask(t, s, discover(mac(0))).addr()
	for i := range maxHolds + 100 {
		ask(t, s, discover(mac(i+1)))
	}
	require.Equal(t, maxHolds, pool.table.holds.Len())
	require.Len(t, pool.table.slots, maxHolds)
	require.Equal(t, "ACK", ask(t, s, request(mac(0), optAddr(54, "10.0.0.1"), optAddr(50, first))).kind(), "the hold is forgotten, the address still free")
	checkTable(t, pool.table)
	require.Equal(t, "ACK", ask(t, s, request(mac(0), ciaddr(first))).kind())
}

func TestCoredhcp_StoreErrorMeansNoAck(t *testing.T) {
	store := &faultyStore{claim: errors.New("disk full")}
	pool := small(3)
	pool.Store = store
	s := newServer(withPool(pool))
	a := ask(t, s, discover(mac(1))).addr()
	x := ask(t, s, request(mac(1), selecting(a)))
	require.Equal(t, "silence", x.kind())
	require.Equal(t, Error, x.reason)
	require.ErrorContains(t, x.err, "disk full")
	store.claim = nil
	require.Equal(t, a, dora(t, s, mac(1)))
}

func TestCoredhcp_ReleaseOfUnknownAllocatesNothing(t *testing.T) {
	store := &MemoryStore{}
	pool := small(3)
	pool.Store = store
	s := newServer(withPool(pool))
	for i := range 100 {
		require.Equal(t, Policy, ask(t, s, release(i, "192.0.2.100")).reason)
	}
	require.Empty(t, bindings(t, store))
	require.Empty(t, pool.table.slots)
	dora(t, s, mac(1))
}

func TestCoredhcp_153_287_RestartGivesTheSameAddress(t *testing.T) {
	store := &MemoryStore{}
	var got string
	for range 3 {
		pool := small(50)
		pool.Store = store
		a := dora(t, newServer(withPool(pool)), mac(1))
		require.True(t, got == "" || got == a)
		got = a
	}
}

func TestTinkerbell_ZeroLengthMachineIdentifier(t *testing.T) {
	x := ask(t, newServer(withBoot("x")), discover(mac(1), opt(97), optText(60, "PXEClient")))
	require.Equal(t, "OFFER", x.kind())
	require.NotContains(t, wireCodes(x.raw), byte(97))
	dora(t, newServer(withBoot("x")), mac(1), opt(97), optText(60, "PXEClient"))
}

// TestCVE_2017_14494_ReplyHasNoByteOfAnotherPacket fills what is reused with a pattern: the
// class of flaw behind dnsmasq's CVE-2017-14494, memory in replies.
func TestCVE_2017_14494_ReplyHasNoByteOfAnotherPacket(t *testing.T) {
	s := newServer()
	c := serve(t, s)
	secret := bytes.Repeat([]byte{0xa5}, 3000)
	c.in <- fakePacket{append(discover(mac(1)).ToBytes()[:236], secret...), netip.AddrPort{}, netip.Addr{}, "eth1"}
	c.put(discover(mac(2)))
	_, sent := c.next(t)
	require.NotContains(t, string(sent.b), "\xa5\xa5")
	doraOn(t, c, mac(3))
}

func TestMarkerOfOneClientReachesNoOther(t *testing.T) {
	marker := "\";$(touch /pwn)\n#!ipxe"
	s := newServer(rich, withBoot("x"))
	evil := []dhcpv4.Modifier{optText(12, marker), optText(60, "PXEClient"+marker), optText(61, marker), optText(77, marker), optText(81, marker),
		optText(82, marker), func(p *dhcpv4.DHCPv4) { p.ServerHostName, p.BootFileName = marker, marker }}
	x := ask(t, s, discover(mac(1), evil...))
	require.Equal(t, "OFFER", x.kind())
	for code, v := range x.reply.Options {
		if code != 61 && code != 82 { // its own, echoed as the RFCs demand
			require.NotContains(t, string(v), "pwn", code)
		}
	}
	require.NotContains(t, x.reply.ServerHostName+x.reply.BootFileName, "pwn")
	ask(t, s, request(mac(1), append(evil, selecting(x.addr()))...))
	ask(t, s, release(1, x.addr()))
	require.NotContains(t, string(ask(t, s, discover(mac(2), optAddr(50, x.addr()))).raw), "pwn")
}
