package dhcp

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// machines is an inventory that says nothing of machines it does not have, and
// counts what it hears.
type machines struct {
	addrs map[string]string // by hardware address
	heard map[dhcpv4.MessageType]int
	err   error
}

func (m *machines) ask(r *Request) (Lease, error) {
	m.heard[r.Type()]++
	a, ok := m.addrs[r.HardwareAddr().String()]
	if !ok || m.err != nil {
		return nil, m.err
	}
	b := Binding{HW: r.HardwareAddr(), Addr: netip.MustParsePrefix(a + "/32"), Until: time.Now().Add(time.Hour)}
	return optionLease{b, []dhcpv4.Option{dhcpv4.OptHostName("known")}}, nil
}

func (m *machines) Discover(_ context.Context, r *Request) (Lease, error) { return m.ask(r) }
func (m *machines) Request(_ context.Context, r *Request) (Lease, error)  { return m.ask(r) }
func (m *machines) Release(_ context.Context, r *Request) error           { m.heard[r.Type()]++; return m.err }
func (m *machines) Decline(_ context.Context, r *Request) error           { m.heard[r.Type()]++; return m.err }

func newMachines(addrs ...string) *machines {
	m := &machines{addrs: map[string]string{}, heard: map[dhcpv4.MessageType]int{}}
	for i, a := range addrs {
		m.addrs[mac(i+1).String()] = a
	}
	return m
}

// member is an inventory that is a Member.
type member struct{ *machines }

func (m member) Knows(_ context.Context, r *Request) bool {
	return m.addrs[r.HardwareAddr().String()] != ""
}

func (m member) Covers(a netip.Addr) bool {
	for _, b := range m.addrs {
		if a == addr(b) {
			return true
		}
	}
	return false
}

func withChain(c ...LeasePolicy) func(*Server) {
	return func(s *Server) { s.Networks[0].Leases = Chain(c) }
}

func poolOf(first, last string) *Pool { return &Pool{First: addr(first), Last: addr(last)} }

var (
	_ Member          = Chain{}
	_ Member          = (*Pool)(nil)
	_ OfferWithdrawer = Chain{}
)

func TestChainOfAnInventoryAndAPool(t *testing.T) {
	for name, wrap := range map[string]func(*machines) LeasePolicy{
		"a Member": func(m *machines) LeasePolicy { return member{m} },
		"no more than a LeasePolicy": func(m *machines) LeasePolicy {
			return m
		},
	} {
		t.Run(name, func(t *testing.T) {
			inv := newMachines("192.0.2.10")
			pool := small(2)
			s := newServer(withChain(wrap(inv), pool))
			require.NoError(t, s.Validate())
			require.Equal(t, "192.0.2.10", dora(t, s, mac(1)))
			x := ask(t, s, request(mac(1), ciaddr("192.0.2.10")))
			require.Equal(t, "ACK", x.kind())
			require.Equal(t, "known", string(x.reply.Options[12]), "options of a lease that is not the pool's")
			require.Empty(t, ask(t, s, release(1, "192.0.2.10")).reason)
			require.Equal(t, 1, inv.heard[dhcpv4.MessageTypeRelease])

			a := dora(t, s, mac(2))
			require.True(t, pool.Covers(addr(a)))
			require.NotContains(t, ask(t, s, discover(mac(2))).reply.Options, uint8(12))
			require.Equal(t, "ACK", ask(t, s, request(mac(2), ciaddr(a))).kind())
			require.Empty(t, ask(t, s, release(2, a)).reason)
			require.Equal(t, Policy, ask(t, s, release(2, a)).reason, "the pool heard it")
			require.Equal(t, a, dora(t, s, mac(2)))
			require.Empty(t, ask(t, s, decline(2, a)).reason)
			require.NotEqual(t, a, dora(t, s, mac(2)))
			require.Equal(t, 1, inv.heard[dhcpv4.MessageTypeRelease], "what is of the pool's addresses is the pool's")
			require.Zero(t, inv.heard[dhcpv4.MessageTypeDecline])

			require.Equal(t, NoAddress, ask(t, s, discover(mac(3))).reason, "the last word is the pool's")
			require.Equal(t, "silence", ask(t, s, request(mac(3), optAddr(50, "192.0.2.10"))).kind(), "a stranger")
			require.Equal(t, "NAK", ask(t, s, request(mac(3), selecting("192.0.2.55"))).kind(), "chosen, with an address of nobody's")
		})
	}
}

