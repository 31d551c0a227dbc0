package tftp

import "time"

const (
	initialTimeout = time.Second // RFC 6298 section 2.1
	minTimeout     = 200 * time.Millisecond
	maxTimeout     = 4 * time.Second
)

// A client that has answered is given up by the time that it is silent, not by
// the packets sent in vain: those are few on a slow path and many on a fast one.
const (
	// clientSilence is for a client that misses blocks. Some are silent for long
	// and come back: GRUB opens several initrds and stops acknowledging the ones
	// that it does not read yet, EDK2 waits 24 seconds for the next block and
	// PXELINUX some two minutes. A packet repeated by the client counts as a sign
	// of life.
	clientSilence = 90 * time.Second
	// lastSilence is for a client that was sent the last block. Most often it
	// has it: its last ACK was lost, or it never sends one, and its transfer
	// only takes up room. It is still long enough for the 24 seconds of EDK2.
	lastSilence = 30 * time.Second
	// minTries is how often a packet is sent at least where the timeout option
	// makes the times between longer than that.
	minTries = 3
)

// timer says how long to wait for an acknowledgement. It follows the round
// trips of its transfer and backs off when packets are lost, as RFC 1123
// section 4.2.3.2 demands, by the formulas of RFC 6298.
type timer struct {
	smoothed  time.Duration // SRTT; 0 until the first sample
	variation time.Duration // RTTVAR
	timeout   time.Duration // RTO; 0 before anything is known
	fixed     bool
}

// wait returns how long to wait for the packet just sent.
func (t *timer) wait() time.Duration {
	if t.timeout == 0 {
		return initialTimeout
	}
	return t.timeout
}

// sample takes in the round trip of a packet that was sent once (Karn's rule:
// an answer to a packet sent twice cannot be told to belong to either).
func (t *timer) sample(rtt time.Duration) {
	if t.fixed {
		return
	}
	// Clocks may be too coarse to see a round trip.
	rtt = max(rtt, time.Microsecond)
	if t.smoothed == 0 {
		t.smoothed, t.variation = rtt, rtt/2
	} else {
		t.variation = (3*t.variation + (t.smoothed - rtt).Abs()) / 4
		t.smoothed = (7*t.smoothed + rtt) / 8
	}
	t.timeout = min(max(t.smoothed+4*t.variation, minTimeout), maxTimeout)
}

// backoff is called when the time has run out.
func (t *timer) backoff() {
	if !t.fixed {
		t.timeout = min(2*t.wait(), maxTimeout)
	}
}

// fix sets the time to what the timeout option agreed on, for good.
func (t *timer) fix(d time.Duration) {
	t.timeout, t.fixed = d, true
}
