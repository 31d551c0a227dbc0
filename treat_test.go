package pxe_test

import (
	"context"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/bootcfg"
	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/dhcp/pxetest"
)

func TestFilesOnAnotherComputer(t *testing.T) {
	var here, there recorder
	files := medium()
	srv := rescueServer(&here)
	srv.Files = asset.Memory{ // the root file system still comes from here
		"sysresccd/x86_64/airootfs.sfs":    files["sysresccd/x86_64/airootfs.sfs"],
		"sysresccd/x86_64/airootfs.sha512": files["sysresccd/x86_64/airootfs.sha512"],
	}
	srv.Treat = func(m *pxe.Machine) pxe.Treatment {
		if m.Kind != dhcp.PXE {
			return pxe.Treatment{}
		}
		return pxe.Treatment{Bases: bootcfg.Bases{
			HTTP: &url.URL{Scheme: "http", Host: "192.0.2.9", Path: "/mirror/"},
			TFTP: &url.URL{Scheme: "tftp", Host: "192.0.2.9", Path: "/loaders/"},
		}}
	}
	mirror := rescueServer(&there)
	mirror.Booter = nil
	mirrored := asset.Memory{"loaders/snponly.efi": files["snponly.efi"]}
	for name, content := range files {
		mirrored["mirror/"+name] = content
	}
	mirror.Files = mirrored
	on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
		sockets := pxe.Sockets(segment.Host("eth0", "192.0.2.9/24").Sockets())
		for _, conn := range []interface{ Close() error }{sockets.DHCP, sockets.PXE} {
			require.NoError(t, conn.Close())
		}
		sockets.DHCP, sockets.PXE = nil, nil
		served := make(chan error, 1)
		go func() { served <- mirror.Serve(sockets) }()
		boot, err := segment.Machine("02:00:00:00:00:01", pxetest.UEFIx64).Boot(t.Context())
		require.NoError(t, err)
		require.Equal(t, "loaders/snponly.efi", boot.Loader)
		require.True(t, boot.Root.Verified)
		require.NoError(t, mirror.Close())
		require.ErrorIs(t, <-served, pxe.ErrServerClosed)
	})
	require.Contains(t, there.delivered(), "loaders/snponly.efi")
	require.Contains(t, there.delivered(), "mirror/sysresccd/boot/x86_64/vmlinuz")
	require.Contains(t, here.delivered(), "boot.ipxe")
	require.Contains(t, here.delivered(), "sysresccd/x86_64/airootfs.sfs")
	require.NotContains(t, here.delivered(), "sysresccd/boot/x86_64/vmlinuz")
}

func TestFilesOfAMenuAreNotOnAnotherComputer(t *testing.T) {
	var events recorder
	srv := rescueServer(&events)
	srv.Booter = pxe.BooterFunc(func(ctx context.Context, m *pxe.Machine) (*bootcfg.Menu, error) {
		menu, err := pxe.SystemRescue{}.Boot(ctx, m)
		if err == nil {
			menu.Files = map[string][]byte{"answers": []byte("x")}
		}
		return menu, err
	})
	srv.Treat = func(*pxe.Machine) pxe.Treatment {
		return pxe.Treatment{Bases: bootcfg.Bases{HTTP: &url.URL{Scheme: "http", Host: "192.0.2.9", Path: "/"}}}
	}
	on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
		_, err := segment.Machine("02:00:00:00:00:01", pxetest.IPXEROM).Boot(t.Context())
		require.Error(t, err)
	})
	requireError(t, &events, "the Booter's menu has Files of its own")
}

// requireError wants an event with an error of this text.
func requireError(t *testing.T, events *recorder, text string) {
	t.Helper()
	var said []string
	for _, e := range events.all() {
		if e.Err != nil {
			said = append(said, e.Err.Error())
		}
	}
	require.Contains(t, strings.Join(said, "\n"), text)
}

func TestLoadersOfOneServerAndOfOneMachine(t *testing.T) {
	var events recorder
	srv := rescueServer(&events)
	files := medium()
	files["own/bios.0"], files["own/one.0"] = []byte(strings.Repeat("o", 3000)), []byte(strings.Repeat("1", 3000))
	srv.Files = files
	row := func(name string) []dhcp.LoaderRow {
		return []dhcp.LoaderRow{{Kind: dhcp.PXE, Arch: dhcp.ArchBIOS, Family: dhcp.FamilyIPXE, Names: []string{name}}}
	}
	srv.Loaders = row("own/bios.0")
	srv.Treat = func(m *pxe.Machine) pxe.Treatment {
		switch m.HardwareAddr[5] {
		case 2:
			return pxe.Treatment{Loaders: row("own/one.0")}
		case 3:
			return pxe.Treatment{Loader: dhcp.FamilyPXELinux}
		}
		return pxe.Treatment{}
	}
	on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
		for mac, want := range map[string]string{
			"02:00:00:00:00:01": "own/bios.0", "02:00:00:00:00:02": "own/one.0", "02:00:00:00:00:03": "lpxelinux.0",
		} {
			boot, _ := segment.Machine(mac, pxetest.BIOSPXE).Boot(t.Context())
			require.Equal(t, want, boot.Loader)
		}
	})
}

