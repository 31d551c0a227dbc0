package pxe

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhatIsOverheardTakesNoAddressFromWhomItWasGiven(t *testing.T) {
	r := newRegistry(0)
	addr, other := netip.MustParseAddr("192.0.2.50"), netip.MustParseAddr("192.0.2.51")
	mine, _ := r.begin(Machine{HardwareAddr: mac(1)}, true, transaction(1), time.Now())
	r.begin(Machine{HardwareAddr: mac(2)}, true, transaction(2), time.Now())
	r.bound(mac(1), addr)
	r.heard(mac(2), addr)
	require.Same(t, mine, r.ofAddr(addr))

	r.heard(mac(1), other)
	require.Same(t, mine, r.ofAddr(other), "it has moved")
	theirs, _ := r.begin(Machine{HardwareAddr: mac(2)}, false, transaction(2), time.Now())
	r.heard(mac(2), other)
	require.Same(t, theirs, r.ofAddr(other), "what was only overheard may be wrong")
	r.bound(mac(1), other)
	require.Same(t, mine, r.ofAddr(other))
}

func TestALateCopyDoesNotHideWhatABootHasFetched(t *testing.T) {
	r := newRegistry(0)
	b, _ := r.begin(Machine{HardwareAddr: mac(1)}, true, transaction(1), time.Now())
	b.fetched = map[string]bool{"vmlinuz": true}
	next, opened := r.begin(Machine{HardwareAddr: mac(1)}, true, transaction(2), time.Now().Add(time.Hour))
	require.True(t, opened)
	require.True(t, next.fetched["vmlinuz"])
	next.told = true
	last, _ := r.begin(Machine{HardwareAddr: mac(1)}, true, transaction(3), time.Now().Add(2*time.Hour))
	require.Empty(t, last.fetched)
}
