package pxe

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/dhcp"
)

func mac(n byte) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, n} }

func transaction(n byte) [4]byte { return [4]byte{n} }

// message is one message of a machine, and what happened before it.
type message struct {
	kind    dhcp.Kind
	message dhcpv4.MessageType
	xid     byte
	silence time.Duration // before it
	reached Stage         // delivered before it; empty: nothing more
	opens   bool          // whether it opens a new boot
}

func TestADiscoverOpensABootOrContinuesOne(t *testing.T) {
	const discover, request = dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest
	tests := map[string][]message{
		"retransmission": {
			{dhcp.PXE, discover, 1, 0, "", true}, {dhcp.PXE, discover, 1, 4 * time.Second, "", false},
		},
		"firmware tries again before it has a loader": {
			{dhcp.PXE, discover, 1, 0, "", true}, {dhcp.PXE, discover, 2, 32 * time.Second, "", false},
			{dhcp.PXE, request, 2, time.Second, "", false},
		},
		"firmware comes back next week without having had a loader": {
			{dhcp.PXE, discover, 1, 0, "", true}, {dhcp.PXE, discover, 2, 7 * 24 * time.Hour, "", true},
		},
		"firmware restarted after its loader": {
			{dhcp.PXE, discover, 1, 0, "", true}, {dhcp.PXE, discover, 2, time.Second, StageLoader, true},
		},
		"copy of a message that went on": {
			{dhcp.PXE, discover, 1, 0, "", true}, {dhcp.PXE, discover, 1, time.Second, StageLoader, false},
		},
		"copy of a message that comes after the next one": {
			{dhcp.PXE, discover, 1, 0, "", true}, {dhcp.IPXE, discover, 2, 2 * time.Second, StageLoader, false},
			{dhcp.PXE, discover, 1, time.Second, "", false}, {dhcp.IPXE, discover, 2, time.Second, "", false},
		},
		"ROM with one transaction ID for ever": {
			{dhcp.PXE, discover, 1, 0, "", true}, {dhcp.PXE, discover, 1, 40 * time.Second, StageRoot, true},
			{dhcp.PXE, discover, 1, 30 * 24 * time.Hour, "", true},
		},
		"iPXE that the firmware loaded": {
			{dhcp.PXE, discover, 1, 0, "", true}, {dhcp.IPXE, discover, 2, 20 * time.Second, StageLoader, false},
			{dhcp.IPXE, request, 2, time.Second, "", false},
		},
		"iPXE that showed a prompt first": {
			{dhcp.PXE, discover, 1, 0, "", true}, {dhcp.IPXE, discover, 2, 10 * time.Minute, StageLoader, false},
		},
		"iPXE in ROM restarted after its script": {
			{dhcp.IPXE, discover, 1, 0, "", true}, {dhcp.IPXE, discover, 2, time.Second, "", false},
			{dhcp.IPXE, discover, 3, time.Minute, StageConfig, true},
		},
		"restarted from a running system": {
			{dhcp.PXE, discover, 1, 0, "", true}, {dhcp.PXE, discover, 2, time.Hour, StageRoot, true},
			{dhcp.PXE, discover, 3, 4 * time.Second, "", false},
		},
		"a server that was restarted hears a REQUEST first": {
			{dhcp.PXE, request, 1, 0, "", true}, {dhcp.PXE, request, 1, time.Second, "", false},
		},
	}
	for name, messages := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRegistry(0)
				for i, m := range messages {
					if b := r.ofMachine(mac(1)); b != nil && m.reached != "" {
						b.delivered(m.reached)
					}
					time.Sleep(m.silence)
					b, opened := r.begin(Machine{HardwareAddr: mac(1), Kind: m.kind}, m.message == discover, transaction(m.xid), time.Now())
					require.Equal(t, m.opens, opened, "message %d", i+1)
					require.Same(t, b, r.ofMachine(mac(1)))
					require.Same(t, b, r.ofID(b.id))
				}
			})
		})
	}
}

func TestTwoRelaysOfOneNetworkForwardOneBoot(t *testing.T) {
	r := newRegistry(0)
	one := Machine{HardwareAddr: mac(1), network: netip.MustParsePrefix("198.51.100.0/24"), RelayAddr: netip.MustParseAddr("198.51.100.2")}
	two := one
	two.RelayAddr = netip.MustParseAddr("198.51.100.3")
	first, _ := r.begin(one, true, transaction(1), time.Now())
	same, _ := r.begin(two, true, transaction(1), time.Now())
	require.Same(t, first, same)
	first.delivered(StageLoader)
	two.Kind = dhcp.IPXE
	same, _ = r.begin(two, true, transaction(2), time.Now())
	require.Same(t, first, same)
}

