package pxe_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/dhcp/pxetest"
)

// download begins to load a file that is too large for any buffer and returns
// its body, of which one byte was read.
func download(t *testing.T, segment *pxetest.Segment) io.ReadCloser {
	t.Helper()
	host := segment.Host("eth0", "192.0.2.50/24")
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return host.Dial(ctx, netip.MustParseAddrPort("192.0.2.1:80"))
		},
		DisableKeepAlives: true,
	}}
	response, err := client.Get("http://192.0.2.1/big")
	require.NoError(t, err)
	_, err = io.ReadFull(response.Body, make([]byte, 1))
	require.NoError(t, err)
	return response.Body
}

// withBigFile is a server of one large file that counts its events after Serve.
func withBigFile(returned *atomic.Bool, late *atomic.Int32) *pxe.Server {
	return &pxe.Server{
		Networks: []pxe.Network{{Mode: dhcp.Full, Leases: &dhcp.Pool{
			First: netip.MustParseAddr("192.0.2.100"), Last: netip.MustParseAddr("192.0.2.199"),
		}}},
		Files: asset.Memory{"big": make([]byte, 32<<20)},
		OnEvent: func(pxe.Event) {
			if returned.Load() {
				late.Add(1)
			}
		},
	}
}

func TestCloseEndsADownloadAndNothingHappensAfterServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var returned atomic.Bool
		var late atomic.Int32
		srv := withBigFile(&returned, &late)
		segment := pxetest.NewSegment(t)
		served := make(chan error, 1)
		sockets := segment.Sockets("192.0.2.1/24")
		go func() { err := srv.Serve(sockets); returned.Store(true); served <- err }()
		body := download(t, segment)
		defer body.Close()
		require.NoError(t, srv.Close())
		require.ErrorIs(t, <-served, pxe.ErrServerClosed)
		_, err := io.Copy(io.Discard, body)
		require.Error(t, err)
		synctest.Wait()
		require.Zero(t, late.Load(), "events after Serve returned")
	})
}

func TestAListenerThatBreaksEndsDownloadsAndIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var returned atomic.Bool
		var late atomic.Int32
		srv := withBigFile(&returned, &late)
		segment := pxetest.NewSegment(t)
		sockets := segment.Sockets("192.0.2.1/24")
		served := make(chan error, 1)
		go func() { served <- srv.Serve(sockets) }()
		body := download(t, segment)
		defer body.Close()
		require.NoError(t, sockets.HTTP.Close())
		require.ErrorContains(t, <-served, "HTTP service")
		_, err := io.Copy(io.Discard, body)
		require.Error(t, err, "half a file is no file")
	})
}

func TestShutdownLetsADownloadFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var returned atomic.Bool
		var late atomic.Int32
		srv := withBigFile(&returned, &late)
		segment := pxetest.NewSegment(t)
		served := make(chan error, 1)
		sockets := segment.Sockets("192.0.2.1/24")
		go func() { served <- srv.Serve(sockets) }()
		body := download(t, segment)
		defer body.Close()
		stopped := make(chan error, 1)
		go func() { stopped <- srv.Shutdown(t.Context()) }()
		time.Sleep(time.Second)
		n, err := io.Copy(io.Discard, body)
		require.NoError(t, err)
		require.EqualValues(t, 32<<20-1, n)
		require.NoError(t, <-stopped)
		require.ErrorIs(t, <-served, pxe.ErrServerClosed)
	})
}

func TestShutdownGivesUpWithItsContextAndCloseEndsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var returned atomic.Bool
		var late atomic.Int32
		srv := withBigFile(&returned, &late)
		segment := pxetest.NewSegment(t)
		served := make(chan error, 1)
		sockets := segment.Sockets("192.0.2.1/24")
		go func() { served <- srv.Serve(sockets) }()
		body := download(t, segment)
		defer body.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		require.ErrorIs(t, srv.Shutdown(ctx), context.DeadlineExceeded)
		require.NoError(t, srv.Close())
		require.ErrorIs(t, <-served, pxe.ErrServerClosed)
	})
}

func TestShutdownFromOnEventMayBeStartedButNotWaitedFor(t *testing.T) {
	var events recorder
	srv := rescueServer(&events)
	srv.OnEvent = func(e pxe.Event) {
		events.add(e)
		if e.Stage == pxe.StageRoot && e.Done && e.Name == "sysresccd/x86_64/airootfs.sha512" {
			go srv.Shutdown(context.Background())
		}
	}
	synctest.Test(t, func(t *testing.T) {
		segment := pxetest.NewSegment(t)
		served := make(chan error, 1)
		sockets := segment.Sockets("192.0.2.1/24")
		go func() { served <- srv.Serve(sockets) }()
		boot, err := segment.Machine("02:00:00:00:00:01", pxetest.IPXEROM).Boot(t.Context())
		require.NoError(t, err)
		require.True(t, boot.Root.Verified)
		require.ErrorIs(t, <-served, pxe.ErrServerClosed)
	})
}
