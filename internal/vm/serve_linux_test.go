package vm

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/rootfs"
)

// rescueServer is a server of the medium, by iPXE's script and with the root file
// system by HTTP, that lacks its networks.
func rescueServer(t *testing.T, medium *Medium) *pxe.Server {
	t.Helper()
	iso, err := asset.OpenISO(medium.ISO)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, iso.Close()) })
	return &pxe.Server{
		Files:  asset.Overlay(iso, asset.MediumLoaders(iso), asset.SystemLoaders()),
		Root:   rootfs.HTTP{},
		Booter: pxe.SystemRescue{Checksum: true, Extra: []string{"console=ttyS0", "quiet"}, Timeout: time.Second},
	}
}

// network is the segment as a full server has it.
func (s *segment) network() pxe.Network {
	return pxe.Network{
		Interface: s.Interface(), Addr: s.Addr(), Mode: dhcp.Full,
		Leases: &dhcp.Pool{First: netip.MustParseAddr("192.0.2.100"), Last: netip.MustParseAddr("192.0.2.199")},
	}
}

// serveLibrary serves until the test ends, on the networks that srv names; change may
// exchange sockets before. It listens to the events before srv's OnEvent does.
func serveLibrary(t *testing.T, ctx context.Context, srv *pxe.Server, change func(*pxe.Sockets)) *library {
	t.Helper()
	l := &library{Server: srv}
	next := srv.OnEvent
	srv.OnEvent = func(e pxe.Event) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.said = append(l.said, e)
		if next != nil {
			next(e)
		}
	}
	sockets, err := srv.Listen(ctx)
	require.NoError(t, err)
	if change != nil {
		change(&sockets)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(sockets) }()
	t.Cleanup(func() {
		require.NoError(t, srv.Close())
		require.ErrorIs(t, <-served, pxe.ErrServerClosed)
		if t.Failed() || testing.Verbose() {
			var lines strings.Builder
			for _, e := range l.of("") {
				fmt.Fprintln(&lines, e)
			}
			t.Logf("library:\n%s", &lines)
		}
	})
	return l
}

// of returns what was said so far about one machine, or about all for "".
func (l *library) of(machine string) []pxe.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.said), func(e pxe.Event) bool {
		return machine != "" && e.Machine.String() != machine
	})
}

// need skips the test when that line says that something is missing, and fails it in
// CI.
func need(t *testing.T, missing string) {
	t.Helper()
	if missing == "" {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("in CI this test is not skipped: " + missing)
	}
	t.Skip(missing)
}

// newNetwork makes a segment for as long as the test runs.
func newNetwork(t *testing.T, ctx context.Context, name, addr string) *Network {
	t.Helper()
	n, err := NewNetwork(ctx, name, netip.MustParsePrefix(addr))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	return n
}
