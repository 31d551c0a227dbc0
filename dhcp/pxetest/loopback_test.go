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

// TestLoopbackBootServer asks at what is there in place of port 4011.
func TestLoopbackBootServer(t *testing.T) {
	if runtime.GOOS == "darwin" {
		t.Skip("macOS has 127.0.0.1 alone: sudo ifconfig lo0 alias 127.0.0.100")
	}
	server := newFakeServer(t)
	server.addr, server.first = netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.100")
	loop, err := pxetest.NewLoopback(server.addr)
	require.NoError(t, err)
	defer loop.Close()
	server.relayPort = int(loop.RelayPort())
	server.bootFile = func(*dhcpv4.DHCPv4) string { return "" }
	server.mangle = func(_, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
		r.UpdateOption(dhcpv4.OptClassIdentifier("PXEClient")) // and no option 43: ask at 4011
		return r
	}
	conns := make([]net.PacketConn, 3)
	for i := range conns {
		conns[i], err = net.ListenPacket("udp4", "127.0.0.1:0")
		require.NoError(t, err)
		defer conns[i].Close()
	}
	port := func(i int) uint16 { return conns[i].LocalAddr().(*net.UDPAddr).AddrPort().Port() }
	p := &proxy{t: t, ack: func(_, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
		r.ServerIPAddr = net.IP{127, 0, 0, 1}
		return named("lpxelinux.0")(nil, r)
	}}
	server.files["lpxelinux.0"], server.files["ldlinux.c32"] = []byte("loader"), []byte("module")
	server.files["pxelinux.cfg/default"] = []byte("DEFAULT a\nLABEL a\nLOCALBOOT 0\n")
	go server.serveDHCP(conns[0])
	go p.serve(conns[1], true)
	go server.serveTFTP(conns[2], func(_ context.Context, local netip.Addr, _ netip.AddrPort) (net.PacketConn, error) {
		return net.ListenPacket("udp4", netip.AddrPortFrom(local, 0).String())
	})
	machine, err := loop.Machine(mac, pxetest.BIOSPXE)
	require.NoError(t, err)
	loop.SetPorts(pxetest.Ports{DHCP: port(0), TFTP: port(2), PXE: port(1)})
	got, err := machine.Boot(t.Context())
	require.NoError(t, err)
	require.True(t, got.Local)
	require.Equal(t, "127.0.0.1", got.Leases[0].Proxy.String())

	loop.SetPorts(pxetest.Ports{DHCP: port(0), TFTP: port(2)})
	_, err = machine.Boot(t.Context())
	require.ErrorIs(t, err, pxetest.ErrBootServer)
	require.ErrorContains(t, err, "set PXE in SetPorts")
}
