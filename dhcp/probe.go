package dhcp

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"
)

const (
	// probePace is the time between two probes on an interface. Two ARP requests
	// each make ten packets a second: switches that inspect ARP shut a port at
	// fifteen.
	probePace = 200 * time.Millisecond
	// probeTimeout bounds one probe, and maxProbing those that run at once.
	probeTimeout = 5 * time.Second
	maxProbing   = 16
	// probeIdle is how often full stocks are looked after: what is in them ages.
	probeIdle = time.Second
	// probePause is the time after a failure: an interface may be down for long.
	probePause = 5 * time.Second
	// probeGrace is for how long probes are waited for at the end. They end at
	// once, or do not heed their ctx.
	probeGrace = time.Second
)

// ProbeCounts says what came of the probes of a [Pool].
type ProbeCounts struct {
	// Free and InUse count the probes that found an address free, and in use by
	// a machine that did not get it from the pool.
	Free, InUse uint64
	// Failed counts those that told nothing, or nothing that is believed (see
	// [Conflict]).
	Failed uint64
	// Unprobed counts the addresses that were offered, to a client that did not
	// have them before, without having been found free: no client ever waits for
	// a probe.
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

// turns let one call of Serve after the other probe on an interface. The zero
// value is ready.
type turns struct {
	mu sync.Mutex
	of map[string]chan struct{} // by interface; holds a value while somebody probes
}

func (t *turns) on(ifname string) chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil {
		t.of = make(map[string]chan struct{})
	}
	if t.of[ifname] == nil {
		t.of[ifname] = make(chan struct{}, 1)
	}
	return t.of[ifname]
}

// probing keeps the stocks of all pools on one interface while it is served on one
// conn. They share one pace, since they share a wire.
type probing struct {
	on     *serving
	ifname string
	pools  []*probed
	first  int           // whose turn it is
	wake   chan struct{} // gets a value when there is something to do
}

// probe begins to probe for the pools whose networks conn can reach. stop ends
// it, and returns when nothing is left of it but probes that do not heed their
// ctx.
func (on *serving) probe() (stop func()) {
	ctx, cancel := context.WithCancel(on.ctx)
	byName := make(map[string]*probing)
	for i := range on.server.Networks {
		n := &on.server.Networks[i]
		owner, ok := n.Leases.(interface{ pools() []*Pool })
		if !ok || on.pxe || on.conn.prober == nil || !n.onLink() {
			continue
		}
		for _, p := range owner.pools() {
			if p.NoProbe || !p.First.IsValid() {
				continue
			}
			if byName[n.Interface] == nil {
				byName[n.Interface] = &probing{on: on, ifname: n.Interface, wake: make(chan struct{}, 1)}
			}
			b := byName[n.Interface]
			b.pools = append(b.pools, &probed{by: b, network: n, pool: p})
		}
	}
	var running sync.WaitGroup
	for _, b := range byName {
		running.Go(func() { b.run(ctx) })
	}
	return func() {
		cancel()
		running.Wait()
	}
}

// run waits until nobody else probes on the interface, and does it until ctx ends
// or it turns out to be impossible.
func (b *probing) run(ctx context.Context) {
	turn := b.on.server.probers.on(b.ifname)
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return
	}
	b.loop(ctx)
	for _, p := range b.pools {
		p.leave()
	}
	<-turn
}

func (b *probing) loop(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	findings := make(chan finding, maxProbing) // room for all, whenever they come
	running := 0
	defer func() {
		cancel()
		for late := time.After(probeGrace); running > 0; running-- {
			select {
			case <-findings:
			case <-late:
				return
			}
		}
	}()
	pace := time.NewTimer(0)
	defer pace.Stop()
	var wake chan struct{} // nil while the pace must be kept, whatever clients do
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-findings:
			running--
			if errors.Is(f.err, errors.ErrUnsupported) {
				b.on.server.log().Info("dhcp: addresses are offered without a look whether they are in use",
					"interface", b.ifname, "err", f.err)
				return
			}
			if ctx.Err() == nil {
				f.of.take(f)
			}
			continue
		case <-wake:
			wake = nil
			pace.Reset(probePace)
			continue
		case <-pace.C:
		}
		var of *probed
		var a netip.Addr
		if running < maxProbing {
			of, a = b.next(ctx)
		}
		if of == nil {
			wake = b.wake
			pace.Reset(probeIdle)
			continue
		}
		running++
		asking, stop := context.WithTimeout(ctx, probeTimeout)
		of.begun(a, stop)
		go func() {
			defer stop()
			findings <- of.ask(asking, a)
		}()
		pace.Reset(probePace)
	}
}

// next picks what to ask for: an address that was offered without proof before all
// others, and the pools in turn. A nil pool: nothing.
func (b *probing) next(ctx context.Context) (*probed, netip.Addr) {
	now := time.Now()
	var ready []*probed
	for i := range b.pools {
		p := b.pools[(b.first+i)%len(b.pools)]
		if p.prepare(ctx, now) {
			ready = append(ready, p)
		}
	}
	for _, pick := range []picker{(*table).offeredToProbe, (*table).freeToProbe} {
		for _, p := range ready {
			if a, ok := p.pick(pick, now); ok {
				b.first = (b.first + 1) % len(b.pools)
				return p, a
			}
		}
	}
	return nil, netip.Addr{}
}
