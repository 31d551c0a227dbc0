package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	defaultLeaseTime  = time.Hour
	defaultMinLease   = time.Minute
	defaultOfferTime  = 30 * time.Second
	defaultQuarantine = 10 * time.Minute

	// maxPool bounds the range, and so the memory that a flood of strangers
	// can make the pool use.
	maxPool = 1 << 20
	// maxHolds bounds the offers that are open at once; beyond it the oldest
	// is forgotten. Its client still gets the address if nobody took it.
	maxHolds = 1 << 14
	// maxDeclines is how many addresses one client may have in quarantine: more
	// would be an attack on the pool, or a network that is beyond help.
	maxDeclines = 4
)

// Pool is a [LeasePolicy] that gives out the addresses of a range. The fields
// must not change once it is used. Its methods are safe for concurrent use.
//
// Unless StrictIdentity is set a client is known by its hardware address, so that
// the firmware, the loader, the initramfs and the operating system of one machine,
// which send different client identifiers or none, keep one address (a root file
// system over the network does not survive another one). A [Reservation] may name
// it by what only some of them send. A client gets, in this order: its reserved
// address, the address it has, the one it had, the one it asks for, one that it was
// found to use, an address that nobody had, the one that has been free for longest;
// of the last two kinds first those that were found free (see NoProbe). Where an
// unknown client starts in the range follows from its hardware address, so that it
// mostly gets the same address from a pool that has forgotten it.
//
// An offer is a short hold in memory and never in the store: a flood of
// DISCOVERs leaves nothing behind. An address is the client's when the store
// has it.
type Pool struct {
	// First and Last are the IPv4 range, both included: up to 1,048,576
	// addresses. Both zero: only reserved addresses are given out. The server's
	// own address, the network's and the broadcast address, routers and DNS
	// servers may lie inside and are left out.
	First, Last netip.Addr
	// Reservations are addresses and options for certain clients, the addresses
	// in or outside of the range. Nobody else gets them; a client that has one
	// from before the reservation moves to another when it renews.
	Reservations []Reservation
	// LeaseTime is given to clients that ask for no time. Zero: 1 h;
	// [Infinite]: leases do not end.
	LeaseTime time.Duration
	// MinLeaseTime and MaxLeaseTime bound what a client may ask for. Zero: 1
	// minute, or LeaseTime if that is less; and LeaseTime. Infinite as the
	// maximum lets clients ask for a lease that does not end.
	MinLeaseTime, MaxLeaseTime time.Duration
	// OfferTime is for how long an offered address waits for its client. Zero:
	// 30 s.
	OfferTime time.Duration
	// Quarantine is for how long an address that a client declined is kept from
	// everybody, and one that was found in use from all but who uses it. Zero: 10
	// min.
	Quarantine time.Duration
	// StrictIdentity makes the client identifier (option 61) the key of a lease,
	// as RFC 2131 section 4.2 and RFC 4361 say, and the hardware address only
	// for a client that sends none: for networks where one machine is to keep its
	// address behind several interfaces.
	//
	// It does not suit machines that boot from the network. Firmware, loader,
	// initramfs and operating system each send an identifier of their own or
	// none, so that each is a client of its own: one boot takes up to four
	// addresses, each for the lease time, and a root file system over the
	// network does not survive it when the system's DHCP client gets another
	// address than the initramfs had. Who sets it gives such machines a network, or a
	// pool in a [Chain], of their own, or makes the identifiers equal.
	StrictIdentity bool
	// NoProbe says that addresses are offered without a look whether some machine
	// uses them. Otherwise, where the conn is an [AddrProber] and on networks
	// that we are on ourselves (those behind relays cannot be asked), the server
	// keeps up to 256 addresses ahead that nobody answered from in the last ten
	// minutes, and prefers them for clients that are new to it. On one interface
	// it makes five probes a second at most, for all pools there and whatever
	// clients do. No client waits: when there are none, an address is offered
	// first and probed then, and if it is in use the client is refused it
	// (DHCPNAK), unless it was faster. [Pool.Probes] counts. Addresses that
	// clients have, and reserved ones, are not probed, and those of this host not
	// offered.
	//
	// Anybody on the network can answer a probe. So one machine is believed to
	// use 16 addresses, and when half of the range answers, or 256 addresses of
	// it, no more offers are taken back, and clients for whom there is nothing
	// else get the addresses above that number that answered longest ago.
	NoProbe bool
	// Store keeps the leases. Nil: memory. It may be that of a pool with the
	// other StrictIdentity: the records have both keys.
	Store Store

	loading sync.Mutex // held while the store is read
	mu      sync.Mutex
	table   *table // nil until the store has been read
	store   Store
}