func TestAMachineThatComesByAnotherWayBeginsAnotherBoot(t *testing.T) {
	here := Machine{HardwareAddr: mac(1), network: netip.MustParsePrefix("192.0.2.0/24"), ServerAddr: netip.MustParseAddr("192.0.2.1")}
	r := newRegistry(0)
	first, _ := r.begin(here, true, transaction(1), time.Now())
	there := here
	there.network, there.ServerAddr = netip.MustParsePrefix("198.51.100.0/24"), netip.MustParseAddr("198.51.100.1")
	second, opened := r.begin(there, true, transaction(2), time.Now())
	require.True(t, opened)
	require.NotEqual(t, first.id, second.id)
	require.Equal(t, "198.51.100.1", second.machine.ServerAddr.String())
}

func TestAMachineToldThatThereIsNothingIsAskedAboutAgain(t *testing.T) {
	r := newRegistry(0)
	first, _ := r.begin(Machine{HardwareAddr: mac(1)}, true, transaction(1), time.Now())
	first.decided = true
	_, opened := r.begin(Machine{HardwareAddr: mac(1)}, false, transaction(1), time.Now())
	require.False(t, opened, "its REQUEST")
	_, opened = r.begin(Machine{HardwareAddr: mac(1)}, true, transaction(1), time.Now().Add(16*time.Second))
	require.False(t, opened, "firmware that ignores an OFFER without a boot file asks four times")
	_, opened = r.begin(Machine{HardwareAddr: mac(1)}, true, transaction(2), time.Now().Add(17*time.Second))
	require.True(t, opened, "it was started anew: somebody may have decided otherwise")
}

func TestAnAddressLeadsToTheBootOfItsHolder(t *testing.T) {
	r := newRegistry(0)
	addr, other := netip.MustParseAddr("192.0.2.100"), netip.MustParseAddr("192.0.2.101")
	first, _ := r.begin(Machine{HardwareAddr: mac(1)}, true, transaction(1), time.Now())
	require.Nil(t, r.ofAddr(addr))
	r.bound(mac(1), addr)
	require.Same(t, first, r.ofAddr(addr))
	require.Same(t, first, r.ofAddr(netip.MustParseAddr("::ffff:192.0.2.100")), "as a socket may write it")

	r.bound(mac(1), other)
	require.Nil(t, r.ofAddr(addr), "a machine has one address")
	require.Same(t, first, r.ofAddr(other))

	second, _ := r.begin(Machine{HardwareAddr: mac(2)}, true, transaction(1), time.Now())
	r.bound(mac(2), other)
	require.Same(t, second, r.ofAddr(other), "an address has one machine")
	r.bound(mac(3), addr)
	require.Nil(t, r.ofAddr(addr), "a machine that never booted has an address and no boot")
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

func TestInventedMachinesDoNotPushOutThoseThatBoot(t *testing.T) {
	r := newRegistry(10)
	booting, _ := r.begin(Machine{HardwareAddr: mac(1)}, true, transaction(1), time.Now())
	r.bound(mac(1), netip.MustParseAddr("192.0.2.100"))
	for n := range 1000 {
		r.begin(Machine{HardwareAddr: net.HardwareAddr{2, 0, 0, 1, byte(n >> 8), byte(n)}}, true, transaction(1), time.Now())
	}
	require.Same(t, booting, r.ofID(booting.id))
	require.Len(t, r.byHW, 10)
}

func TestMachinesOfLastYearDoNotKeepOutThoseThatCome(t *testing.T) {
	r := newRegistry(8)
	for n := byte(1); n <= 8; n++ {
		r.begin(Machine{HardwareAddr: mac(n)}, true, transaction(1), time.Now())
		r.bound(mac(n), netip.AddrFrom4([4]byte{192, 0, 2, n}))
	}
	r.begin(Machine{HardwareAddr: mac(101)}, true, transaction(1), time.Now())
	r.begin(Machine{HardwareAddr: mac(102)}, true, transaction(1), time.Now())
	require.NotNil(t, r.ofMachine(mac(101)))
	require.NotNil(t, r.ofMachine(mac(102)))
	require.Nil(t, r.ofMachine(mac(1)), "silent longest")
}

func TestAMachineThatFetchesIsNotSilent(t *testing.T) {
	r := newRegistry(2)
	for n := byte(1); n <= 2; n++ {
		r.begin(Machine{HardwareAddr: mac(n)}, true, transaction(1), time.Now())
		r.bound(mac(n), netip.AddrFrom4([4]byte{192, 0, 2, n}))
	}
	require.NotNil(t, r.ofAddr(netip.MustParseAddr("192.0.2.1")))
	r.begin(Machine{HardwareAddr: mac(3)}, true, transaction(1), time.Now())
	require.NotNil(t, r.ofAddr(netip.MustParseAddr("192.0.2.1")))
	require.Nil(t, r.ofAddr(netip.MustParseAddr("192.0.2.2")))
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
	require.Equal(t, 3, r.strangers.Len()+r.holders.Len())
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
