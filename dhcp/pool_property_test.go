package dhcp

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// TestNoAddressIsGivenTwice lets many clients do what they like, and checks what
// must hold: who was told ACK has the address until the lease ends or it gives it
// back, and nobody else is told ACK for it meanwhile; a reserved address goes to
// clients only that have said who they are, once; who has it is offered it again,
// whatever it sends; and what is offered is granted at once. Every other seed has
// a chain of two pools, and every other two clients that are known by their
// identifiers. With probes, what is in use goes to who uses it only.
func TestNoAddressIsGivenTwice(t *testing.T) {
	for seed := range uint64(16) {
		probes := seed >= 8
		t.Run(fmt.Sprintf("seed %d, probes %v", seed, probes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel(rand.New(rand.NewPCG(seed, 1)), seed%2 == 1, seed%4 >= 2, probes)
				for m.step = range 1500 {
					m.act(t)
				}
				require.NotEmpty(t, m.remembered, "a reserved address was given to a client that did not say who it is again")
				m.checkTables(t)
			})
		})
	}
}

// FuzzOperations lets the fuzzer choose what the clients of TestNoAddressIsGivenTwice
// do: each byte is a choice.
func FuzzOperations(f *testing.F) {
	for seed := range byte(8) {
		rnd := rand.New(rand.NewPCG(uint64(seed), 2))
		choices := []byte{seed}
		for range 120 {
			choices = append(choices, byte(rnd.Uint32()))
		}
		f.Add(choices)
	}
	f.Fuzz(func(t *testing.T, choices []byte) {
		if len(choices) < 2 || len(choices) > 800 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			source := &byteSource{left: choices[1:]}
			m := newModel(rand.New(source), choices[0]&1 != 0, choices[0]&2 != 0, choices[0]&4 != 0)
			for ; len(source.left) > 0; m.step++ {
				m.act(t)
			}
			m.checkTables(t)
		})
	})
}

// byteSource is a source of numbers whose size follows from one byte each, and of
// others when there is none left: rand draws again when it does not like a number.
type byteSource struct {
	left  []byte
	after uint64
}

// Uint64 implements rand.Source.
func (s *byteSource) Uint64() uint64 {
	if len(s.left) == 0 {
		s.after += 0x9e3779b97f4a7c15
		return s.after
	}
	b := s.left[0]
	s.left = s.left[1:]
	return uint64(b) * 0x0101010101010101
}

// act sends a packet, and probes, lets time go by or the server start again now and
// then.
func (m *model) act(t *testing.T) {
	m.packet(t)
	if m.probes && m.rnd.IntN(2) == 0 {
		m.probe(t)
	}
	if m.rnd.IntN(3) == 0 {
		time.Sleep(time.Duration(m.rnd.IntN(40000)) * time.Millisecond)
	}
	if m.rnd.IntN(100) == 0 {
		m.start()
	}
}

func (m *model) checkTables(t *testing.T) {
	for _, p := range m.pools.pools() {
		if p.table != nil {
			checkTable(t, p.table)
		}
	}
}

// model is what the clients may believe.
type model struct {
	rnd    *rand.Rand
	step   int
	store  MemoryStore
	chain  bool
	strict bool // Pool.StrictIdentity: each client has one identifier
	probes bool
	pools  Chain
	inUse  map[string]use // addresses that a probe found in use, by address
	server *Server
	held   map[string]grant // by address
	offers map[int]string
	said   map[int]map[string]bool // the identities in the REQUESTs that were granted, by client
	// remembered counts grants of reserved addresses to clients by what they
	// said before.
	remembered map[string]int
}

// use is who was found to use an address, and until when nobody else may have it.
type use struct {
	who   int
	until time.Time
}

type grant struct {
	who   int
	until time.Time
}

func newModel(rnd *rand.Rand, chain, strict, probes bool) *model {
	m := &model{rnd: rnd, chain: chain, strict: strict, probes: probes, held: map[string]grant{}, offers: map[int]string{},
		said: map[int]map[string]bool{}, remembered: map[string]int{}}
	m.start()
	return m
}

// start is a start of the server, with the store as it is.
func (m *model) start() {
	_, text5 := machineUUID(5)
	_, text6 := machineUUID(6)
	reservations := []Reservation{
		{HardwareAddr: mac(0), Addr: addr("192.0.2.103")}, {HardwareAddr: mac(1), Addr: addr("192.0.2.210")},
		{UUID: text5, Addr: addr("192.0.2.104")}, {ClientID: []byte{7, 7}, Addr: addr("192.0.2.105")},
		{HardwareAddr: mac(8), UUID: text6, ClientID: []byte{9, 9}, Addr: addr("192.0.2.106")},
	}
	m.pools = Chain{small(12)}
	m.pools[0].(*Pool).Reservations = reservations
	if m.chain {
		one, two := small(6), poolOf("192.0.2.106", "192.0.2.111")
		one.Reservations, two.Reservations = reservations[:4], reservations[4:]
		m.pools = Chain{one, two}
	}
	m.inUse = map[string]use{}
	for _, p := range m.pools.pools() {
		p.LeaseTime, p.OfferTime, p.Quarantine = 10*time.Minute, 20*time.Second, 5*time.Minute
		p.Store, p.StrictIdentity = &m.store, m.strict
	}
	m.server = newServer(withChain(m.pools...))
	if !m.chain {
		m.server = newServer(withPool(m.pools[0].(*Pool)))
	}
}

