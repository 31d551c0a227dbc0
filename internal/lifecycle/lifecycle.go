// Package lifecycle holds what every server of this module shares: a Shutdown
// and a Close that are sticky, safe before, during and after Serve, and safe to
// call twice or concurrently.
package lifecycle

import (
	"context"
	"errors"
	"sync"
)

// ErrServerClosed is what Serve returns after Shutdown or Close. Every server
// package exports it under the same name, so that errors.Is works across them.
var ErrServerClosed = errors.New("pxe: server closed")

// State is the part of a server that knows whether it may serve. The zero
// value is ready. All methods are safe for concurrent use.
type State struct {
	mu       sync.Mutex
	stopping bool
	killed   bool
	runs     map[*Run]struct{}
}

// Run is one call of Serve.
type Run struct {
	state    *State
	ctx      context.Context
	cancel   context.CancelFunc
	draining chan struct{}
	drained  bool
	drain    func()
	kill     func()
	ended    chan struct{}
}

// Begin registers a call of Serve. After a Shutdown or Close it returns
// [ErrServerClosed], and the caller closes its sockets and returns.
//
// Shutdown calls drain once: the server takes no new work and finishes what it
// has. Close calls kill once: the server drops everything. Either runs on the
// caller's goroutine and must not block; both may be called, kill after drain.
func (s *State) Begin(drain, kill func()) (*Run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return nil, ErrServerClosed
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &Run{
		state: s, ctx: ctx, cancel: cancel,
		draining: make(chan struct{}), ended: make(chan struct{}),
		drain: drain, kill: kill,
	}
	if s.runs == nil {
		s.runs = make(map[*Run]struct{})
	}
	s.runs[r] = struct{}{}
	return r, nil
}

// Context is cancelled by Close and by End, not by Shutdown: work in flight
// when Shutdown is called may finish.
func (r *Run) Context() context.Context { return r.ctx }

// Draining is closed when Shutdown or Close is called.
func (r *Run) Draining() <-chan struct{} { return r.draining }

// End says that Serve is about to return and that all of its goroutines have
// ended. It must be called once.
func (r *Run) End() {
	r.cancel()
	r.state.mu.Lock()
	delete(r.state.runs, r)
	r.state.mu.Unlock()
	close(r.ended)
}

// Shutdown drains every run and waits until all have ended or ctx is done, and
// returns ctx's error then; the runs go on draining until Close.
func (s *State) Shutdown(ctx context.Context) error {
	for _, r := range s.stop(false) {
		select {
		case <-r.ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Close ends every run at once and waits until all have ended.
func (s *State) Close() error {
	for _, r := range s.stop(true) {
		<-r.ended
	}
	return nil
}

// stop marks the state and tells each run, under the lock so that a run is
// told once and no run begins in between.
func (s *State) stop(kill bool) []*Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	killing := kill && !s.killed
	s.killed = s.killed || kill
	runs := make([]*Run, 0, len(s.runs))
	for r := range s.runs {
		runs = append(runs, r)
		if !r.drained {
			r.drained = true
			close(r.draining)
			r.drain()
		}
		if killing {
			r.cancel()
			r.kill()
		}
	}
	return runs
}
