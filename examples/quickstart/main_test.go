package main

import (
	"bytes"
	"context"
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/dhcp/pxetest"
)

func TestEveryFirmwareComesUpAndTheTimelineSaysHow(t *testing.T) {
	for firmware, loader := range map[string]string{"bios": "lpxelinux.0", "uefi": ".efi", "ipxe": "request"} {
		t.Run(firmware, func(t *testing.T) {
			var out bytes.Buffer
			require.NoError(t, run(t.Context(), []string{"-firmware", firmware}, &out, io.Discard), "%s", &out)
			_, timeline, ok := strings.Cut(out.String(), "timeline, as the server saw it")
			require.True(t, ok)
			for _, stage := range []string{
				"discover", "booter", loader, "config", "vmlinuz", "sysresccd.img", "initramfs", "airootfs.sfs", "airootfs.sha512",
				"the same for", "verified   the checksum matches",
			} {
				before, after, ok := strings.Cut(timeline, stage)
				require.True(t, ok, "%s missing, or not in its order, after\n%s", stage, before)
				timeline = after
			}
			require.NotContains(t, out.String(), "\x1b", "no colours without a terminal")
			require.NotContains(t, out.String(), "failed")
		})
	}
}

func TestWhereLoopbackIsTooSmallTheLabIsInMemory(t *testing.T) {
	dir := t.TempDir()
	media, err := makeMedium(dir)
	require.NoError(t, err)
	iso, err := asset.OpenISO(media)
	require.NoError(t, err)
	defer iso.Close()
	lab := inMemory(pxetest.BIOSPXE)
	defer lab.close()
	var out bytes.Buffer
	require.NoError(t, boot(t.Context(), newScreen(&out), lab, iso), "%s", &out)
	require.Contains(t, out.String(), "the checksum matches")
}

func TestMistakesAreNamed(t *testing.T) {
	var help bytes.Buffer
	require.ErrorIs(t, run(context.Background(), []string{"-h"}, io.Discard, &help), flag.ErrHelp)
	require.Contains(t, help.String(), "-media")
	require.ErrorContains(t, run(t.Context(), []string{"-vm", "-firmware", "uefi"}, io.Discard, io.Discard), "leave it out with -vm")
	require.ErrorContains(t, run(t.Context(), []string{"-firmware", "coreboot"}, io.Discard, io.Discard), "use bios, uefi or ipxe")
	require.ErrorContains(t, run(t.Context(), []string{"vm"}, io.Discard, io.Discard), `"vm"`)
	require.ErrorContains(t, run(t.Context(), []string{"-media", "no-such.iso"}, io.Discard, io.Discard), "no-such.iso")
}
