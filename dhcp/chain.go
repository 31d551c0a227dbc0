package dhcp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Chain is a [LeasePolicy] that joins several on one network: a program's own
// inventory and then a [Pool] for everybody else, or ranges with a gap between
// them. It is as safe for concurrent use as its members are, and must not be
// changed once it is used.
//
// DISCOVER goes to the member that knows the client best: the one with a
// reservation for it, with a lease or a hold, with a lease that has ended; among
// equals, and for a client that nobody knows, to the first. REQUEST goes to the
// members that cover the requested address, and if they know nothing of the
// client to the others, which may say that it has another address. A member
// without a lease to give (nil, or [ErrNoAddress]) leaves the client to the
// next one, any other error ends the matter.
//
// RELEASE and DECLINE go to the member that covers the address, and if there is
// none to the others, up to the first that does not say [ErrNotHolder].
//
// Only a [Member] can say what it knows and covers. Another policy is asked in
// its place, after all the members before it and before all those behind it, and
// so stands best before the pools: there it decides first, and a client to which
// it gives another address than the one it has from a pool moves when it renews.
//
// A client that gets a reservation in one pool keeps the lease it has in another
// until it starts over, at its next boot.
//
// No address may be covered twice, or two clients may get it: Validate finds
// pools that overlap, and the addresses of an inventory must lie outside of them.
type Chain []LeasePolicy

