package dhcp

import (
	"container/heap"
	"container/list"
	"hash/fnv"
	"math/bits"
	"net"
	"net/netip"
	"time"
)

// table is the memory of a pool: what the store says, and the holds. It is not
// safe for concurrent use. Everything in it is bounded by the number of
// addresses, and the holds by maxHolds besides.
//
// The client of the last record of an address and the client that holds it for
// an offer are kept apart, so that a stranger's DISCOVER does not make the pool
// forget whose address it was.
type table struct {
	strict   bool // Pool.StrictIdentity
	first    uint32
	size     int
	used     []uint64 // one bit for each address of the range: has a slot, or is reserved
	slots    map[netip.Addr]*slot
	owners   map[string]*slot // by the client of the record; one address each
	holders  map[string]*slot // by the client of the hold; one address each
	holds    list.List        // of *slot, by the end of the hold
	byExpiry expiryHeap       // slots with a record and no reservation, by when they become free

	reserved map[string]*Reservation     // by identity, see Reservation.identities
	reservee map[netip.Addr]*Reservation // by address
	// moved are the clients with a reservation, by key, whose record is of an
	// address that is no longer the pool's: where they were before it changed.
	moved map[string]Binding

	declines    map[string]int // addresses in quarantine, by who declined them
	quarantined list.List      // of quarantine, by its end

	stock stock
	users map[string][]*slot // by who was found to use an address; maxAnswers each
	uses  list.List          // of *slot that somebody was found to use, by the end of the quarantine
}

// slot is an address that has a record or a hold.
type slot struct {
	addr      netip.Addr
	rec       Binding // Version 0: no record
	owner     string  // client of rec, while owners points here
	holder    string
	heldBy    string // the holder's client.machine
	holdUntil time.Time
	hold      *list.Element // nil: no hold
	user      string        // client.machine of who was found to use the address without a lease; "": that is not known
	userUntil time.Time
	use       *list.Element // in uses; nil: not there
	busy      bool          // the store is being asked: nobody may have it
	index     int           // in byExpiry; -1: not there
}

type quarantine struct {
	client string
	until  time.Time
}

func newTable(p *Pool) *table {
	t := &table{
		strict: p.StrictIdentity,
		slots:  make(map[netip.Addr]*slot), owners: make(map[string]*slot), holders: make(map[string]*slot),
		reserved: make(map[string]*Reservation), reservee: make(map[netip.Addr]*Reservation),
		moved:    make(map[string]Binding),
		declines: make(map[string]int),
		users:    make(map[string][]*slot),
	}
	if p.First.IsValid() {
		t.first = number(p.First)
		t.size = int(number(p.Last)-t.first) + 1
		t.used = make([]uint64, (t.size+63)/64)
	}
	for i := range p.Reservations {
		r := &p.Reservations[i]
		for _, id := range r.identities() {
			t.reserved[id] = r
		}
		if r.Addr.IsValid() {
			t.reservee[r.Addr] = r
			t.mark(r.Addr, true)
		}
	}
	return t
}

// key is what the pool knows a client by.
func (t *table) key(hw net.HardwareAddr, id []byte) string {
	if t.strict && len(id) > 0 {
		hw = nil
	}
	return clientKey(hw, id)
}

// offset is the place of an address in the range.
func (t *table) offset(a netip.Addr) (int, bool) {
	n := int64(number(a)) - int64(t.first)
	return int(n), n >= 0 && n < int64(t.size)
}

// isUsed reports whether a place in the range has a slot or is reserved.
func (t *table) isUsed(place int) bool { return t.used[place/64]&(1<<(place%64)) != 0 }

func (t *table) mark(a netip.Addr, used bool) {
	i, ok := t.offset(a)
	if _, reserved := t.reservee[a]; !ok || reserved && !used {
		return
	}
	if used {
		t.used[i/64] |= 1 << (i % 64)
	} else {
		t.used[i/64] &^= 1 << (i % 64)
	}
}

// mine reports whether the client may ever have the address.
func (t *table) mine(a netip.Addr, c client) bool {
	if r := t.reservee[a]; r != nil {
		return r == c.reserved
	}
	_, ok := t.offset(a)
	return ok
}

// free reports whether the client may have the address now.
func (t *table) free(a netip.Addr, c client, now time.Time) bool {
	s := t.slots[a]
	switch {
	case s == nil:
		return true
	case s.busy, s.hold != nil && s.holder != c.key && s.holdUntil.After(now), s.use != nil && s.user != c.machine:
		return false
	}
	return !s.rec.active(now) || s.rec.State == Bound && s.owner == c.key
}

// slot returns the slot of an address, a new one if it has none.
func (t *table) slot(a netip.Addr) *slot {
	s := t.slots[a]
	if s == nil {
		s = &slot{addr: a, index: -1}
		t.slots[a] = s
		t.mark(a, true)
	}
	return s
}

// tidy brings a changed slot to its place in byExpiry, and drops it if nothing
// is left in it.
func (t *table) tidy(s *slot) {
	_, reserved := t.reservee[s.addr]
	switch {
	case s.rec.Version == 0 || reserved:
		if s.index >= 0 {
			heap.Remove(&t.byExpiry, s.index)
		}
		if s.rec.Version == 0 && s.hold == nil && s.use == nil && !s.busy && t.slots[s.addr] == s {
			delete(t.slots, s.addr)
			t.mark(s.addr, false)
		}
	case s.index < 0:
		heap.Push(&t.byExpiry, s)
	default:
		heap.Fix(&t.byExpiry, s.index)
	}
}

