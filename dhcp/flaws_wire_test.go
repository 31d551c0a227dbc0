package dhcp

import (
	"bytes"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// Of the flaws that DHCP servers had, these need no test, because what they were
// in does not exist here: DNS (dnsmasq CVE-2017-14491 and -14495, CVE-2020-25681 to
// -25687, CVE-2021-3448), DHCPv6 and router advertisements (CVE-2017-14492,
// CVE-2022-0934, CVE-2026-4892), IP and UDP headers read from a raw socket (ISC
// CVE-2015-8605: frames are only sent), failover by TCP (ISC CVE-2016-2774), a
// control interface (Kea CVE-2025-32801 and -32802).

// asked sends packets through a server without a socket, each linted, and leases an
// address at the end.
func asked(t *testing.T, s *Server, packets ...[]byte) {
	t.Helper()
	for _, b := range packets {
		askRaw(t, s, b)
	}
	dora(t, s, mac(4711))
}

func TestCVE_2017_14493_14496_ReplyLengthIsNotTheRequests(t *testing.T) {
	s := newServer(rich, withBoot("x"))
	lengths := map[int]bool{}
	for _, filler := range []int{0, 100, 500, 1000, 3000} {
		b := discover(mac(1), opt(57, 2, 64)).ToBytes()
		b = append(b[:len(b)-1], optionEnd)
		x := askRaw(t, s, append(b, make([]byte, filler)...))
		require.Equal(t, "OFFER", x.kind())
		lengths[len(x.raw)] = true
	}
	require.Len(t, lengths, 1)
	for _, size := range []uint16{0, 1, 27, 28, 239, 300, 575, 0xffff} { // option 57, for an underflow
		x := ask(t, s, discover(mac(1), opt(57, byte(size>>8), byte(size)), opt(82, bytes.Repeat([]byte{1, 0}, 200)...)))
		require.Equal(t, "OFFER", x.kind())
	}
	dora(t, s, mac(1))
}

// TestCVE_2026_2291_EveryOptionOfEveryLength has dnsmasq's CVE-2026-5172 and
// -12725 too: values that are longer or shorter than the code that reads them thinks.
func TestCVE_2026_2291_EveryOptionOfEveryLength(t *testing.T) {
	var packets [][]byte
	for code := 1; code < 255; code++ {
		for _, n := range []int{0, 1, 2, 3, 4, 5, 16, 17, 18, 255} {
			for _, fill := range []byte{0, 1, 4, 0xff} {
				packets = append(packets, raw(append(append([]byte{byte(code), byte(n)}, bytes.Repeat([]byte{fill}, n)...), optionEnd)...))
			}
		}
		packets = append(packets, raw(byte(code)), raw(byte(code), 255), raw(byte(code), 2, 1))
	}
	asked(t, newServer(rich, withBoot("x"), withRelays), packets...)
}

func TestCVE_2026_12725_OverlongNames(t *testing.T) {
	long := strings.Repeat("a", 255)
	var packets [][]byte
	for _, code := range []uint8{12, 15, 60, 66, 67, 77, 81, 114, 119} {
		for _, n := range []int{63, 64, 127, 128, 255} {
			packets = append(packets, discover(mac(1), optText(code, long[:n])).ToBytes())
		}
		packets = append(packets, discover(mac(1), optText(code, strings.Repeat(long, 10))).ToBytes())
	}
	full := edit(edit(raw(255), offsetSname, bytes.Repeat([]byte{'a'}, snameLen)...), offsetFile, bytes.Repeat([]byte{'b'}, fileLen)...)
	asked(t, newServer(rich, withBoot("x")), append(packets, full)...)
}

// TestCVE_2021_45951_ShapesOfTheFuzzers has the packets that OSS-Fuzz reported for
// dnsmasq (CVE-2021-45951 to -45957): lengths that end a byte before or behind a field.
func TestCVE_2021_45951_ShapesOfTheFuzzers(t *testing.T) {
	var packets [][]byte
	for _, base := range [][]byte{raw(255), raw(82, 4, 1, 2, 'a', 'b', 255), raw(52, 1, 3, 255), raw(55, 3, 1, 3, 6, 255)} {
		for n := range len(base) + 1 {
			packets = append(packets, base[:n])
		}
		for _, n := range []int{300, 548, 576, 1472, maxPacket - 1, maxPacket, maxPacket + 1} {
			packets = append(packets, append(bytes.Clone(base), make([]byte, n-len(base))...))
		}
	}
	for at := range fileLen {
		packets = append(packets, edit(raw(52, 1, 1, 255), offsetFile+at, 60, byte(fileLen-at-2)), edit(raw(52, 1, 1, 255), offsetFile+at, 60, byte(fileLen-at-1)))
	}
	for at := range snameLen {
		packets = append(packets, edit(raw(52, 1, 2, 255), offsetSname+at, 60, byte(snameLen-at-2)), edit(raw(52, 1, 2, 255), offsetSname+at, 60, byte(snameLen-at-1)))
	}
	asked(t, newServer(rich, withBoot("x")), packets...)
}

// The mask is ours and of four bytes, whatever a client or a policy says.
func TestCVE_2009_0692_TheMaskHasFourBytes(t *testing.T) {
	for _, n := range []int{0, 3, 5, 255} {
		x := ask(t, newServer(), discover(mac(1), opt(1, make([]byte, n)...), opt(55, 1)))
		require.Equal(t, []byte{255, 255, 255, 0}, x.reply.Options[1])
		require.Error(t, newServer(withOptions(generic(1, make([]byte, n)...))).Validate())
		policy := inventory{lease: richLease{lease("192.0.2.50/32"), []dhcpv4.Option{generic(1, make([]byte, n)...)}}}
		require.Equal(t, Error, ask(t, newServer(withPolicy(policy)), discover(mac(1))).reason)
	}
	dora(t, newServer(), mac(1), opt(1, 255))
}

// names are what servers made of a client's name: nothing, or a crash.
var names = []string{"", "----", "-", ".", "..", "aaa..bbb.com", ".a", "a.", "a\x00b", strings.Repeat("a", 64), strings.Repeat("a.", 127) + "a",
	"a,b\nc\"d", "a&#x2cb", "\xff\xfe", "%s%n", "_dmarc", "a b", strings.Repeat("\x3f", 255), "*.example.org"}

// TestCVE_2022_2929_CVE_2019_6473_CVE_2025_11232_HostNames has Kea's aaa..bbb.com and
// its names that are empty once they are sanitised, too. A name never comes back.
func TestCVE_2022_2929_CVE_2019_6473_CVE_2025_11232_HostNames(t *testing.T) {
	s := newServer(rich, withBoot("x"))
	for i, name := range names {
		for _, mods := range [][]dhcpv4.Modifier{
			{optText(12, name)},
			{optText(81, "\x00\x00\x00"+name)},                         // in ASCII
			{optText(81, "\x05\xff\xff"+string(rune(len(name)))+name)}, // in the form of DNS, with and without an end
			{optText(81, "\x05\xff\xff\xc0\x00"), optText(15, name)},   // a name that points at itself
			{optText(81, name), optText(12, name), optText(119, name)},
		} {
			mods = append(mods, opt(55, 1, 12, 15, 81, 119))
			offer := ask(t, s, discover(mac(i), mods...))
			require.Equal(t, "OFFER", offer.kind(), "%q", name)
			ack := ask(t, s, request(mac(i), append(mods, selecting(offer.addr()))...))
			require.Equal(t, "ACK", ack.kind(), "%q", name)
			for _, x := range []result{offer, ack} {
				require.NotContains(t, x.reply.Options, uint8(12))
				require.NotContains(t, x.reply.Options, uint8(81))
				require.Equal(t, "example.org", string(x.reply.Options[15]), "the network's")
			}
		}
	}
	dora(t, s, mac(4711))
}

// TestKea_2026_NestedOptions is the class of CVE-2026-3608, where depth was the
// sender's: overload in overload, options in options, names that point at themselves.
func TestKea_2026_NestedOptions(t *testing.T) {
	overload := edit(edit(raw(52, 1, 3, 255), offsetFile, 52, 1, 3, 255), offsetSname, 52, 1, 3, 255)
	nested := func(code byte) []byte {
		v := []byte{code, 0}
		for len(v) < 252 {
			v = append([]byte{code, byte(len(v))}, v...)
		}
		return v
	}
	packets := [][]byte{overload, raw(bytes.Repeat([]byte{52, 1, 3}, 100)...)}
	for _, code := range []uint8{43, 77, 82, 119, 124, 125, 175} {
		packets = append(packets, discover(mac(1), opt(code, nested(code)...), optText(60, "PXEClient")).ToBytes(),
			discover(mac(1), opt(code, nested(1)...), giaddr("192.0.2.2")).ToBytes(), discover(mac(1), opt(code, 0xc0, 0)).ToBytes())
	}
	asked(t, newServer(rich, withBoot("x")), packets...)
}

// A reservation for who had the address before, and one whose lease ended.
func TestKea_2026_ReservationOfAnExpiredLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := small(2)
		pool.Reservations = []Reservation{{HardwareAddr: mac(1), Addr: addr("192.0.2.100")}}
		s := newServer(withPool(pool))
		require.Equal(t, "192.0.2.100", dora(t, s, mac(1)))
		time.Sleep(2 * time.Hour)
		require.Equal(t, "192.0.2.101", dora(t, s, mac(2), optAddr(50, "192.0.2.100")), "reserved still")
		require.Equal(t, NoAddress, ask(t, s, discover(mac(3))).reason)
		require.Equal(t, "ACK", ask(t, s, request(mac(1), ciaddr("192.0.2.100"))).kind(), "late, and still its own")
		require.Equal(t, "192.0.2.100", dora(t, s, mac(1)))
	})
}

