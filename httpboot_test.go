package pxe_test

import (
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/dhcp/pxetest"
	"github.com/pxekit/pxe/rootfs"
)

func TestUEFIBootsByHTTPAlone(t *testing.T) {
	var events recorder
	srv := rescueServer(&events)
	synctest.Test(t, func(t *testing.T) {
		segment := pxetest.NewSegment(t)
		sockets := pxe.Sockets(segment.Sockets("192.0.2.1/24"))
		require.NoError(t, sockets.TFTP.Close())
		sockets.TFTP = nil
		methods := &methodListener{Listener: sockets.HTTP}
		sockets.HTTP = methods
		served := make(chan error, 1)
		go func() { served <- srv.Serve(sockets) }()

		boot, err := segment.Machine("02:00:00:00:00:01", pxetest.UEFIx64HTTP).Boot(t.Context())
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(boot.Loader, "http://192.0.2.1/~"), boot.Loader)
		require.True(t, strings.HasSuffix(boot.Loader, "/snponly.efi"), boot.Loader)
		require.True(t, boot.Root.Verified)
		require.Len(t, boot.Leases, 3, "the firmware's, that of iPXE, the initramfs's")
		for _, f := range boot.Files {
			require.Equal(t, "http", f.Protocol, f.Name)
		}
		path := strings.TrimPrefix(boot.Loader, "http://192.0.2.1")
		require.Equal(t, []string{"HEAD " + path, "GET " + path}, methods.all()[:2])
		require.NoError(t, srv.Shutdown(t.Context()))
		require.ErrorIs(t, <-served, pxe.ErrServerClosed)
	})
	require.Equal(t, []pxe.Stage{
		pxe.StageDiscover, pxe.StageBooter, pxe.StageRequest, pxe.StageLoader, pxe.StageDiscover, pxe.StageRequest,
		pxe.StageConfig, pxe.StageKernel, pxe.StageInitrd, pxe.StageLease, pxe.StageRoot,
	}, events.begun())
	for _, name := range []string{"snponly.efi", "boot.ipxe", "sysresccd/boot/x86_64/vmlinuz", "sysresccd/x86_64/airootfs.sfs"} {
		require.Equal(t, []string{"http"}, events.via(name), name)
	}
	checkOneBoot(t, &events)
	require.Empty(t, srv.Drops())
}

func TestHTTPBootWithoutAnHTTPListenerIsToldWithTheRemedy(t *testing.T) {
	var events recorder
	srv := rescueServer(&events)
	srv.Root = rootfs.NFS{Export: "192.0.2.9:/srv/rescue"}
	synctest.Test(t, func(t *testing.T) {
		segment := pxetest.NewSegment(t)
		sockets := pxe.Sockets(segment.Sockets("192.0.2.1/24"))
		require.NoError(t, sockets.HTTP.Close())
		sockets.HTTP = nil
		served := make(chan error, 1)
		go func() { served <- srv.Serve(sockets) }()
		_, err := segment.Machine("02:00:00:00:00:01", pxetest.UEFIx64HTTP).Boot(t.Context())
		require.ErrorIs(t, err, pxetest.ErrNoBootFile)
		require.NoError(t, srv.Shutdown(t.Context()))
		require.ErrorIs(t, <-served, pxe.ErrServerClosed)
	})
	var told error
	for _, e := range events.all() {
		if e.Stage == pxe.StageLoader {
			told = e.Err
		}
	}
	require.ErrorContains(t, told, "give Serve an HTTP listener")
}

// methodListener notes the first line of each connection, without the version.
type methodListener struct {
	net.Listener
	mu    sync.Mutex
	lines []string
}

func (l *methodListener) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

func (l *methodListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &methodConn{Conn: c, listener: l}, nil
}

type methodConn struct {
	net.Conn
	listener *methodListener
	told     bool
}

func (c *methodConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if line, _, ok := strings.Cut(string(b[:n]), " HTTP/"); ok && !c.told {
		c.told = true
		c.listener.mu.Lock()
		c.listener.lines = append(c.listener.lines, line)
		c.listener.mu.Unlock()
	}
	return n, err
}
