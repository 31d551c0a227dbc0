package pxe_test

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/bootcfg"
	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/dhcp/pxetest"
	"github.com/pxekit/pxe/rootfs"
)

// medium is SystemRescue's, but for the sizes.
func medium() asset.Memory {
	root := []byte(strings.Repeat("airootfs", 4096))
	sum := sha512.Sum512(root)
	return asset.Memory{
		"lpxelinux.0":                         []byte(strings.Repeat("p", 5000)),
		"ldlinux.c32":                         []byte(strings.Repeat("c", 3000)),
		"undionly.kpxe":                       []byte(strings.Repeat("u", 5000)),
		"snponly.efi":                         []byte(strings.Repeat("s", 9000)),
		"sysresccd/boot/x86_64/vmlinuz":       []byte(strings.Repeat("k", 20000)),
		"sysresccd/boot/x86_64/sysresccd.img": []byte(strings.Repeat("i", 30000)),
		"sysresccd/boot/intel_ucode.img":      []byte("intel"),
		"sysresccd/boot/amd_ucode.img":        []byte("amd"),
		"sysresccd/x86_64/airootfs.sfs":       root,
		"sysresccd/x86_64/airootfs.sha512":    []byte(hex.EncodeToString(sum[:]) + "  airootfs.sfs\n"),
	}
}

// recorder keeps a server's events.
type recorder struct {
	mu     sync.Mutex
	events []pxe.Event
}

func (r *recorder) add(e pxe.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) all() []pxe.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// begun are the steps in the order in which they began, each once in a row.
func (r *recorder) begun() []pxe.Stage {
	var stages []pxe.Stage
	for _, e := range r.all() {
		if !e.Done && e.Bytes == 0 && (len(stages) == 0 || stages[len(stages)-1] != e.Stage) {
			stages = append(stages, e.Stage)
		}
	}
	return stages
}

// delivered are the files that reached the machine whole.
func (r *recorder) delivered() map[string]bool {
	names := make(map[string]bool)
	for _, e := range r.all() {
		if e.Done && !e.Aborted && e.Err == nil && e.Via != "dhcp" && e.Bytes == e.Size {
			names[e.Name] = true
		}
	}
	return names
}

// inPool reports whether rescueServer may give this address out.
func inPool(a netip.Addr) bool {
	return !a.Less(netip.MustParseAddr("192.0.2.100")) && !netip.MustParseAddr("192.0.2.199").Less(a)
}

func rescueServer(events *recorder) *pxe.Server {
	return &pxe.Server{
		Networks: []pxe.Network{{Mode: dhcp.Full, Leases: &dhcp.Pool{
			First: netip.MustParseAddr("192.0.2.100"), Last: netip.MustParseAddr("192.0.2.199"),
		}}},
		Files:   medium(),
		Root:    &rootfs.HTTP{},
		Booter:  pxe.SystemRescue{Checksum: true},
		OnEvent: events.add,
	}
}

// on runs srv on a segment of its own until the test function returns.
func on(t *testing.T, srv *pxe.Server, test func(*testing.T, *pxetest.Segment)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		segment := newSegment(t)
		served := make(chan error, 1)
		sockets := segment.Sockets("192.0.2.1/24")
		go func() { served <- srv.Serve(sockets) }()
		test(t, segment)
		require.NoError(t, srv.Shutdown(t.Context()))
		require.ErrorIs(t, <-served, pxe.ErrServerClosed)
	})
}

// The unit test of somebody else's provisioning tool: no root, no sockets, no
// seconds.
func TestAStrangersProvisioningTool(t *testing.T) {
	inv := &inventory{machines: map[string]netip.Prefix{
		"02:00:00:00:00:01": netip.MustParsePrefix("192.0.2.10/24"),
	}}
	srv := &pxe.Server{
		Networks: []pxe.Network{{Mode: dhcp.Full, Leases: inv}},
		Booter:   inv, Files: medium(),
		Root: rootfs.NFS{Export: "192.0.2.9:/srv/rescue"},
	}
	synctest.Test(t, func(t *testing.T) {
		segment := pxetest.NewSegment(t)
		go srv.Serve(segment.Sockets("192.0.2.1/24"))
		got, err := segment.Machine("02:00:00:00:00:01", pxetest.UEFIx64).Boot(t.Context())
		require.NoError(t, err)
		require.Contains(t, got.Params, "archiso_nfs_srv=192.0.2.9:/srv/rescue")
		require.Equal(t, "192.0.2.10/24", got.Leases[0].Addr.String())
	})
}

