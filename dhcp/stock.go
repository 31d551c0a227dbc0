package dhcp

import (
	"net"
	"net/netip"
	"slices"
	"time"
)

const (
	// maxStock is how many addresses are kept that were found free: a small
	// network's whole range, so that a client there starts at the same place
	// with probing as without, and a rack that powers up at once finds enough.
	maxStock = 256
	// stockTime is for how long an address counts as free. Together with maxStock
	// it decides what probing costs a network where nothing happens: one probe in
	// two seconds or so.
	stockTime = 10 * time.Minute
	// maxUnproved bounds the queue of addresses that were offered without a
	// probe, to be probed while their clients make up their minds.
	maxUnproved = 64
	// maxAnswers is for how many addresses one machine is believed that it uses
	// them. Who answers for more is a router that answers for everybody (proxy
	// ARP), or an attack on the pool.
	maxAnswers = 16
)

// stock is what a pool has found out about addresses by asking who uses them.
type stock struct {
	on       bool          // somebody is probing
	turn     chan struct{} // holds a value while somebody is
	wake     chan struct{} // gets a value when there is something to do
	proofs   []proof       // by place
	unproved []netip.Addr  // offered without proof, oldest first
	next     int           // where in the range an address to probe is looked for
	counts   ProbeCounts
}

// proof says that nobody answered from an address.
type proof struct {
	place int       // in the range
	until time.Time // zero: it is being asked for
}

func newStock() stock {
	return stock{turn: make(chan struct{}, 1), wake: make(chan struct{}, 1)}
}

func (s *stock) find(place int) (int, bool) {
	return slices.BinarySearchFunc(s.proofs, place, func(p proof, place int) int { return p.place - place })
}

// begin notes that a place is being asked for, false if it is already.
func (s *stock) begin(place int) bool {
	i, known := s.find(place)
	if known && s.proofs[i].until.IsZero() {
		return false
	}
	if !known {
		s.proofs = slices.Insert(s.proofs, i, proof{place: place})
	}
	s.proofs[i].until = time.Time{}
	return true
}

// proved reports whether an address was found free of late.
func (t *table) proved(a netip.Addr, now time.Time) bool {
	place, _ := t.offset(a)
	i, ok := t.stock.find(place)
	return ok && t.stock.proofs[i].until.After(now)
}