func TestCoredhcp_148_ExpiredAndReleasedLeasesAreFreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(withPool(small(3)))
		for round := range 10 {
			var got []string
			for i := range 3 {
				got = append(got, dora(t, s, mac(100*round+i)))
			}
			require.Equal(t, NoAddress, ask(t, s, discover(mac(99999))).reason)
			if round%2 == 0 {
				time.Sleep(time.Hour + time.Second)
				continue
			}
			for i, a := range got {
				require.Empty(t, ask(t, s, release(100*round+i, a)).reason)
			}
		}
		dora(t, s, mac(4711))
	})
}

func TestCoredhcp_80_AnAddressInUseIsNotOffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(withPool(small(2)))
		a, b := dora(t, s, mac(1)), dora(t, s, mac(2))
		for i := range 50 {
			for _, wish := range []string{a, b, "192.0.2.1", "192.0.2.102"} {
				require.Equal(t, NoAddress, ask(t, s, discover(mac(100+i), optAddr(50, wish))).reason)
			}
		}
		time.Sleep(time.Hour + time.Second)
		dora(t, s, mac(3))
	})
}

func TestCoredhcp_ServeOutlivesReadErrorsThatPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := serve(t, newServer())
		c.fail(syscall.ENETDOWN, syscall.ENOBUFS, syscall.EINTR)
		doraOn(t, c, mac(1))
	})
}

