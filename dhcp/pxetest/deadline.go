package pxetest

import (
	"sync"
	"time"
)

// deadline is a point in time that can be moved while somebody waits for it.
// It is built of a channel and a time.Timer alone, so that waiting for it
// blocks durably in a testing/synctest bubble.
type deadline struct {
	mu      sync.Mutex
	at      time.Time
	timer   *time.Timer
	expired chan struct{}
}

func newDeadline() *deadline {
	return &deadline{expired: make(chan struct{})}
}

// set moves the deadline; the zero time means none.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	select {
	case <-d.expired:
		d.expired = make(chan struct{})
	default:
	}
	d.at = t
	if t.IsZero() {
		return
	}
	expired := d.expired
	wait := time.Until(t)
	if wait <= 0 {
		close(expired)
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		// A timer that was replaced while it fired must not expire its successor.
		if d.timer == timer {
			close(expired)
			d.timer = nil
		}
	})
	d.timer = timer
}

// wait returns a channel that is closed when the deadline has passed. It stays
// the same while the deadline is moved ahead of its time, so who waits already
// follows the move; after it has passed, set makes a new one.
func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.expired
}

// passed asks the clock: the timer's goroutine may be late.
func (d *deadline) passed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.at.IsZero() && !time.Now().Before(d.at)
}
