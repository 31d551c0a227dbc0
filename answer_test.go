package pxe_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/bootcfg"
	"github.com/pxekit/pxe/dhcp/pxetest"
	"github.com/pxekit/pxe/rootfs"
)

func TestAMachineThatHadNothingToBootIsAskedAboutAtItsNextStart(t *testing.T) {
	var events recorder
	srv := rescueServer(&events)
	install := false
	var addrs []netip.Addr
	srv.Booter = pxe.BooterFunc(func(ctx context.Context, m *pxe.Machine) (*bootcfg.Menu, error) {
		addrs = append(addrs, m.Addr)
		if !install {
			return nil, nil
		}
		return pxe.SystemRescue{}.Boot(ctx, m)
	})
	on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
		machine := segment.Machine("02:00:00:00:00:01", pxetest.BIOSPXE)
		_, err := machine.Boot(t.Context())
		require.Error(t, err)
		install = true
		boot, err := machine.Boot(t.Context())
		require.NoError(t, err)
		require.Equal(t, boot.Leases[0].Addr.Addr(), addrs[len(addrs)-1], "the Booter knows the address")
	})
	for _, addr := range addrs {
		require.True(t, inPool(addr), addr)
	}
}

func TestABroadcastInPlaceOfAFrameIsNoFailure(t *testing.T) {
	var events recorder
	srv := rescueServer(&events)
	synctest.Test(t, func(t *testing.T) {
		segment := newSegment(t)
		sockets := pxe.Sockets(segment.Sockets("192.0.2.1/24"))
		sockets.DHCP = withoutFrames{sockets.DHCP.(*pxetest.PacketConn)}
		served := make(chan error, 1)
		go func() { served <- srv.Serve(sockets) }()
		boot, err := segment.Machine("02:00:00:00:00:01", pxetest.IPXEROM).Boot(t.Context())
		require.NoError(t, err)
		require.True(t, boot.Root.Verified)
		require.NoError(t, srv.Shutdown(t.Context()))
		require.ErrorIs(t, <-served, pxe.ErrServerClosed)
	})
	for _, e := range events.all() {
		require.NoError(t, e.Err, "%s", e)
	}
}

// withoutFrames is the socket of a server without CAP_NET_RAW.
type withoutFrames struct{ *pxetest.PacketConn }

func (withoutFrames) WriteFrame([]byte, netip.AddrPort, netip.AddrPort, net.HardwareAddr, string) (int, error) {
	return 0, context.Canceled
}

func TestWithoutTFTPTheOperatorIsToldAndTheMachineHasItsAddress(t *testing.T) {
	var events recorder
	srv := rescueServer(&events)
	synctest.Test(t, func(t *testing.T) {
		segment := newSegment(t)
		sockets := pxe.Sockets(segment.Sockets("192.0.2.1/24"))
		require.NoError(t, sockets.TFTP.Close())
		sockets.TFTP = nil
		go srv.Serve(sockets)
		_, err := segment.Machine("02:00:00:00:00:01", pxetest.BIOSPXE).Boot(t.Context())
		require.ErrorIs(t, err, pxetest.ErrNoBootFile)
		_, err = segment.Machine("02:00:00:00:00:02", pxetest.IPXEROM).Boot(t.Context())
		require.NoError(t, err, "an iPXE needs no TFTP")
		require.NoError(t, srv.Close())
	})
	told := false
	for _, e := range events.all() {
		told = told || e.Stage == pxe.StageLoader && e.Err != nil && e.Machine[5] == 1
	}
	require.True(t, told)
}

func TestNobodyIsGivenAScriptBeforeItHasANetwork(t *testing.T) {
	var events recorder
	srv := rescueServer(&events)
	on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
		boot, err := segment.Machine("02:00:00:00:00:01", pxetest.UEFIx64).Boot(t.Context())
		require.NoError(t, err)
		for _, file := range boot.Files {
			require.NotContains(t, file.Name, "autoexec.ipxe")
		}
	})
}

func TestAServerOfManyNetworksNeedsEachInterface(t *testing.T) {
	srv := onLoopback()
	srv.Networks[0].Interface = "eht1" // with an address, which alone would do
	_, err := srv.Listen(t.Context())
	require.ErrorContains(t, err, `"eht1"`)
}

func TestSystemRescuesMistakesAreFoundBeforeAnySocketIsOpened(t *testing.T) {
	nfs := rootfs.NFS{Export: "192.0.2.9:/srv/rescue"}
	twice := nfs
	twice.Options = []string{"soft"}
	var none *rootfs.HTTP
	for name, test := range map[string]struct {
		root   pxe.RootFSTransport
		booter pxe.Booter
		want   string // empty: no mistake
	}{
		"no root":                   {nil, pxe.SystemRescue{}, "rootfs.HTTP"},
		"no root, by pointer":       {nil, &pxe.SystemRescue{}, "rootfs.HTTP"},
		"a nil root":                {none, pxe.SystemRescue{}, "rootfs.HTTP"},
		"a shell's character":       {&rootfs.HTTP{}, pxe.SystemRescue{Keymap: "de;rm -rf"}, "setkmap"},
		"live over HTTP":            {&rootfs.HTTP{}, pxe.SystemRescue{CopyToRAM: bootcfg.CopyNever}, "NFS root"},
		"live over NFS":             {nfs, pxe.SystemRescue{CopyToRAM: bootcfg.CopyNever, NFSOptions: []string{"soft"}}, ""},
		"an NFS option given twice": {twice, pxe.SystemRescue{NFSOptions: []string{"hard"}}, "contradicts"},
		"as it should be":           {&rootfs.HTTP{}, pxe.SystemRescue{Checksum: true}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			srv := onLoopback()
			srv.Root, srv.Booter = test.root, test.booter
			err := srv.Validate()
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.want)
		})
	}
}
