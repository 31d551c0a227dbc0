package pxe_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/bootcfg"
	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/dhcp/pxetest"
)

// grubServer is rescueServer with the boot loaders that distributions publish.
func grubServer(events *recorder) *pxe.Server {
	srv := rescueServer(events)
	srv.Files = besideServer(events, dhcp.Full).Files
	return srv
}

// forARM64 is SystemRescue on a medium for 64-bit ARM.
func forARM64(ctx context.Context, m *pxe.Machine) (*bootcfg.Menu, error) {
	menu, err := pxe.SystemRescue{Checksum: true, Initrds: []string{"sysresccd/boot/x86_64/sysresccd.img"}}.Boot(ctx, m)
	if err != nil {
		return nil, err
	}
	for i := range menu.Entries {
		e := &menu.Entries[i]
		e.Kernel = strings.ReplaceAll(e.Kernel, "x86_64", "aarch64")
		for _, names := range [][]string{e.Initrds, e.RootFiles} {
			for i, name := range names {
				names[i] = strings.ReplaceAll(name, "x86_64", "aarch64")
			}
		}
	}
	return menu, nil
}

// via returns by which services a file was sent whole.
func (r *recorder) via(name string) []string {
	var services []string
	for _, e := range r.all() {
		if e.Name == name && e.Done && e.Err == nil && !e.Aborted && e.Bytes == e.Size && !slices.Contains(services, e.Via) {
			services = append(services, e.Via)
		}
	}
	return services
}

func TestGRUBBootsToAVerifiedRoot(t *testing.T) {
	ask := []pxe.Stage{pxe.StageDiscover, pxe.StageBooter, pxe.StageRequest, pxe.StageLoader}
	load := []pxe.Stage{pxe.StageConfig, pxe.StageKernel, pxe.StageInitrd, pxe.StageLease, pxe.StageRoot}
	// Shim asks for revocations, which are no part of any boot loader's package.
	signed := slices.Concat(ask, []pxe.Stage{pxe.StageFile, pxe.StageLoader}, load)
	x64, arm64 := "sysresccd/boot/x86_64/", "sysresccd/boot/aarch64/"
	tests := map[string]struct {
		firmware pxetest.Firmware
		family   dhcp.Family
		booter   pxe.Booter
		loaders  []string
		config   string
		medium   string
		via      string // the service that the kernel comes by
		stages   []pxe.Stage
		probes   []string // further files that are not there
	}{
		"UEFI x64, signed": {
			pxetest.UEFIx64, dhcp.FamilyGRUB, pxe.SystemRescue{Checksum: true},
			[]string{"shimx64.efi", "grubx64.efi"}, "/grub/grub.cfg", x64, "tftp", signed,
			[]string{"revocations_sku.efi", "/grub/x86_64-efi/command.lst"},
		},
		"UEFI IA32, unsigned": {
			pxetest.UEFIIA32, dhcp.FamilyGRUB, pxe.SystemRescue{Checksum: true},
			[]string{"grubia32.efi"}, "/grub/grub.cfg-01-02-00-00-00-00-01", x64, "http", slices.Concat(ask, load),
			[]string{"/grub/i386-efi/fs.lst"},
		},
		"UEFI ARM64, signed": {
			pxetest.UEFIARM64, 0, pxe.BooterFunc(forARM64),
			[]string{"shimaa64.efi", "grubaa64.efi"}, "/grub/grub.cfg", arm64, "tftp", signed,
			[]string{"shim_certificate_0.efi", "/grub/arm64-efi/terminal.lst"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var events recorder
			srv := grubServer(&events)
			srv.Loader, srv.Booter = test.family, test.booter
			on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
				boot, err := segment.Machine("02:00:00:00:00:01", test.firmware).Boot(t.Context())
				require.NoError(t, err)
				require.Equal(t, test.loaders[0], boot.Loader)
				require.Equal(t, test.config, boot.Config)
				require.Equal(t, "rescue", boot.Entry)
				require.True(t, boot.Root.Verified)
				require.Contains(t, boot.Root.URL, map[string]string{x64: "/x86_64/", arm64: "/aarch64/"}[test.medium])
				require.Contains(t, boot.Params, "BOOTIF=01-02-00-00-00-00-01")
				require.Len(t, boot.Leases, 2, "the firmware's and the initramfs's")
				for _, name := range test.probes {
					require.Contains(t, boot.Missing, name)
				}
			})
			require.Equal(t, test.stages, events.begun())
			for _, name := range test.loaders {
				require.Equal(t, []string{"tftp"}, events.via(name), name)
			}
			require.Equal(t, []string{test.via}, events.via(test.medium+"vmlinuz"))
			require.Equal(t, []string{test.via}, events.via(test.medium+"sysresccd.img"))
			require.Equal(t, test.via == "http", slices.Equal(events.via("grub/http.cfg"), []string{"http"}), "only a GRUB with HTTP can ask")
			checkOneBoot(t, &events)
			require.Empty(t, srv.Drops())
		})
	}
}

// checkOneBoot wants all that happened to be of one machine's one boot, and nothing
// to have failed but probes.
func checkOneBoot(t *testing.T, events *recorder) {
	t.Helper()
	ids := make(map[string]bool)
	for _, e := range events.all() {
		require.Equal(t, "02:00:00:00:00:01", e.Machine.String(), "%s", e)
		require.Empty(t, e.Drop, "%s", e)
		if e.Err != nil {
			require.ErrorIs(t, e.Err, fs.ErrNotExist, "%s", e)
			require.Contains(t, []pxe.Stage{pxe.StageFile, pxe.StageLoader}, e.Stage, "%s", e)
		}
		ids[e.Boot] = true
	}
	require.Len(t, ids, 1, "one boot has one ID")
}

