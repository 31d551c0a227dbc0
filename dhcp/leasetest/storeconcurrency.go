package leasetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/pxekit/pxe/dhcp"
)

// crowd is how many calls wait in a store at once: "hundreds".
const crowd = 200

// oneWinner has many claim one address with one version, again and again.
func (s *storeSuite) oneWinner(ctx context.Context, r *report) {
	store := s.create()
	version := uint64(0)
	for round := range 10 {
		var mu sync.Mutex
		var winners []dhcp.Binding
		atOnce(r, crowd, func(i int) {
			b := bindingOf(i)
			b.Addr, b.Version = addrOf(0), version
			switch got, err := store.Claim(ctx, b); {
			case err == nil:
				b.Version = got.Version
				mu.Lock()
				winners = append(winners, b)
				mu.Unlock()
			default:
				refused(r, err, "Claim of an address that others claim too")
			}
		})
		if len(winners) != 1 {
			r.add("%d of %d claims of one address with version %d succeed; exactly one may (round %d)", len(winners), crowd, version, round+1)
			return
		}
		holds(ctx, r, store, winners[0], "after many claims of one address")
		version = winners[0].Version
	}
}

func (s *storeSuite) manyAddresses(ctx context.Context, r *report) {
	store := s.create()
	var mu sync.Mutex
	want := make(map[netip.Addr]dhcp.Binding)
	atOnce(r, 2*crowd, func(i int) {
		for range 3 { // claims, and extends twice
			mu.Lock()
			b, again := want[addrOf(i).Addr()]
			mu.Unlock()
			if !again {
				b = bindingOf(i)
			}
			b, ok := claimed(ctx, r, store, b, "of an address of one's own, among many")
			if !ok {
				return
			}
			mu.Lock()
			want[b.Addr.Addr()] = b
			mu.Unlock()
			holds(ctx, r, store, b, "of an address of one's own, among many")
		}
	})
	contains(ctx, r, store, want, "after many claims at once")
}

// noLostUpdate counts in a binding: each successful claim adds one.
func (s *storeSuite) noLostUpdate(ctx context.Context, r *report) {
	store := s.create()
	first := bindingOf(0)
	first.HW = make(net.HardwareAddr, 6)
	if _, ok := claimed(ctx, r, store, first, "of a free address"); !ok {
		return
	}
	var done atomic.Int64
	var versions sync.Map
	atOnce(r, 20, func(int) {
		for range 20 {
			b, err := store.ByAddr(ctx, first.Addr.Addr())
			if r.err(err, "ByAddr while others claim") || len(b.HW) != 6 {
				return
			}
			n := int(b.HW[4])<<8 | int(b.HW[5])
			b.HW = net.HardwareAddr{0, 0, 0, 0, byte((n + 1) >> 8), byte(n + 1)}
			got, err := store.Claim(ctx, b)
			if errors.Is(err, dhcp.ErrConflict) {
				continue
			}
			if r.err(err, "Claim while others claim") {
				return
			}
			done.Add(1)
			if _, twice := versions.LoadOrStore(got.Version, true); twice {
				r.add("two claims of one address return the version %d", got.Version)
			}
		}
	})
	last, err := store.ByAddr(ctx, first.Addr.Addr())
	if r.err(err, "ByAddr after claims at once") {
		return
	}
	if n := int64(last.HW[4])<<8 | int64(last.HW[5]); n != done.Load() {
		r.add("of %d claims that succeeded one after the other, %d are left: a claim was put in place of one that it had not seen", done.Load(), n)
	}
}

// claimOrRemove has an address claimed and removed with one version at once: one
// of them is first, and the other must hear of it.
func (s *storeSuite) claimOrRemove(ctx context.Context, r *report) {
	store := s.create()
	for i := range 50 {
		b, ok := claimed(ctx, r, store, bindingOf(i), "of a free address")
		if !ok {
			return
		}
		var errs [2]error
		atOnce(r, 2, func(n int) {
			if n == 0 {
				_, errs[0] = store.Claim(ctx, b)
			} else {
				errs[1] = store.Remove(ctx, b)
			}
		})
		for n, err := range errs {
			if err != nil {
				refused(r, err, []string{"Claim against Remove", "Remove against Claim"}[n])
			}
		}
		if (errs[0] == nil) == (errs[1] == nil) {
			r.add("Claim and Remove with one version return %v and %v; exactly one may succeed", errs[0], errs[1])
			return
		}
		if errs[1] == nil {
			lacks(ctx, r, store, b.Addr.Addr(), "after Remove won over Claim")
		}
	}
}

