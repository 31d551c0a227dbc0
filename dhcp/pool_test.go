package dhcp

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

func small(n int) *Pool {
	return &Pool{First: addr("192.0.2.100"), Last: addr4(number(addr("192.0.2.100")) + uint32(n) - 1)}
}

func release(n int, a string, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	return message(dhcpv4.MessageTypeRelease, mac(n), append(mods, ciaddr(a), optAddr(54, serverIP))...)
}

func decline(n int, a string, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	return message(dhcpv4.MessageTypeDecline, mac(n), append(mods, optAddr(50, a), optAddr(54, serverIP))...)
}

func TestD020_AddressChoice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := small(3)
		pool.Reservations = []Reservation{{HardwareAddr: mac(50), Addr: addr("192.0.2.200")}, {HardwareAddr: mac(51), Addr: addr("192.0.2.101")}}
		s := newServer(withPool(pool))
		require.Equal(t, "192.0.2.102", dora(t, s, mac(1), optAddr(50, "192.0.2.102")), "the one asked for")
		require.Equal(t, "192.0.2.102", dora(t, s, mac(1), optAddr(50, "192.0.2.100")), "its own before the one asked for")
		require.Equal(t, "192.0.2.100", dora(t, s, mac(2), optAddr(50, "192.0.2.102")), "D-021: taken is not refused, another is offered")
		require.Equal(t, NoAddress, ask(t, s, discover(mac(3), optAddr(50, "192.0.2.101"))).reason, "reserved for another")
		require.Equal(t, "192.0.2.200", dora(t, s, mac(50)), "reserved, outside of the range")
		require.Equal(t, "192.0.2.101", dora(t, s, mac(51), optAddr(50, "192.0.2.100")), "reserved, before the one asked for")

		ask(t, s, release(1, "192.0.2.102"))
		time.Sleep(time.Second)
		ask(t, s, release(2, "192.0.2.100"))
		require.Equal(t, "192.0.2.102", dora(t, s, mac(1)), "D-072: the one it had")
		time.Sleep(time.Second)
		require.Equal(t, "192.0.2.100", dora(t, s, mac(3)), "the one nobody needs")
		require.Equal(t, NoAddress, ask(t, s, discover(mac(2))).reason)
		time.Sleep(2 * time.Hour)
		require.Equal(t, "192.0.2.102", dora(t, s, mac(2)), "D-025: leases end; the one free for longest")
		require.Equal(t, "192.0.2.100", dora(t, s, mac(3)), "an expired lease is still its client's if free")
	})
}

func TestD021_AddressesThatCannotBeGivenAreIgnored(t *testing.T) {
	for _, a := range []string{"192.0.2.7", "203.0.113.5", "0.0.0.0", "255.255.255.255", "224.0.0.1", serverIP} {
		x := ask(t, newServer(), discover(mac(1), optAddr(50, a)))
		require.Equal(t, "OFFER", x.kind(), a)
		require.NotEqual(t, a, x.addr())
	}
}

func TestPoolLeavesOutWhatTheNetworkUses(t *testing.T) {
	s := newServer(withPool(&Pool{First: addr("192.0.2.0"), Last: addr("192.0.2.7")}), func(s *Server) {
		s.Networks[0].Addr = netip.MustParsePrefix("192.0.2.1/29")
		s.Networks[0].Routers = []netip.Addr{addr("192.0.2.2")}
		s.Networks[0].DNS = []netip.Addr{addr("192.0.2.3")}
	})
	require.NoError(t, s.Validate())
	got := map[string]bool{}
	for i := range 4 {
		got[dora(t, s, mac(i), giaddr("192.0.2.4"))] = i < 2
		if i == 1 {
			break
		}
	}
	require.Equal(t, map[string]bool{"192.0.2.5": true, "192.0.2.6": true}, got)
	require.Equal(t, NoAddress, ask(t, s, discover(mac(9), giaddr("192.0.2.4"))).reason)
}