func TestMachinesGetTheirOwnConfigurationUnderOneName(t *testing.T) {
	var events recorder
	srv := grubServer(&events)
	srv.Loader = dhcp.FamilyGRUB
	srv.Booter = pxe.BooterFunc(func(ctx context.Context, m *pxe.Machine) (*bootcfg.Menu, error) {
		menu, err := pxe.SystemRescue{Checksum: true}.Boot(ctx, m)
		if err == nil {
			menu.Entries[0].Params = append(menu.Entries[0].Params, "hostname="+strings.ReplaceAll(m.HardwareAddr.String(), ":", "-"))
		}
		return menu, err
	})
	on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
		var group sync.WaitGroup
		boots := make([]*pxetest.Boot, 2)
		errs := make([]error, 2)
		for i, mac := range []string{"02:00:00:00:00:01", "02:00:00:00:00:02"} {
			machine := segment.Machine(mac, pxetest.UEFIx64)
			group.Go(func() { boots[i], errs[i] = machine.Boot(t.Context()) })
		}
		group.Wait()
		require.NoError(t, errors.Join(errs...))
		for i, own := range []string{"hostname=02-00-00-00-00-01", "hostname=02-00-00-00-00-02"} {
			require.Equal(t, "/grub/grub.cfg", boots[i].Config)
			require.Contains(t, boots[i].Params, own)
		}
	})
	// Both configurations were asked for under the name; who asks decides.
	given := make(map[string]netip.Addr)
	for _, e := range events.all() {
		if e.Stage == pxe.StageConfig && e.Done && e.Err == nil {
			require.Equal(t, "/grub/grub.cfg", "/"+strings.TrimPrefix(e.Name, "/"))
			given[e.Machine.String()] = e.Addr
		}
	}
	require.Len(t, given, 2)
	require.NotEqual(t, given["02:00:00:00:00:01"], given["02:00:00:00:00:02"])
}

func TestAKernelThatIsMissingIsTriedAgainAndNamed(t *testing.T) {
	var events recorder
	srv := grubServer(&events)
	srv.Loader = dhcp.FamilyGRUB
	srv.Booter = pxe.SystemRescue{BaseDir: "other"}
	on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
		_, err := segment.Machine("02:00:00:00:00:01", pxetest.UEFIx64).Boot(t.Context())
		require.ErrorContains(t, err, "other/boot/x86_64/vmlinuz")
		require.ErrorIs(t, err, fs.ErrNotExist)
	})
	told := 0
	for _, e := range events.all() {
		if e.Stage == pxe.StageKernel && e.Done {
			require.ErrorIs(t, e.Err, fs.ErrNotExist)
			told++
		}
	}
	require.Equal(t, 3, told, "the operator is told each time that the entry is tried")
}

// missingAtFirst is a source in which a file is not there the first times that it is
// opened.
type missingAtFirst struct {
	asset.FileSource
	name  string
	times atomic.Int32
}

func (f *missingAtFirst) OpenFile(ctx context.Context, name string) (asset.File, error) {
	if name == f.name && f.times.Add(-1) >= 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return f.FileSource.OpenFile(ctx, name)
}

// A kernel that is loaded is not loaded again: GRUB on x86 would start the second one
// without its command line.
func TestS007_GRUBTriesAgainWhatFailed(t *testing.T) {
	for _, test := range []struct {
		name    string
		times   int32
		kernels int
	}{
		{"sysresccd.img", 1, 1},
		{"sysresccd.img", 2, 1},
		{"vmlinuz", 2, 3},
	} {
		for _, firmware := range []pxetest.Firmware{pxetest.UEFIIA32, pxetest.UEFIx64} {
			t.Run(fmt.Sprintf("%s %d %v", test.name, test.times, firmware), func(t *testing.T) {
				var events recorder
				srv := grubServer(&events)
				srv.Loader = dhcp.FamilyGRUB
				files := &missingAtFirst{FileSource: srv.Files, name: "sysresccd/boot/x86_64/" + test.name}
				files.times.Store(test.times)
				srv.Files = files
				on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
					boot, err := segment.Machine("02:00:00:00:00:01", firmware).Boot(t.Context())
					require.NoError(t, err)
					require.Contains(t, boot.CommandLine, "/vmlinuz archisobasedir=sysresccd ")
					require.True(t, boot.Root.Verified)
				})
				kernels, failed := 0, int32(0)
				for _, e := range events.all() {
					if e.Stage == pxe.StageKernel && e.Done {
						kernels++
					}
					if strings.HasSuffix(e.Name, test.name) && e.Err != nil {
						failed++
					}
				}
				require.Equal(t, test.times, failed)
				require.Equal(t, test.kernels, kernels)
			})
		}
	}
}

func TestGRUBGoesOnToTheDisk(t *testing.T) {
	var events recorder
	srv := grubServer(&events)
	srv.Loader = dhcp.FamilyGRUB
	on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
		machine := segment.Machine("02:00:00:00:00:01", pxetest.UEFIx64)
		machine.Choose = "local"
		boot, err := machine.Boot(t.Context())
		require.NoError(t, err)
		require.True(t, boot.Local)
	})
	require.NotContains(t, events.begun(), pxe.StageKernel)
}