// loadMeanwhile loads while bindings come, change and go, beside some that stay.
func (s *storeSuite) loadMeanwhile(ctx context.Context, r *report) {
	store := s.create()
	want := make(map[netip.Addr]dhcp.Binding)
	for i := range 100 {
		if b, ok := claimed(ctx, r, store, bindingOf(i), "of a free address"); ok {
			want[b.Addr.Addr()] = b
		}
	}
	atOnce(r, 8, func(i int) {
		if i%2 == 0 {
			for range 5 {
				all := content(ctx, r, store, "while others claim")
				for a, b := range want {
					if got, ok := all[a]; !ok {
						r.add("Load while others claim lacks %s, which was there before and after", a)
					} else if d := same(got, b); d != "" {
						r.add("Load while others claim yields %s wrongly: %s", a, d)
					}
				}
			}
			return
		}
		for n := range 50 {
			b, ok := claimed(ctx, r, store, bindingOf(1000*i+n), "while others load")
			if ok && n%2 == 0 {
				r.err(store.Remove(ctx, b), "Remove while others load")
			}
		}
	})
}

// reopened makes a history of claims and opens the store again, twice.
func (s *storeSuite) reopened(ctx context.Context, r *report) {
	store := s.reopen(s.create())
	contains(ctx, r, store, nil, "of an empty store that was opened again")
	want := make(map[netip.Addr]dhcp.Binding)
	var removed []dhcp.Binding
	stale := make(map[netip.Addr]dhcp.Binding)
	for i, v := range varieties() {
		b, ok := claimed(ctx, r, store, v, "of "+describe(i, v))
		if !ok {
			continue
		}
		if i%4 == 1 {
			stale[b.Addr.Addr()] = b
			b, _ = claimed(ctx, r, store, b, "to extend "+describe(i, v))
		}
		want[b.Addr.Addr()] = b
		if gone, ok := claimed(ctx, r, store, bindingOf(1000+i), "of a free address"); ok {
			if r.err(store.Remove(ctx, gone), "Remove") {
				return
			}
			removed = append(removed, gone)
		}
	}
	for _, when := range []string{"after it was opened again", "after it was opened a third time"} {
		store = s.reopen(store)
		contains(ctx, r, store, want, when)
		for _, b := range want {
			holds(ctx, r, store, b, when)
		}
		for _, b := range removed {
			lacks(ctx, r, store, b.Addr.Addr(), "of a removed binding "+when)
		}
		for _, b := range stale {
			_, err := store.Claim(ctx, b)
			refused(r, err, "Claim with an old version "+when)
		}
		for a, b := range want {
			if b, ok := claimed(ctx, r, store, b, when); ok {
				stale[a], want[a] = want[a], b
			}
		}
	}
}

// reopenedAfterMany opens a store again that was used by many at once.
func (s *storeSuite) reopenedAfterMany(ctx context.Context, r *report) {
	store := s.create()
	var mu sync.Mutex
	want := make(map[netip.Addr]dhcp.Binding)
	atOnce(r, crowd, func(i int) {
		b, ok := claimed(ctx, r, store, bindingOf(i), "among many")
		if ok && i%3 == 0 {
			b, ok = claimed(ctx, r, store, b, "to extend, among many")
		}
		if ok && i%5 == 0 {
			r.err(store.Remove(ctx, b), "Remove among many")
			return
		}
		if ok {
			mu.Lock()
			defer mu.Unlock()
			want[b.Addr.Addr()] = b
		}
	})
	contains(ctx, r, s.reopen(store), want, "of what many stored at once, after it was opened again")
}

func describe(i int, b dhcp.Binding) string {
	return fmt.Sprintf("binding %d of all kinds (%s)", i, b.Addr)
}
