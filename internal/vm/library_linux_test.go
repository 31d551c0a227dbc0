package vm

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/dhcp"
)

// library is a server that the test embeds, and what it said. The other boots use
// examples/appliance.
type library struct {
	*pxe.Server
	mu   sync.Mutex
	said []pxe.Event
}

// startLibrary serves on the segment until the test ends. Of srv it sets the network,
// unless that is there, and listens to the events before OnEvent does; with httpOff
// nothing is served by HTTP.
func startLibrary(t *testing.T, ctx context.Context, s *segment, srv *pxe.Server, httpOff bool) *library {
	t.Helper()
	l := &library{Server: srv}
	if srv.Networks == nil {
		srv.Networks = []pxe.Network{{
			Interface: s.Interface(), Addr: s.Addr(), Mode: dhcp.Full,
			Leases: &dhcp.Pool{First: netip.MustParseAddr("192.0.2.100"), Last: netip.MustParseAddr("192.0.2.199")},
		}}
	}
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
	if httpOff {
		require.NoError(t, sockets.HTTP.Close())
		sockets.HTTP = nil
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(sockets) }()
	t.Cleanup(func() {
		require.NoError(t, srv.Close())
		require.ErrorIs(t, <-served, pxe.ErrServerClosed)
	})
	return l
}

// events returns what was said so far, all of it about the one machine.
func (l *library) events(t *testing.T) []pxe.Event {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.said {
		require.Equal(t, "02:00:00:00:00:01", e.Machine.String(), "%v", e)
	}
	return slices.Clone(l.said)
}

// String is what was said so far, an event a line.
func (l *library) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	for _, e := range l.said {
		fmt.Fprintln(&b, e)
	}
	return b.String()
}
