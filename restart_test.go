package pxe_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/dhcp/pxetest"
	"github.com/pxekit/pxe/rootfs"
)

// restarted boots a machine whose server goes away when the initramfs begins, and
// is started again, knowing nothing, after a pause.
func restarted(t *testing.T, root func() pxe.RootFSTransport, files asset.FileSource, pause time.Duration) (boot *pxetest.Boot, err error) {
	synctest.Test(t, func(t *testing.T) {
		segment := newSegment(t)
		host := segment.Host("eth0", "192.0.2.1/24")
		start := func() *pxe.Server {
			var events recorder
			srv := rescueServer(&events)
			srv.Root, srv.Files, srv.Booter = root(), files, pxe.SystemRescue{}
			sockets := host.Sockets()
			go srv.Serve(sockets)
			return srv
		}
		first := start()
		machine := segment.Machine("02:00:00:00:00:01", pxetest.IPXEROM)
		machine.Observe = func(s pxetest.Step) {
			if s.Stage != pxetest.StageStart || s.Done {
				return
			}
			require.NoError(t, first.Close())
			time.AfterFunc(pause, func() {
				second := start()
				t.Cleanup(func() { second.Close() })
			})
		}
		boot, err = machine.Boot(t.Context())
		synctest.Wait()
		time.Sleep(time.Minute) // past the second start
	})
	return boot, err
}

func overHTTP() pxe.RootFSTransport { return rootfs.HTTP{} }

// klibc's ipconfig asks at 0, 1, 3, 7 and 15 seconds and gives up at 20. The root's
// URL names a boot that the second
// server does not know.
func TestS006_RestartWhileTheInitramfsAsksForItsLease(t *testing.T) {
	boot, err := restarted(t, overHTTP, medium(), 12*time.Second)
	require.NoError(t, err)
	require.Equal(t, "http", boot.Root.Transport)
	require.NotZero(t, boot.Root.Bytes)
}

func TestS006_RestartUnderAnNBDRoot(t *testing.T) {
	iso, sum := image(t)
	exports := pxe.ISOExports(iso)
	// A transport that was closed serves no more: each server has its own.
	overNBD := func() pxe.RootFSTransport { return &rootfs.NBD{Exports: exports} }
	boot, err := restarted(t, overNBD, asset.Overlay(iso, medium()), 12*time.Second)
	require.NoError(t, err)
	require.Equal(t, sum, boot.Root.SHA512)
}

func TestS006_RestartThatTakesTooLong(t *testing.T) {
	_, err := restarted(t, overHTTP, medium(), 30*time.Second)
	require.ErrorIs(t, err, pxetest.ErrNoNetwork)
}
