package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// LeaseFinder is an optional upgrade of [LeasePolicy]: it knows who has an
// address. A boot server that was restarted asks it about the machines that go on
// with a boot that was begun before; later stages of a boot know only an address.
// [Pool] and [Chain] are such. Of a lease that is a [Binding] they learn the
// machine's UUID too.
type LeaseFinder interface {
	// LeaseAt returns the lease that an address is given away by now, and nil if
	// there is none: an address that is offered, was given back, or whose lease
	// has ended belongs to nobody. It is called concurrently, for whoever asks
	// for a file, and should be quick.
	LeaseAt(ctx context.Context, addr netip.Addr) (Lease, error)
}

// LeaseAt implements [LeaseFinder]. The lease is a [Binding], as the store has it.
// Of a store that several pools share it sees its own addresses only.
func (p *Pool) LeaseAt(ctx context.Context, addr netip.Addr) (Lease, error) {
	if !p.Covers(addr) {
		return nil, nil
	}
	if _, err := p.lock(ctx); err != nil {
		return nil, err
	}
	store := p.store
	p.mu.Unlock()
	// Not the table: another server that shares the store may have given it away.
	b, err := store.ByAddr(ctx, addr)
	switch {
	case errors.Is(err, ErrNoBinding):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("dhcp: looking up the lease of %s: %w", addr, err)
	case b.State != Bound || !b.active(time.Now()):
		return nil, nil
	}
	return b, nil
}

// LeaseAt implements [LeaseFinder]: the members are asked in turn, as far as they
// can say.
func (c Chain) LeaseAt(ctx context.Context, addr netip.Addr) (Lease, error) {
	for _, p := range c {
		finder, ok := p.(LeaseFinder)
		if !ok {
			continue
		}
		if lease, err := finder.LeaseAt(ctx, addr); lease != nil || err != nil {
			return lease, err
		}
	}
	return nil, nil
}
