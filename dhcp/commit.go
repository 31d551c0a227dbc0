package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// maxConflicts is how often a claim is tried when another server that shares
// the store is changing the same address.
const maxConflicts = 3

// Request implements [LeasePolicy]: it commits a lease to the store.
func (p *Pool) Request(ctx context.Context, r *Request) (Lease, error) {
	for range maxConflicts {
		lease, err := p.extend(ctx, r)
		if !errors.Is(err, ErrConflict) {
			return lease, err
		}
	}
	return nil, fmt.Errorf("dhcp: the lease of %s: %w", r.RequestedAddr(), ErrConflict)
}

// extend commits a lease if the client may have it. A nil Lease without an error
// means that nothing is known of the client.
func (p *Pool) extend(ctx context.Context, r *Request) (Lease, error) {
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
	c, want := t.identify(r), r.RequestedAddr()
	if known, may := t.judge(r, c, want, now); !may {
		if held := t.holders[c.key]; held != nil && known {
			t.unhold(held) // it starts over
		}
		if !known {
			return nil, nil
		}
		return nil, ErrNAK
	}
	before := t.owners[c.key]
	var left Binding
	if before != nil {
		left = before.rec
	}
	s, err := p.claim(ctx, t, want, p.binding(r, c, want, t.slots[want]))
	if err != nil {
		return nil, err
	}
	t.vacate(s) // who used it has it now
	t.unhold(s)
	granted := s.rec
	if before != nil && before != s && before.rec.Version == left.Version {
		p.forget(ctx, t, before)
	}
	return c.lease(granted), nil
}

// judge says whether anything is known of the client, and whether it may have
// the address it wants (RFC 2131 section 4.3.2).
func (t *table) judge(r *Request, c client, want netip.Addr, now time.Time) (known, may bool) {
	own, held, reserved := t.owners[c.key], t.holders[c.key], c.reservedAddr()
	possible := t.mine(want, c) && usable(r, want) && t.free(want, c, now)
	isOwn := own != nil && own.addr == want
	isHeld := held != nil && held.addr == want
	if reserved.IsValid() {
		if want == reserved {
			return true, possible
		}
		if t.free(reserved, c, now) && usable(r, reserved) && !(isOwn && possible && t.shared(c)) {
			return true, false // it moves to its own
		}
	}
	if r.state() != stateSelecting {
		return own != nil || reserved.IsValid(), isOwn && possible
	}
	// Who chose us but holds nothing is one whose offer we have forgotten: it
	// may have a free address all the same, unless another is its own.
	elsewhere := held != nil && !isHeld || own != nil && !isOwn && own.rec.active(now)
	return true, possible && (isHeld || isOwn || !elsewhere)
}

// claim asks the store for an address with p.mu held, which it gives up
// meanwhile. After a conflict the table has what the store has.
func (p *Pool) claim(ctx context.Context, t *table, addr netip.Addr, b Binding) (*slot, error) {
	s := t.slot(addr)
	if s.busy {
		return nil, errBusy
	}
	s.busy = true
	t.claimed(addr)
	p.mu.Unlock()
	stored, err := p.store.Claim(ctx, b)
	refreshed := false
	if errors.Is(err, ErrConflict) {
		var byAddr error
		stored, byAddr = p.store.ByAddr(ctx, addr)
		if errors.Is(byAddr, ErrNoBinding) {
			stored, byAddr = Binding{}, nil
		}
		if refreshed = byAddr == nil; !refreshed {
			err = byAddr
		}
	}
	p.mu.Lock()
	s.busy = false
	if err == nil || refreshed {
		t.record(addr, stored)
	} else {
		t.tidy(s)
		err = fmt.Errorf("dhcp: storing the lease of %s: %w", addr, err)
	}
	return s, err
}

// forget removes the record of an address that its client has left. If the
// store does not do it the address stays taken for as long as the record says.
// One that has been offered to another stays as it is: its REQUEST may come now,
// and replaces the record.
func (p *Pool) forget(ctx context.Context, t *table, s *slot) {
	if s.busy || s.rec.Version == 0 || s.hold != nil {
		return
	}
	s.busy = true
	p.mu.Unlock()
	err := p.store.Remove(ctx, s.rec)
	p.mu.Lock()
	s.busy = false
	if err == nil {
		t.record(s.addr, Binding{})
	}
}

// WithdrawOffer implements [OfferWithdrawer]: it ends the client's hold.
func (p *Pool) WithdrawOffer(ctx context.Context, r *Request) {
	t, err := p.lock(ctx)
	if err != nil {
		return
	}
	defer p.mu.Unlock()
	if held := t.holders[t.key(r.HardwareAddr(), r.ClientID())]; held != nil {
		t.unhold(held)
	}
}

// Release implements [LeasePolicy]. The record is kept, so that the client gets
// the same address again.
func (p *Pool) Release(ctx context.Context, r *Request) error {
	return p.end(ctx, r, Released, 0)
}

// Decline implements [LeasePolicy]: the address goes into quarantine.
func (p *Pool) Decline(ctx context.Context, r *Request) error {
	return p.end(ctx, r, Declined, durationOr(p.Quarantine, defaultQuarantine))
}

// end closes the client's lease of the address it names, if it has it.
func (p *Pool) end(ctx context.Context, r *Request, state BindingState, after time.Duration) error {
	t, err := p.lock(ctx)
	if err != nil {
		return err
	}
	defer p.mu.Unlock()
	now := time.Now()
	t.sweep(now)
	key := t.key(r.HardwareAddr(), r.ClientID())
	s := t.owners[key]
	if s == nil || s.addr != r.RequestedAddr() || s.rec.State != Bound || !s.rec.active(now) {
		return ErrNotHolder
	}
	if state == Declined && t.declines[key] >= maxDeclines {
		return ErrLimit
	}
	b := s.rec
	b.State, b.Until = state, now.Add(after)
	if _, err := p.claim(ctx, t, s.addr, b); err != nil {
		return err
	}
	if state == Declined {
		t.declines[key]++
		t.quarantined.PushBack(quarantine{key, b.Until})
	}
	return nil
}
