package dhcp

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// errBusy means that the store is being asked about the address already.
var errBusy = errors.New("dhcp: another packet of this client is in work")

// lock returns with p.mu held and the store's records in the table.
func (p *Pool) lock(ctx context.Context) (*table, error) {
	p.mu.Lock()
	if p.table != nil {
		return p.table, nil
	}
	p.mu.Unlock()

	p.loading.Lock()
	defer p.loading.Unlock()
	p.mu.Lock()
	if p.table != nil {
		return p.table, nil
	}
	p.mu.Unlock()

	if err := p.Validate(); err != nil {
		return nil, err
	}
	store := p.Store
	if store == nil {
		store = new(MemoryStore)
	}
	t := newTable(p)
	if err := t.fill(ctx, store); err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.table, p.store = t, store
	return t, nil
}

// fill takes over what the store has. It is no part of lock, which is called for
// each packet: what a function with such a loop returns it allocates, even when it
// does not come that far.
func (t *table) fill(ctx context.Context, store Store) error {
	for b, err := range store.Load(ctx) {
		if err != nil {
			return fmt.Errorf("dhcp: loading leases: %w", err)
		}
		t.load(b)
	}
	return nil
}

// load takes over a record from the store. Of two records of one client the one
// that ends later counts as the client's; both keep their address taken.
func (t *table) load(b Binding) {
	addr := b.Addr.Addr()
	if b.Version == 0 || !addr.Is4() {
		return
	}
	key := t.key(b.HW, b.ID)
	if _, inRange := t.offset(addr); !inRange && t.reservee[addr] == nil {
		if old, seen := t.moved[key]; t.reservation(b.HW, b.UUID, b.ID) != nil && (!seen || b.freeAfter(old)) {
			t.moved[key] = b
		}
		return // of a range that is no longer ours
	}
	old := t.owners[key]
	s := t.record(addr, b)
	if old != nil && old.rec.freeAfter(b) {
		t.disown(s)
		old.owner = key
		t.owners[key] = old
	}
}

// freeAfter reports whether b ends later than c.
func (b Binding) freeAfter(c Binding) bool {
	return b.State == Bound && b.Until.IsZero() || !c.Until.IsZero() && b.Until.After(c.Until)
}

// Discover implements [LeasePolicy]: it holds an address for the client.
func (p *Pool) Discover(ctx context.Context, r *Request) (Lease, error) {
	t, err := p.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer p.mu.Unlock()
	if err := p.reaches(r); err != nil {
		return nil, err
	}
	now := time.Now()
	t.sweep(now)
	c := t.identify(r)
	addr, ok := t.choose(r, c, now)
	if !ok {
		return nil, ErrNoAddress
	}
	s := t.slots[addr]
	if s != nil && s.use != nil && s.user != c.machine {
		t.vacate(s) // the last resort
		t.tidy(s)
		s = t.slots[addr]
	}
	if addr != c.reservedAddr() && (s == nil || s.owner != c.key && s.holder != c.key && s.user != c.machine) {
		t.offering(addr, now)
	}
	if s == nil || s.owner != c.key || !s.rec.active(now) {
		t.keep(addr, c, now.Add(durationOr(p.OfferTime, defaultOfferTime)))
	}
	return c.lease(p.binding(r, c, addr, s)), nil
}

// choose picks the address to offer, in the order of RFC 2131 section 4.3.1.
func (t *table) choose(r *Request, c client, now time.Time) (netip.Addr, bool) {
	may := func(a netip.Addr) bool {
		return a.IsValid() && t.mine(a, c) && usable(r, a) && t.free(a, c, now)
	}
	if a := c.reservedAddr(); may(a) {
		return a, true
	}
	own, held := t.owners[c.key], t.holders[c.key]
	if own != nil && own.rec.active(now) && may(own.addr) {
		return own.addr, true
	}
	if held != nil && may(held.addr) {
		return held.addr, true
	}
	if own != nil && may(own.addr) {
		return own.addr, true
	}
	forIt := func(a netip.Addr) bool { return !t.stock.isOwn(a) && usable(r, a) }
	if a := r.RequestedAddr(); may(a) && forIt(a) {
		return a, true
	}
	for _, s := range t.users[c.machine] {
		if may(s.addr) && forIt(s.addr) {
			return s.addr, true
		}
	}
	if a, ok := t.freshProved(c.key, now, forIt); ok {
		return a, true
	}
	if a, ok := t.fresh(c.key, forIt); ok {
		return a, true
	}
	if a, ok := t.oldestProved(c, now, forIt); ok {
		return a, true
	}
	if a, ok := t.oldest(c, now, forIt); ok {
		return a, true
	}
	return t.lastResort(now, func(a netip.Addr) bool { return t.mine(a, c) && forIt(a) })
}

// usable reports whether a is an address for a client on the request's network,
// and of no machine that the network names itself.
func usable(r *Request, a netip.Addr) bool {
	if a == r.ServerID || a == r.ServerAddr || a == r.RelayAddr() || a == r.serverIdentifier() {
		return false
	}
	if p := r.Prefix; p.IsValid() {
		if a == p.Addr() || !p.Contains(a) || p.Bits() < 31 && (a == p.Masked().Addr() || a == broadcastOf(p)) {
			return false
		}
	}
	return r.Network == nil || !slices.Contains(r.Network.Routers, a) && !slices.Contains(r.Network.DNS, a)
}

// reaches refuses a range on a network that it does not lie in.
func (p *Pool) reaches(r *Request) error {
	if p.First.IsValid() && r.Prefix.IsValid() && !r.Prefix.Contains(p.First) && !r.Prefix.Contains(p.Last) {
		return fmt.Errorf("dhcp: the pool's range %s-%s is not inside %s", p.First, p.Last, r.Prefix.Masked())
	}
	return nil
}

// binding is the lease of an address from now on, as far as the client asks for
// it. s is the address's slot, nil if it has none.
func (p *Pool) binding(r *Request, c client, addr netip.Addr, s *slot) Binding {
	b := Binding{
		HW: slices.Clone(r.HardwareAddr()), ID: slices.Clone(c.id), UUID: c.uuid,
		Addr: netip.PrefixFrom(addr, 32), State: Bound,
	}
	start := r.Received
	if start.IsZero() {
		start = time.Now()
	}
	d, asked := p.requestedTime(r.Packet)
	if d != Infinite {
		b.Until = start.Add(d)
	}
	if s != nil {
		b.Version = s.rec.Version
		// RFC 2131 section 4.3.1: who asks for no time keeps what it has.
		if !asked && s.owner == c.key && s.rec.State == Bound && s.rec.freeAfter(b) {
			b.Until = s.rec.Until
		}
	}
	return b
}

// requestedTime is the time that a client gets, and whether it asked for one.
func (p *Pool) requestedTime(packet *dhcpv4.DHCPv4) (time.Duration, bool) {
	v := packet.Options.Get(dhcpv4.OptionIPAddressLeaseTime)
	if len(v) != 4 {
		return p.leaseTime(), false
	}
	seconds := uint32(v[0])<<24 | uint32(v[1])<<16 | uint32(v[2])<<8 | uint32(v[3])
	d := time.Duration(seconds) * time.Second
	if seconds == math.MaxUint32 {
		d = Infinite
	}
	return min(max(d, p.minLease()), p.maxLease()), true
}
