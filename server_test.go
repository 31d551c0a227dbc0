package pxe_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/internal/lifecycle/lifecycletest"
	"github.com/pxekit/pxe/rootfs"
)

// onLoopback is a server that needs no privilege.
func onLoopback() *pxe.Server {
	return &pxe.Server{
		Networks: []pxe.Network{{
			Addr: netip.MustParsePrefix("127.0.0.1/8"), Mode: dhcp.Full,
			Leases: &dhcp.Pool{First: netip.MustParseAddr("127.0.0.100"), Last: netip.MustParseAddr("127.0.0.199")},
		}},
		Files:    asset.Memory{"hello.txt": []byte("hello")},
		DHCPAddr: "127.0.0.1:0", TFTPAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0",
	}
}

// watched sockets tell whether all of them were closed.
type watchedConn struct {
	net.PacketConn
	closed *atomic.Int32
	once   atomic.Bool
}

func (c *watchedConn) Close() error {
	if c.once.CompareAndSwap(false, true) {
		c.closed.Add(1)
	}
	return c.PacketConn.Close()
}

type watchedListener struct {
	net.Listener
	closed *atomic.Int32
	once   atomic.Bool
}

func (l *watchedListener) Close() error {
	if l.once.CompareAndSwap(false, true) {
		l.closed.Add(1)
	}
	return l.Listener.Close()
}

func TestServerLifecycle(t *testing.T) {
	for name, broken := range map[string]func(pxe.Sockets){
		"DHCP": func(s pxe.Sockets) { s.DHCP.(*watchedConn).PacketConn.Close() },
		"TFTP": func(s pxe.Sockets) { s.TFTP.(*watchedConn).PacketConn.Close() },
		"HTTP": func(s pxe.Sockets) { s.HTTP.(*watchedListener).Listener.Close() },
		"PXE":  func(s pxe.Sockets) { s.PXE.(*watchedConn).PacketConn.Close() },
	} {
		t.Run(name+" breaks", func(t *testing.T) {
			lifecycletest.Test(t, func(t testing.TB) lifecycletest.Subject {
				srv := onLoopback()
				want := int32(3)
				if name == "PXE" {
					srv.Networks[0].Mode, srv.Networks[0].Leases = dhcp.Proxy, nil
					srv.PXEAddr = "127.0.0.1:0"
					want++
				}
				sockets, err := srv.Listen(context.Background())
				require.NoError(t, err)
				var closed atomic.Int32
				if sockets.PXE != nil {
					sockets.PXE = &watchedConn{PacketConn: sockets.PXE, closed: &closed}
				}
				sockets.DHCP = &watchedConn{PacketConn: sockets.DHCP, closed: &closed}
				sockets.TFTP = &watchedConn{PacketConn: sockets.TFTP, closed: &closed}
				sockets.HTTP = &watchedListener{Listener: sockets.HTTP, closed: &closed}
				return lifecycletest.Subject{
					Serve:    func() error { return srv.Serve(sockets) },
					Shutdown: srv.Shutdown, Close: srv.Close,
					Closed: func() bool { return closed.Load() == want },
					Fail:   func() { broken(sockets) }, FailName: name,
				}
			})
		})
	}
}

func TestValidateReportsEveryMistakeAtOnce(t *testing.T) {
	srv := &pxe.Server{
		Networks:    []pxe.Network{{Interface: "eth1"}},
		Root:        rootfs.NFS{Export: "server.example:/x"},
		Loader:      99,
		BootTimeout: -1, MaxMachines: -1,
	}
	err := srv.Validate()
	for _, want := range []string{"Mode", "NFS.Export", "Loader", "BootTimeout", "MaxMachines"} {
		require.ErrorContains(t, err, want)
	}
	require.ErrorContains(t, (&pxe.Server{}).Validate(), "no Networks")

	_, listenErr := srv.Listen(t.Context())
	require.EqualError(t, listenErr, err.Error(), "before any socket is opened")
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	require.EqualError(t, srv.Serve(pxe.Sockets{DHCP: conn}), listenErr.Error())
	_, _, err = conn.ReadFrom(nil)
	require.ErrorIs(t, err, net.ErrClosed, "Serve closes what it was given, also when it refuses")
}

func TestServeWithoutSocketsSaysWhatToDo(t *testing.T) {
	require.ErrorContains(t, onLoopback().Serve(pxe.Sockets{}), "use Listen")
}

func TestListenNamesThePortThatIsTakenAndTheRemedy(t *testing.T) {
	taken, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	srv := onLoopback()
	srv.TFTPAddr = taken.LocalAddr().String()
	_, err = srv.Listen(t.Context())
	require.ErrorContains(t, err, "TFTP socket")
	require.ErrorContains(t, err, "TFTPAddr")

	srv = onLoopback()
	srv.Networks[0].Interface, srv.Networks[0].Addr = "no-such-if0", netip.Prefix{}
	_, err = srv.Listen(t.Context())
	require.ErrorContains(t, err, `"no-such-if0"`)
}

func TestTwoServersInOneProcessKnowNothingOfEachOther(t *testing.T) {
	first, second := onLoopback(), onLoopback()
	for _, srv := range []*pxe.Server{first, second} {
		sockets, err := srv.Listen(t.Context())
		require.NoError(t, err)
		served := make(chan error, 1)
		go func() { served <- srv.Serve(sockets) }()
		defer func() { require.ErrorIs(t, <-served, pxe.ErrServerClosed) }()
		defer srv.Close()
	}
	require.NoError(t, first.Close())
	require.False(t, errors.Is(second.Validate(), pxe.ErrServerClosed))
	require.Empty(t, second.Drops())
}