// poolOf is the pool that has an address.
func (m *model) poolOf(a string) int {
	return slices.IndexFunc(m.pools.pools(), func(p *Pool) bool { return p.Covers(addr(a)) })
}

// probe is a probe of each pool, of which some say that a machine uses the address.
func (m *model) probe(t *testing.T) {
	for _, p := range m.pools.pools() {
		table, err := p.lock(t.Context())
		require.NoError(t, err)
		table.stock.wake = make(chan struct{}, 1)
		now, everything := time.Now(), func(netip.Addr) bool { return true }
		a, ok := table.offeredToProbe(now, everything)
		if !ok {
			a, ok = table.freeToProbe(now, everything)
		}
		p.mu.Unlock()
		if !ok {
			continue
		}
		require.False(t, m.held[a.String()].until.After(now), "step %d: %s is somebody's, and asked for", m.step, a)
		if m.rnd.IntN(3) == 0 {
			for range m.rnd.IntN(3) {
				m.packet(t) // meanwhile
			}
		}
		f := finding{addr: a}
		who := m.rnd.IntN(24)
		switch m.rnd.IntN(8) {
		case 0:
			f.inUse, f.hw = true, mac(who)
		case 1:
			f.err = errors.New("no idea")
		}
		p.mu.Lock()
		if v := table.found(f, now, now.Add(p.Quarantine)); v == foundUsed || v == crowd && table.slots[a].use != nil {
			require.False(t, m.held[a.String()].until.After(now), "step %d: %s is somebody's", m.step, a)
			m.inUse[a.String()] = use{who, now.Add(p.Quarantine)}
		}
		p.mu.Unlock()
	}
}

// reservation is that of an address, nil if it has none.
func (m *model) reservation(a string) *Reservation {
	for _, p := range m.pools.pools() {
		for i := range p.Reservations {
			if p.Reservations[i].Addr == addr(a) {
				return &p.Reservations[i]
			}
		}
	}
	return nil
}

// identity makes a client say who it is, now and then: machines 5 and 15 share a
// UUID, as the two interfaces of one machine do, 6 and 16 and so on likewise.
func (m *model) identity(who int) (mods []dhcpv4.Modifier) {
	if m.rnd.IntN(2) == 0 {
		uuid, _ := machineUUID(byte(who % 10))
		mods = append(mods, uuid)
	}
	if m.strict {
		return append(mods, opt(61, 200, byte(who)))
	}
	switch m.rnd.IntN(3) {
	case 0:
		mods = append(mods, opt(61, byte(who%10), byte(who%10)))
	case 1:
		mods = append(mods, opt(61, 255, byte(who), byte(m.rnd.IntN(3))))
	}
	return mods
}

// packet sends one packet and compares the answer with the model.
func (m *model) packet(t *testing.T) {
	rnd, who := m.rnd, m.rnd.IntN(24)
	a := m.offers[who]
	if rnd.IntN(4) == 0 || a == "" {
		a = addr4(number(addr("192.0.2.99")) + rnd.Uint32N(15)).String()
	}
	mods := m.identity(who)
	var p *dhcpv4.DHCPv4
	switch rnd.IntN(8) {
	case 0, 1:
		p = discover(mac(who), mods...)
		if rnd.IntN(2) == 0 {
			p = discover(mac(who), append(mods, optAddr(50, a))...)
		}
	case 2, 3:
		p = request(mac(who), append(mods, selecting(a))...)
	case 4:
		p = request(mac(who), append(mods, optAddr(50, a))...)
	case 5:
		p = request(mac(who), append(mods, ciaddr(a))...)
	case 6:
		p = release(who, a, mods...)
	case 7:
		p = decline(who, a, mods...)
		if rnd.IntN(4) != 0 {
			p = discover(mac(who), mods...)
		}
	}
	m.send(t, who, a, p)
	if rnd.IntN(3) == 0 && p.MessageType() == dhcpv4.MessageTypeDiscover {
		if x := m.send(t, who, "", discover(mac(who), mods...)); x.kind() == "OFFER" {
			x = m.send(t, who, x.addr(), request(mac(who), append(mods, selecting(x.addr()))...))
			require.Equal(t, "ACK", x.kind(), "step %d: what was offered", m.step)
		}
	}
}

