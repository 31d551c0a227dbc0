package pxe_test

import (
	"testing"

	"github.com/pxekit/pxe/dhcp/pxetest"
	"github.com/pxekit/pxe/internal/dhcplint"
)

// newSegment is a segment on which each reply of the DHCP server is judged.
func newSegment(t *testing.T) *pxetest.Segment {
	t.Helper()
	segment := pxetest.NewSegment(t)
	segment.Tap(judge(t))
	return segment
}

// judge is a tap that lets everything pass and fails the test for a DHCP reply
// that breaks a rule.
func judge(t *testing.T) func(pxetest.Frame) bool {
	var watch dhcplint.Watch
	return func(f pxetest.Frame) bool {
		for _, finding := range watch.Datagram(f.Source, f.Destination, f.Payload) {
			t.Errorf("%s\nreply from %s to %s: %x", finding, f.Source, f.Destination, f.Payload)
		}
		return true
	}
}
