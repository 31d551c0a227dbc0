package dhcpload

import (
	"slices"
	"time"
)

// Result is what a [Load] came to.
type Result struct {
	Bound   int // clients that have a lease
	Lost    int // clients that waited in vain
	Retries int // packets sent again
	// Offers and Acks are how long each reply took, the shortest first: from the
	// first packet that asked for it, whether that or one sent again was answered.
	Offers, Acks []time.Duration
	Took         time.Duration
}

func (r *Result) finish() {
	slices.Sort(r.Offers)
	slices.Sort(r.Acks)
}

// Replies are all times, the shortest first.
func (r *Result) Replies() []time.Duration {
	all := slices.Concat(r.Offers, r.Acks)
	slices.Sort(all)
	return all
}

// Percentile is the time within which p percent of the replies came, 0 < p <=
// 100; of none zero. sorted has the shortest first.
func Percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	n := int(float64(len(sorted))*p/100+0.999999) - 1
	return sorted[min(max(n, 0), len(sorted)-1)]
}
