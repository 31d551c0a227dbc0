package dhcp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"
)

// maxAnswers is for how many addresses one machine is believed that it uses them.
// Who answers for more is a router that answers for everybody (proxy ARP), or an
// attack on the pool.
const maxAnswers = 16

// finding is what became of a probe.
type finding struct {
	of    *probed
	addr  netip.Addr
	inUse bool
	hw    net.HardwareAddr
	err   error
}

// verdict is what a finding means for the pool.
type verdict int

const (
	foundFree verdict = iota
	foundUsed         // the address is in quarantine now
	notProved         // nothing was learnt
	notOurs           // a client of ours has the address by now
	proxyARP          // one machine answers for too many addresses
	crowd             // too many addresses answer: this one is given last, or left to who has its offer
)

// found takes over a finding. Who uses an address may have it; nobody else may,
// until the time is over, but see lastResort.
//
// Anybody on the network can answer a probe, in as many names as he likes. What he
// gains is bounded: he keeps clients from so many addresses as enough says, and
// ends so many offers.
func (t *table) found(f finding, now, until time.Time) verdict {
	t.sweep(now)
	place, _ := t.offset(f.addr)
	i, _ := t.stock.find(place) // it is there until now
	if f.err == nil && !f.inUse {
		t.stock.counts.Free++
		t.stock.proofs[i] = proof{place: place, until: now.Add(stockTime)} // dropped by freeToProbe if somebody took it meanwhile
		if len(t.stock.proofs) > maxStock {
			t.stock.proofs = slices.Delete(t.stock.proofs, i, i+1) // offered without proof, and so many that freeToProbe has no turn
		}
		return foundFree
	}
	t.stock.proofs = slices.Delete(t.stock.proofs, i, i+1)
	if errors.Is(f.err, context.Canceled) {
		return notOurs // see claimed
	}
	if f.err != nil {
		t.stock.counts.Failed++
		return notProved
	}
	key := ""
	if len(f.hw) > 0 {
		key = clientKey(f.hw, nil)
	}
	s := t.slots[f.addr]
	crowded := t.uses.Len() >= t.enough()
	switch {
	case s != nil && (s.busy || s.rec.active(now) || s.hold != nil && s.heldBy == key):
		return notOurs
	case len(t.users[key]) >= maxAnswers:
		t.stock.counts.Failed++
		return proxyARP
	case crowded && s != nil && s.hold != nil:
		t.stock.counts.Failed++
		return crowd
	}
	t.stock.counts.InUse++
	t.occupy(f.addr, key, until)
	if crowded {
		return crowd
	}
	return foundUsed
}

// enough is how many addresses that answer are kept from everybody: half of the
// range.
func (t *table) enough() int { return min((t.size+1)/2, maxStock) }

// lastResort finds the address that answered longest ago, if more answer than are
// kept from everybody.
func (t *table) lastResort(now time.Time, usable func(netip.Addr) bool) (netip.Addr, bool) {
	e := t.uses.Front()
	for range min(16, t.uses.Len()-t.enough()) {
		s := e.Value.(*slot)
		if !s.busy && s.hold == nil && !s.rec.active(now) && usable(s.addr) {
			return s.addr, true
		}
		e = e.Next()
	}
	return netip.Addr{}, false
}

// occupy notes that a machine uses an address without a lease, until a time that
// is not before that of any other. The empty key: nobody knows which.
func (t *table) occupy(a netip.Addr, key string, until time.Time) {
	s := t.slot(a)
	t.endHold(s)
	t.vacate(s)
	s.user, s.userUntil = key, until
	s.use = t.uses.PushBack(s)
	if key != "" {
		t.users[key] = append(t.users[key], s)
	}
	t.tidy(s)
}

// vacate forgets who uses an address.
func (t *table) vacate(s *slot) {
	if s.use == nil {
		return
	}
	t.uses.Remove(s.use)
	if s.user != "" {
		rest := slices.DeleteFunc(t.users[s.user], func(u *slot) bool { return u == s })
		if t.users[s.user] = rest; len(rest) == 0 {
			delete(t.users, s.user)
		}
	}
	s.use, s.user, s.userUntil = nil, "", time.Time{}
}