// A policy that hangs makes neither goroutines nor memory without end.
func TestCoredhcp_GoroutinesAreBoundedAndClientsServedAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGated()
		g.entered = make(chan *Request, 10000)
		s := newServer(withPolicy(g), func(s *Server) { s.MaxClients = 8 })
		c := serve(t, s)
		before := runtime.NumGoroutine()
		for i := range 3000 {
			c.put(discover(mac(i), xid(uint32(i))))
			c.put(discover(mac(7), xid(uint32(i))))
			synctest.Wait()
		}
		require.LessOrEqual(t, runtime.NumGoroutine(), before+6)
		drops := s.Drops()
		require.EqualValues(t, 6000, drops[QueueFull]+drops[LimitExceeded]+6+maxWaiting, "DISCOVERs have three quarters of the places")
		close(g.leave)
		synctest.Wait()
		for len(c.out) > 0 {
			<-c.out
		}
		require.Equal(t, "192.0.2.50", doraOn(t, c, mac(4711)))
	})
}

// What a telephone, a printer or a switch sends is none of a proxy's business, and
// does not stop it.
func TestCVE_2002_0835_AProxyAndOtherVendors(t *testing.T) {
	s := newProxy(Proxy)
	for i, class := range []string{"Cisco Systems, Inc. IP Phone", "MSFT 5.0", "docsis3.0:", "AVAYA", "", "PXEClien", "%s%n"} {
		for _, kind := range []dhcpv4.MessageType{1, 3, 4, 7, 8} {
			x := ask(t, s, message(kind, mac(i), optText(60, class), opt(43, 1, 2), opt(93, 0), opt(125, 0, 0)))
			require.Nil(t, x.reply, fmt.Sprint(kind, class))
		}
	}
	require.Equal(t, "OFFER", ask(t, s, discover(mac(1), asBIOS...)).kind())
	r := &Request{Interface: "eth1", Source: netip.MustParseAddrPort("192.0.2.50:68"), Destination: addr(serverIP), PXEPort: true}
	require.Equal(t, "ACK", askRequest(t, s, request(mac(1), with(asBIOS, ciaddr("192.0.2.50"))...).ToBytes(), r, nil).kind())
}
