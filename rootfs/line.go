package rootfs

import (
	"container/list"
	"context"
	"net/netip"
	"sync"
	"time"
)

// maxWaiting is how many downloads may wait for others to end.
const maxWaiting = 1024

// line is where downloads wait for a place, first come, first served. The zero
// value is ready.
type line struct {
	mu      sync.Mutex
	running int
	waiting list.List          // of chan struct{}, closed when its download may begin
	clients map[netip.Addr]int // how many each has of both
}

// enter waits for one of so many places, as long as wait says ([Limits].Wait). It
// fails at once for a client that has its share of places and of waiting. Without
// an error, leave must be called.
func (l *line) enter(ctx context.Context, client netip.Addr, places, share int, wait time.Duration) error {
	l.mu.Lock()
	if l.clients[client] >= share {
		l.mu.Unlock()
		return ErrBusy
	}
	if l.clients == nil {
		l.clients = make(map[netip.Addr]int)
	}
	l.clients[client]++
	if l.running < places {
		l.running++
		l.mu.Unlock()
		return nil
	}
	if wait < 0 || l.waiting.Len() >= maxWaiting {
		l.forget(client)
		l.mu.Unlock()
		return ErrBusy
	}
	turn := make(chan struct{})
	place := l.waiting.PushBack(turn)
	l.mu.Unlock()

	var over <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		over = timer.C
	}
	var err error
	select {
	case <-turn:
		return nil
	case <-over:
		err = ErrBusy
	case <-ctx.Done():
		err = ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-turn: // meanwhile
		return nil
	default:
		l.waiting.Remove(place)
		l.forget(client)
		return err
	}
}

// forget takes one off a client's share; l.mu is held.
func (l *line) forget(client netip.Addr) {
	if l.clients[client]--; l.clients[client] == 0 {
		delete(l.clients, client)
	}
}

// leave hands the client's place to who has waited longest.
func (l *line) leave(client netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(client)
	first := l.waiting.Front()
	if first == nil {
		l.running--
		return
	}
	l.waiting.Remove(first)
	close(first.Value.(chan struct{})) // nothing else is in the list
}