func TestD022_D028_OffersAreHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &MemoryStore{}
		pool := small(2)
		pool.Store = store
		s := newServer(withPool(pool))
		a := ask(t, s, discover(mac(1)))
		b := ask(t, s, discover(mac(2)))
		require.NotEqual(t, a.addr(), b.addr(), "D-022")
		require.Equal(t, NoAddress, ask(t, s, discover(mac(3))).reason, "D-025")
		again := ask(t, s, discover(mac(1), xid(9)))
		require.Equal(t, a.addr(), again.addr(), "D-028")
		require.Equal(t, a.reply.Options[54], again.reply.Options[54])
		require.Empty(t, bindings(t, store), "D-027: an offer commits nothing")

		time.Sleep(defaultOfferTime + time.Second)
		require.Equal(t, "ACK", ask(t, s, request(mac(1), selecting(a.addr()))).kind(), "late, but nobody else has it")
		require.Equal(t, b.addr(), dora(t, s, mac(3)), "holds end by themselves")
		require.Equal(t, "NAK", ask(t, s, request(mac(2), selecting(b.addr()))).kind())
		require.Len(t, bindings(t, store), 2)
	})
}

func TestD024_O024_LeaseTime(t *testing.T) {
	pool := func() *Pool {
		p := small(9)
		p.LeaseTime, p.MinLeaseTime, p.MaxLeaseTime = time.Hour, 10*time.Minute, 8*time.Hour
		return p
	}
	seconds := func(x result) string { return fmt.Sprintf("%x", x.reply.Options[51]) }
	for name, c := range map[string]struct {
		asked []byte
		max   time.Duration
		want  string
	}{
		"not asked":                 {nil, 0, "00000e10"},
		"asked":                     {[]byte{0, 0, 0x1c, 0x20}, 0, "00001c20"},
		"O-024 nothing: minimum":    {[]byte{0, 0, 0, 0}, 0, "00000258"},
		"O-024 for ever: maximum":   {[]byte{255, 255, 255, 255}, 0, "00007080"},
		"136 years: maximum":        {[]byte{255, 255, 255, 254}, 0, "00007080"},
		"for ever, and may":         {[]byte{255, 255, 255, 255}, Infinite, "ffffffff"},
		"asked in the wrong length": {[]byte{0, 1}, 0, "00000e10"},
	} {
		t.Run(name, func(t *testing.T) {
			p := pool()
			if c.max != 0 {
				p.MaxLeaseTime = c.max
			}
			s := newServer(withPool(p))
			var mods []dhcpv4.Modifier
			if c.asked != nil {
				mods = append(mods, opt(51, c.asked...))
			}
			offer := ask(t, s, discover(mac(1), mods...))
			require.Equal(t, c.want, seconds(offer))
			require.Equal(t, c.want, seconds(ask(t, s, request(mac(1), append(mods, selecting(offer.addr()))...))))
		})
	}
	t.Run("who does not ask keeps a longer one", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(withPool(pool()))
			a := dora(t, s, mac(1), opt(51, 0, 0, 0x70, 0x80))
			time.Sleep(time.Hour)
			require.Equal(t, "00006270", seconds(ask(t, s, discover(mac(1)))))
			time.Sleep(6*time.Hour + 30*time.Minute)
			require.Equal(t, "00000e10", seconds(ask(t, s, request(mac(1), ciaddr(a)))))
		})
	})
	t.Run("infinite by default", func(t *testing.T) {
		p := small(1)
		p.LeaseTime = Infinite
		synctest.Test(t, func(t *testing.T) {
			s := newServer(withPool(p))
			dora(t, s, mac(1))
			time.Sleep(10 * 365 * 24 * time.Hour)
			require.Equal(t, NoAddress, ask(t, s, discover(mac(2))).reason)
			ask(t, s, release(1, "192.0.2.100"))
			dora(t, s, mac(2))
		})
	})
}

func TestD048_RenewingExtends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(withPool(small(1)))
		a := dora(t, s, mac(1))
		for range 10 {
			time.Sleep(30 * time.Minute)
			require.Equal(t, "ACK", ask(t, s, request(mac(1), ciaddr(a))).kind())
		}
		time.Sleep(59 * time.Minute)
		require.Equal(t, NoAddress, ask(t, s, discover(mac(2))).reason)
		time.Sleep(2 * time.Minute)
		require.Equal(t, a, dora(t, s, mac(2)))
		require.Equal(t, "silence", ask(t, s, request(mac(1), ciaddr(a))).kind(), "its record is gone")
	})
}