// record takes over what the store says about an address; the zero Binding: it
// has no record.
func (t *table) record(a netip.Addr, b Binding) *slot {
	s := t.slot(a)
	t.disown(s)
	s.rec = b
	if b.Version != 0 && b.State != Declined {
		s.owner = t.key(b.HW, b.ID)
		if old := t.owners[s.owner]; old != nil {
			t.disown(old)
		}
		t.owners[s.owner] = s
	}
	t.tidy(s)
	return s
}

// disown forgets that the record's client may claim the address again.
func (t *table) disown(s *slot) {
	if t.owners[s.owner] == s {
		delete(t.owners, s.owner)
	}
	s.owner = ""
}

// keep holds an address for a client until a time that is not before that of
// any other hold.
func (t *table) keep(a netip.Addr, c client, until time.Time) {
	if old := t.holders[c.key]; old != nil && old.addr != a {
		t.unhold(old)
	}
	for t.holds.Len() >= maxHolds {
		t.unhold(t.holds.Front().Value.(*slot))
	}
	s := t.slot(a)
	t.endHold(s)
	s.holder, s.heldBy, s.holdUntil = c.key, c.machine, until
	s.hold = t.holds.PushBack(s)
	t.holders[c.key] = s
	t.tidy(s)
}

func (t *table) endHold(s *slot) {
	if s.hold == nil {
		return
	}
	t.holds.Remove(s.hold)
	delete(t.holders, s.holder)
	s.hold, s.holder, s.heldBy, s.holdUntil = nil, "", "", time.Time{}
}

func (t *table) unhold(s *slot) {
	t.endHold(s)
	t.tidy(s)
}

// sweep ends the holds and quarantines whose time has come.
func (t *table) sweep(now time.Time) {
	for e := t.uses.Front(); e != nil && !e.Value.(*slot).userUntil.After(now); e = t.uses.Front() {
		s := e.Value.(*slot)
		t.vacate(s)
		t.tidy(s)
	}
	for e := t.holds.Front(); e != nil && !e.Value.(*slot).holdUntil.After(now); e = t.holds.Front() {
		t.unhold(e.Value.(*slot))
	}
	for e := t.quarantined.Front(); e != nil && !e.Value.(quarantine).until.After(now); e = t.quarantined.Front() {
		q := t.quarantined.Remove(e).(quarantine)
		if t.declines[q.client]--; t.declines[q.client] <= 0 {
			delete(t.declines, q.client)
		}
	}
}

// fresh finds an address of the range that has neither record nor hold. The
// search begins at a place that belongs to the client.
func (t *table) fresh(key string, usable func(netip.Addr) bool) (netip.Addr, bool) {
	if t.size == 0 {
		return netip.Addr{}, false
	}
	return t.freshFrom(t.start(key), usable)
}

// start is the client's place in a range.
func (t *table) start(key string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // a hash never fails
	return int(h.Sum32() % uint32(t.size))
}

// freshFrom is fresh from a certain place on, and round to it again.
func (t *table) freshFrom(start int, usable func(netip.Addr) bool) (netip.Addr, bool) {
	if a, ok := t.freshIn(start, t.size, usable); ok {
		return a, true
	}
	return t.freshIn(0, start, usable)
}

func (t *table) freshIn(from, to int, usable func(netip.Addr) bool) (netip.Addr, bool) {
	for i := from; i < to; {
		// The unused addresses from i to the end of its word, i lowest.
		unused := ^t.used[i/64] >> (i % 64)
		if unused == 0 {
			i = (i/64 + 1) * 64
			continue
		}
		if i += bits.TrailingZeros64(unused); i >= to {
			break
		}
		if a := addr4(t.first + uint32(i)); usable(a) {
			return a, true
		}
		i++
	}
	return netip.Addr{}, false
}

// oldest finds the address that has been free for longest.
func (t *table) oldest(c client, now time.Time, usable func(netip.Addr) bool) (netip.Addr, bool) {
	var skipped []*slot
	defer func() {
		for _, s := range skipped {
			heap.Push(&t.byExpiry, s)
		}
	}()
	for len(t.byExpiry) > 0 && len(skipped) < 16 {
		s := t.byExpiry[0]
		if s.freeAt().After(now) {
			break
		}
		if !s.busy && t.mine(s.addr, c) && usable(s.addr) {
			return s.addr, true
		}
		skipped = append(skipped, heap.Pop(&t.byExpiry).(*slot))
	}
	return netip.Addr{}, false
}

// freeAt is when others may have the address of a slot with a record.
func (s *slot) freeAt() time.Time {
	at := s.rec.Until
	if s.rec.State == Bound && at.IsZero() {
		at = time.Unix(1<<40, 0) // never
	}
	if s.hold != nil && s.holdUntil.After(at) {
		at = s.holdUntil
	}
	if s.use != nil && s.userUntil.After(at) {
		at = s.userUntil
	}
	return at
}

// expiryHeap implements heap.Interface.
type expiryHeap []*slot

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].freeAt().Before(h[j].freeAt()) }
func (h expiryHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *expiryHeap) Push(x any) {
	s := x.(*slot)
	s.index = len(*h)
	*h = append(*h, s)
}

// Pop implements heap.Interface.
func (h *expiryHeap) Pop() any {
	old := *h
	s := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	s.index = -1
	return s
}
