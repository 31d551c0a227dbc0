package rootfs

import (
	"container/list"
	"context"
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
	waiting list.List // of chan struct{}, closed when its download may begin
}

// enter waits for one of so many places, as long as wait says ([Limits].Wait).
// Without an error, leave must be called.
func (l *line) enter(ctx context.Context, places int, wait time.Duration) error {
	l.mu.Lock()
	if l.running < places {
		l.running++
		l.mu.Unlock()
		return nil
	}
	if wait < 0 || l.waiting.Len() >= maxWaiting {
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
		return err
	}
}

// leave hands the place to who has waited longest.
func (l *line) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.waiting.Front()
	if first == nil {
		l.running--
		return
	}
	l.waiting.Remove(first)
	close(first.Value.(chan struct{})) // nothing else is in the list
}
