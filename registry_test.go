package pxe

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/dhcp"
)

func mac(n byte) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, n} }

func transaction(n byte) [4]byte { return [4]byte{n} }

// heard is one message of a machine, and how far the boot had come before it.
type heard struct {
	kind     dhcp.Kind
	discover bool
	xid      byte
	reached  Stage // delivered before the message; empty: nothing more
	opens    bool  // whether the message opens a new boot
}

func TestADiscoverOpensABootOrContinuesOne(t *testing.T) {
	tests := map[string][]heard{
		"retransmission": {
			{dhcp.PXE, true, 1, "", true}, {dhcp.PXE, true, 1, "", false},
		},
		"firmware tries again before it has a loader": {
			{dhcp.PXE, true, 1, "", true}, {dhcp.PXE, true, 2, "", false}, {dhcp.PXE, false, 2, "", false},
		},
		"firmware restarted after its loader": {
			{dhcp.PXE, true, 1, "", true}, {dhcp.PXE, true, 2, StageLoader, true},
		},
		"late retransmission of a boot that went on": {
			{dhcp.PXE, true, 1, "", true}, {dhcp.PXE, true, 1, StageLoader, false},
		},
		"iPXE that the firmware loaded": {
			{dhcp.PXE, true, 1, "", true}, {dhcp.IPXE, true, 2, StageLoader, false}, {dhcp.IPXE, false, 2, "", false},
		},
		"iPXE in ROM restarted after its script": {
			{dhcp.IPXE, true, 1, "", true}, {dhcp.IPXE, true, 2, "", false}, {dhcp.IPXE, true, 3, StageConfig, true},
		},
		"restarted from a running system": {
			{dhcp.PXE, true, 1, "", true}, {dhcp.PXE, true, 2, StageRoot, true}, {dhcp.PXE, true, 3, "", false},
		},
		"a server that was restarted hears a REQUEST first": {
			{dhcp.PXE, false, 1, "", true}, {dhcp.PXE, false, 1, "", false},
		},
	}
	for name, messages := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(0)
			for i, m := range messages {
				if b := r.ofMachine(mac(1)); b != nil && m.reached != "" {
					b.delivered(m.reached)
				}
				b, opened := r.begin(Machine{HardwareAddr: mac(1), Kind: m.kind}, m.discover, transaction(m.xid), time.Now())
				require.Equal(t, m.opens, opened, "message %d", i+1)
				require.Same(t, b, r.ofMachine(mac(1)))
				require.Same(t, b, r.ofID(b.id))
			}
		})
	}
}

func TestAnAddressLeadsToTheBootOfItsHolder(t *testing.T) {
	r := newRegistry(0)
	addr, other := netip.MustParseAddr("192.0.2.100"), netip.MustParseAddr("192.0.2.101")
	first, _ := r.begin(Machine{HardwareAddr: mac(1)}, true, transaction(1), time.Now())
	require.Nil(t, r.ofAddr(addr))
	require.Same(t, first, r.bound(mac(1), addr))
	require.Same(t, first, r.ofAddr(addr))
	require.Same(t, first, r.ofAddr(netip.MustParseAddr("::ffff:192.0.2.100")), "as a socket may write it")

	r.bound(mac(1), other)
	require.Nil(t, r.ofAddr(addr), "a machine has one address")
	require.Same(t, first, r.ofAddr(other))

	second, _ := r.begin(Machine{HardwareAddr: mac(2)}, true, transaction(1), time.Now())
	r.bound(mac(2), other)
	require.Same(t, second, r.ofAddr(other), "an address has one machine")
	require.Nil(t, r.bound(mac(3), addr), "a machine that never booted has an address and no boot")
}

func TestABootIsOverWhenTheNextBegins(t *testing.T) {
	r := newRegistry(0)
	first, _ := r.begin(Machine{HardwareAddr: mac(1)}, true, transaction(1), time.Now())
	r.bound(mac(1), netip.MustParseAddr("192.0.2.100"))
	first.delivered(StageConfig)
	second, opened := r.begin(Machine{HardwareAddr: mac(1)}, true, transaction(2), time.Now())
	require.True(t, opened)
	require.NotEqual(t, first.id, second.id)
	require.Nil(t, r.ofID(first.id))
	require.Same(t, second, r.ofAddr(netip.MustParseAddr("192.0.2.100")))
}

func TestTheRegistryForgetsWhoWasSilentLongest(t *testing.T) {
	r := newRegistry(3)
	var boots []*boot
	for n := byte(1); n <= 3; n++ {
		b, _ := r.begin(Machine{HardwareAddr: mac(n)}, true, transaction(n), time.Now())
		r.bound(mac(n), netip.AddrFrom4([4]byte{192, 0, 2, n}))
		boots = append(boots, b)
	}
	r.begin(Machine{HardwareAddr: mac(1)}, false, transaction(9), time.Now()) // heard again
	r.begin(Machine{HardwareAddr: mac(4)}, true, transaction(4), time.Now())
	require.Nil(t, r.ofMachine(mac(2)))
	require.Nil(t, r.ofAddr(netip.AddrFrom4([4]byte{192, 0, 2, 2})))
	require.Nil(t, r.ofID(boots[1].id))
	require.Same(t, boots[0], r.ofMachine(mac(1)))
	require.Same(t, boots[2], r.ofMachine(mac(3)))
	for n := range 1000 {
		hw := net.HardwareAddr{2, 0, 0, 0, byte(n >> 8), byte(n)}
		r.begin(Machine{HardwareAddr: hw}, true, transaction(1), time.Now())
		r.bound(hw, netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)}))
	}
	require.Len(t, r.byHW, 3)
	require.LessOrEqual(t, len(r.byAddr), 3)
	require.LessOrEqual(t, len(r.byBoot), 3)
	require.Equal(t, 3, r.recent.Len())
}

func TestBootIDsAreCutOffNamesAndNothingElseIs(t *testing.T) {
	id := newBootID()
	require.Len(t, id, bootIDLen)
	require.Empty(t, strings.Trim(id, bootIDLetters))
	require.NotEqual(t, id, newBootID())
	tests := map[string]struct {
		name, id, rest string
		ok             bool
	}{
		"a boot":          {"~" + id + "/a/b", id, "a/b", true},
		"its top":         {"~" + id + "/", id, "", true},
		"no boot":         {"a/b", "", "a/b", false},
		"a backup file":   {"~backup/x", "", "~backup/x", false},
		"right length":    {"~ABCDEFGHIJKLM/x", "", "~ABCDEFGHIJKLM/x", false},
		"nothing below":   {"~" + id, "", "~" + id, false},
		"deeper":          {"a/~" + id + "/x", "", "a/~" + id + "/x", false},
		"a longer letter": {"~" + id + "a/x", "", "~" + id + "a/x", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			gotID, rest, ok := cutBootID(test.name)
			require.Equal(t, test.ok, ok)
			require.Equal(t, test.id, gotID)
			require.Equal(t, test.rest, rest)
		})
	}
}
