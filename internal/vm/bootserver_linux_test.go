package vm

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/dhcp"
)

// bootServerCase is a machine that another DHCP server sends to us: we have port 4011
// alone.
type bootServerCase struct {
	firmware Firmware
	// grub is an image that the server has as grub-own.efi, for its firmware.
	grub *GRUBImage
	// loader is the file that it is told of at port 4011, as a pattern.
	loader string
}

// boot boots it beside a dnsmasq that has been told what DHCPHint writes.
func (c bootServerCase) boot(t *testing.T, ctx context.Context) time.Duration {
	s := newSegment(t, ctx)
	watch := watchDHCP(t, s)
	ours := s.Addr().Addr()
	lines, err := pxe.DHCPHint{Mode: dhcp.BootServer, ServerAddr: ours}.DnsmasqLines()
	require.NoError(t, err)
	var options []string
	for _, line := range strings.Fields(lines) {
		options = append(options, "--"+line)
	}
	startDnsmasq(t, ctx, s, options)

	srv := rescueServer(t, s.medium)
	srv.Networks = []pxe.Network{{Interface: s.Interface(), Addr: s.Addr(), Mode: dhcp.BootServer}}
	if c.grub != nil {
		srv.Loaders = withGRUBx64().Loaders
		srv.Files = asset.Overlay(asset.Memory{"grub-own.efi": c.grub.read(t, ctx)}, srv.Files)
	}
	l := serveLibrary(t, ctx, srv, nil)
	nic := s.nic(1)
	m := s.boot(t, ctx, Machine{Firmware: c.firmware, NICs: []NIC{nic}})

	address := see(t, ctx, m, `PXEKIT ip (\S+)`)[1]
	got := netip.MustParseAddr(address)
	require.False(t, got.Less(otherFirst) || otherLast.Less(got), "%s is no address of dnsmasq's", got)
	see(t, ctx, m, `PXEKIT fetched http://192\.0\.2\.1/~\S+/airootfs\.sfs \d+`)
	see(t, ctx, m, `PXEKIT checksum ok`)
	checked, match, err := m.Console.WaitFor(ctx, `PXEKIT root-content ok (\S+)`)
	require.NoError(t, err)
	require.Equal(t, s.medium.Content, match[1])
	see(t, ctx, m, `PXEKIT up`)

	answers, _ := watch.by(ours)
	require.NotEmpty(t, answers)
	for _, a := range answers {
		require.EqualValues(t, 4011, a.from.Port(), a.Summary())
		require.Equal(t, "0.0.0.0", a.YourIPAddr.String(), a.Summary())
	}
	require.Regexp(t, c.loader, answers[0].BootFileNameOption())
	came := map[pxe.Stage]bool{}
	events := l.of(nic.HardwareAddr.String())
	for _, e := range events {
		require.NotEqual(t, pxe.StageDiscover, e.Stage, "port 67 is another server's: %v", e)
		if e.Done && e.Err == nil && !e.Aborted {
			require.Equal(t, got, e.Addr, "%v", e)
			came[e.Stage] = true
		}
	}
	for _, stage := range []pxe.Stage{pxe.StageACK, pxe.StageConfig, pxe.StageKernel, pxe.StageInitrd, pxe.StageRoot} {
		require.True(t, came[stage], "no %s", stage)
	}
	require.Equal(t, c.grub != nil, slices.ContainsFunc(events, func(e pxe.Event) bool { return e.Name == "grub-own.efi" && e.Done && !e.Aborted }))
	return checked.At
}