func TestD070_D071_Decline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &MemoryStore{}
		pool := small(8)
		pool.Store = store
		s := newServer(withPool(pool))
		a := dora(t, s, mac(1))
		require.Equal(t, Policy, ask(t, s, decline(2, a)).reason, "D-071: not the holder")
		require.Equal(t, Policy, ask(t, s, decline(1, "192.0.2.107")).reason, "D-071: not its address")
		other := message(dhcpv4.MessageTypeDecline, mac(1), optAddr(50, a), optAddr(54, "192.0.2.2"))
		require.Equal(t, NotForUs, ask(t, s, other).reason)
		require.Equal(t, RFCViolation, ask(t, s, message(dhcpv4.MessageTypeDecline, mac(1))).reason)
		require.Equal(t, a, dora(t, s, mac(1)), "still its own")

		x := ask(t, s, decline(1, a))
		require.Empty(t, x.reason, "%v", x.err)
		require.Nil(t, x.reply)
		b := dora(t, s, mac(1), optAddr(50, a))
		require.NotEqual(t, a, b, "D-070: in quarantine, also for who declined it")
		require.Equal(t, Declined, bindings(t, store)[0].State)
		require.Equal(t, Policy, ask(t, s, decline(1, a)).reason, "twice")

		for i := range maxDeclines - 1 {
			require.Empty(t, ask(t, s, decline(1, dora(t, s, mac(1)))).reason, i)
		}
		last := dora(t, s, mac(1))
		require.Equal(t, LimitExceeded, ask(t, s, decline(1, last)).reason, "D-071: one client cannot empty the pool")
		require.Equal(t, last, dora(t, s, mac(1)))
		time.Sleep(defaultQuarantine + time.Minute)
		require.Empty(t, ask(t, s, decline(1, dora(t, s, mac(1)))).reason, "the limit is for a time")
		got := map[string]bool{}
		for i := range 7 {
			got[dora(t, s, mac(10+i))] = true
		}
		require.True(t, got[a], "quarantine ends")
	})
}

func TestD072_D073_Release(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &MemoryStore{}
		pool := small(1)
		pool.Store = store
		s := newServer(withPool(pool))
		a := dora(t, s, mac(1), opt(61, 1, 2, 3))
		require.Equal(t, Policy, ask(t, s, release(2, a)).reason, "D-073: another identity")
		require.Equal(t, NotForUs, ask(t, s, message(dhcpv4.MessageTypeRelease, mac(1), ciaddr(a), optAddr(54, "192.0.2.2"))).reason)
		require.Equal(t, RFCViolation, ask(t, s, message(dhcpv4.MessageTypeRelease, mac(1))).reason)
		require.Equal(t, Bound, bindings(t, store)[0].State)

		x := ask(t, s, release(1, a))
		require.Empty(t, x.reason)
		require.Nil(t, x.reply, "D-072: no reply")
		require.Equal(t, Released, bindings(t, store)[0].State, "D-072: the record is kept")
		require.Equal(t, Policy, ask(t, s, release(1, a)).reason, "D-073: twice")
		require.Equal(t, Policy, ask(t, s, release(9, a)).reason, "D-073: unknown")
		require.Len(t, bindings(t, store), 1, "D-073: nothing allocated")
		require.Equal(t, a, dora(t, s, mac(2)), "free for others")
		require.Equal(t, "silence", ask(t, s, request(mac(1), ciaddr(a))).kind())
	})
}

