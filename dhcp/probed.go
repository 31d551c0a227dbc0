package dhcp

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// probed is a pool whose stock is kept.
type probed struct {
	by      *probing
	network *Network
	pool    *Pool
	table   *table    // nil until the pool is ours to probe for
	seen    *Request  // one that nobody has sent, from the network
	again   time.Time // not before, after a failure
	failing bool      // and reported
	doubted bool      // there was an answer that was not believed; and reported
}

// picker takes an address to ask for out of a table.
type picker func(t *table, now time.Time, usable func(netip.Addr) bool) (netip.Addr, bool)

// prepare reports whether the pool may be probed for now.
func (p *probed) prepare(ctx context.Context, now time.Time) bool {
	if now.Before(p.again) || !p.enter(ctx, now) {
		return false
	}
	r := &Request{Packet: new(dhcpv4.DHCPv4), Interface: p.by.ifname, lister: p.by.on.conn.lister}
	here, err := placeOf(r, p.network, netip.Addr{})
	if err == nil {
		err = p.own(r.lister)
	}
	if err != nil {
		p.failed(err)
		return false
	}
	r.enter(here)
	p.seen = r
	return true
}

// enter makes the pool ours, once its leases have been read and unless somebody
// else probes for it, by another interface.
func (p *probed) enter(ctx context.Context, now time.Time) bool {
	if p.table != nil {
		return true
	}
	t, err := p.pool.lock(ctx)
	if err != nil { // DISCOVERs say what is wrong
		p.again = now.Add(probePause)
		return false
	}
	defer p.pool.mu.Unlock()
	if t.stock.wake != nil {
		return false
	}
	t.stock.wake = p.by.wake
	p.table = t
	return true
}

// leave is the end of enter.
func (p *probed) leave() {
	if p.table == nil {
		return
	}
	p.pool.mu.Lock()
	defer p.pool.mu.Unlock()
	p.table.stock.close()
}

// own tells the table the addresses of this host, which does not answer its own
// probes.
func (p *probed) own(lister AddrLister) error {
	if lister == nil {
		return nil
	}
	prefixes, err := lister.InterfaceAddrs("") // Linux answers on each interface for those of all
	if err != nil {
		return fmt.Errorf("dhcp: our addresses: %w", err)
	}
	own := make([]netip.Addr, len(prefixes))
	for i := range prefixes {
		own[i] = prefixes[i].Addr().Unmap()
	}
	p.pool.mu.Lock()
	defer p.pool.mu.Unlock()
	p.table.stock.own = own
	return nil
}

func (p *probed) pick(pick picker, now time.Time) (netip.Addr, bool) {
	p.pool.mu.Lock()
	defer p.pool.mu.Unlock()
	return pick(p.table, now, func(a netip.Addr) bool { return usable(p.seen, a) })
}

// begun lets a client that gets the address end the asking, which pick began.
func (p *probed) begun(a netip.Addr, stop func()) {
	p.pool.mu.Lock()
	defer p.pool.mu.Unlock()
	place, _ := p.table.offset(a)
	i, _ := p.table.stock.find(place)
	p.table.stock.proofs[i].stop = stop
	if s := p.table.slots[a]; s != nil && (s.busy || s.rec.active(time.Now())) {
		stop()
	}
}

func (p *probed) ask(ctx context.Context, a netip.Addr) finding {
	hw, inUse, err := p.by.on.conn.prober.ProbeAddr(ctx, a, p.by.ifname)
	return finding{of: p, addr: a, inUse: inUse, hw: hw, err: err}
}

// take takes over a finding, and tells what is to be told.
func (p *probed) take(f finding) {
	quarantine := durationOr(p.pool.Quarantine, defaultQuarantine)
	p.pool.mu.Lock()
	now := time.Now()
	v := p.table.found(f, now, now.Add(quarantine))
	p.pool.mu.Unlock()
	if v == notProved {
		p.failed(f.err)
		return
	}
	p.failing = false
	if !f.inUse || v == notOurs {
		return
	}
	log := p.by.on.server.log().With("addr", f.addr, "by", f.hw.String(), "interface", p.by.ifname)
	switch {
	case v == foundUsed:
		log.Warn("dhcp: address not given out: another machine uses it", "again after", quarantine)
	case v == proxyARP && !p.doubted:
		log.Warn("dhcp: one machine answers for very many addresses, which is not believed: proxy ARP? Turn it off, or set Pool.NoProbe")
	case !p.doubted:
		log.Warn("dhcp: so many addresses answer that they are given out when no others are left: is somebody attacking the pool?")
	}
	p.doubted = p.doubted || v != foundUsed
	if v == proxyARP {
		p.again = now.Add(probePause) // it would go on for ever
	}
	if trace := p.by.on.server.Trace; trace != nil && trace.Conflict != nil {
		trace.Conflict(Conflict{Addr: f.addr, HardwareAddr: f.hw, Interface: p.by.ifname, Ignored: v != foundUsed})
	}
}

// failed reports the first of several failures, and lets the pool rest.
func (p *probed) failed(err error) {
	if !p.failing {
		p.by.on.server.log().Warn("dhcp: looking whether addresses are in use", "interface", p.by.ifname, "err", err)
	}
	p.failing = true
	p.again = time.Now().Add(probePause)
}