// freshProved is fresh for addresses that were found free.
func (t *table) freshProved(key string, now time.Time, usable func(netip.Addr) bool) (netip.Addr, bool) {
	proofs := t.stock.proofs
	if len(proofs) == 0 {
		return netip.Addr{}, false
	}
	from, _ := t.stock.find(t.start(key))
	for i := range proofs {
		p := proofs[(from+i)%len(proofs)]
		if a := addr4(t.first + uint32(p.place)); p.until.After(now) && !t.isUsed(p.place) && usable(a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// oldestProved is oldest for addresses that were found free.
func (t *table) oldestProved(c client, now time.Time, usable func(netip.Addr) bool) (netip.Addr, bool) {
	if len(t.stock.proofs) == 0 {
		return netip.Addr{}, false
	}
	return t.oldest(c, now, func(a netip.Addr) bool { return t.proved(a, now) && usable(a) })
}

// offering takes an address out of the stock that is about to be offered to a
// client that did not have it. One that is not in the stock is to be probed at
// once: if it is in use, the client's REQUEST is refused.
func (t *table) offering(a netip.Addr, now time.Time) {
	s := &t.stock
	if !s.on {
		return
	}
	defer func() {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}()
	place, _ := t.offset(a)
	i, known := s.find(place)
	if known && s.proofs[i].until.After(now) {
		s.proofs = slices.Delete(s.proofs, i, i+1)
		return
	}
	s.counts.Unprobed++
	if len(s.unproved) < maxUnproved {
		s.unproved = append(s.unproved, a)
	}
}

// toProbe picks an address to ask for: one that was just offered without proof;
// else of those that nobody had, one here and one there in the range, since
// clients start at all places; else one of those that are given out next.
func (t *table) toProbe(now time.Time, usable func(netip.Addr) bool) (netip.Addr, bool) {
	t.sweep(now)
	s := &t.stock
	s.proofs = slices.DeleteFunc(s.proofs, func(p proof) bool {
		return !p.until.IsZero() && (!p.until.After(now) || !t.vacant(addr4(t.first+uint32(p.place)), now))
	})
	for len(s.unproved) > 0 {
		a := s.unproved[0]
		s.unproved = s.unproved[1:]
		place, _ := t.offset(a)
		if u := t.slots[a]; u != nil && u.hold != nil && !u.busy && !u.rec.active(now) && usable(a) && s.begin(place) {
			return a, true
		}
	}
	if len(s.proofs) >= maxStock {
		return netip.Addr{}, false
	}
	unknown := func(a netip.Addr) bool {
		place, _ := t.offset(a)
		_, known := s.find(place)
		return !known && usable(a)
	}
	a, ok := t.freshFrom(s.next, unknown)
	if !ok {
		a, ok = t.oldest(client{}, now, unknown)
	}
	if ok {
		place, _ := t.offset(a)
		s.begin(place)
		s.next = (s.next + int(uint64(t.size)*0x9e3779b9>>32) + 1) % t.size // the golden section: never twice near
	}
	return a, ok
}

// vacant reports whether nobody has, holds or uses an address.
func (t *table) vacant(a netip.Addr, now time.Time) bool {
	s := t.slots[a]
	return s == nil || !s.busy && s.hold == nil && s.user == "" && !s.rec.active(now)
}

// finding is what became of a probe.
type finding struct {
	addr  netip.Addr
	inUse bool
	hw    net.HardwareAddr
	err   error
}

// verdict is what a finding means for the pool.
type verdict int

const (
	foundFree   verdict = iota
	foundUsed           // the address is in quarantine now
	notProved           // nothing was learnt
	notOurs             // a client of ours has the address by now
	notBelieved         // one machine answers for too many addresses
)

// found takes over a finding. Who uses an address may have it; nobody else may,
// until the time is over.
func (t *table) found(f finding, now, until time.Time) verdict {
	t.sweep(now)
	place, _ := t.offset(f.addr)
	i, _ := t.stock.find(place) // it is there until now
	if f.err == nil && !f.inUse {
		t.stock.counts.Free++
		t.stock.proofs[i].until = now.Add(stockTime) // dropped by toProbe if somebody took it meanwhile
		return foundFree
	}
	t.stock.proofs = slices.Delete(t.stock.proofs, i, i+1)
	if f.err != nil {
		t.stock.counts.Failed++
		return notProved
	}
	key := clientKey(f.hw, nil)
	s := t.slots[f.addr]
	switch {
	case s != nil && (s.busy || s.rec.active(now) || s.hold != nil && s.heldBy == key):
		return notOurs
	case len(f.hw) > 0 && len(t.users[key]) >= maxAnswers:
		t.stock.counts.Failed++
		return notBelieved
	}
	t.stock.counts.InUse++
	t.occupy(f.addr, key, until)
	return foundUsed
}

// occupy notes that a machine uses an address without a lease, until a time that
// is not before that of any other.
func (t *table) occupy(a netip.Addr, key string, until time.Time) {
	s := t.slot(a)
	t.endHold(s)
	t.vacate(s)
	s.user, s.userUntil = key, until
	s.use = t.uses.PushBack(s)
	t.users[key] = append(t.users[key], s)
	t.tidy(s)
}

func (t *table) vacate(s *slot) {
	if s.use == nil {
		return
	}
	t.uses.Remove(s.use)
	rest := slices.DeleteFunc(t.users[s.user], func(u *slot) bool { return u == s })
	if t.users[s.user] = rest; len(rest) == 0 {
		delete(t.users, s.user)
	}
	s.use, s.user, s.userUntil = nil, "", time.Time{}
}
