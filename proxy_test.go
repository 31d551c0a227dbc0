package pxe_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/bootcfg"
	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/dhcp/pxetest"
)

// besideServer is rescueServer on a network where another server gives out the
// addresses.
func besideServer(events *recorder, mode dhcp.Mode) *pxe.Server {
	srv := rescueServer(events)
	srv.Networks = []pxe.Network{{Mode: mode}}
	files := medium()
	for _, name := range []string{"shimx64.efi", "grubx64.efi", "grubia32.efi", "shimaa64.efi", "grubaa64.efi"} {
		files[name] = []byte(strings.Repeat("g", 7000))
	}
	for _, name := range []string{"boot/x86_64/vmlinuz", "boot/x86_64/sysresccd.img", "x86_64/airootfs.sfs", "x86_64/airootfs.sha512"} {
		files["sysresccd/"+strings.ReplaceAll(name, "x86_64", "aarch64")] = files["sysresccd/"+name]
	}
	srv.Files = files
	return srv
}

func TestEveryFirmwareBootsBesideAnotherDHCPServer(t *testing.T) {
	tests := map[string]struct {
		firmware pxetest.Firmware
		family   dhcp.Family
		loader   string
	}{
		"BIOS PXE, lpxelinux":  {pxetest.BIOSPXE, 0, "lpxelinux.0"},
		"BIOS PXE, undionly":   {pxetest.BIOSPXE, dhcp.FamilyIPXE, "undionly.kpxe"},
		"iPXE ROM":             {pxetest.IPXEROM, 0, "boot.ipxe"},
		"iPXE ROM, lpxelinux":  {pxetest.IPXEROM, dhcp.FamilyPXELinux, "lpxelinux.0"},
		"UEFI x64, iPXE":       {pxetest.UEFIx64, 0, "snponly.efi"},
		"UEFI x64, shim, GRUB": {pxetest.UEFIx64, dhcp.FamilyGRUB, "shimx64.efi"},
		"UEFI IA32, GRUB":      {pxetest.UEFIIA32, 0, "grubia32.efi"},
		"UEFI x64 HTTP, iPXE":  {pxetest.UEFIx64HTTP, 0, "snponly.efi"},
	}
	for name, test := range tests {
		for _, mode := range []dhcp.Mode{dhcp.Proxy, dhcp.BootServer} {
			if mode == dhcp.BootServer && (test.firmware == pxetest.UEFIx64HTTP || strings.HasSuffix(name, "iPXE") || test.loader == "undionly.kpxe" || test.firmware == pxetest.IPXEROM) {
				continue // HTTP Boot knows no boot server; iPXE asks the server of its lease
			}
			t.Run(name+", "+mode.String(), func(t *testing.T) {
				var events recorder
				srv := besideServer(&events, mode)
				srv.Loader = test.family
				on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
					other := segment.DHCPServer("192.0.2.2/24", "192.0.2.50", "192.0.2.59")
					other.SetDelay(time.Millisecond) // no server answers before others have heard the question
					if strings.Contains(name, "GRUB") || mode == dhcp.BootServer {
						// GRUB takes its server from the lease, and an iPXE whom it asks.
						other.SetBootFile("", netip.MustParseAddr("192.0.2.1"))
					}
					if mode == dhcp.BootServer {
						other.SetOption(60, []byte("PXEClient"))
						other.SetOption(43, bootServers(t))
					}
					boot, err := segment.Machine("02:00:00:00:00:01", test.firmware).Boot(t.Context())
					require.NoError(t, err)
					require.True(t, strings.HasSuffix(boot.Loader, test.loader), boot.Loader)
					require.True(t, boot.Root.Verified)
					require.Contains(t, strings.Join(boot.Params, " "), "archiso_http_srv=http://192.0.2.1/~", "our own address, not the other server's")
					given := other.Leases()["02:00:00:00:00:01"]
					for _, lease := range boot.Leases {
						require.Equal(t, given, lease.Addr.Addr())
					}
				})
				checkBeside(t, &events)
			})
		}
	}
}

// bootServers is what another server says about us.
func bootServers(t *testing.T) []byte {
	option, err := dhcp.PXEOptions{
		Control: dhcp.PXENoBroadcast | dhcp.PXENoMulticast | dhcp.PXEListedOnly,
		Servers: []dhcp.PXEServer{{Type: 0x8001, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}},
		Menu:    []dhcp.PXEMenuItem{{Type: 0x8001, Text: "Rescue"}}, Prompt: &dhcp.PXEPrompt{Text: "F8"},
	}.Option()
	require.NoError(t, err)
	return option.Value.ToBytes()
}

// checkBeside wants all of a boot to be known as one machine's, and no address given.
func checkBeside(t *testing.T, events *recorder) {
	t.Helper()
	var ids []string
	for _, e := range events.all() {
		require.Equal(t, "02:00:00:00:00:01", e.Machine.String(), "%s", e)
		require.Empty(t, e.Drop, "%s", e)
		require.NotEqual(t, pxe.StageNAK, e.Stage)
		if e.Addr.IsValid() {
			require.True(t, strings.HasPrefix(e.Addr.String(), "192.0.2.5"), "%s", e)
		}
		if !slices.Contains(ids, e.Boot) {
			ids = append(ids, e.Boot)
		}
	}
	require.Len(t, ids, 1, "one boot has one ID")
	require.Contains(t, events.begun(), pxe.StageLease, "the initramfs is heard")
}

func TestAProxyLeavesEverybodyElseAlone(t *testing.T) {
	var events recorder
	srv := besideServer(&events, dhcp.Proxy)
	srv.Booter = pxe.BooterFunc(nothing)
	on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
		segment.DHCPServer("192.0.2.2/24", "192.0.2.50", "192.0.2.59")
		_, err := segment.Machine("02:00:00:00:00:01", pxetest.UEFIx64).Boot(t.Context())
		require.Error(t, err)
	})
	for _, e := range events.all() {
		require.NotEqual(t, pxe.StageOffer, e.Stage, "who boots nothing from us hears nothing: %s", e)
	}
}

func nothing(context.Context, *pxe.Machine) (*bootcfg.Menu, error) { return nil, nil }
