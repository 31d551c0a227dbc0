package vm

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/dhcp"
)

// diskCase is a way to a machine's local disk.
type diskCase struct {
	name     string
	firmware Firmware
	loader   dhcp.Family   // zero: the server chooses iPXE
	missing  func() string // nil: nothing can be
	// once has the machine boot from the network first, and nothing after that; else
	// it is given a menu with the local disk.
	once bool
	// disturbed has packets come twice and in another order.
	disturbed bool
}

// UEFI firmware that is told nothing passes the time with the other ways to boot from
// the network, for minutes.
var diskCases = []diskCase{
	{name: "bios-once", firmware: BIOS, once: true},
	{name: "bios-once-disturbed", firmware: BIOS, once: true, disturbed: true, missing: MissingDuplication},
	{name: "bios-ipxe", firmware: BIOS},
	{name: "bios-pxelinux", firmware: BIOS, loader: dhcp.FamilyPXELinux},
	{name: "uefi-x64-ipxe", firmware: UEFIx64, missing: GRUBx64.Missing},
	{name: "uefi-x64-grub", firmware: UEFIx64, loader: dhcp.FamilyGRUB, missing: GRUBx64.Missing},
}

// diskArrangements are the cases as the matrix runs them.
func diskArrangements() []arrangement {
	var all []arrangement
	for _, c := range diskCases {
		menu := dhcp.FamilyIPXE
		if c.loader != 0 {
			menu = c.loader
		}
		what := "the local disk, by the menu of " + menu.String()
		if c.once {
			what = "once over the network, then the local disk"
		}
		if c.disturbed {
			what += ", with packets that come twice and out of order"
		}
		all = append(all, arrangement{name: c.name, what: what, firmware: c.firmware, missing: c.missing, boot: c.boot})
	}
	return all
}

// boot boots a machine from its local disk, by the menu or by telling it nothing
// after a boot over the network.
func (c diskCase) boot(t *testing.T, ctx context.Context) time.Duration {
	s := newSegment(t, ctx)
	machine := Machine{Firmware: c.firmware, NICs: []NIC{s.nic(1)}, Disk: localDiskFor(t, ctx, c.firmware)}
	srv := rescueServer(t, s.medium)
	srv.Networks = []pxe.Network{s.network()}
	srv.Loader = c.loader
	if c.loader == dhcp.FamilyGRUB {
		srv.Files = withGRUB(t, ctx, s.medium)
	}
	if c.once {
		return bootOnceThenDisk(t, ctx, s, c, srv, machine)
	}
	srv.Booter = pxe.LocalDisk{}
	l := serveLibrary(t, ctx, srv, nil)
	line, _, err := s.boot(t, ctx, machine).Console.WaitFor(ctx, localDisk)
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(l.events(t), func(e pxe.Event) bool {
		return e.Stage == pxe.StageConfig && e.Done && e.Err == nil
	}), "it was by the menu")
	return line.At
}

// bootOnceThenDisk boots the machine over the network, and switches it off and on
// again: then the server has nothing for it.
func bootOnceThenDisk(t *testing.T, ctx context.Context, s *segment, c diskCase, srv *pxe.Server, machine Machine) time.Duration {
	t.Helper()
	hw := machine.NICs[0].HardwareAddr
	once := &pxe.BootOnce{Once: srv.Booter}
	require.NoError(t, once.Mark(ctx, hw, time.Time{}))
	srv.Booter = once
	var change func(*pxe.Sockets)
	if c.disturbed {
		require.NoError(t, s.Duplicate(ctx))
		change = func(sockets *pxe.Sockets) { sockets.DHCP = disturb(sockets.DHCP, 4) }
	}
	l := serveLibrary(t, ctx, srv, change)

	first := s.boot(t, ctx, machine)
	_, took := checkBooted(t, ctx, l, first, machine.NICs[0], "192.0.2.0/24", "192.0.2.1", s.medium.Content)
	_, marked, err := once.Marked(ctx, hw)
	require.NoError(t, err)
	require.False(t, marked)
	require.NoError(t, first.Stop())
	before := len(l.of(""))

	line, _, err := s.boot(t, ctx, machine).Console.WaitFor(ctx, localDisk)
	require.NoError(t, err)
	later := l.of("")[before:]
	require.NotEmpty(t, later)
	for _, e := range later {
		require.NotContains(t, []pxe.Stage{pxe.StageLoader, pxe.StageConfig, pxe.StageKernel, pxe.StageInitrd, pxe.StageRoot}, e.Stage, "%v", e)
	}
	return took + line.At
}

// localDiskFor makes a disk that the firmware can boot.
func localDiskFor(t *testing.T, ctx context.Context, firmware Firmware) string {
	t.Helper()
	if firmware == BIOS {
		disk, err := BIOSDisk(t.TempDir())
		require.NoError(t, err)
		return disk
	}
	disk, err := UEFIDisk(ctx, t.TempDir())
	require.NoError(t, err)
	return disk
}

// withGRUB is the medium, and a GRUB for 64-bit UEFI.
func withGRUB(t *testing.T, ctx context.Context, medium *Medium) asset.FileSource {
	t.Helper()
	image, err := GRUBx64.Build(ctx, "")
	require.NoError(t, err)
	loader, err := os.ReadFile(image)
	require.NoError(t, err)
	dir, err := asset.Dir(medium.Tree)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dir.Close()) })
	return asset.Overlay(dir, asset.Memory{"grubx64.efi": loader})
}

// TestLocalDiskImages looks at the disks themselves: a BIOS starts a sector with this
// mark only, and UEFI firmware looks for that file.
func TestLocalDiskImages(t *testing.T) {
	name, err := BIOSDisk(t.TempDir())
	require.NoError(t, err)
	image, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, []byte{0x55, 0xaa}, image[510:512])
	require.Len(t, bootSector, 0x21, "the code says where the text is")
	_, err = diskArguments(filepath.Join(t.TempDir(), "none"), 1)
	require.ErrorIs(t, err, os.ErrNotExist)
}
