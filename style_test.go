package pxe_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/bootcfg"
	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/dhcp/pxetest"
)

func TestEventsTellHowFirmwareWasToldOfItsBootFile(t *testing.T) {
	for name, test := range map[string]struct {
		firmware pxetest.Firmware
		mode     dhcp.Mode
		change   func(*pxe.Server)
		want     map[pxe.Stage]dhcp.Style
	}{
		"BIOS": {pxetest.BIOSPXE, dhcp.Full, nil, map[pxe.Stage]dhcp.Style{
			pxe.StageOffer: dhcp.StyleClass | dhcp.StyleDirect, pxe.StageACK: dhcp.StyleClass | dhcp.StyleDirect}},
		"UEFI beside another server": {pxetest.UEFIx64, dhcp.Proxy, nil, map[pxe.Stage]dhcp.Style{
			pxe.StageOffer: dhcp.StyleAsk4011, pxe.StageACK: dhcp.StyleAsk4011}},
		"as Treat says": {pxetest.BIOSPXE, dhcp.Full, func(s *pxe.Server) {
			s.Treat = func(*pxe.Machine) pxe.Treatment { return pxe.Treatment{Style: dhcp.StyleClass} }
		}, map[pxe.Stage]dhcp.Style{pxe.StageOffer: dhcp.StyleClass, pxe.StageACK: dhcp.StyleClass}},
		"iPXE": {pxetest.IPXEROM, dhcp.Full, nil, nil},
		"nothing to boot": {pxetest.BIOSPXE, dhcp.Full, func(s *pxe.Server) {
			s.Booter = pxe.BooterFunc(func(context.Context, *pxe.Machine) (*bootcfg.Menu, error) { return nil, nil })
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var events recorder
			srv := rescueServer(&events)
			if test.mode != dhcp.Full {
				srv = besideServer(&events, test.mode)
			}
			if test.change != nil {
				test.change(srv)
			}
			on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
				if test.mode != dhcp.Full {
					other := segment.DHCPServer("192.0.2.2/24", "192.0.2.50", "192.0.2.59")
					other.SetDelay(time.Millisecond)
					other.SetBootFile("", netip.MustParseAddr("192.0.2.1"))
				}
				_, _ = segment.Machine("02:00:00:00:00:01", test.firmware).Boot(t.Context())
			})
			got := map[pxe.Stage]dhcp.Style{}
			offers := 0
			for _, e := range events.all() {
				if e.Style != 0 && e.Name == "pxe" {
					got[e.Stage] = e.Style
				} else {
					require.Zero(t, e.Style, "%s", e)
				}
				if e.Stage == pxe.StageOffer {
					offers++
				}
			}
			require.Positive(t, offers)
			require.Equal(t, len(test.want), len(got))
			for stage, style := range test.want {
				require.Equal(t, style, got[stage], stage)
			}
		})
	}
}
