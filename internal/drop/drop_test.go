package drop_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/internal/drop"
)

func TestCountsAreExactUnderConcurrency(t *testing.T) {
	type reason string
	var c drop.Counts[reason]
	require.Empty(t, c.Snapshot())
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 100 {
				c.Add("malformed")
			}
			c.Add("policy")
		})
	}
	group.Wait()
	snapshot := c.Snapshot()
	require.Equal(t, map[reason]uint64{"malformed": 800, "policy": 8}, snapshot)
	snapshot["malformed"] = 0
	require.EqualValues(t, 800, c.Snapshot()["malformed"], "a snapshot is a copy")
}
