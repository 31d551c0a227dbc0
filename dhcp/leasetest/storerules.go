package leasetest

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/pxekit/pxe/dhcp"
)

func (s *storeSuite) empty(ctx context.Context, r *report) {
	first, second := s.create(), s.create()
	contains(ctx, r, first, nil, "of a new store")
	lacks(ctx, r, first, addrOf(1).Addr(), "of a new store")
	if _, ok := claimed(ctx, r, first, bindingOf(1), "in a new store"); ok {
		lacks(ctx, r, second, addrOf(1).Addr(), "of another store")
	}
}

func (s *storeSuite) claim(ctx context.Context, r *report) {
	store := s.create()
	b, ok := claimed(ctx, r, store, bindingOf(1), "of a free address")
	if !ok {
		return
	}
	holds(ctx, r, store, b, "after a claim")
	lacks(ctx, r, store, addrOf(2).Addr(), "of the next address")
	other, ok := claimed(ctx, r, store, bindingOf(2), "of the next address")
	if !ok {
		return
	}
	holds(ctx, r, store, b, "after a claim of the next address")
	next := bindingOf(3) // another client takes the address over
	next.Addr, next.Version = b.Addr, b.Version
	if next, ok = claimed(ctx, r, store, next, "of a taken address with its version"); ok {
		holds(ctx, r, store, next, "after a second claim")
		contains(ctx, r, store, map[netip.Addr]dhcp.Binding{next.Addr.Addr(): next, other.Addr.Addr(): other}, "after a second claim")
	}
	// A client that moves has two records for a while; the key is the address.
	moved := bindingOf(4)
	moved.HW, moved.ID = other.HW, other.ID
	if moved, ok = claimed(ctx, r, store, moved, "of a second address for one client"); ok {
		holds(ctx, r, store, other, "of the first address of a client that claimed a second")
		holds(ctx, r, store, moved, "of the second address of a client")
	}
}

func (s *storeSuite) conflict(ctx context.Context, r *report) {
	store := s.create()
	stale := bindingOf(1)
	stale.Version = 1
	_, err := store.Claim(ctx, stale)
	refused(r, err, "Claim with a version of an address that has no binding")
	lacks(ctx, r, store, stale.Addr.Addr(), "after a conflict")

	first, ok := claimed(ctx, r, store, bindingOf(1), "of a free address")
	if !ok {
		return
	}
	rival := bindingOf(2)
	rival.Addr = first.Addr
	_, err = store.Claim(ctx, rival)
	refused(r, err, "Claim with version 0 of a taken address")
	rival.Version = first.Version + 1
	_, err = store.Claim(ctx, rival)
	refused(r, err, "Claim with a version that never was")
	holds(ctx, r, store, first, "after conflicts")

	second := first
	second.Until = second.Until.Add(time.Hour)
	if second, ok = claimed(ctx, r, store, second, "to extend a lease"); !ok {
		return
	}
	_, err = store.Claim(ctx, first)
	refused(r, err, "Claim with the version before the last")
	holds(ctx, r, store, second, "after a conflict")
	contains(ctx, r, store, map[netip.Addr]dhcp.Binding{second.Addr.Addr(): second}, "after conflicts")
}

func (s *storeSuite) remove(ctx context.Context, r *report) {
	store := s.create()
	r.err(store.Remove(ctx, bindingOf(1)), "Remove of an address that has no binding")
	first, ok := claimed(ctx, r, store, bindingOf(1), "of a free address")
	if !ok {
		return
	}
	other, _ := claimed(ctx, r, store, bindingOf(2), "of the next address")
	wrong := first
	wrong.Version = 0
	refused(r, store.Remove(ctx, wrong), "Remove with version 0")
	wrong.Version = first.Version + 1
	refused(r, store.Remove(ctx, wrong), "Remove with another version")
	holds(ctx, r, store, first, "after Remove with another version")

	// Only the address and the version count.
	if r.err(store.Remove(ctx, dhcp.Binding{Addr: first.Addr, Version: first.Version}), "Remove with nothing but address and version") {
		return
	}
	lacks(ctx, r, store, first.Addr.Addr(), "after Remove")
	contains(ctx, r, store, map[netip.Addr]dhcp.Binding{other.Addr.Addr(): other}, "after Remove")
	r.err(store.Remove(ctx, first), "Remove a second time")
	_, err := store.Claim(ctx, first)
	refused(r, err, "Claim with the version of a binding that was removed")

	again, ok := claimed(ctx, r, store, bindingOf(1), "of an address whose binding was removed")
	if ok && again.Version == first.Version {
		r.add("the version %d of a removed binding is used again: a server that has slept would take the new binding for the old one", again.Version)
	}
	holds(ctx, r, store, again, "of an address that is claimed again")
}

// fields stores bindings of all kinds.
func (s *storeSuite) fields(ctx context.Context, r *report) {
	store := s.create()
	want := make(map[netip.Addr]dhcp.Binding)
	for i, v := range varieties() {
		if b, ok := claimed(ctx, r, store, v, "of "+describe(i, v)); ok {
			want[b.Addr.Addr()] = b
			holds(ctx, r, store, b, "of "+describe(i, v))
		}
	}
	contains(ctx, r, store, want, "of bindings of all kinds")
}