// Validate reports what is wrong with the members, joined, and pools that
// overlap.
func (c Chain) Validate() error {
	if len(c) == 0 {
		return errors.New("dhcp: chain: it has no members")
	}
	var errs []error
	for i, p := range c {
		if p == nil {
			errs = append(errs, fmt.Errorf("dhcp: chain: member %d is nil", i+1))
		}
		if v, ok := p.(interface{ Validate() error }); ok {
			if err := v.Validate(); err != nil {
				errs = append(errs, fmt.Errorf("dhcp: chain: member %d: %w", i+1, err))
			}
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	pools := c.pools()
	for i, p := range pools {
		for _, q := range pools[:i] {
			if a, ok := p.overlap(q); ok {
				errs = append(errs, fmt.Errorf("dhcp: chain: two pools give out %s; let only one have it in its range or its reservations", a))
			}
		}
	}
	return errors.Join(errs...)
}

// pools are the pools in the chain and in the chains in it.
func (c Chain) pools() (all []*Pool) {
	for _, p := range c {
		switch p := p.(type) {
		case *Pool:
			all = append(all, p)
		case Chain:
			all = append(all, p.pools()...)
		}
	}
	return all
}

// overlap returns an address that both pools give out.
func (p *Pool) overlap(q *Pool) (netip.Addr, bool) {
	for _, pair := range [][2]*Pool{{p, q}, {q, p}} {
		a, b := pair[0], pair[1]
		if b.inRange(a.First) {
			return a.First, true
		}
		for i := range a.Reservations {
			if b.Covers(a.Reservations[i].Addr) {
				return a.Reservations[i].Addr, true
			}
		}
	}
	return netip.Addr{}, false
}

// fits reports what of the pools lies outside of a network.
func (c Chain) fits(network netip.Prefix) (errs []error) {
	for _, p := range c.pools() {
		errs = append(errs, p.fits(network)...)
	}
	return errs
}

// Discover implements [LeasePolicy].
func (c Chain) Discover(ctx context.Context, r *Request) (Lease, error) {
	return firstLease(c.bestFirst(ctx, r), func(p LeasePolicy) (Lease, error) { return p.Discover(ctx, r) })
}

// Request implements [LeasePolicy].
func (c Chain) Request(ctx context.Context, r *Request) (Lease, error) {
	ask := func(p LeasePolicy) (Lease, error) { return p.Request(ctx, r) }
	covering, others := c.split(r.RequestedAddr(), true)
	lease, err := firstLease(covering, ask)
	if lease != nil || err != nil && !errors.Is(err, ErrNoAddress) {
		return lease, err
	}
	lease, other := firstLease(others.bestFirst(ctx, r), ask)
	if lease == nil && other == nil {
		return nil, err
	}
	return lease, other
}

// Release implements [LeasePolicy].
func (c Chain) Release(ctx context.Context, r *Request) error {
	return c.giveBack(r, func(p LeasePolicy) error { return p.Release(ctx, r) })
}

// Decline implements [LeasePolicy].
func (c Chain) Decline(ctx context.Context, r *Request) error {
	return c.giveBack(r, func(p LeasePolicy) error { return p.Decline(ctx, r) })
}

func (c Chain) giveBack(r *Request, to func(LeasePolicy) error) error {
	covering, others := c.split(r.RequestedAddr(), false)
	if len(covering) == 0 {
		covering = others
	}
	for _, p := range covering {
		if err := to(p); !errors.Is(err, ErrNotHolder) {
			return err
		}
	}
	return ErrNotHolder
}

// WithdrawOffer implements [OfferWithdrawer] for all members.
func (c Chain) WithdrawOffer(ctx context.Context, r *Request) {
	for _, p := range c {
		if w, ok := p.(OfferWithdrawer); ok {
			w.WithdrawOffer(ctx, r)
		}
	}
}

// Knows implements [Member]: whether a member does.
func (c Chain) Knows(ctx context.Context, r *Request) bool { return c.standing(ctx, r) > unknownClient }

// Covers implements [Member]: whether a member does.
func (c Chain) Covers(a netip.Addr) bool {
	covering, _ := c.split(a, false)
	return len(covering) > 0
}

// split parts the members that cover an address from the others, each in order.
// unsure is where those belong that cannot say.
func (c Chain) split(a netip.Addr, unsure bool) (covering, others Chain) {
	for _, p := range c {
		covers := unsure
		if m, ok := p.(Member); ok {
			covers = m.Covers(a)
		}
		if covers {
			covering = append(covering, p)
		} else {
			others = append(others, p)
		}
	}
	return covering, others
}

// bestFirst returns the members by how well they know the client. None overtakes
// a member that cannot say: Request, where that one is asked in its place, would
// refuse what Discover has offered.
func (c Chain) bestFirst(ctx context.Context, r *Request) Chain {
	type ranking struct {
		LeasePolicy
		group    int
		standing standing
	}
	ranks := make([]ranking, len(c))
	group := 0
	for i, p := range c {
		if _, ok := p.(Member); !ok {
			ranks[i] = ranking{p, group + 1, unknownClient}
			group += 2
			continue
		}
		ranks[i] = ranking{p, group, standingOf(ctx, p, r)}
	}
	slices.SortStableFunc(ranks, func(a, b ranking) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(b.standing, a.standing))
	})
	sorted := make(Chain, len(c))
	for i := range ranks {
		sorted[i] = ranks[i].LeasePolicy
	}
	return sorted
}

// firstLease asks one policy after the other, to the first that has a lease.
func firstLease(policies Chain, ask func(LeasePolicy) (Lease, error)) (Lease, error) {
	var none error
	for _, p := range policies {
		lease, err := ask(p)
		switch {
		case errors.Is(err, ErrNoAddress):
			none = err
		case lease != nil || err != nil:
			return lease, err
		}
	}
	return nil, none
}

// standing is how well a policy knows a client.
type standing int

const (
	unknownClient  standing = iota
	formerClient            // its lease has ended
	leasedClient            // it has a lease or a hold
	reservedClient          // it has a reservation
)

// standingOf asks a policy how well it knows a client.
func standingOf(ctx context.Context, p LeasePolicy, r *Request) standing {
	switch p := p.(type) { // one that has a Pool in it may know better
	case *Pool:
		return p.standing(ctx, r)
	case Chain:
		return p.standing(ctx, r)
	case Member:
		if p.Knows(ctx, r) {
			return leasedClient
		}
	}
	return unknownClient
}

// standing is that of the member who knows the client best.
func (c Chain) standing(ctx context.Context, r *Request) standing {
	best := unknownClient
	for _, p := range c {
		best = max(best, standingOf(ctx, p, r))
	}
	return best
}
