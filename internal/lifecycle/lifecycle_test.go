package lifecycle_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/internal/lifecycle"
	"github.com/pxekit/pxe/internal/lifecycle/lifecycletest"
)

// loop is the smallest server: it serves until it is told to stop.
type loop struct {
	state  lifecycle.State
	broken chan struct{}
	closed atomic.Bool
}

func (l *loop) serve() error {
	defer l.closed.Store(true)
	run, err := l.state.Begin(func() {}, func() {})
	if err != nil {
		return err
	}
	defer run.End()
	select {
	case <-run.Draining():
		return lifecycle.ErrServerClosed
	case <-l.broken:
		return context.DeadlineExceeded
	}
}

func TestLifecycle(t *testing.T) {
	lifecycletest.Test(t, func(testing.TB) lifecycletest.Subject {
		l := &loop{broken: make(chan struct{})}
		return lifecycletest.Subject{
			Serve: l.serve, Shutdown: l.state.Shutdown, Close: l.state.Close,
			// Entering Serve cannot be seen from outside; the races are the
			// point of the test.
			Closed: l.closed.Load,
			Fail:   func() { close(l.broken) }, FailName: "deadline",
		}
	})
}

func TestShutdownWaitsForWorkUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var state lifecycle.State
		killed := make(chan struct{})
		run, err := state.Begin(func() {}, func() { close(killed) })
		require.NoError(t, err)
		go func() {
			<-run.Context().Done()
			<-killed
			run.End()
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, state.Shutdown(ctx), context.DeadlineExceeded)
		require.NoError(t, run.Context().Err(), "work goes on until Close")
		require.NoError(t, state.Close())
		require.NoError(t, state.Shutdown(t.Context()))
	})
}
