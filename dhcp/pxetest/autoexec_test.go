package pxetest_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/dhcp/pxetest"
)

// TestAutoexec: iPXE for UEFI looks for autoexec.ipxe beside itself before it has
// an address.
func TestAutoexec(t *testing.T) {
	for _, tt := range []struct {
		name     string
		loader   string
		firmware pxetest.Firmware
		script   string // autoexec.ipxe; empty: none
		missing  []string
		config   string
		is       error
	}{
		{"absent", "ipxe.efi", pxetest.UEFIx64, "", []string{"autoexec.ipxe"}, "boot.ipxe", nil},
		{"absent beside a loader further down", "a/b/snponly.efi", pxetest.UEFIx64, "", []string{"a/b/autoexec.ipxe"}, "boot.ipxe", nil},
		{"a script for after DHCP", "ipxe.efi", pxetest.UEFIx64, "#!ipxe\nkernel vmlinuz early\nboot", nil, "", pxetest.ErrAutoexec},
		{"a menu that would ask for ever", "ipxe.efi", pxetest.UEFIx64, "#!ipxe\nmenu\nitem a\nchoose x", nil, "", pxetest.ErrAutoexec},
		{"not a script", "ipxe.efi", pxetest.UEFIx64, "dhcp\n", nil, "", pxetest.ErrAutoexec},
		{"nothing but a first line", "ipxe.efi", pxetest.UEFIx64, "#!ipxe\n", nil, "", pxetest.ErrAutoexec},
		{"a script that begins with dhcp", "ipxe.efi", pxetest.UEFIx64, "#!ipxe\n# own\ndhcp || shell\nkernel vmlinuz late\nboot", nil, "autoexec.ipxe", nil},
		{"BIOS", "undionly.kpxe", pxetest.BIOSPXE, "#!ipxe\nkernel vmlinuz early\nboot", nil, "boot.ipxe", nil},
		{"ROM", "", pxetest.IPXEROM, "#!ipxe\nkernel vmlinuz early\nboot", nil, "boot.ipxe", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				segment := pxetest.NewSegment(t)
				server := newFakeServer(t)
				server.bootFile = chain(tt.loader, "boot.ipxe")
				server.files["vmlinuz"] = []byte("kernel")
				server.files["boot.ipxe"] = []byte("#!ipxe\nkernel vmlinuz late\nboot")
				if tt.loader != "" {
					server.files[tt.loader] = []byte("loader")
				}
				if tt.script != "" {
					server.files["autoexec.ipxe"] = []byte(tt.script)
				}
				server.on(segment)
				machine := segment.Machine(mac, tt.firmware)
				var steps []string
				machine.Observe = func(s pxetest.Step) { steps = append(steps, string(s.Stage)+" "+s.Name) }
				got, err := machine.Boot(t.Context())
				require.Equal(t, tt.missing, got.Missing)
				asked := slices.ContainsFunc(server.names(), func(name string) bool { return strings.HasSuffix(name, "autoexec.ipxe") })
				require.Equal(t, tt.firmware == pxetest.UEFIx64, asked)
				if asked && err == nil {
					first := slices.IndexFunc(steps, func(s string) bool { return strings.HasSuffix(s, "autoexec.ipxe") })
					require.Less(t, first, slices.Index(steps, "discover iPXE"))
				}
				if tt.is != nil {
					require.ErrorIs(t, err, tt.is)
					var e *pxetest.Error
					require.ErrorAs(t, err, &e)
					require.Equal(t, pxetest.StageConfig, e.Stage)
					require.Len(t, got.Leases, 1, "none of iPXE's own")
					return
				}
				require.NoError(t, err)
				require.Equal(t, tt.config, got.Config)
				require.Equal(t, "late", got.CommandLine)
			})
		})
	}
}

// TestAutoexecUnanswered: the machine waits as long as firmware does, and goes on.
func TestAutoexecUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		segment := pxetest.NewSegment(t)
		prepared(t).on(segment)
		segment.Tap(func(f pxetest.Frame) bool {
			return f.Destination.Port() != 69 || !strings.Contains(string(f.Payload), "autoexec.ipxe")
		})
		got, err := segment.Machine(mac, pxetest.UEFIx64).Boot(t.Context())
		require.NoError(t, err)
		require.Empty(t, got.Missing, "nobody said so")
	})
}
