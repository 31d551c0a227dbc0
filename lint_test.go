package pxe_test

import (
	"net/netip"
	"testing"

	"github.com/pxekit/pxe/dhcp/pxetest"
	"github.com/pxekit/pxe/internal/dhcplint"
)

// otherServer is where tests put a DHCP server that is not ours.
var otherServer = netip.MustParseAddr("192.0.2.2")

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
		if f.Source.Addr() == otherServer {
			return true // which does as it likes
		}
		for _, finding := range watch.Datagram(f.Source, f.Destination, f.Payload) {
			t.Errorf("%s\nreply from %s to %s: %x", finding, f.Source, f.Destination, f.Payload)
		}
		return true
	}
}
