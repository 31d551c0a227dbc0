package dhcp

import (
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
)

// stock is what a pool has found out about addresses by asking who uses them.
type stock struct {
	wake     chan struct{} // gets a value when there is something to do; nil: nobody probes
	own      []netip.Addr  // this host's
	proofs   []proof       // by place
	unproved []netip.Addr  // offered without proof, oldest first
	next     int           // where in the range an address to probe is looked for
	counts   ProbeCounts
}

// proof says that nobody answered from an address.
type proof struct {
	place int       // in the range
	until time.Time // zero: it is being asked for
	stop  func()    // ends the asking; nil: it has not begun
}

// close forgets what is known when nobody probes any more, but for the counts.
func (s *stock) close() { *s = stock{next: s.next, counts: s.counts} }

// isOwn reports whether an address is one of this host.
func (s *stock) isOwn(a netip.Addr) bool { return slices.Contains(s.own, a) }

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
	s.proofs[i] = proof{place: place}
	return true
}

// claimed ends the asking for an address that a client is about to get: it asks who
// uses it before it uses it itself, and takes a probe of another for a conflict (RFC
// 5227 section 2.1.1).
func (t *table) claimed(a netip.Addr) {
	place, _ := t.offset(a)
	if i, ok := t.stock.find(place); ok && t.stock.proofs[i].until.IsZero() && t.stock.proofs[i].stop != nil {
		t.stock.proofs[i].stop()
	}
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
	if s.wake == nil {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
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

// offeredToProbe picks an address to ask for that was just offered without proof.
func (t *table) offeredToProbe(now time.Time, usable func(netip.Addr) bool) (netip.Addr, bool) {
	t.sweep(now)
	s := &t.stock
	for len(s.unproved) > 0 {
		a := s.unproved[0]
		s.unproved = s.unproved[1:]
		place, _ := t.offset(a)
		if u := t.slots[a]; u != nil && u.hold != nil && !u.busy && !u.rec.active(now) && usable(a) && s.begin(place) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// freeToProbe picks an address to ask for: of those that nobody had, one here and
// one there in the range, since clients start at all places; else one of those that
// are given out next.
func (t *table) freeToProbe(now time.Time, usable func(netip.Addr) bool) (netip.Addr, bool) {
	t.sweep(now)
	s := &t.stock
	s.proofs = slices.DeleteFunc(s.proofs, func(p proof) bool {
		return !p.until.IsZero() && (!p.until.After(now) || !t.vacant(addr4(t.first+uint32(p.place)), now))
	})
	if len(s.proofs) >= maxStock {
		return netip.Addr{}, false
	}
	unknown := func(a netip.Addr) bool {
		place, _ := t.offset(a)
		_, known := s.find(place)
		return !known && !s.isOwn(a) && usable(a)
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
	return s == nil || !s.busy && s.hold == nil && s.use == nil && !s.rec.active(now)
}
