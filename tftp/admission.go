package tftp

import (
	"container/list"
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// resetSilence is how long an established transfer must have been silent for a
// repetition of its request to mean that the machine was reset: loaders that
// number their ports anew after a reset, and ROMs with one fixed port, send the
// same packet from the same port again. A client that is alive has no reason to
// ask again once it was answered; a request that the network held up or doubled
// is here sooner than that, and a machine faster asks once more.
const resetSilence = 2 * time.Second

// session identifies a live transfer by its client and its request, byte for
// byte: a client that sends the same again repeats itself, while one that asks
// for the same file with other options has given up its first attempt, which
// some do without saying so.
type session struct {
	remote  netip.AddrPort
	request string
}

// place is what a live transfer holds of an admission.
type place struct {
	session
	ctx    context.Context // ends when the transfer must
	cancel context.CancelCauseFunc

	began time.Time
	// last is when the client was last heard, in nanoseconds after began. It
	// changes with every block, so it is outside of the lock.
	last atomic.Int64

	// Guarded by admission.mu.
	unheard *list.Element // in admission.unheard; nil once the client was heard
	evicted bool
}

// alive notes that the client was heard.
func (p *place) alive() { p.last.Store(int64(time.Since(p.began))) }

// silent returns how long the client was not heard.
func (p *place) silent() time.Duration { return time.Since(p.began) - time.Duration(p.last.Load()) }

// tally counts the transfers of a client address.
type tally struct {
	all     int
	unheard int // those whose client was never heard
}

// admission holds the live transfers of a server. It is bounded by the limits
// it is asked with. The zero value is ready.
//
// A request proves nothing: its source may be forged, or dead by now. A transfer
// whose client was heard is worth more than one whose client was not, so the
// latter make room, the oldest first, and a flood of them locks nobody out.
type admission struct {
	mu      sync.Mutex
	live    map[session]*place
	clients map[netip.Addr]tally // none of them zero
	unheard list.List            // of *place, the oldest first
	evicted int                  // transfers that have lost their place and still run
}

// enter admits a session, or says why not. evicted, if not nil, has lost its
// place to it; the caller must cancel it.
func (a *admission) enter(ctx context.Context, s session, limit, perClient int) (p, evicted *place, why DropReason) {
	a.mu.Lock()
	defer a.mu.Unlock()
	// Those evicted end at once, unless a handler is stuck. Their number is
	// bounded, too.
	mayEvict := a.evicted < limit
	evicted = a.live[s]
	if evicted != nil && (evicted.unheard != nil || evicted.silent() < resetSilence || !mayEvict) {
		return nil, nil, DropDuplicate
	}
	// Nobody makes room for requests of the same address: each new transfer
	// sends a packet, and a forged address must not get more than so many.
	c := a.clients[s.remote.Addr()]
	if evicted != nil {
		c.all-- // its place becomes free, if the request is admitted at all
	}
	if c.all >= perClient || c.unheard >= unheardLimit(perClient) {
		return nil, nil, DropLimit
	}
	if evicted == nil && len(a.live) >= limit {
		oldest := a.unheard.Front()
		if oldest == nil || !mayEvict {
			return nil, nil, DropLimit
		}
		evicted = oldest.Value.(*place)
	}
	if evicted != nil {
		a.evict(evicted)
	}

	if a.live == nil {
		a.live = make(map[session]*place)
		a.clients = make(map[netip.Addr]tally)
	}
	p = &place{session: s, began: time.Now()}
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	p.unheard = a.unheard.PushBack(p)
	a.live[s] = p
	a.count(p, 1, 1)
	return p, evicted, ""
}

// unheardLimit is how many transfers of a client address may be waiting for
// their first answer, of those that it may have.
func unheardLimit(perClient int) int { return (perClient + 1) / 2 }

// establish notes that the client of a transfer was heard for the first time.
func (a *admission) establish(p *place) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p.evicted || p.unheard == nil {
		return
	}
	a.unheard.Remove(p.unheard)
	p.unheard = nil
	a.count(p, 0, -1)
}

// leave ends a transfer that was admitted.
func (a *admission) leave(p *place) {
	p.cancel(nil)
	a.mu.Lock()
	defer a.mu.Unlock()
	if p.evicted {
		a.evicted--
		return
	}
	a.remove(p)
}

func (a *admission) evict(p *place) {
	a.remove(p)
	p.evicted = true
	a.evicted++
}

func (a *admission) remove(p *place) {
	delete(a.live, p.session)
	if p.unheard == nil {
		a.count(p, -1, 0)
		return
	}
	a.unheard.Remove(p.unheard)
	p.unheard = nil
	a.count(p, -1, -1)
}

func (a *admission) count(p *place, all, unheard int) {
	addr := p.remote.Addr()
	c := a.clients[addr]
	if c = (tally{c.all + all, c.unheard + unheard}); c == (tally{}) {
		delete(a.clients, addr)
		return
	}
	a.clients[addr] = c
}
