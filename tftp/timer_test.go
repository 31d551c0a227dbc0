package tftp

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestT007_TimerStaysWithinItsBounds(t *testing.T) {
	var timer timer
	require.Equal(t, initialTimeout, timer.wait())
	for _, rtt := range []time.Duration{0, time.Nanosecond, time.Millisecond, time.Second, time.Hour, time.Millisecond, -time.Second} {
		timer.sample(rtt)
		require.GreaterOrEqual(t, timer.wait(), minTimeout)
		require.LessOrEqual(t, timer.wait(), maxTimeout)
	}
	for range 100 {
		timer.backoff()
	}
	require.Equal(t, maxTimeout, timer.wait())
	for range 100 {
		timer.sample(time.Millisecond)
	}
	require.Equal(t, minTimeout, timer.wait(), "a good path is trusted again")
	timer.fix(9 * time.Second)
	timer.sample(time.Millisecond)
	timer.backoff()
	require.Equal(t, 9*time.Second, timer.wait(), "what was agreed on stays")
}
