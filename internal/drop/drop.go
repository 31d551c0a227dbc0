// Package drop counts what a server threw away, by a named reason.
package drop

import (
	"maps"
	"sync"
)

// Counts counts drops by reason. The reasons are constants of the package that
// uses it, never text of a client, so the map stays small. The zero value is
// ready; all methods are safe for concurrent use.
type Counts[R ~string] struct {
	mu sync.Mutex
	n  map[R]uint64
}

// Add counts one drop.
func (c *Counts[R]) Add(reason R) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = make(map[R]uint64)
	}
	c.n[reason]++
}

// Snapshot returns the counts so far; reasons never met are absent.
func (c *Counts[R]) Snapshot() map[R]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.n)
}