// TestChainMachineThatIsAddedToTheInventory has a lease from the pool already:
// what is offered to it must be what it is then granted.
func TestChainMachineThatIsAddedToTheInventory(t *testing.T) {
	inv := newMachines()
	s := newServer(withChain(inv, small(2)))
	a := dora(t, s, mac(1))
	inv.addrs[mac(1).String()] = "192.0.2.10"
	require.Equal(t, "NAK", ask(t, s, request(mac(1), ciaddr(a))).kind(), "it moves when it renews")
	require.Equal(t, "192.0.2.10", dora(t, s, mac(1)))
	require.Equal(t, "ACK", ask(t, s, request(mac(1), ciaddr("192.0.2.10"))).kind())

	// A Member says that the address is not its own to judge: the lease stays
	// until the machine starts over.
	inv = newMachines()
	s = newServer(withChain(member{inv}, small(2)))
	a = dora(t, s, mac(1))
	inv.addrs[mac(1).String()] = "192.0.2.10"
	require.Equal(t, "ACK", ask(t, s, request(mac(1), ciaddr(a))).kind())
	require.Equal(t, "192.0.2.10", dora(t, s, mac(1)))
}

func TestChainOfPools(t *testing.T) {
	uuid, text := machineUUID(1)
	synctest.Test(t, func(t *testing.T) {
		store := &MemoryStore{}
		start := func() *Server {
			one, two := poolOf("192.0.2.100", "192.0.2.101"), poolOf("192.0.2.150", "192.0.2.159")
			one.Store, two.Store = store, store
			two.Reservations = []Reservation{{UUID: text, Addr: addr("192.0.2.200")}}
			return newServer(withChain(one, Chain{two}))
		}
		s := start()
		require.NoError(t, s.Validate())
		got := map[int]string{}
		for i := range 6 {
			got[i] = dora(t, s, mac(10+i))
			require.Equal(t, i < 2, addr(got[i]).Less(addr("192.0.2.150")), "one after the other: %s", got[i])
		}
		time.Sleep(30 * time.Minute)
		s = start()
		for i := range 6 {
			require.Equal(t, got[i], dora(t, s, mac(10+i)), "who has a lease keeps it")
			require.Equal(t, "ACK", ask(t, s, request(mac(10+i), optAddr(50, got[i]))).kind())
		}
		require.Equal(t, "NAK", ask(t, s, request(mac(12), optAddr(50, got[0]))).kind(), "another's, in the first pool, which does not know it")
		require.Equal(t, "NAK", ask(t, s, request(mac(10), optAddr(50, got[2]))).kind(), "the second pool does not know it, the first does")
		require.Equal(t, "silence", ask(t, s, request(mac(99), optAddr(50, got[2]))).kind(), "unknown to both")
		time.Sleep(2 * time.Hour)
		require.Equal(t, got[3], dora(t, s, mac(13)), "a lease that has ended is remembered, though the first pool is free")
		require.Equal(t, got[0], dora(t, s, mac(10)))

		require.Equal(t, got[1], dora(t, s, mac(1), optAddr(50, got[1])))
		require.Equal(t, "192.0.2.200", dora(t, s, mac(1), uuid), "a reservation before a lease")
		require.Equal(t, "192.0.2.200", dora(t, s, mac(1)), "for the later stages too")
		require.Equal(t, "ACK", ask(t, s, request(mac(1), ciaddr("192.0.2.200"))).kind())
		seen := map[string]bool{}
		for _, b := range bindings(t, store) {
			require.False(t, seen[b.Addr.String()])
			seen[b.Addr.String()] = true
		}
	})
}

func TestChainOffersThatWereNotTakenAreWithdrawn(t *testing.T) {
	one, two := poolOf("192.0.2.100", "192.0.2.100"), poolOf("192.0.2.150", "192.0.2.150")
	s := newServer(withChain(newMachines(), one, two))
	ask(t, s, discover(mac(1)))
	require.Equal(t, "192.0.2.150", ask(t, s, discover(mac(2))).addr())
	require.Equal(t, NoAddress, ask(t, s, discover(mac(3))).reason)
	ask(t, s, request(mac(2), optAddr(54, "192.0.2.9"), optAddr(50, "192.0.2.77")))
	require.Equal(t, "192.0.2.150", ask(t, s, discover(mac(3))).addr())
}

