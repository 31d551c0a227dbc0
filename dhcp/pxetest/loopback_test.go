package pxetest_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/dhcp/pxetest"
)

// TestLoopback boots over real sockets, without privilege.
func TestLoopback(t *testing.T) {
	if runtime.GOOS == "darwin" {
		t.Skip("macOS has 127.0.0.1 alone: sudo ifconfig lo0 alias 127.0.0.100")
	}
	server := newFakeServer(t)
	server.addr = netip.MustParseAddr("127.0.0.1")
	server.first = netip.MustParseAddr("127.0.0.100")
	loop, err := pxetest.NewLoopback(server.addr)
	require.NoError(t, err)
	defer loop.Close()

	machine, err := loop.Machine(mac, pxetest.UEFIx64)
	require.NoError(t, err)
	_, err = machine.Boot(t.Context())
	require.ErrorContains(t, err, "SetPorts")

	dhcp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer dhcp.Close()
	tftp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer tftp.Close()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	port := func(a net.Addr) uint16 { return netip.MustParseAddrPort(a.String()).Port() }
	loop.SetPorts(pxetest.Ports{DHCP: port(dhcp.LocalAddr()), TFTP: port(tftp.LocalAddr()), HTTP: port(l.Addr())})
	server.relayPort = int(loop.RelayPort())
	server.bootFile = func(r *dhcpv4.DHCPv4) string {
		loader := "lpxelinux.0"
		if strings.HasPrefix(r.ClassIdentifier(), "PXEClient:Arch:00007") {
			loader = "ipxe.efi"
		}
		return chain(loader, "boot.ipxe")(r)
	}
	var silent, elsewhere atomic.Bool
	server.mangle = func(_, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
		if elsewhere.Load() {
			r.YourIPAddr = net.IP{192, 0, 2, 5}
		}
		if silent.Load() {
			return nil
		}
		return r
	}
	server.media([]byte("root"))
	params := fmt.Sprintf("archisobasedir=sysresccd ip=dhcp checksum archiso_http_srv=http://%v/", l.Addr())
	server.files["ipxe.efi"] = []byte("loader")
	server.files["lpxelinux.0"] = []byte("loader")
	server.files["ldlinux.c32"] = []byte("module")
	base := fmt.Sprintf("http://%v/", l.Addr())
	server.files["boot.ipxe"] = ipxeScript(base, params)
	server.files["pxelinux.cfg/default"] = pxelinuxConfig(base, params)
	server.serve(dhcp, tftp, l, func(_ context.Context, local netip.Addr, _ netip.AddrPort) (net.PacketConn, error) {
		return net.ListenPacket("udp4", netip.AddrPortFrom(local, 0).String())
	})
	for i, firmware := range []pxetest.Firmware{pxetest.UEFIx64, pxetest.BIOSPXE, pxetest.IPXEROM} {
		machine, err := loop.Machine(fmt.Sprintf("02:00:00:00:00:1%d", i), firmware)
		require.NoError(t, err)
		machine.Choose = "live" // no waiting in real time
		got, err := machine.Boot(t.Context())
		require.NoError(t, err)
		require.True(t, got.Root.Verified)
		require.Equal(t, netip.PrefixFrom(netip.MustParseAddr("127.0.0.100"), 24).Masked(), got.Leases[0].Addr.Masked())
	}
	for _, p := range server.packets() {
		require.Equal(t, "127.0.0.1", p.GatewayIPAddr.String())
		require.Equal(t, uint8(1), p.HopCount)
	}

	// An address outside 127.0.0.0/8 cannot be used.
	elsewhere.Store(true)
	_, err = machine.Boot(t.Context())
	require.ErrorContains(t, err, "not in 127.0.0.0/8")

	// A silent server, and somebody who does not wait for it.
	silent.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = machine.Boot(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	require.NoError(t, loop.Close())
	_, err = machine.Boot(t.Context())
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = pxetest.NewLoopback(netip.MustParseAddr("192.0.2.1"))
	require.Error(t, err)
}
