package vm

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
)

// bootGRUBAgain switches a machine off while GRUB loads its kernel by HTTP, then when
// the kernel has begun, and then boots it. GRUB begins each time with the
// same TCP ports, and cannot use one on which the server still has a connection: it
// fails to load a file after half a minute, or the server gives the connection up
// in time. Nothing may be left over of what it did not close, nor of what it closed
// with its window shut.
func bootGRUBAgain(t *testing.T, ctx context.Context) time.Duration {
	s := newSegment(t, ctx)
	srv := rescueServer(t, s.medium)
	srv.Networks = []pxe.Network{s.network()}
	srv.Loaders = withGRUBx64().Loaders
	srv.Files = asset.Overlay(asset.Memory{"grub-own.efi": GRUBx64.read(t, ctx)}, srv.Files)
	met := synChallenges(t)
	loading := make(chan struct{}, 1)
	srv.OnEvent = func(e pxe.Event) {
		if e.Stage == pxe.StageKernel && !e.Done && e.Via == "http" {
			select {
			case loading <- struct{}{}:
			default:
			}
		}
	}
	serveLibrary(t, ctx, srv, nil)

	machine := Machine{Firmware: UEFIx64, NICs: []NIC{s.nic(1)}}

	m := s.boot(t, ctx, machine)
	select {
	case <-loading:
	case <-ctx.Done():
		require.NoError(t, ctx.Err(), "no kernel was asked for\n%s", m.Console)
	}
	require.NoError(t, m.Stop())

	m = s.boot(t, ctx, machine)
	see(t, ctx, m, `PXEKIT ip (\S+)`)
	require.NoError(t, m.Stop())

	m = s.boot(t, ctx, machine)
	see(t, ctx, m, `PXEKIT checksum ok`)
	require.Contains(t, see(t, ctx, m, `PXEKIT cmdline (.*)`)[1], "archiso_http_srv=")
	checked, match, err := m.Console.WaitFor(ctx, `PXEKIT root-content ok (\S+)`)
	require.NoError(t, err)
	require.Equal(t, s.medium.Content, match[1])
	require.Equal(t, met, synChallenges(t), "a SYN met a connection that was left over")
	return checked.At
}

// synChallenges counts the SYNs that came for a connection which the system still
// has (RFC 5961 section 4.2).
func synChallenges(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/net/netstat")
	require.NoError(t, err)
	lines := strings.Split(string(text), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		if n := slices.Index(names, "TCPSYNChallenge"); n >= 0 {
			return values[n]
		}
	}
	require.Fail(t, "the system does not count them")
	return ""
}
