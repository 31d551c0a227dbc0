// Package lifecycletest is the conformance test that every server type of this
// module passes: what Shutdown, Close and Serve promise, whatever they serve.
package lifecycletest

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/internal/lifecycle"
)

// Subject is one server over fresh sockets.
type Subject struct {
	// Serve runs the server over the sockets and returns its error. It is
	// called once or more; sockets are opened by New, so that a Serve that is
	// refused shows whether it closed them.
	Serve    func() error
	Shutdown func(context.Context) error
	Close    func() error
	// Ready blocks until the server answers, or is nil when a server that has
	// entered Serve is ready.
	Ready func()
	// Closed reports whether the sockets are closed.
	Closed func() bool
	// Fail breaks one socket under a running server, as an interface that goes
	// away would; nil when the server has none that can break. Serve must then
	// return an error that contains FailName and is not ErrServerClosed.
	Fail     func()
	FailName string
}

const limit = 10 * time.Second

// Test runs every lifecycle promise against servers made by create.
func Test(t *testing.T, create func(t testing.TB) Subject) {
	t.Run("shutdown before serve", func(t *testing.T) {
		s := create(t)
		require.NoError(t, s.Shutdown(t.Context()))
		require.ErrorIs(t, s.Serve(), lifecycle.ErrServerClosed)
		require.True(t, s.Closed(), "a refused Serve closes its sockets")
	})
	t.Run("close before serve", func(t *testing.T) {
		s := create(t)
		require.NoError(t, s.Close())
		require.ErrorIs(t, s.Serve(), lifecycle.ErrServerClosed)
		require.True(t, s.Closed(), "a refused Serve closes its sockets")
	})
	t.Run("shutdown while serving", func(t *testing.T) {
		s := create(t)
		done := start(s)
		require.NoError(t, s.Shutdown(t.Context()))
		require.ErrorIs(t, wait(t, done), lifecycle.ErrServerClosed)
		require.True(t, s.Closed())
	})
	t.Run("shutdown twice and concurrently", func(t *testing.T) {
		s := create(t)
		done := start(s)
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				if err := s.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		require.ErrorIs(t, wait(t, done), lifecycle.ErrServerClosed)
		require.NoError(t, s.Shutdown(t.Context()))
		require.NoError(t, s.Close())
	})
	t.Run("shutdown races with serve", func(t *testing.T) {
		for range 100 {
			s := create(t)
			done := make(chan error, 1)
			go func() { done <- s.Serve() }()
			require.NoError(t, s.Shutdown(t.Context()))
			require.ErrorIs(t, wait(t, done), lifecycle.ErrServerClosed)
			require.True(t, s.Closed())
		}
	})
	t.Run("serve after shutdown", func(t *testing.T) {
		s := create(t)
		done := start(s)
		require.NoError(t, s.Shutdown(t.Context()))
		require.ErrorIs(t, wait(t, done), lifecycle.ErrServerClosed)
		require.ErrorIs(t, s.Serve(), lifecycle.ErrServerClosed)
	})
	t.Run("socket error is named", func(t *testing.T) {
		s := create(t)
		if s.Fail == nil {
			return
		}
		done := start(s)
		s.Fail()
		err := wait(t, done)
		require.Error(t, err)
		require.False(t, errors.Is(err, lifecycle.ErrServerClosed), "a broken socket is not a shutdown: %v", err)
		require.ErrorContains(t, err, s.FailName)
		require.True(t, s.Closed())
	})
	t.Run("a thousand starts leave nothing behind", func(t *testing.T) {
		cycles := 1000
		if testing.Short() {
			cycles = 50
		}
		cycle := func() {
			s := create(t)
			done := start(s)
			require.NoError(t, s.Shutdown(t.Context()))
			require.ErrorIs(t, wait(t, done), lifecycle.ErrServerClosed)
		}
		for range 10 {
			cycle() // what the first use allocates for good is not a leak
		}
		goroutines, descriptors := settled(0), openDescriptors()
		for range cycles {
			cycle()
		}
		require.LessOrEqual(t, settled(goroutines), goroutines, "goroutines left:\n%s", stacks())
		require.LessOrEqual(t, openDescriptors(), descriptors, "descriptors left")
	})
}

func start(s Subject) <-chan error {
	done := make(chan error, 1)
	go func() { done <- s.Serve() }()
	if s.Ready != nil {
		s.Ready()
	}
	return done
}

func wait(t testing.TB, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(limit):
		t.Fatalf("Serve did not return within %s:\n%s", limit, stacks())
		return nil
	}
}

// settled returns the number of goroutines once it is at most want, or after a
// moment: goroutines that have signalled their end may not be gone yet.
func settled(want int) int {
	deadline := time.Now().Add(time.Second)
	n := runtime.NumGoroutine()
	for n > want && want > 0 && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
		n = runtime.NumGoroutine()
	}
	return n
}

func stacks() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

// openDescriptors counts this process's descriptors where the system tells,
// and returns 0 elsewhere.
func openDescriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	n := 0
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			n++
		}
	}
	return n
}
