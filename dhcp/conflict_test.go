package dhcp

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// A router that answers for everybody does not take all addresses.
func TestProxyARPIsNotBelieved(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := small(40)
		l := newLink(t)
		for i := range 40 {
			l.machines[addr4(number(p.First)+uint32(i))] = mac(1000)
		}
		serveOn(t, newServer(withPool(p)), l)
		rest(5 * time.Minute)
		require.Equal(t, uint64(maxAnswers), p.Probes().InUse)
		require.Equal(t, 1, l.logged("proxy ARP"))
		for i := range 40 - maxAnswers {
			require.NotEmpty(t, l.offer(t, mac(i)))
		}
		require.Empty(t, l.offer(t, mac(99)))
	})
}

// Somebody answers each probe, under a name that tells nothing. He does not take the
// pool away: half of it still goes to clients, once nothing else is left.
func TestD023_ForgedAnswersDoNotTakeThePool(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for name, forge := range map[string]func(netip.Addr) net.HardwareAddr{
		"another machine each time": func(netip.Addr) net.HardwareAddr { return mac(1000 + rnd.IntN(1<<20)) },
		"nobody knows which":        func(netip.Addr) net.HardwareAddr { return nil },
		"names of any length":       func(netip.Addr) net.HardwareAddr { return make([]byte, rnd.IntN(40)) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := small(40)
				p.Quarantine = time.Hour
				l := newLink(t)
				l.forge = forge
				serveOn(t, newServer(withPool(p)), l)
				rest(3 * time.Minute)
				require.Zero(t, p.Probes().Free)
				require.LessOrEqual(t, p.table.uses.Len(), 40)
				require.LessOrEqual(t, l.logged("another machine uses it"), 20)
				require.Equal(t, 1, l.logged("is somebody attacking")+l.logged("proxy ARP"))
				ignored := 0
				for _, c := range l.conflict {
					if c.Ignored {
						ignored++
					}
				}
				require.GreaterOrEqual(t, ignored, 20)
				given := map[string]bool{}
				for i := range 20 {
					a := l.offer(t, mac(i))
					rest(2 * time.Second) // the probe of what was offered is answered too
					require.Equal(t, a, l.exchange(t, dhcpv4.MessageTypeAck, request(mac(i), selecting(a))))
					given[a] = true
				}
				require.Len(t, given, 20)
				for i := range given {
					require.Equal(t, i, doraOn(t, l.fakeConn, l.holder(p, i)), "and is kept")
				}
			})
		})
	}
}

// holder is the hardware address of who has a lease.
func (l *link) holder(p *Pool, a string) net.HardwareAddr { return p.table.slots[addr(a)].rec.HW }

// The last resort is the last, begins with who answered longest ago and stops where
// the bound is.
func TestD023_AddressesThatAnswerAreGivenLast(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := small(5)
		p.Quarantine = time.Hour
		l := serveOn(t, newServer(withPool(p)), newLink(t, "192.0.2.100", "192.0.2.101", "192.0.2.102", "192.0.2.103"))
		rest(time.Minute)
		require.Equal(t, ProbeCounts{Free: 1, InUse: 4}, p.Probes())
		require.Len(t, l.conflict, 4)
		for i, c := range l.conflict {
			require.Equal(t, i == 3, c.Ignored, "three of five are kept from everybody")
		}
		require.Equal(t, "192.0.2.104", l.offer(t, mac(1)))
		require.Equal(t, l.conflict[0].Addr.String(), l.offer(t, mac(2)))
		require.Empty(t, l.offer(t, mac(3)))
		require.Equal(t, uint64(1), p.Probes().Unprobed)
		rest(2 * time.Second)
		require.Equal(t, 5, len(l.conflict), "it was asked for again")
		require.True(t, l.conflict[4].Ignored)
		require.Equal(t, l.conflict[0].Addr.String(), l.exchange(t, dhcpv4.MessageTypeAck, request(mac(2), selecting(l.conflict[0].Addr.String()))))
		require.Equal(t, l.conflict[1].Addr.String(), l.offer(t, l.conflict[1].HardwareAddr), "who uses one still gets it")
	})
}

// Our own host answers no probe of ours. Its addresses are not free for that.
func TestD023_OurOwnAddressesAreNotOffered(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := small(4)
		l := newLink(t)
		serveOn(t, newServer(withPool(p)), l)
		require.Equal(t, "192.0.2.102", l.exchange(t, dhcpv4.MessageTypeOffer, discover(mac(1), optAddr(50, "192.0.2.102"))))
		require.Equal(t, "192.0.2.102", l.exchange(t, dhcpv4.MessageTypeAck, request(mac(1), selecting("192.0.2.102"))))
		l.set(func() {
			l.own = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("192.0.2.101/24"), netip.MustParsePrefix("192.0.2.102/32")}
			clear(l.asked)
		})
		rest(stockTime + time.Minute)
		require.NotContains(t, l.asked, addr("192.0.2.101"))
		require.Empty(t, l.conflict)
		require.NotEqual(t, "192.0.2.101", l.offer(t, mac(2), optAddr(50, "192.0.2.101")))
		require.NotEqual(t, "192.0.2.101", l.offer(t, mac(3)))
		require.Empty(t, l.offer(t, mac(4)))
		require.Equal(t, "192.0.2.102", doraOn(t, l.fakeConn, mac(1)), "a client on this host keeps its lease")
		l.set(func() { l.own = nil })
		rest(time.Minute)
		require.Equal(t, "192.0.2.101", l.offer(t, mac(4)))
	})
}

// A machine that came to its address by a pool which has forgotten it gets it back,
// from whatever pool of a chain.
func TestD023_WhoUsesAnAddressGetsIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := newLink(t, "192.0.2.151")
		serveOn(t, newServer(withChain(poolOf("192.0.2.100", "192.0.2.119"), poolOf("192.0.2.150", "192.0.2.159"))), l)
		rest(time.Minute)
		require.Equal(t, "192.0.2.151", doraOn(t, l.fakeConn, mac(1000)))
		require.NotEqual(t, "192.0.2.151", doraOn(t, l.fakeConn, mac(1)))
		rest(time.Hour / 2)
		require.Len(t, l.conflict, 1, "it has a lease now, and is not asked")
		l.put(message(dhcpv4.MessageTypeRelease, mac(1000), ciaddr("192.0.2.151"), optAddr(54, serverIP)))
		l.set(func() { delete(l.machines, addr("192.0.2.151")) })
		rest(time.Minute)
		require.Equal(t, "192.0.2.151", l.exchange(t, dhcpv4.MessageTypeAck, request(mac(2), selecting("192.0.2.151"))),
			"it has gone, and its quarantine with it")
	})
}
