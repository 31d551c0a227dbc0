package dhcp

import (
	"context"
	"errors"
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// shares reports whether two networks are on one physical network.
func (n *Network) shares(m *Network) bool {
	return n == m || n.Link != "" && n.Link == m.Link ||
		n.onLink() && m.onLink() && n.Interface == m.Interface
}

// settle enters the place of the address that the client has or asks for, and
// the first if that is in none of them.
func (r *Request) settle() {
	i := -1
	switch r.Type() {
	case dhcpv4.MessageTypeDiscover:
		// A wish; the policies weigh it.
	case dhcpv4.MessageTypeInform:
		i = r.placeWith(informAddr(r))
	default:
		i = r.placeWith(r.RequestedAddr())
	}
	r.enter(r.places[max(0, i)])
}

// discover asks the policies of the client's link in turn until one has an
// address for it. As it moves r from place to place, it is for the goroutine
// that handles r only.
func (s *Server) discover(ctx context.Context, r *Request) (lease Lease, err error) {
	for _, p := range r.acquainted(ctx) {
		r.enter(p)
		l, failed := p.network.Leases.Discover(ctx, r)
		switch {
		case failed != nil && !errors.Is(failed, ErrNoAddress):
			return nil, failed
		case failed != nil:
			err = failed
		case l != nil:
			return l, nil
		}
	}
	return nil, err
}

// acquainted returns the places of r, those first whose policy knows the client
// best (a reservation before a lease, a lease before one that has ended), unless the
// client itself selected a subnet.
func (r *Request) acquainted(ctx context.Context) []place {
	if len(r.places) == 1 || r.subnetHeeded {
		return r.places
	}
	standings := make(map[*Network]standing, len(r.places))
	for _, p := range r.places {
		r.enter(p)
		standings[p.network] = standingOf(ctx, p.network.Leases, r)
	}
	sorted := slices.Clone(r.places)
	slices.SortStableFunc(sorted, func(a, b place) int {
		return int(standings[b.network]) - int(standings[a.network])
	})
	return sorted
}

// withdraw tells the policies of the client's link that it took another server's
// offer: any of them may hold an address for it.
func (r *Request) withdraw(ctx context.Context) {
	for _, p := range r.places {
		if w, ok := p.network.Leases.(OfferWithdrawer); ok {
			r.enter(p)
			w.WithdrawOffer(ctx, r)
		}
	}
}