// varieties are bindings with different fields, each of its own address.
func varieties() (all []dhcp.Binding) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	edits := []func(*dhcp.Binding){
		func(*dhcp.Binding) {},
		func(b *dhcp.Binding) { b.Until = time.Time{} }, // for ever
		func(b *dhcp.Binding) { b.Until = time.Unix(4_000_000_000, 123_456_789) },
		func(b *dhcp.Binding) { b.Until = time.Unix(1<<33, 0).In(time.FixedZone("", 3600)) }, // the year 2242
		func(b *dhcp.Binding) { b.Until = time.Unix(1_000_000_000, 0) },                      // long past
		func(b *dhcp.Binding) { b.Until = time.Now().Add(time.Hour) },                        // with a monotonic clock
		func(b *dhcp.Binding) { b.State, b.Until = dhcp.Released, time.Unix(1_700_000_000, 1) },
		func(b *dhcp.Binding) { b.State = dhcp.Declined },
		func(b *dhcp.Binding) { b.UUID = "01234567-89ab-cdef-0123-456789abcdef" },
		func(b *dhcp.Binding) { b.HW = nil },
		func(b *dhcp.Binding) { b.ID = nil },
		func(b *dhcp.Binding) { b.HW, b.ID, b.UUID = nil, bytes.Repeat([]byte{0}, 2), "" },
		func(b *dhcp.Binding) { b.HW = net.HardwareAddr(every[240:]) }, // 16 bytes
		func(b *dhcp.Binding) { b.HW = net.HardwareAddr{0} },
		func(b *dhcp.Binding) { b.ID = every[:255] }, // the longest that a server takes
		func(b *dhcp.Binding) { b.ID = every[1:] },
		func(b *dhcp.Binding) { b.ID = []byte("\n\r\"',;\\\x00 \xff\xfe") },
		func(b *dhcp.Binding) { b.Addr = netip.PrefixFrom(b.Addr.Addr(), 24) },
		func(b *dhcp.Binding) { b.Addr = netip.MustParsePrefix("0.0.0.1/32") },
		func(b *dhcp.Binding) { b.Addr = netip.MustParsePrefix("223.255.255.254/32") },
	}
	for i, edit := range edits {
		b := bindingOf(i)
		edit(&b)
		all = append(all, b)
	}
	return all
}

func (s *storeSuite) load(ctx context.Context, r *report) {
	store := s.create()
	want := make(map[netip.Addr]dhcp.Binding)
	for i := range 1000 {
		b, ok := claimed(ctx, r, store, bindingOf(i), "of one of a thousand addresses")
		if !ok {
			return
		}
		want[b.Addr.Addr()] = b
	}
	for i := 0; i < 1000; i += 3 {
		b := want[addrOf(i).Addr()]
		if i%2 == 0 {
			if r.err(store.Remove(ctx, b), "Remove of one of a thousand") {
				return
			}
			delete(want, b.Addr.Addr())
		} else if b, ok := claimed(ctx, r, store, b, "to extend one of a thousand"); ok {
			want[b.Addr.Addr()] = b
		}
	}
	contains(ctx, r, store, want, "of a thousand claims")
	contains(ctx, r, store, want, "a second time")
}

// loadStopped stops iterations early, after which the store must work as before.
func (s *storeSuite) loadStopped(ctx context.Context, r *report) {
	store := s.create()
	want := make(map[netip.Addr]dhcp.Binding)
	for i := range 20 {
		if b, ok := claimed(ctx, r, store, bindingOf(i), "of a free address"); ok {
			want[b.Addr.Addr()] = b
		}
	}
	for stop := 1; stop <= 20; stop++ {
		n := 0
		for _, err := range store.Load(ctx) { // yields again after the break: a panic
			if r.err(err, "Load") {
				return
			}
			if n++; n == stop {
				break
			}
		}
		b := want[addrOf(stop-1).Addr()]
		if b, ok := claimed(ctx, r, store, b, "after a Load that was not finished"); ok {
			want[b.Addr.Addr()] = b
		}
	}
	contains(ctx, r, store, want, "after others that were not finished")
}

// cancelled makes calls with a context that has ended: each may fail, but must
// return, must not pretend, and must not harm the calls after it.
func (s *storeSuite) cancelled(ctx context.Context, r *report) {
	store := s.create()
	ended, cancel := context.WithCancel(ctx)
	cancel()
	first, ok := claimed(ctx, r, store, bindingOf(1), "of a free address")
	if !ok {
		return
	}
	if b, err := store.ByAddr(ended, first.Addr.Addr()); err == nil {
		if d := same(b, first); d != "" {
			r.add("ByAddr with a context that has ended: %s", d)
		}
	}
	n := 0
	var failed error
	for _, err := range store.Load(ended) {
		if failed = err; err == nil {
			n++
		}
	}
	if failed == nil && n != 1 {
		r.add("Load with a context that has ended yields %d bindings of 1 and no error: a server would give out the others' addresses", n)
	}
	next := first
	next.UUID = "01234567-89ab-cdef-0123-456789abcdef"
	stored, err := store.Claim(ended, next)
	now, byAddr := store.ByAddr(ctx, first.Addr.Addr())
	if r.err(byAddr, "ByAddr after calls with a context that has ended") {
		return
	}
	next.Version = now.Version
	isNext := same(now, next) == "" && now.Version != first.Version
	isFirst := same(now, first) == ""
	if err == nil && !(isNext && now.Version == stored.Version) || err != nil && !isNext && !isFirst {
		r.add("Claim with a context that has ended returned %v, %v and left %v", stored, err, now)
	}
	if now, ok = claimed(ctx, r, store, now, "after calls with a context that had ended"); !ok {
		return
	}
	if err := store.Remove(ended, now); err == nil {
		lacks(ctx, r, store, now.Addr.Addr(), "after Remove with a context that has ended, which returned no error")
	}
	claimed(ctx, r, store, bindingOf(2), "of the next address after calls with a context that had ended")
}
