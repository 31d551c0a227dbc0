package rootfstest

import (
	"context"
	"errors"
	"sync"

	"github.com/pxekit/pxe/rootfs"
)

// lifecycle are the rules of Serve, Shutdown and Close, whatever is served.
func (s *suite) lifecycle() []rule {
	return []rule{
		{"Shutdown before Serve", func(r *report) { s.refused(r, "a Shutdown before it", (*served).shutdown) }},
		{"Close before Serve", func(r *report) { s.refused(r, "a Close before it", (*served).close) }},
		{"Shutdown while serving", func(r *report) { s.stopped(r, "Shutdown", (*served).shutdown) }},
		{"Close while serving", func(r *report) { s.stopped(r, "Close", (*served).close) }},
		{"Shutdown and Close, many at once", s.stoppedByMany},
		{"Shutdown races with Serve", s.raced},
		{"a listener that breaks", s.broken},
	}
}

// refused checks that stopping is sticky.
func (s *suite) refused(r *report, after string, stop func(*served) bool) {
	v := s.prepare(r, s.site())
	if v == nil || !stop(v) {
		return
	}
	v.start()
	v.ended(after)
}

// stopped checks a server that stops while it serves, and afterwards.
func (s *suite) stopped(r *report, how string, stop func(*served) bool) {
	v := s.prepare(r, s.site())
	if v == nil || !v.started() {
		return
	}
	if !stop(v) || !v.ended(how) {
		return
	}
	again := s.prepare(r, s.site())
	if again == nil {
		return
	}
	again.transport = v.transport
	again.start()
	if again.ended("an earlier "+how) && v.shutdown() {
		v.close()
	}
}

func (s *suite) stoppedByMany(r *report) {
	v := s.prepare(r, s.site())
	if v == nil || !v.started() {
		return
	}
	var mu sync.Mutex
	ok := v.within("Shutdown or Close, called eight times at once,", func() {
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				for _, stop := range []func() error{
					func() error { return v.transport.Shutdown(context.Background()) }, v.transport.Close,
				} {
					if err := stop(); err != nil {
						mu.Lock()
						r.add("Shutdown or Close fails when it is called more than once: %v", err)
						mu.Unlock()
					}
				}
			})
		}
		group.Wait()
	})
	if ok {
		v.ended("Shutdown and Close")
	}
}

// raced catches a Shutdown that is lost because it comes while Serve begins.
func (s *suite) raced(r *report) {
	for range 50 {
		v := s.prepare(r, s.site())
		if v == nil {
			return
		}
		v.start()
		if !v.shutdown() || !v.ended("a Shutdown at the same moment") {
			return
		}
	}
}

// broken checks that a server does not spin on, or hide, the end of its listener.
func (s *suite) broken(r *report) {
	v := s.prepare(r, s.site())
	if v == nil || !v.started() {
		return
	}
	v.listener.fail()
	err, ok := v.returned("its listener broke")
	if !ok {
		return
	}
	if err == nil || errors.Is(err, rootfs.ErrServerClosed) {
		r.add("Serve returns %v when Accept fails for good: only after Shutdown or Close it is ErrServerClosed, otherwise the reason", err)
	}
	v.leftNothing("its listener broke")
	_ = v.close()
}
