package rootfs

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// address is one of 2^32 clients.
func address(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// Clients that come once are forgotten; those that would gain by it are not.
func TestClientsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all clients
		busy := all.enter(address(0))
		for n := range 100_000 {
			c := all.enter(address(n + 1))
			c.clock.take(1000, 1_000_000)
			all.leave(c)
			time.Sleep(time.Millisecond)
			require.LessOrEqual(t, len(all.known), 4*firstSweep)
		}
		require.Same(t, busy, all.enter(address(0)), "an answer to it runs")

		debtor := all.enter(address(1))
		debtor.clock.take(1000, 1)
		all.leave(debtor)
		for n := range 1000 {
			all.leave(all.enter(address(n + 2)))
		}
		require.Same(t, debtor, all.enter(address(1)), "it has bytes to wait for")
	})
}

// However many clients there were, and however slow their rate.
func TestIdleClientsAreBounded(t *testing.T) {
	var all clients
	for n := range 200_000 {
		c := all.enter(address(n))
		c.clock.take(1<<20, 1)
		all.leave(c)
	}
	require.LessOrEqual(t, len(all.known), 2*maxIdle)
}

func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clock
		require.Negative(t, c.take(1000, 1000))
		require.Equal(t, time.Second-credit, c.take(1000, 1000), "when the first has left")
		require.Equal(t, 2*time.Second-credit, c.take(500, 1000))
		require.False(t, c.idle(time.Now()))
		time.Sleep(time.Hour)
		require.True(t, c.idle(time.Now()))
		require.Equal(t, -credit, c.take(1<<40, 1<<40), "an hour is not saved up")
	})
}
