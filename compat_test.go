package pxe_test

import (
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/dhcp/pxetest"
)

// One machine of many needs to be told in another way: the others must not notice.
func TestC001_OneMachineIsToldInAnotherStyle(t *testing.T) {
	var events recorder
	srv := rescueServer(&events)
	srv.Treat = func(m *pxe.Machine) (treatment pxe.Treatment) {
		if m.HardwareAddr.String() == "02:00:00:00:00:02" {
			treatment.Style = dhcp.StylePlain
		}
		return treatment
	}
	var mu sync.Mutex
	offers := make(map[string]*dhcpv4.DHCPv4) // the firmware's, the first of each boot
	synctest.Test(t, func(t *testing.T) {
		segment := newSegment(t)
		judged := judge(t)
		segment.Tap(func(f pxetest.Frame) bool {
			judged(f)
			if p, err := dhcpv4.FromBytes(f.Payload); err == nil && p.MessageType() == dhcpv4.MessageTypeOffer {
				mu.Lock()
				defer mu.Unlock()
				if mac := p.ClientHWAddr.String(); offers[mac] == nil {
					offers[mac] = p
				}
			}
			return true
		})
		served := make(chan error, 1)
		sockets := segment.Sockets("192.0.2.1/24")
		go func() { served <- srv.Serve(sockets) }()
		for _, mac := range []string{"02:00:00:00:00:01", "02:00:00:00:00:02"} {
			boot, _ := segment.Machine(mac, pxetest.BIOSPXE).Boot(t.Context())
			require.NotEmpty(t, boot.Leases)
		}
		require.NoError(t, srv.Close())
		<-served
	})
	usual, plain := offers["02:00:00:00:00:01"], offers["02:00:00:00:00:02"]
	require.Equal(t, "PXEClient", string(usual.Options[60]))
	require.Equal(t, "\x06\x01\x08\xff", string(usual.Options[43]))
	require.NotContains(t, plain.Options, uint8(60))
	require.NotContains(t, plain.Options, uint8(43))
	for _, p := range offers {
		require.Equal(t, "lpxelinux.0", p.BootFileName)
	}
}

func TestC012_AutoexecIsServedOrCleanlyMissing(t *testing.T) {
	own := "#!ipxe\ndhcp || shell\nkernel sysresccd/boot/x86_64/vmlinuz own\nboot\n"
	for name, script := range map[string]string{"there": own, "not there": ""} {
		t.Run(name, func(t *testing.T) {
			var events recorder
			srv := rescueServer(&events)
			if script != "" {
				srv.Files.(asset.Memory)["autoexec.ipxe"] = []byte(script)
			}
			on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
				boot, err := segment.Machine("02:00:00:00:00:01", pxetest.UEFIx64).Boot(t.Context())
				require.NoError(t, err)
				require.Equal(t, script != "", strings.HasSuffix(boot.Config, "autoexec.ipxe"), boot.Config)
				require.Equal(t, script == "", boot.Root.Verified, "without it the boot goes on")
				require.Equal(t, script == "", len(boot.Missing) > 0, "%q", boot.Missing)
			})
			var missed []error
			for _, e := range events.all() {
				if e.Name == "autoexec.ipxe" && e.Err != nil {
					missed = append(missed, e.Err)
				}
			}
			require.Equal(t, script == "", len(missed) > 0)
			for _, err := range missed {
				require.ErrorIs(t, err, fs.ErrNotExist, "the ordinary answer, by which an operator tells it from failures")
			}
			require.Equal(t, script != "", events.delivered()["autoexec.ipxe"])
			require.Empty(t, srv.Drops())
		})
	}
}

func TestC014_ASizeProbeIsNoFailureToWhoeverWatches(t *testing.T) {
	var events recorder
	srv := rescueServer(&events)
	on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
		_, err := segment.Machine("02:00:00:00:00:01", pxetest.UEFIx64).Boot(t.Context())
		require.NoError(t, err)
	})
	probes := 0
	for _, e := range events.all() {
		if e.Stage == pxe.StageLoader && e.Aborted {
			probes++
			require.NoError(t, e.Err)
			require.True(t, e.Done)
			require.NotZero(t, e.Size)
		}
	}
	require.Equal(t, 1, probes, "EDK2 asks for the size and breaks off")
	require.True(t, events.delivered()["snponly.efi"], "and then loads the file")
	require.Empty(t, srv.Drops())
}

func TestC015_NoPathHasAColon(t *testing.T) {
	for _, c := range []struct {
		firmware pxetest.Firmware
		family   dhcp.Family
		config   string
	}{
		{pxetest.BIOSPXE, 0, "pxelinux.cfg/"}, {pxetest.BIOSPXE, dhcp.FamilyIPXE, "boot.ipxe"},
		{pxetest.UEFIx64, dhcp.FamilyGRUB, "grub"}, {pxetest.UEFIx64HTTP, 0, "boot.ipxe"}, {pxetest.IPXEROM, 0, "boot.ipxe"},
	} {
		t.Run(fmt.Sprint(c.firmware, c.family), func(t *testing.T) {
			var events recorder
			srv := besideServer(&events, dhcp.Full)
			srv.Networks = rescueServer(&events).Networks
			srv.Loader = c.family
			on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
				boot, err := segment.Machine("02:00:00:00:00:01", c.firmware).Boot(t.Context())
				require.NoError(t, err)
				require.Contains(t, boot.Config, c.config)
				names := boot.Missing
				for _, file := range boot.Files {
					names = append(names, file.Name)
				}
				require.NotEmpty(t, names)
				for _, name := range append(names, boot.Root.URL) {
					u, err := url.Parse(name)
					require.NoError(t, err)
					require.NotContains(t, u.Path, ":", name)
				}
			})
			for _, e := range events.all() {
				if e.Via == "tftp" || e.Via == "http" {
					require.NotContains(t, e.Name, ":", "%s", e)
				}
			}
		})
	}
}