func TestEveryFirmwareBootsToAVerifiedRoot(t *testing.T) {
	ask := []pxe.Stage{pxe.StageDiscover, pxe.StageBooter, pxe.StageRequest}
	load := []pxe.Stage{pxe.StageConfig, pxe.StageKernel, pxe.StageInitrd, pxe.StageLease, pxe.StageRoot}
	script := slices.Concat(ask, load)
	withLoader := slices.Concat(ask, []pxe.Stage{pxe.StageLoader}, load)
	chained := slices.Concat(ask, []pxe.Stage{pxe.StageLoader, pxe.StageDiscover, pxe.StageRequest}, load)
	// An iPXE for UEFI looks for autoexec.ipxe first, and does without.
	uefi := slices.Concat(ask, []pxe.Stage{pxe.StageLoader, pxe.StageFile, pxe.StageDiscover, pxe.StageRequest}, load)
	tests := map[string]struct {
		firmware pxetest.Firmware
		family   dhcp.Family
		loader   string
		leases   int
		stages   []pxe.Stage
	}{
		"BIOS PXE, lpxelinux": {pxetest.BIOSPXE, 0, "lpxelinux.0", 2, withLoader},
		"BIOS PXE, undionly":  {pxetest.BIOSPXE, dhcp.FamilyIPXE, "undionly.kpxe", 3, chained},
		"UEFI x64 PXE, iPXE":  {pxetest.UEFIx64, 0, "snponly.efi", 3, uefi},
		"iPXE ROM":            {pxetest.IPXEROM, 0, "boot.ipxe", 2, script},
		"iPXE ROM, lpxelinux": {pxetest.IPXEROM, dhcp.FamilyPXELinux, "lpxelinux.0", 2, withLoader},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var events recorder
			srv := rescueServer(&events)
			srv.Loader = test.family
			on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
				boot, err := segment.Machine("02:00:00:00:00:01", test.firmware).Boot(t.Context())
				require.NoError(t, err)
				require.True(t, strings.HasSuffix(boot.Loader, test.loader), boot.Loader)
				require.True(t, boot.Root.Verified)
				require.Equal(t, "rescue", boot.Entry)
				require.Len(t, boot.Leases, test.leases)
				require.True(t, inPool(boot.Leases[0].Addr.Addr()), boot.Leases[0].Addr)
				for _, lease := range boot.Leases {
					require.Equal(t, boot.Leases[0].Addr, lease.Addr, "one address over the whole boot")
				}
				require.Len(t, boot.Initrds, 3)
			})
			require.Equal(t, test.stages, events.begun())
			for _, name := range []string{test.loader, "sysresccd/boot/x86_64/vmlinuz", "sysresccd/x86_64/airootfs.sfs"} {
				require.True(t, events.delivered()[name], "%s in %v", name, events.delivered())
			}
			var ids []string
			for _, e := range events.all() {
				require.Equal(t, "02:00:00:00:00:01", e.Machine.String(), "%s", e)
				require.Empty(t, e.Drop, "%s", e)
				if !slices.Contains(ids, e.Boot) {
					ids = append(ids, e.Boot)
				}
			}
			require.Len(t, ids, 1, "one boot has one ID")
			require.Empty(t, srv.Drops())
		})
	}
}

func TestTheBooterIsAskedOncePerBoot(t *testing.T) {
	var events recorder
	srv := rescueServer(&events)
	var asked []string
	srv.Booter = pxe.BooterFunc(func(ctx context.Context, m *pxe.Machine) (*bootcfg.Menu, error) {
		asked = append(asked, m.BootID)
		require.Equal(t, "192.0.2.1", m.ServerAddr.String())
		require.Equal(t, "http://192.0.2.1/~"+m.BootID+"/", m.Root.String())
		require.Equal(t, dhcp.PXE, m.Kind)
		return pxe.SystemRescue{Checksum: true}.Boot(ctx, m)
	})
	on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
		machine := segment.Machine("02:00:00:00:00:01", pxetest.UEFIx64)
		for range 2 {
			_, err := machine.Boot(t.Context())
			require.NoError(t, err)
		}
	})
	require.Len(t, asked, 2)
	require.NotEqual(t, asked[0], asked[1])
}

func TestAMachineWithNothingToBootStillGetsItsAddress(t *testing.T) {
	var events recorder
	srv := rescueServer(&events)
	srv.Booter = pxe.BooterFunc(func(context.Context, *pxe.Machine) (*bootcfg.Menu, error) { return nil, nil })
	offered := false
	srv.OnEvent = func(e pxe.Event) {
		offered = offered || e.Stage == pxe.StageOffer && inPool(e.Addr)
	}
	on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
		boot, err := segment.Machine("02:00:00:00:00:01", pxetest.BIOSPXE).Boot(t.Context())
		require.ErrorContains(t, err, "boot file")
		require.Empty(t, boot.Files)
	})
	require.True(t, offered)
}

