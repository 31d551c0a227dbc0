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
	"github.com/pxekit/pxe/bootcfg"
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

// downloading serves srv on a segment of its own and returns while a machine
// loads its large file.
func downloading(t *testing.T, srv *pxe.Server) (sockets pxe.Sockets, served <-chan error, body io.ReadCloser) {
	t.Helper()
	segment := newSegment(t)
	sockets = segment.Sockets("192.0.2.1/24")
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(sockets) }()
	body = download(t, segment)
	t.Cleanup(func() { body.Close() })
	return sockets, ended, body
}

// withBigFile is a server of one large file.
func withBigFile() *pxe.Server {
	return &pxe.Server{
		Networks: []pxe.Network{{Mode: dhcp.Full, Leases: &dhcp.Pool{
			First: netip.MustParseAddr("192.0.2.100"), Last: netip.MustParseAddr("192.0.2.199"),
		}}},
		Files: asset.Memory{"big": make([]byte, 32<<20)},
	}
}

func TestCloseEndsADownloadAndNothingHappensAfterServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var late, returned atomic.Bool
		srv := withBigFile()
		srv.OnEvent = func(pxe.Event) { late.Store(late.Load() || returned.Load()) }
		_, served, body := downloading(t, srv)
		require.NoError(t, srv.Close())
		require.ErrorIs(t, <-served, pxe.ErrServerClosed)
		returned.Store(true)
		_, err := io.Copy(io.Discard, body)
		require.Error(t, err)
		synctest.Wait()
		require.False(t, late.Load(), "an event after Serve returned")
	})
}

func TestAListenerThatBreaksEndsDownloadsAndIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sockets, served, body := downloading(t, withBigFile())
		require.NoError(t, sockets.HTTP.Close())
		require.ErrorContains(t, <-served, "HTTP service")
		_, err := io.Copy(io.Discard, body)
		require.Error(t, err, "half a file is no file")
	})
}

func TestShutdownLetsADownloadFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := withBigFile()
		_, served, body := downloading(t, srv)
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
		srv := withBigFile()
		_, served, _ := downloading(t, srv)
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
		segment := newSegment(t)
		served := make(chan error, 1)
		sockets := segment.Sockets("192.0.2.1/24")
		go func() { served <- srv.Serve(sockets) }()
		boot, err := segment.Machine("02:00:00:00:00:01", pxetest.IPXEROM).Boot(t.Context())
		require.NoError(t, err)
		require.True(t, boot.Root.Verified)
		require.ErrorIs(t, <-served, pxe.ErrServerClosed)
	})
}

// A machine asks by TFTP for the next file of a boot of before a restart.
func TestCloseEndsAQuestionToTheBooterThatAFileRequestWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		segment, store := newSegment(t), new(dhcp.MemoryStore)
		_, err := store.Claim(t.Context(), dhcp.Binding{
			HW: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Addr: netip.MustParsePrefix("192.0.2.100/32"), State: dhcp.Bound,
		})
		require.NoError(t, err)
		srv := withBigFile()
		srv.Networks[0].Leases.(*dhcp.Pool).Store = store
		srv.BootTimeout = time.Hour
		asked, ended := make(chan struct{}), make(chan error, 1)
		srv.Booter = pxe.BooterFunc(func(ctx context.Context, _ *pxe.Machine) (*bootcfg.Menu, error) {
			close(asked)
			<-ctx.Done()
			ended <- ctx.Err()
			return nil, ctx.Err()
		})
		sockets := segment.Sockets("192.0.2.1/24")
		served := make(chan error, 1)
		go func() { served <- srv.Serve(sockets) }()
		client, err := segment.Host("eth0", "192.0.2.100/24").ListenPacket(netip.MustParseAddrPort("192.0.2.100:1069"))
		require.NoError(t, err)
		defer client.Close()
		_, err = client.WriteTo([]byte("\x00\x01boot.ipxe\x00octet\x00"), net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:69")))
		require.NoError(t, err)
		<-asked
		require.NoError(t, srv.Close())
		require.ErrorIs(t, <-ended, context.Canceled, "not for as long as the BootTimeout")
		require.ErrorIs(t, <-served, pxe.ErrServerClosed)
	})
}