// Validate reports everything that is wrong with the fields, joined.
func (p *Pool) Validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf("dhcp: pool: "+format, args...)) }
	switch {
	case p.First == netip.Addr{} && p.Last == netip.Addr{}:
		if len(p.Reservations) == 0 {
			fail("neither a range (First, Last) nor Reservations")
		}
	case !p.First.Is4() || !p.Last.Is4():
		fail("the range %s-%s is not one of IPv4 addresses", p.First, p.Last)
	case p.Last.Less(p.First):
		fail("the range ends (%s) before it begins (%s)", p.Last, p.First)
	case number(p.Last)-number(p.First) >= maxPool:
		fail("the range %s-%s has more than %d addresses", p.First, p.Last, maxPool)
	}
	for _, err := range p.checkReservations() {
		fail("%w", err)
	}
	for _, d := range []struct {
		name string
		d    time.Duration
	}{
		{"LeaseTime", p.LeaseTime}, {"MinLeaseTime", p.MinLeaseTime}, {"MaxLeaseTime", p.MaxLeaseTime},
		{"OfferTime", p.OfferTime}, {"Quarantine", p.Quarantine},
	} {
		if d.d < 0 {
			fail("%s is negative", d.name)
		}
	}
	if low, high := p.minLease(), p.maxLease(); low > p.leaseTime() || p.leaseTime() > high {
		fail("LeaseTime %s is not between MinLeaseTime %s and MaxLeaseTime %s", p.leaseTime(), low, high)
	}
	return errors.Join(errs...)
}

// fits reports what of the pool lies outside of a network.
func (p *Pool) fits(network netip.Prefix) (errs []error) {
	if p.First.IsValid() && (!network.Contains(p.First) || !network.Contains(p.Last)) {
		errs = append(errs, fmt.Errorf("the pool's range %s-%s is not inside %s", p.First, p.Last, network.Masked()))
	}
	for i := range p.Reservations {
		if r := &p.Reservations[i]; r.Addr.IsValid() && !network.Contains(r.Addr) {
			errs = append(errs, fmt.Errorf("the reservation of %s, %s, is not inside %s", r, r.Addr, network.Masked()))
		}
	}
	return errs
}

// Knows implements [Member].
func (p *Pool) Knows(ctx context.Context, r *Request) bool { return p.standing(ctx, r) > unknownClient }

// standing says how well the pool knows who sent a request.
func (p *Pool) standing(ctx context.Context, r *Request) standing {
	t, err := p.lock(ctx)
	if err != nil {
		return unknownClient // Discover will say what is wrong
	}
	defer p.mu.Unlock()
	now := time.Now()
	t.sweep(now)
	c := t.identify(r)
	own := t.owners[c.key]
	switch {
	case c.reserved != nil:
		return reservedClient
	case own != nil && own.rec.active(now), t.holders[c.key] != nil:
		return leasedClient
	case own != nil, len(t.users[c.machine]) > 0:
		return formerClient
	}
	return unknownClient
}

// Covers implements [Member]: the range, and what is reserved.
func (p *Pool) Covers(a netip.Addr) bool {
	if p.inRange(a) {
		return true
	}
	return a.IsValid() && slices.ContainsFunc(p.Reservations, func(r Reservation) bool { return r.Addr == a })
}

func (p *Pool) inRange(a netip.Addr) bool {
	return p.First.IsValid() && a.Is4() && !a.Less(p.First) && !p.Last.Less(a)
}

func durationOr(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

func (p *Pool) leaseTime() time.Duration { return durationOr(p.LeaseTime, defaultLeaseTime) }

func (p *Pool) minLease() time.Duration {
	return durationOr(p.MinLeaseTime, min(defaultMinLease, p.leaseTime()))
}

func (p *Pool) maxLease() time.Duration { return durationOr(p.MaxLeaseTime, p.leaseTime()) }
