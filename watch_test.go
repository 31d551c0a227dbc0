package pxe

import (
	"net"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/rootfs"
)

// A session that outlives its boot is not booked on the machine's next one.
func TestASessionBelongsToTheBootItNames(t *testing.T) {
	v := &services{server: new(Server), registry: newRegistry(0)}
	m := Machine{HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
	addr := netip.MustParseAddr("192.0.2.100")
	now := time.Now()
	first, _ := v.registry.begin(m, true, [4]byte{1}, now)
	v.registry.bound(m.HardwareAddr, addr)
	second, fresh := v.registry.begin(m, true, [4]byte{2}, now.Add(time.Hour))
	require.True(t, fresh)
	session := rootfs.Session{Client: netip.AddrPortFrom(addr, 40000)}
	require.Same(t, second, v.bootOfSession(session), "one that names none")
	session.BootID = second.id
	require.Same(t, second, v.bootOfSession(session))
	session.BootID = first.id
	require.Nil(t, v.bootOfSession(session))
}

// What another computer serves is not seen here: the next to ask for a lease after
// the initramfs is the system.
func TestRootElsewhere(t *testing.T) {
	for root, want := range map[string]bool{
		"": false, "http://192.0.2.1/~b/": false, "nbd://192.0.2.1/archiso~b": false, "tftp://192.0.2.1:1069/": false,
		"http://192.0.2.8/": true, "https://files.example/": true, "nbd://192.0.2.8/archiso": true,
		"nfs://192.0.2.1/srv": true, "nfs://192.0.2.8/srv": true,
	} {
		b := &boot{machine: Machine{ServerAddr: netip.MustParseAddr("192.0.2.1")}, kernel: true}
		if root != "" {
			b.root, _ = url.Parse(root)
		}
		require.Equal(t, want, b.rootElsewhere(), root)
		require.Equal(t, StageLease, b.laterLease())
		b.delivered(StageRoot)
		require.Equal(t, StageSystem, b.laterLease())
	}
}