func TestAnUnknownArchitectureIsRefusedAloudWithItsNumber(t *testing.T) {
	for arch, want := range map[dhcp.Arch]string{
		4711:         "unknown architecture 4711",
		dhcp.Arch(2): "architecture 2 (Itanium)",
	} {
		var events recorder
		srv := rescueServer(&events)
		srv.Classify = func(_ *dhcp.Request, c dhcp.Client) dhcp.Client {
			c.Arch = arch
			return c
		}
		on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
			boot, err := segment.Machine("02:00:00:00:00:01", pxetest.UEFIx64).Boot(t.Context())
			require.Error(t, err)
			require.Empty(t, boot.Loader, "rather nothing than something that it cannot run")
		})
		requireError(t, &events, "no boot loader is known for a pxe client of "+want)
	}
}

func TestAnIPXEOfAnyArchitectureRunsAScript(t *testing.T) {
	for _, family := range []dhcp.Family{0, dhcp.FamilyIPXE, dhcp.FamilyPXELinux, dhcp.FamilyGRUB} {
		var events recorder
		srv := rescueServer(&events)
		srv.Loader = family
		srv.Classify = func(_ *dhcp.Request, c dhcp.Client) dhcp.Client {
			c.Arch, c.HasArch = 4711, true
			return c
		}
		on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
			boot, err := segment.Machine("02:00:00:00:00:01", pxetest.IPXEROM).Boot(t.Context())
			require.NoError(t, err, family)
			require.Contains(t, boot.Loader, "boot.ipxe")
		})
	}
}

func TestABootProgramIsGivenAsItIs(t *testing.T) {
	var events recorder
	srv := rescueServer(&events)
	srv.Files = asset.Memory{"sysresccd/boot/syslinux/lpxelinux.0": []byte(strings.Repeat("p", 5000))}
	srv.Booter = pxe.BooterFunc(func(context.Context, *pxe.Machine) (*bootcfg.Menu, error) {
		return bootcfg.SystemRescue{}.StockMenu()
	})
	synctest.Test(t, func(t *testing.T) {
		segment := newSegment(t)
		var mu sync.Mutex
		var offers []*dhcpv4.DHCPv4
		judged := judge(t)
		segment.Tap(func(f pxetest.Frame) bool {
			judged(f)
			mu.Lock()
			defer mu.Unlock()
			if p, err := dhcpv4.FromBytes(f.Payload); err == nil && p.OpCode == dhcpv4.OpcodeBootReply {
				offers = append(offers, p)
			}
			return true
		})
		go srv.Serve(segment.Sockets("192.0.2.1/24"))
		boot, _ := segment.Machine("02:00:00:00:00:01", pxetest.BIOSPXE).Boot(t.Context())
		require.Equal(t, "sysresccd/boot/syslinux/lpxelinux.0", boot.Loader)
		mu.Lock()
		defer mu.Unlock()
		require.NotEmpty(t, offers)
		for _, p := range offers {
			require.Equal(t, netip.MustParseAddr("192.0.2.1").AsSlice(), []byte(p.ServerIPAddr.To4()))
			require.Equal(t, "boot/syslinux/sysresccd.cfg", string(p.Options.Get(dhcpv4.GenericOptionCode(209))))
			require.Equal(t, "/sysresccd/", string(p.Options.Get(dhcpv4.GenericOptionCode(210))))
		}
		require.NoError(t, srv.Close())
	})
	require.Contains(t, events.delivered(), "sysresccd/boot/syslinux/lpxelinux.0")
}

func TestABootProgramIsForMachinesThatCanRunIt(t *testing.T) {
	var events recorder
	srv := rescueServer(&events)
	srv.Files = asset.Memory{"sysresccd/boot/syslinux/lpxelinux.0": []byte("p")}
	srv.Booter = pxe.BooterFunc(func(context.Context, *pxe.Machine) (*bootcfg.Menu, error) {
		return bootcfg.SystemRescue{}.StockMenu()
	})
	on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
		boot, err := segment.Machine("02:00:00:00:00:01", pxetest.UEFIx64).Boot(t.Context())
		require.Error(t, err)
		require.Empty(t, boot.Loader)
	})
	requireError(t, &events, "is not for architecture 7 (x64 UEFI)")
}

func TestALoaderIsForMachinesThatHaveOneOfItsFamily(t *testing.T) {
	var events recorder
	srv := rescueServer(&events)
	srv.Loader = dhcp.FamilyGRUB
	on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
		boot, err := segment.Machine("02:00:00:00:00:01", pxetest.BIOSPXE).Boot(t.Context())
		require.NoError(t, err)
		require.Equal(t, "lpxelinux.0", boot.Loader)
		boot, err = segment.Machine("02:00:00:00:00:02", pxetest.IPXEROM).Boot(t.Context())
		require.NoError(t, err)
		require.Contains(t, boot.Loader, "boot.ipxe")
	})
}

func TestALoaderOfTwoIsTheOneThatIsThere(t *testing.T) {
	var events recorder
	srv := rescueServer(&events)
	files := medium()
	delete(files, "snponly.efi")
	files["ipxe.efi"] = []byte(strings.Repeat("i", 5000))
	srv.Files = files
	srv.Treat = func(*pxe.Machine) pxe.Treatment { // kernels elsewhere, the loader from here
		return pxe.Treatment{Bases: bootcfg.Bases{HTTP: &url.URL{Scheme: "http", Host: "192.0.2.9", Path: "/"}}}
	}
	on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
		boot, _ := segment.Machine("02:00:00:00:00:01", pxetest.UEFIx64).Boot(t.Context())
		require.Equal(t, "ipxe.efi", boot.Loader)
	})
}
