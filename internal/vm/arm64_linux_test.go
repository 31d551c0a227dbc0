package vm

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/rootfs"
)

// bootARM64 boots a 64-bit ARM machine: its firmware's own PXE client, GRUB by TFTP,
// Debian's arm64 kernel by HTTP, and a root file system of that architecture.
func bootARM64(t *testing.T, ctx context.Context) time.Duration {
	s := newSegment(t, ctx)
	medium, err := BuildMediumFor(ctx, "", ARM64Kernel)
	require.NoError(t, err)
	image, err := GRUBARM64.Build(ctx, "")
	require.NoError(t, err)
	loader, err := os.ReadFile(image)
	require.NoError(t, err)
	iso, err := asset.OpenISO(medium.ISO)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, iso.Close()) })
	l := startLibrary(t, ctx, s, &pxe.Server{
		Files:  asset.Overlay(iso, asset.Memory{"grubaa64.efi": loader}),
		Root:   rootfs.HTTP{},
		Booter: arm64Archiso(medium),
	}, false)

	m := s.boot(t, ctx, Machine{Firmware: UEFIARM64, NICs: []NIC{s.nic(1)}})
	address := see(t, ctx, m, `PXEKIT ip (\S+)`)[1]
	see(t, ctx, m, `PXEKIT fetched http://192\.0\.2\.1/~\S+/sysresccd/aarch64/airootfs\.sfs \d+`)
	see(t, ctx, m, `PXEKIT checksum ok`)
	line := see(t, ctx, m, `PXEKIT cmdline (.*)`)[1]
	require.Contains(t, line, "archiso_http_srv=http://192.0.2.1/~")
	require.Contains(t, line, "BOOTIF=01-02-00-00-00-00-01")
	checked, match, err := m.Console.WaitFor(ctx, `PXEKIT root-content ok (\S+)`)
	require.NoError(t, err)
	require.Equal(t, medium.Content, match[1])
	require.Equal(t, address, see(t, ctx, m, `PXEKIT os-ip (\S+)`)[1])
	see(t, ctx, m, `PXEKIT up`)

	got := map[pxe.Stage][]string{}
	for _, e := range l.events(t) {
		if e.Done && e.Err == nil && !e.Aborted && e.Size > 0 && e.Bytes == e.Size {
			got[e.Stage] = append(got[e.Stage], e.Via+" "+e.Name)
		}
	}
	require.Contains(t, got[pxe.StageLoader], "tftp grubaa64.efi")
	require.NotEmpty(t, got[pxe.StageConfig])
	require.Contains(t, got[pxe.StageKernel], "http "+medium.KernelFile)
	require.Contains(t, got[pxe.StageInitrd], "http "+medium.InitrdFiles[0])
	for _, name := range medium.RootFiles {
		require.Contains(t, got[pxe.StageRoot], "http "+name)
	}
	return checked.At
}

// arm64Archiso boots the medium as an archiso of that architecture, whose hooks look
// below the machine's own name for it.
func arm64Archiso(medium *Medium) pxe.Booter {
	return pxe.Archiso{
		BaseDir: BaseDir, Arch: "aarch64", Kernel: medium.KernelFile, Initrds: medium.InitrdFiles, Checksum: true,
		Extra: []string{"console=ttyAMA0", "quiet"}, Timeout: time.Second,
	}
}
