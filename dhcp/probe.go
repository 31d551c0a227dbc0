package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

const (
	// probePace is the time between two probes. Two ARP requests each make ten
	// packets a second: switches that inspect ARP shut a port at fifteen.
	probePace = 200 * time.Millisecond
	// probeTimeout bounds one probe, and maxProbing those that run at once.
	probeTimeout = 5 * time.Second
	maxProbing   = 16
	// probeIdle is how often a full stock is looked after: what is in it ages.
	probeIdle = time.Second
	// probePause is the time after a failure: an interface may be down for long.
	probePause = 5 * time.Second
)

// ProbeCounts says what came of the probes of a [Pool].
type ProbeCounts struct {
	// Free and InUse count the probes that found an address free, and in use by
	// a machine that did not get it from the pool.
	Free, InUse uint64
	// Failed counts those that told nothing.
	Failed uint64
	// Unprobed counts the addresses that were offered to a client that did not
	// have them before without having been probed: no client ever waits for a
	// probe.
	Unprobed uint64
}

// Probes returns what came of the probes until now. It is zero where there is no
// probing.
func (p *Pool) Probes() ProbeCounts {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.table == nil {
		return ProbeCounts{}
	}
	return p.table.stock.counts
}

// pools makes a Pool and a Chain, and what embeds them, known to probe.
func (p *Pool) pools() []*Pool { return []*Pool{p} }

// probing keeps the stock of one pool while it is served on one conn.
type probing struct {
	on      *serving
	network *Network
	pool    *Pool
	table   *table
	failing bool // and reported
}

// probe begins to probe for the pools whose networks conn can reach. stop ends
// it, and returns when nothing of it is left.
func (on *serving) probe() (stop func()) {
	ctx, cancel := context.WithCancel(on.ctx)
	var running sync.WaitGroup
	for i := range on.server.Networks {
		n := &on.server.Networks[i]
		owner, ok := n.Leases.(interface{ pools() []*Pool })
		if !ok || on.pxe || on.conn.prober == nil || !n.onLink() {
			continue
		}
		for _, p := range owner.pools() {
			if !p.NoProbe && p.First.IsValid() {
				running.Go(func() { (&probing{on: on, network: n, pool: p}).run(ctx) })
			}
		}
	}
	return func() {
		cancel()
		running.Wait()
	}
}

// run waits until nobody else probes for the pool, and does it until ctx ends or
// it turns out to be impossible.
func (b *probing) run(ctx context.Context) {
	for b.table == nil {
		t, err := b.pool.lock(ctx)
		if err == nil {
			b.pool.mu.Unlock()
			b.table = t
		} else if !sleep(ctx, probePause) { // DISCOVERs say what is wrong
			return
		}
	}
	select {
	case b.table.stock.turn <- struct{}{}:
	case <-ctx.Done():
		return
	}
	b.locked(func(s *stock) { s.on = true })
	b.loop(ctx)
	b.locked(func(s *stock) { s.on, s.proofs, s.unproved = false, nil, nil })
	<-b.table.stock.turn
}

func (b *probing) locked(do func(*stock)) {
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	do(&b.table.stock)
}

func (b *probing) loop(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	findings := make(chan finding, maxProbing)
	running := 0
	defer func() {
		for cancel(); running > 0; running-- {
			<-findings
		}
	}()
	pace := time.NewTimer(0)
	defer pace.Stop()
	var wake chan struct{} // nil while the pace must be kept
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-findings:
			running--
			if errors.Is(f.err, errors.ErrUnsupported) {
				b.on.server.log().Info("dhcp: addresses are offered without a look whether they are in use",
					"interface", b.network.Interface, "err", f.err)
				return
			}
			if !b.take(ctx, f) {
				wake = nil
				pace.Reset(probePause)
			}
			continue
		case <-wake:
		case <-pace.C:
		}
		a, err := b.next(running)
		wake = nil
		switch {
		case err != nil:
			b.failed(err)
			pace.Reset(probePause)
		case a.IsValid():
			running++
			go func() { findings <- b.ask(ctx, a) }()
			pace.Reset(probePace)
		default:
			wake = b.table.stock.wake
			pace.Reset(probeIdle)
		}
	}
}

// next picks the address to ask for, the zero Addr if there is none now.
func (b *probing) next(running int) (netip.Addr, error) {
	if running >= maxProbing {
		return netip.Addr{}, nil
	}
	// A request that nobody has sent, from the network.
	r := &Request{Packet: new(dhcpv4.DHCPv4), Interface: b.network.Interface, lister: b.on.conn.lister}
	here, err := placeOf(r, b.network, netip.Addr{})
	if err != nil {
		return netip.Addr{}, err
	}
	r.enter(here)
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	a, _ := b.table.toProbe(time.Now(), func(a netip.Addr) bool { return usable(r, a) })
	return a, nil
}

func (b *probing) ask(ctx context.Context, a netip.Addr) finding {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	hw, inUse, err := b.on.conn.prober.ProbeAddr(ctx, a, b.network.Interface)
	return finding{addr: a, inUse: inUse, hw: hw, err: err}
}

// take takes over a finding, and reports whether probing may go on at its pace.
func (b *probing) take(ctx context.Context, f finding) bool {
	if ctx.Err() != nil {
		return false
	}
	quarantine := durationOr(b.pool.Quarantine, defaultQuarantine)
	b.pool.mu.Lock()
	now := time.Now()
	v := b.table.found(f, now, now.Add(quarantine))
	b.pool.mu.Unlock()
	switch v {
	case notProved:
		b.failed(f.err)
		return false
	case notBelieved:
		b.failed(fmt.Errorf("%s answers for %s and for %d addresses more: proxy ARP? Turn it off, or set Pool.NoProbe", f.hw, f.addr, maxAnswers))
		return false
	case foundUsed:
		b.on.server.log().Warn("dhcp: address not given out: another machine uses it",
			"addr", f.addr, "by", f.hw, "interface", b.network.Interface, "again after", quarantine)
		if trace := b.on.server.Trace; trace != nil && trace.Conflict != nil {
			trace.Conflict(Conflict{Addr: f.addr, HardwareAddr: f.hw, Interface: b.network.Interface})
		}
	}
	b.failing = false
	return true
}

// failed reports the first of several failures.
func (b *probing) failed(err error) {
	if !b.failing {
		b.on.server.log().Warn("dhcp: looking whether addresses are in use", "interface", b.network.Interface, "err", err)
	}
	b.failing = true
}

// sleep reports whether the time was over before ctx.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
