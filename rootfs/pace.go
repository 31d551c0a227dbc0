package rootfs

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// clock says when bytes may leave at a rate: a virtual clock, of which every
// piece takes its length in time. Pieces get their times in the order in which
// they ask, and a download asks for the next only when it has sent the last, so
// all that run have equal shares. The zero value is ready.
type clock struct {
	mu   sync.Mutex
	next time.Time // when all that was taken has left
}

// credit is how much time a clock makes up for, where pieces left later than
// they might have: what timers and a busy machine cost a download.
const credit = 50 * time.Millisecond

// take reserves n bytes at a rate per second and returns how long to wait
// before they are sent.
func (c *clock) take(n, rate int64) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if earliest := now.Add(-credit); c.next.Before(earliest) {
		c.next = earliest
	}
	wait := c.next.Sub(now)
	c.next = c.next.Add(length(n, rate))
	return wait
}

// pay takes n bytes and waits until they may be sent, or leave earlier by ahead. It
// gives them back, and fails, when ctx ends first.
func (c *clock) pay(ctx context.Context, n, rate int64, ahead time.Duration) error {
	err := sleep(ctx, c.take(n, rate)-ahead)
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.next = c.next.Add(-length(n, rate))
	}
	return err
}

// length is how long n bytes take at a rate per second.
func length(n, rate int64) time.Duration {
	return time.Duration(float64(n) / float64(rate) * float64(time.Second))
}

// idle says that the clock is as good as a new one.
func (c *clock) idle(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.next.After(now.Add(-credit))
}

// clients holds the clock of every client that is served, and of those that
// were until a moment ago: who asks again and again for small files would
// otherwise always begin anew. The zero value is ready.
type clients struct {
	mu    sync.Mutex
	known map[netip.Addr]*client
	sweep int // how many to have before looking for those to forget
}

type client struct {
	clock   clock
	answers int // that run
}

// Of idle clients, no more than maxIdle are remembered; what runs is bounded by
// the server's connections.
const (
	firstSweep = 64
	maxIdle    = 16 << 10
)

func (c *clients) enter(addr netip.Addr) *client {
	c.mu.Lock()
	defer c.mu.Unlock()
	entry := c.known[addr]
	if entry == nil {
		c.forget()
		if c.known == nil {
			c.known = make(map[netip.Addr]*client)
		}
		entry = new(client)
		c.known[addr] = entry
	}
	entry.answers++
	return entry
}

func (c *clients) leave(entry *client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	entry.answers--
}

// forget drops clients whose clock is idle, now and then: whenever there are
// twice as many as were left the last time.
func (c *clients) forget() {
	if len(c.known) < max(c.sweep, firstSweep) {
		return
	}
	now, idle := time.Now(), 0
	for addr, entry := range c.known {
		if entry.answers > 0 {
			continue
		}
		if idle++; idle > maxIdle || entry.clock.idle(now) {
			delete(c.known, addr)
		}
	}
	c.sweep = 2 * len(c.known)
}