func TestReservationThatComesLater(t *testing.T) {
	store := &MemoryStore{}
	pool := small(2)
	pool.Store = store
	before := newServer(withPool(pool))
	old := dora(t, before, mac(1), optAddr(50, "192.0.2.100"))
	dora(t, before, mac(2), optAddr(50, "192.0.2.101"))

	pool = small(2)
	pool.Store = store
	pool.Reservations = []Reservation{{HardwareAddr: mac(1), Addr: addr("192.0.2.200")}, {HardwareAddr: mac(3), Addr: addr("192.0.2.101")}}
	s := newServer(withPool(pool))
	require.Equal(t, "NAK", ask(t, s, request(mac(1), ciaddr(old))).kind(), "it moves to its own")
	require.Equal(t, "192.0.2.200", dora(t, s, mac(1)))
	require.Len(t, bindings(t, store), 2, "and has left the old one")
	require.Equal(t, "192.0.2.100", dora(t, s, mac(3)), "its own is in use by another")
	require.Equal(t, "ACK", ask(t, s, request(mac(3), ciaddr("192.0.2.100"))).kind(), "so it keeps what it got")
	require.Equal(t, "NAK", ask(t, s, request(mac(2), ciaddr("192.0.2.101"))).kind(), "who has it moves when it renews")
	ask(t, s, release(3, "192.0.2.100"))
	require.Equal(t, "192.0.2.100", dora(t, s, mac(2)))
	require.Equal(t, "192.0.2.101", dora(t, s, mac(3)))
}

func TestPoolComesBackFromItsStore(t *testing.T) {
	store := &MemoryStore{}
	pool := func() *Pool { p := small(50); p.Store = store; return p }
	s := newServer(withPool(pool()))
	got := map[int]string{}
	for i := range 40 {
		got[i] = dora(t, s, mac(i), opt(61, 1, byte(i)))
	}
	offered := ask(t, s, discover(mac(99))).addr()
	ask(t, s, release(3, got[3]))
	ask(t, s, decline(4, got[4]))

	s = newServer(withPool(pool()))
	for i := range 40 {
		if i == 4 {
			require.NotEqual(t, got[i], dora(t, s, mac(i), optAddr(50, got[4])))
			continue
		}
		require.Equal(t, got[i], dora(t, s, mac(i)))
	}
	require.Equal(t, "ACK", ask(t, s, request(mac(99), selecting(offered))).kind(), "restarted between OFFER and REQUEST")

	other := small(50)
	other.First, other.Last, other.Store = addr("192.0.2.10"), addr("192.0.2.12"), store
	require.NotContains(t, got, dora(t, newServer(withPool(other)), mac(1)), "records outside of the range are ignored")
}

func TestTheSameAddressAfterEverythingIsForgotten(t *testing.T) {
	a := dora(t, newServer(), mac(1))
	require.Equal(t, a, dora(t, newServer(), mac(1)))
}

func TestTwoRecordsOfOneClient(t *testing.T) {
	for name, later := range map[string]int{"the first counts": 0, "the second counts": 1} {
		t.Run(name, func(t *testing.T) {
			store := &MemoryStore{}
			now := time.Now()
			for i, a := range []string{"192.0.2.100", "192.0.2.101"} {
				b := lease(a + "/32")
				b.Until = now.Add(time.Hour)
				if i == later {
					b.Until = now.Add(2 * time.Hour)
				}
				_, err := store.Claim(t.Context(), b)
				require.NoError(t, err)
			}
			pool := small(3)
			pool.Store = store
			s := newServer(withPool(pool))
			require.Equal(t, fmt.Sprint("192.0.2.", 100+later), dora(t, s, mac(1)))
			require.Equal(t, "192.0.2.102", dora(t, s, mac(2)), "both are taken")
			require.Equal(t, NoAddress, ask(t, s, discover(mac(3))).reason)
			checkTable(t, pool.table)
		})
	}
}

func TestFreedAddressesThatTheNetworkNowUsesAreSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(withPool(small(3)))
		for i, a := range []string{"192.0.2.100", "192.0.2.101", "192.0.2.102"} {
			require.Equal(t, a, dora(t, s, mac(i), optAddr(50, a)))
			time.Sleep(time.Minute)
		}
		time.Sleep(2 * time.Hour)
		x := ask(t, s, discover(mac(9), giaddr("192.0.2.100")))
		require.Equal(t, "192.0.2.101", x.addr(), "the relay has the one that is free for longest")
		checkTable(t, s.Networks[0].Leases.(*Pool).table)
	})
}