func TestChainFailures(t *testing.T) {
	down := errors.New("database is down")
	for name, c := range map[string]struct {
		err    error
		p      *dhcpv4.DHCPv4
		kind   string
		reason DropReason
	}{
		"a failure is no reason to ask the next one": {down, discover(mac(5)), "silence", Error},
		"nor at REQUEST":      {down, request(mac(5), selecting("192.0.2.100")), "silence", Error},
		"ErrNAK":              {ErrNAK, request(mac(5), selecting("192.0.2.100")), "NAK", ""},
		"ErrNoAddress":        {ErrNoAddress, discover(mac(5)), "OFFER", ""},
		"ErrNoAddress, later": {ErrNoAddress, request(mac(5), selecting("192.0.2.100")), "ACK", ""},
		"not its holder":      {ErrNotHolder, release(5, "192.0.2.55"), "silence", Policy},
		"RELEASE failed":      {down, release(5, "192.0.2.55"), "silence", Error},
		"RELEASE of a pool's": {down, release(5, "192.0.2.100"), "silence", Policy},
	} {
		t.Run(name, func(t *testing.T) {
			inv := newMachines()
			inv.err = c.err
			x := ask(t, newServer(withChain(inv, small(1))), c.p)
			require.Equal(t, c.kind, x.kind())
			require.Equal(t, c.reason, x.reason)
		})
	}
	inv := newMachines()
	inv.err = ErrNoAddress
	require.Equal(t, NoAddress, ask(t, newServer(withChain(inv)), discover(mac(1))).reason)
	require.Equal(t, NoAddress, ask(t, newServer(withChain(inv)), request(mac(1), selecting("192.0.2.9"))).reason)
	inv.err = nil
	require.Equal(t, Policy, ask(t, newServer(withChain(inv)), discover(mac(1))).reason)
}

func TestChainIsAMember(t *testing.T) {
	inv := newMachines("192.0.2.10")
	c := Chain{newMachines("192.0.2.11"), member{inv}, small(2)}
	r := func(n int) *Request { return &Request{Packet: discover(mac(n))} }
	require.True(t, c.Knows(t.Context(), r(1)))
	require.False(t, c.Knows(t.Context(), r(2)))
	require.True(t, c.Covers(addr("192.0.2.10")))
	require.True(t, c.Covers(addr("192.0.2.100")))
	require.False(t, c.Covers(addr("192.0.2.11")), "its policy cannot say so")
}

func TestChainValidate(t *testing.T) {
	reserving := func(a string) *Pool { return &Pool{Reservations: []Reservation{{HardwareAddr: mac(1), Addr: addr(a)}}} }
	for name, c := range map[string]struct {
		chain Chain
		err   string
	}{
		"good":                    {Chain{newMachines(), small(10), poolOf("192.0.2.110", "192.0.2.119"), reserving("192.0.2.99")}, ""},
		"empty":                   {Chain{}, "no members"},
		"nil":                     {Chain{small(1), nil}, "member 2 is nil"},
		"a member that is wrong":  {Chain{newMachines(), &Pool{}}, "member 2: dhcp: pool: neither a range"},
		"ranges overlap":          {Chain{small(10), poolOf("192.0.2.109", "192.0.2.119")}, "192.0.2.109"},
		"one in the other":        {Chain{poolOf("192.0.2.104", "192.0.2.105"), small(10)}, "192.0.2.104"},
		"reserved in a range":     {Chain{reserving("192.0.2.101"), small(10)}, "192.0.2.101"},
		"reserved behind a range": {Chain{small(10), reserving("192.0.2.101")}, "192.0.2.101"},
		"reserved twice":          {Chain{reserving("192.0.2.9"), reserving("192.0.2.9")}, "192.0.2.9"},
		"in a chain in a chain":   {Chain{small(10), Chain{newMachines(), small(1)}}, "192.0.2.100"},
		"outside of the network":  {Chain{small(10), poolOf("203.0.113.1", "203.0.113.9")}, "not inside 192.0.2.0/24"},
	} {
		t.Run(name, func(t *testing.T) {
			err := newServer(withChain(c.chain...)).Validate()
			if c.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.err)
		})
	}
}
