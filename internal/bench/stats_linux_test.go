package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMedian(t *testing.T) {
	values := []float64{9, 1, 5}
	require.Equal(t, 5.0, median(values))
	require.Equal(t, []float64{9, 1, 5}, values, "the samples stay in the order of the rounds")
	require.Equal(t, 4.0, median([]float64{9, 1, 5, 3}))
	require.Equal(t, 7.0, median([]float64{7}))
	require.Zero(t, median(nil))
}

func TestRatio(t *testing.T) {
	// The second round fell on a busy moment; it does not change the answer, as
	// the ratio of the medians (3 / 2) would.
	require.Equal(t, 2.0, ratio([]float64{4, 1, 6}, []float64{2, 0.5, 3}))
	require.Equal(t, 2.0, ratio([]float64{4, 1, 3}, []float64{2, 0.5, 2}))
	require.Equal(t, 3.0, ratio([]float64{3, 4}, []float64{1}), "rounds that both have")
	require.Zero(t, ratio([]float64{3}, nil))
	require.Zero(t, ratio([]float64{3}, []float64{0}))
}