// faultyStore is a MemoryStore that fails on demand.
type faultyStore struct {
	MemoryStore
	claim, load, remove error
	before              func(Binding) // called in Claim
}

func (s *faultyStore) Load(ctx context.Context) iter.Seq2[Binding, error] {
	if s.load != nil {
		return func(yield func(Binding, error) bool) { yield(Binding{}, s.load) }
	}
	return s.MemoryStore.Load(ctx)
}

func (s *faultyStore) Claim(ctx context.Context, b Binding) (Binding, error) {
	if s.before != nil {
		s.before(b)
	}
	if s.claim != nil {
		return Binding{}, s.claim
	}
	return s.MemoryStore.Claim(ctx, b)
}

func (s *faultyStore) Remove(ctx context.Context, b Binding) error {
	if s.remove != nil {
		return s.remove
	}
	return s.MemoryStore.Remove(ctx, b)
}

func TestStoreFailures(t *testing.T) {
	full := errors.New("disk full")
	t.Run("loading: nothing is given out until it works", func(t *testing.T) {
		store := &faultyStore{load: full}
		pool := small(2)
		pool.Store = store
		s := newServer(withPool(pool))
		x := ask(t, s, discover(mac(1)))
		require.Equal(t, Error, x.reason)
		require.ErrorIs(t, x.err, full)
		store.load = nil
		dora(t, s, mac(1))
	})
	t.Run("releasing and declining", func(t *testing.T) {
		store := &faultyStore{}
		pool := small(2)
		pool.Store = store
		s := newServer(withPool(pool))
		a := dora(t, s, mac(1))
		store.claim = full
		require.Equal(t, Error, ask(t, s, release(1, a)).reason)
		require.Equal(t, Error, ask(t, s, decline(1, a)).reason)
		store.claim = nil
		require.Equal(t, a, dora(t, s, mac(1)))
	})
	t.Run("removing an old record", func(t *testing.T) {
		store := &faultyStore{remove: full}
		pool := small(2)
		pool.Store = store
		a := dora(t, newServer(withPool(pool)), mac(1))
		pool = small(2)
		pool.Store, pool.Reservations = store, []Reservation{{HardwareAddr: mac(1), Addr: addr("192.0.2.200")}}
		s := newServer(withPool(pool))
		require.Equal(t, "192.0.2.200", dora(t, s, mac(1)))
		require.NotEqual(t, a, dora(t, s, mac(2), optAddr(50, a)), "taken for as long as the record says")
		require.Equal(t, NoAddress, ask(t, s, discover(mac(3))).reason)
	})
}

func TestSharedStore(t *testing.T) {
	store := &MemoryStore{}
	one, two := small(4), small(4)
	one.Store, two.Store = store, store
	s1, s2 := newServer(withPool(one)), newServer(withPool(two))
	// Both load the empty store, and both offer the same address.
	a1 := ask(t, s1, discover(mac(1), optAddr(50, "192.0.2.100"))).addr()
	a2 := ask(t, s2, discover(mac(2), optAddr(50, "192.0.2.100"))).addr()
	require.Equal(t, a1, a2)
	require.Equal(t, "ACK", ask(t, s1, request(mac(1), selecting(a1))).kind())
	require.Equal(t, "NAK", ask(t, s2, request(mac(2), selecting(a1))).kind(), "who claims first has it")
	require.NotEqual(t, a1, dora(t, s2, mac(2)))
	// A client goes to and fro between the servers.
	for range 3 {
		require.Equal(t, "ACK", ask(t, s2, request(mac(1), ciaddr(a1))).kind())
		require.Equal(t, "ACK", ask(t, s1, request(mac(1), ciaddr(a1))).kind())
	}
	require.Len(t, bindings(t, store), 2)
}