func TestABooterThatFailsOrHangsIsAskedAgainWhenTheMachineIs(t *testing.T) {
	for name, broken := range map[string]func(context.Context) error{
		"fails": func(context.Context) error { return errors.New("the inventory is away") },
		"hangs": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			var events recorder
			srv := rescueServer(&events)
			times := 0
			srv.Booter = pxe.BooterFunc(func(ctx context.Context, m *pxe.Machine) (*bootcfg.Menu, error) {
				if times++; times <= 2 {
					return nil, broken(ctx)
				}
				return pxe.SystemRescue{}.Boot(ctx, m)
			})
			on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
				begin := time.Now()
				boot, err := segment.Machine("02:00:00:00:00:01", pxetest.BIOSPXE).Boot(t.Context())
				require.NoError(t, err)
				require.NotEmpty(t, boot.Root.SHA512)
				require.Less(t, time.Since(begin), time.Minute)
			})
			require.Equal(t, 3, times)
			failures := 0
			for _, e := range events.all() {
				if e.Stage == pxe.StageBooter && e.Err != nil {
					failures++
				}
			}
			require.Equal(t, 2, failures, "the operator is told")
		})
	}
}

func TestAMissingLoaderIsNamedWithTheRemedy(t *testing.T) {
	var events recorder
	srv := rescueServer(&events)
	files := medium()
	delete(files, "snponly.efi")
	srv.Files = files
	on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
		_, err := segment.Machine("02:00:00:00:00:01", pxetest.UEFIx64).Boot(t.Context())
		require.Error(t, err)
	})
	var told error
	for _, e := range events.all() {
		if e.Stage == pxe.StageLoader {
			told = e.Err
		}
	}
	require.ErrorContains(t, told, "snponly.efi")
	require.ErrorContains(t, told, "ipxe.efi")
	require.ErrorContains(t, told, "install one or add it to Files")
}

func TestAMenuThatCannotBeWrittenIsAnErrorAndNoBrokenScript(t *testing.T) {
	var events recorder
	srv := rescueServer(&events)
	srv.Booter = pxe.BooterFunc(func(context.Context, *pxe.Machine) (*bootcfg.Menu, error) {
		return &bootcfg.Menu{Entries: []bootcfg.Entry{{Name: "evil", Kernel: "vmlinuz", Params: []string{"a=1\nkernel evil"}}}}, nil
	})
	on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
		boot, err := segment.Machine("02:00:00:00:00:01", pxetest.IPXEROM).Boot(t.Context())
		require.Error(t, err)
		require.Empty(t, boot.Files)
	})
	for _, e := range events.all() {
		if e.Stage == pxe.StageBooter && e.Done {
			require.ErrorContains(t, e.Err, "Booter's menu")
		}
	}
}

func TestFilesMadeForOneMachineReachThatMachineOnly(t *testing.T) {
	var events recorder
	srv := rescueServer(&events)
	srv.Booter = pxe.BooterFunc(func(_ context.Context, m *pxe.Machine) (*bootcfg.Menu, error) {
		menu, err := bootcfg.SystemRescue{
			Initrds: []string{"sysresccd/boot/x86_64/sysresccd.img", "own.img"},
		}.Menu(m.Root)
		if err != nil || m.HardwareAddr[5] != 1 {
			return menu, err
		}
		menu.Files = map[string][]byte{"own.img": []byte("a key")}
		return menu, nil
	})
	on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
		boot, err := segment.Machine("02:00:00:00:00:01", pxetest.IPXEROM).Boot(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, len("a key"), boot.Initrds[1].Size)
		_, err = segment.Machine("02:00:00:00:00:02", pxetest.IPXEROM).Boot(t.Context())
		require.ErrorContains(t, err, "own.img", "the other machine's menu names it, and it has none")
	})
}

func TestAHundredMachinesBootAtOnce(t *testing.T) {
	var events recorder
	srv := rescueServer(&events)
	on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
		var group sync.WaitGroup
		var mu sync.Mutex
		seen := make(map[netip.Prefix]bool)
		for n := range 100 {
			mac := "02:00:00:00:01:" + hex.EncodeToString([]byte{byte(n)})
			machine := segment.Machine(mac, []pxetest.Firmware{pxetest.BIOSPXE, pxetest.UEFIx64, pxetest.IPXEROM}[n%3])
			group.Go(func() {
				boot, err := machine.Boot(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if seen[boot.Leases[0].Addr] {
					t.Errorf("%s was given twice", boot.Leases[0].Addr)
				}
				seen[boot.Leases[0].Addr] = true
			})
		}
		group.Wait()
		require.Len(t, seen, 100)
	})
}