// send takes the packet to the server. a is the address that it is about.
func (m *model) send(t *testing.T, who int, a string, p *dhcpv4.DHCPv4) result {
	x := ask(t, m.server, p)
	now := time.Now()
	switch {
	case x.kind() == "OFFER":
		m.offers[who] = x.addr()
		m.check(t, who, x, now)
		for reserved, g := range m.held {
			if m.reservation(reserved) != nil && g.who == who && g.until.After(now) {
				require.Equal(t, reserved, x.addr(), "step %d: %d has a reserved address", m.step, who)
			}
		}
	case x.kind() == "ACK":
		m.check(t, who, x, now)
		for other, g := range m.held {
			if g.who == who && m.poolOf(other) == m.poolOf(x.addr()) {
				delete(m.held, other) // it moved; a pool has one address for a client, a chain one of each
			}
		}
		m.held[x.addr()] = grant{who, now.Add(10 * time.Minute)}
		m.offers[who] = x.addr()
		if m.said[who] == nil {
			m.said[who] = map[string]bool{}
		}
		for _, id := range says(x.r) {
			m.said[who][id] = true
		}
	case p.MessageType() == dhcpv4.MessageTypeRelease && x.reason == "":
		require.Equal(t, who, m.held[a].who)
		delete(m.held, a)
	case p.MessageType() == dhcpv4.MessageTypeDecline && x.reason == "":
		require.Equal(t, who, m.held[a].who)
		m.held[a] = grant{-1, now.Add(5 * time.Minute)}
	}
	return x
}

// check checks an address that is offered or given.
func (m *model) check(t *testing.T, who int, x result, now time.Time) {
	if g, ok := m.held[x.addr()]; ok && g.who != who && g.until.After(now) {
		t.Fatalf("step %d: %s in an %s to %d, %d has it", m.step, x.addr(), x.kind(), who, g.who)
	}
	if m.inUse[x.addr()].who == who && x.reply.MessageType() == dhcpv4.MessageTypeAck {
		delete(m.inUse, x.addr()) // it is in use by a lease now
	}
	if u, ok := m.inUse[x.addr()]; ok && u.who != who && u.until.After(now) {
		table := m.pools.pools()[m.poolOf(x.addr())].table
		if x.reply.MessageType() == dhcpv4.MessageTypeOffer && table.uses.Len() >= table.enough() {
			delete(m.inUse, x.addr()) // the last resort
			return
		}
		t.Fatalf("step %d: %s in an %s to %d, %d uses it", m.step, x.addr(), x.kind(), who, u.who)
	}
	r := m.reservation(x.addr())
	if r == nil {
		return
	}
	said := says(x.r)
	current := slices.ContainsFunc(r.identities(), func(id string) bool { return slices.Contains(said, id) })
	before := slices.ContainsFunc(r.identities(), func(id string) bool { return m.said[who][id] })
	require.True(t, current || before, "step %d: %s in an %s to %d, a stranger", m.step, x.addr(), x.kind(), who)
	if !current {
		m.remembered[x.addr()]++
	}
}

// says are the identities in a packet, as Reservation.identities has them.
func says(r *Request) []string {
	named := Reservation{HardwareAddr: r.HardwareAddr(), ClientID: r.ClientID(), UUID: r.Client.UUID}
	return named.identities()
}

// checkTable checks that the indexes of a table agree.
func checkTable(t *testing.T, table *table) {
	require.Equal(t, table.holds.Len(), len(table.holders))
	for a, s := range table.slots {
		require.Equal(t, a, s.addr)
		require.False(t, s.busy)
		require.True(t, s.rec.Version != 0 || s.hold != nil || s.use != nil, "an empty slot")
		_, reserved := table.reservee[a]
		require.Equal(t, s.rec.Version != 0 && !reserved, s.index >= 0)
		if s.owner != "" {
			require.Same(t, s, table.owners[s.owner])
		}
		if s.hold != nil {
			require.Same(t, s, table.holders[s.holder])
		}
		if i, ok := table.offset(a); ok {
			require.NotZero(t, table.used[i/64]&(1<<(i%64)))
		}
	}
	for key, s := range table.owners {
		require.Equal(t, key, s.owner)
	}
	for i, s := range table.byExpiry {
		require.Equal(t, i, s.index)
		if i > 0 {
			require.False(t, s.freeAt().Before(table.byExpiry[(i-1)/2].freeAt()), "heap order")
		}
	}
	for i := range table.size {
		if table.used[i/64]&(1<<(i%64)) != 0 {
			a := addr4(table.first + uint32(i))
			_, reserved := table.reservee[a]
			require.True(t, reserved || table.slots[a] != nil, "%s is marked", a)
		}
	}
	uses := 0
	require.NotContains(t, table.users, "")
	for key, list := range table.users {
		require.LessOrEqual(t, len(list), maxAnswers)
		for _, s := range list {
			require.Equal(t, key, s.user)
			require.Same(t, s, table.slots[s.addr])
		}
		uses += len(list)
	}
	require.Equal(t, uses, table.uses.Len())
	require.LessOrEqual(t, len(table.stock.proofs), maxStock)
	require.True(t, slices.IsSortedFunc(table.stock.proofs, func(a, b proof) int { return a.place - b.place }))
	require.LessOrEqual(t, len(table.declines), table.quarantined.Len())
	for a, r := range table.reservee {
		require.Equal(t, a, r.Addr)
		if s := table.slots[a]; s != nil && s.owner != "" && s.rec.State == Bound {
			require.Same(t, r, table.reservation(s.rec.HW, s.rec.UUID, s.rec.ID), "the holder of %s is not who it is reserved for", a)
		}
	}
}