func TestMemoryStore(t *testing.T) {
	ctx := t.Context()
	var s MemoryStore
	b := lease("192.0.2.50/32")
	b.ID, b.UUID, b.Until = []byte{1, 2, 3}, "01234567-89ab-cdef-0123-456789abcdef", time.Unix(1700000000, 0)
	_, err := s.ByAddr(ctx, addr("192.0.2.50"))
	require.ErrorIs(t, err, ErrNoBinding)
	require.NoError(t, s.Remove(ctx, b), "nothing to remove")
	stored, err := s.Claim(ctx, b)
	require.NoError(t, err)
	require.NotZero(t, stored.Version)
	want := b
	want.Version = stored.Version
	require.Equal(t, want, stored, "all fields are kept")
	_, err = s.Claim(ctx, b)
	require.ErrorIs(t, err, ErrConflict)
	require.ErrorIs(t, s.Remove(ctx, b), ErrConflict)
	next, err := s.Claim(ctx, stored)
	require.NoError(t, err)
	require.NotEqual(t, stored.Version, next.Version)
	got, err := s.ByAddr(ctx, addr("192.0.2.50"))
	require.NoError(t, err)
	require.Equal(t, next, got)
	require.Equal(t, []Binding{next}, bindings(t, &s))
	require.NoError(t, s.Remove(ctx, next))
	again, err := s.Claim(ctx, b)
	require.NoError(t, err)
	require.NotEqual(t, next.Version, again.Version, "versions do not come back")
}

func TestPoolValidate(t *testing.T) {
	edit := func(f func(*Pool)) *Pool { p := small(10); f(p); return p }
	for name, c := range map[string]struct {
		pool *Pool
		err  string
	}{
		"good":                      {small(10), ""},
		"nothing":                   {&Pool{}, "neither a range"},
		"reservations only":         {&Pool{Reservations: []Reservation{{HardwareAddr: mac(1), Addr: addr("192.0.2.9")}}}, ""},
		"first only":                {&Pool{First: addr("192.0.2.9")}, "IPv4"},
		"IPv6":                      {&Pool{First: addr("2001:db8::1"), Last: addr("2001:db8::2")}, "IPv4"},
		"backwards":                 {&Pool{First: addr("192.0.2.9"), Last: addr("192.0.2.8")}, "before it begins"},
		"one address":               {small(1), ""},
		"largest":                   {&Pool{First: addr("10.0.0.0"), Last: addr("10.15.255.255")}, ""},
		"too large":                 {&Pool{First: addr("10.0.0.0"), Last: addr("10.16.0.0")}, "1048576"},
		"reservation without a MAC": {edit(func(p *Pool) { p.Reservations = []Reservation{{HardwareAddr: nil, Addr: addr("192.0.2.9")}} }), "hardware address"},
		"reservation of IPv6":       {edit(func(p *Pool) { p.Reservations = []Reservation{{HardwareAddr: mac(1), Addr: addr("2001:db8::1")}} }), "IPv4"},
		"address reserved twice": {edit(func(p *Pool) {
			p.Reservations = []Reservation{{HardwareAddr: mac(1), Addr: addr("192.0.2.9")}, {HardwareAddr: mac(2), Addr: addr("192.0.2.9")}}
		}), "twice"},
		"client with two": {edit(func(p *Pool) {
			p.Reservations = []Reservation{{HardwareAddr: mac(1), Addr: addr("192.0.2.9")}, {HardwareAddr: mac(1), Addr: addr("192.0.2.8")}}
		}), "two reservations"},
		"negative time":              {edit(func(p *Pool) { p.OfferTime = -1 }), "OfferTime"},
		"default above maximum":      {edit(func(p *Pool) { p.MaxLeaseTime = time.Minute }), "LeaseTime"},
		"default below minimum":      {edit(func(p *Pool) { p.MinLeaseTime = 2 * time.Hour }), "LeaseTime"},
		"short leases need no field": {edit(func(p *Pool) { p.LeaseTime = time.Second }), ""},
		"infinite needs no maximum":  {edit(func(p *Pool) { p.LeaseTime = Infinite }), ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.pool.Validate()
			if c.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.err)
			_, err = c.pool.Discover(t.Context(), &Request{Packet: discover(mac(1))})
			require.ErrorContains(t, err, c.err, "used without a server")
		})
	}
}
