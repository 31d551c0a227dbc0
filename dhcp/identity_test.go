package dhcp

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

func strict(n int) *Pool {
	p := small(n)
	p.StrictIdentity = true
	return p
}

func TestD090_StrictIdentityGoesByTheClientIdentifier(t *testing.T) {
	duid := func(iaid byte) dhcpv4.Modifier { return opt(61, 255, 0, 0, 0, iaid, 0, 3, 0, 1, 2, 0, 0, 0, 0, 1) }
	s := newServer(withPool(strict(20)))
	a := dora(t, s, mac(1), duid(1))
	require.Equal(t, a, dora(t, s, mac(2), duid(1)), "one client behind another interface")
	require.NotEqual(t, a, dora(t, s, mac(1), duid(2)), "another client behind the same interface")
	require.Equal(t, a, dora(t, s, nil, duid(1)), "without a hardware address it is the same")

	plain := dora(t, s, mac(1))
	require.NotEqual(t, a, plain)
	require.Equal(t, plain, dora(t, s, mac(1)), "without an identifier it is the hardware address")
	require.Equal(t, plain, dora(t, s, mac(1), opt(61, 1)), "D-092: one of a byte is none")
	require.NotEqual(t, plain, dora(t, s, mac(2)))

	t.Run("what belongs to an identifier is not another's", func(t *testing.T) {
		require.Equal(t, "ACK", ask(t, s, request(mac(9), ciaddr(a), duid(1))).kind())
		require.Equal(t, "NAK", ask(t, s, request(mac(1), ciaddr(a), duid(2))).kind())
		require.Equal(t, Policy, ask(t, s, release(1, a, duid(2))).reason)
		require.Equal(t, Policy, ask(t, s, release(1, a)).reason)
		require.Equal(t, Policy, ask(t, s, decline(1, a, duid(2))).reason)
		require.Empty(t, ask(t, s, release(9, a, duid(1))).reason)
	})
	t.Run("an identifier that spells a hardware address is not it", func(t *testing.T) {
		s := newServer(withPool(strict(20)))
		require.NotEqual(t, dora(t, s, mac(1)), dora(t, s, mac(1), opt(61, mac(1)...)))
	})
	t.Run("within one subnet", func(t *testing.T) {
		s := newServer(withPool(strict(20)), withRelays)
		require.Contains(t, dora(t, s, mac(1), duid(1)), "192.0.2.")
		x := ask(t, s, discover(mac(1), duid(1), giaddr("198.51.100.1")))
		require.Equal(t, NoServerAddr, x.reason, "a conn without our addresses")
		x = ask82(t, s, discover(mac(1), duid(1), giaddr("198.51.100.1")))
		require.Contains(t, x.addr(), "198.51.100.", "its address on one network says nothing on another")
	})
	t.Run("an offer that was not taken", func(t *testing.T) {
		s := newServer(withPool(strict(1)))
		require.Equal(t, "OFFER", ask(t, s, discover(mac(1), duid(1))).kind())
		require.Equal(t, NoAddress, ask(t, s, discover(mac(1), duid(2))).reason, "held")
		other := ask(t, s, request(mac(1), duid(1), optAddr(54, "192.0.2.2"), optAddr(50, "192.0.2.100")))
		require.Equal(t, NotForUs, other.reason)
		dora(t, s, mac(1), duid(2))
	})
}

// The trap that Pool.StrictIdentity tells of, and that the default does not have
// (TestD094_FourClientsOfOneBootKeepOneAddress).
func TestD090_StrictIdentityGivesTheStagesOfABootAddressesOfTheirOwn(t *testing.T) {
	s := newServer(withPool(strict(20)))
	got := map[string]bool{}
	for _, mods := range stages(1) {
		got[dora(t, s, mac(1), mods...)] = true
	}
	require.Len(t, got, len(stages(1)))

	t.Run("and a reservation to one of them at a time", func(t *testing.T) {
		pool := strict(20)
		pool.Reservations = []Reservation{{HardwareAddr: mac(1), Addr: addr("192.0.2.210")}}
		s := newServer(withPool(pool))
		require.Equal(t, "192.0.2.210", dora(t, s, mac(1), stages(1)["firmware"]...))
		require.NotEqual(t, "192.0.2.210", dora(t, s, mac(1), stages(1)["system"]...))
		require.Equal(t, "192.0.2.210", dora(t, s, mac(1), stages(1)["firmware"]...))
	})
}

// A store outlives the choice: nothing is given twice, and who is known by both
// keys keeps its address.
func TestStrictIdentityMayChangeBetweenStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &MemoryStore{}
		id := opt(61, 255, 1, 2, 3)
		start := func(strict bool) *Server {
			p := small(4)
			p.Store, p.StrictIdentity = store, strict
			return newServer(withPool(p))
		}
		s := start(false)
		a := dora(t, s, mac(1), id)
		s = start(true)
		require.Equal(t, a, dora(t, s, mac(1), id))
		b := dora(t, s, mac(1))
		c := dora(t, s, mac(1), opt(61, 0, 9))
		require.NotContains(t, []string{a, c}, b)
		time.Sleep(time.Second)
		require.Equal(t, a, dora(t, s, mac(1), id), "the last to be renewed")
		s = start(false)
		require.Equal(t, a, dora(t, s, mac(1)), "of several records the one that ends last")
		d := dora(t, s, mac(2))
		require.NotContains(t, []string{a, b, c}, d, "the others stay taken")
		require.Equal(t, NoAddress, ask(t, s, discover(mac(3))).reason)
		time.Sleep(2 * time.Hour)
		dora(t, s, mac(3))
	})
}

// Who uses an address is known by its hardware address alone: a probe tells no
// client identifier.
func TestD023_StrictIdentityAndWhoUsesAnAddress(t *testing.T) {
	id := opt(61, 255, 0, 0, 0, 1, 0, 3, 0, 1, 2, 0, 0, 0, 0, 1)
	t.Run("a machine keeps the address that we have forgotten", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			l := newLink(t)
			l.machines[addr("192.0.2.101")] = mac(1)
			serveOn(t, newServer(withPool(strict(2))), l)
			rest(time.Minute)
			require.Len(t, l.conflict, 1)
			require.Equal(t, "192.0.2.100", l.offer(t, mac(2), opt(61, 255, 2)))
			require.Empty(t, l.offer(t, mac(3), id), "the identifier of another machine")
			require.Equal(t, "192.0.2.101", l.offer(t, mac(1), id))
			require.Equal(t, "192.0.2.101", l.exchange(t, dhcpv4.MessageTypeAck, request(mac(1), id, selecting("192.0.2.101"))))
		})
	})
	t.Run("and the one that it is offered", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			l := newLink(t)
			l.machines[addr("192.0.2.170")] = mac(1)
			serveOn(t, newServer(withPool(strict(100))), l)
			require.Equal(t, "192.0.2.170", l.offer(t, mac(1), id, optAddr(50, "192.0.2.170")))
			rest(2 * time.Second)
			require.Equal(t, 1, l.asked[addr("192.0.2.170")])
			require.Empty(t, l.conflict, "it answers for itself")
			require.Equal(t, "192.0.2.170", l.exchange(t, dhcpv4.MessageTypeAck, request(mac(1), id, selecting("192.0.2.170"))))
		})
	})
}
