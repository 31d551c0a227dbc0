package main

import "slices"

// median returns the middle value, of an even number the mean of the two middle
// ones, of none zero.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// trimmed returns the mean of the values without the highest and the lowest, the
// median of less than three.
func trimmed(values []float64) float64 {
	if len(values) < 3 {
		return median(values)
	}
	sorted := slices.Sorted(slices.Values(values))
	sum := 0.0
	for _, v := range sorted[1 : len(sorted)-1] {
		sum += v
	}
	return sum / float64(len(sorted)-2)
}

// ratio is the median of ours over theirs, round by round. The samples of a
// round were taken together; a machine that was busy for a while shows in both.
// It is zero when no round has both.
func ratio(ours, theirs []float64) float64 {
	var ratios []float64
	for i := range min(len(ours), len(theirs)) {
		if theirs[i] > 0 {
			ratios = append(ratios, ours[i]/theirs[i])
		}
	}
	return median(ratios)
}
