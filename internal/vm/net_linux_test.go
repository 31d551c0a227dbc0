package vm

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/dhcp"
)

// netCases are machines whose network is not one segment with one server and one
// virtio card.
var netCases = []arrangement{
	{name: "relay", what: "behind a relay agent and router", firmware: BIOS, missing: MissingRelay, boot: bootRelayed},
	{name: "two-subnets", what: "a machine on each of two interfaces, at the same time", firmware: BIOS, boot: bootTwoSubnets},
	{name: "e1000-bios", what: "an e1000 card", firmware: BIOS, missing: FullKernel.Missing, boot: bootE1000(BIOS, "e1000")},
	{name: "e1000e-uefi", what: "an e1000e card", firmware: UEFIx64, missing: FullKernel.Missing, boot: bootE1000(UEFIx64, "e1000e")},
	{
		name: "grub-again", what: "GRUB, which was switched off while it loaded the kernel, and when that had begun",
		firmware: UEFIx64, missing: GRUBx64.Missing, boot: bootGRUBAgain,
	},
	{name: "second-nic", what: "the second of two cards", firmware: BIOS, boot: bootSecondNIC},
	{
		name: "boot-server-uefi", what: "as the boot server at port 4011 of a dnsmasq that gives the addresses, by GRUB",
		firmware: UEFIx64, missing: func() string { return cmp.Or(MissingDnsmasq(), GRUBx64.Missing()) },
		boot: bootServerCase{UEFIx64, &GRUBx64, `^grub-own\.efi`}.boot,
	},
	{
		name: "boot-server-bios", what: "as the boot server at port 4011 of a dnsmasq that gives the addresses, by iPXE",
		firmware: BIOS, missing: MissingDnsmasq,
		boot: bootServerCase{BIOS, nil, `^http://192\.0\.2\.1/~\S+/boot\.ipxe`}.boot,
	},
	{
		name: "grub-retries", what: "an initrd that is missing when GRUB first asks for it", firmware: UEFIIA32,
		missing: func() string {
			return cmp.Or(missing([]requirement{{pkg: "ovmf-ia32", file: firmwares[UEFIIA32].code}}), GRUBIA32.Missing())
		},
		boot: bootGRUBRetries,
	},
}

// TestSeveralAddresses asks a server that has several addresses on one interface.
func TestSeveralAddresses(t *testing.T) {
	if namespaceError != nil {
		t.Skip(namespaceError)
	}
	askSeveralAddresses(t, deadline(t))
}

// urls finds the hosts of the URLs that iPXE and the guest name on the console.
var urls = regexp.MustCompile(`(?:http|tftp)://([^/:\s]+)[/:]`)

// checkBooted waits for the machine to be up, and wants one address in the whole
// boot, in subnet, and the server's in every URL. It returns the kernel's command
// line, and when the root file system was checked.
func checkBooted(t *testing.T, ctx context.Context, l *library, m *Running, nic NIC, subnet, server string, content string) (cmdline string, took time.Duration) {
	t.Helper()
	address := see(t, ctx, m, `PXEKIT ip (\S+)`)[1]
	require.True(t, netip.MustParsePrefix(subnet).Contains(netip.MustParseAddr(address)), address)
	require.Equal(t, server, see(t, ctx, m, `PXEKIT pxeserver (\S+)`)[1])
	see(t, ctx, m, `PXEKIT fetched http://`+regexp.QuoteMeta(server)+`/~\S+/airootfs\.sfs \d+`)
	see(t, ctx, m, `PXEKIT checksum ok`)
	line := see(t, ctx, m, `PXEKIT cmdline (.*)`)[1]
	require.Contains(t, line, "archiso_http_srv=http://"+server+"/~")
	checked, match, err := m.Console.WaitFor(ctx, `PXEKIT root-content ok (\S+)`)
	require.NoError(t, err)
	require.Equal(t, content, match[1])
	require.Equal(t, address, see(t, ctx, m, `PXEKIT os-ip (\S+)`)[1])
	see(t, ctx, m, `PXEKIT up`)

	named := 0
	for _, line := range m.Console.Lines() {
		for _, match := range urls.FindAllStringSubmatch(line.Text, -1) {
			if match[1] != "ipxe.org" { // where iPXE explains its errors
				require.Equal(t, server, match[1], line.Text)
				named++
			}
		}
	}
	require.Greater(t, named, 2, "iPXE and the guest say what they fetch")
	stages := map[pxe.Stage]bool{}
	for _, e := range l.of(nic.HardwareAddr.String()) {
		if e.Stage != pxe.StageDrop && e.Addr.IsValid() {
			require.Equal(t, address, e.Addr.String(), "%v", e)
		}
		if e.Done && e.Err == nil {
			stages[e.Stage] = true
		}
	}
	for _, stage := range []pxe.Stage{pxe.StageACK, pxe.StageConfig, pxe.StageKernel, pxe.StageInitrd, pxe.StageLease, pxe.StageRoot, pxe.StageSystem} {
		require.True(t, stages[stage], "no %s", stage)
	}
	return line, checked.At
}

// bootRelayed boots a machine that reaches the server through a relay agent and
// router in another namespace only.
func bootRelayed(t *testing.T, ctx context.Context) time.Duration {
	s := newSegment(t, ctx)
	relayed, err := NewRelayed(ctx, "br1", netip.MustParsePrefix("198.51.100.1/24"), s.Network,
		netip.MustParseAddr("192.0.2.2"), RelayOptions{Circuit: true})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, relayed.Close())
		if t.Failed() {
			t.Logf("relay agent:\n%s", relayed.Log())
		}
	})
	srv := rescueServer(t, s.medium)
	srv.Networks = []pxe.Network{s.network(), {
		Subnet: netip.MustParsePrefix("198.51.100.0/24"), Mode: dhcp.Full,
		Routers: []netip.Addr{relayed.Relay},
		Leases:  &dhcp.Pool{First: netip.MustParseAddr("198.51.100.100"), Last: netip.MustParseAddr("198.51.100.199")},
	}}
	srv.Loader = dhcp.FamilyPXELinux // which comes by TFTP
	l := serveLibrary(t, ctx, srv, nil)

	nic := NIC{Network: relayed.Network, HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
	m := s.boot(t, ctx, Machine{Firmware: BIOS, NICs: []NIC{nic}})
	_, took := checkBooted(t, ctx, l, m, nic, "198.51.100.0/24", "192.0.2.1", s.medium.Content)
	via := map[pxe.Stage]string{}
	for _, e := range l.of("") {
		if e.Done && e.Err == nil && !e.Aborted && e.Size > 0 {
			via[e.Stage] = e.Via
		}
	}
	require.Equal(t, "tftp", via[pxe.StageLoader])
	require.Equal(t, "http", via[pxe.StageKernel])
	// The booted system has its way to the server by the router that it was given.
	require.NoError(t, l.Close())
	see(t, ctx, m, `PXEKIT server-gone`)
	return took
}

// bootTwoSubnets boots a machine on each of two segments that one server has, at the
// same time. On a third segment, which is none of the server's, a client is ignored.
func bootTwoSubnets(t *testing.T, ctx context.Context) time.Duration {
	s := newSegment(t, ctx)
	second := newNetwork(t, ctx, "br1", "198.51.100.1/24")
	third := newNetwork(t, ctx, "br2", "203.0.113.1/24")
	srv := rescueServer(t, s.medium)
	srv.Networks = []pxe.Network{s.network(), {
		Interface: second.Interface(), Addr: second.Addr(), Mode: dhcp.Full,
		Leases: &dhcp.Pool{First: netip.MustParseAddr("198.51.100.100"), Last: netip.MustParseAddr("198.51.100.199")},
	}}
	l := serveLibrary(t, ctx, srv, nil)

	var both sync.WaitGroup
	var took [2]time.Duration
	for n, network := range []*Network{s.Network, second} {
		nic := NIC{Network: network, HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, byte(1 + n)}}
		m := s.boot(t, ctx, Machine{Firmware: BIOS, NICs: []NIC{nic}})
		both.Go(func() {
			_, took[n] = checkBooted(t, ctx, l, m, nic, network.Addr().Masked().String(), network.Addr().Addr().String(), s.medium.Content)
		})
	}

	host := newPeer(t, ctx, third, "203.0.113.50/24")
	conn := host.listen(t, ":68")
	discover, err := dhcpv4.NewDiscovery(net.HardwareAddr{2, 0, 0, 0, 0, 3}, dhcpv4.WithBroadcast(true))
	require.NoError(t, err)
	_, err = conn.WriteTo(discover.ToBytes(), &net.UDPAddr{IP: net.IPv4(203, 0, 113, 255), Port: 67})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return l.Drops()["dhcp: not-for-us"] > 0 }, bootLimit, 10*time.Millisecond)

	both.Wait()
	checkIgnored(t, l, "02:00:00:00:00:03")
	return max(took[0], took[1])
}

// checkIgnored wants the server to have heard a machine, and to have done nothing but
// to leave it alone.
func checkIgnored(t *testing.T, l *library, machine string) {
	t.Helper()
	events := l.of(machine)
	require.NotEmpty(t, events)
	for _, e := range events {
		require.Equal(t, pxe.StageDrop, e.Stage, "%v", e)
		require.Equal(t, string(dhcp.NotForUs), e.Drop, "%v", e)
	}
}

// bootE1000 boots a machine with a card that is not virtual: the option ROM's iPXE
// drives it, and the medium's kernel.
func bootE1000(firmware Firmware, model string) func(*testing.T, context.Context) time.Duration {
	return func(t *testing.T, ctx context.Context) time.Duration {
		s := newSegment(t, ctx)
		medium, err := BuildMediumFor(ctx, "", FullKernel)
		require.NoError(t, err)
		srv := rescueServer(t, medium)
		srv.Networks = []pxe.Network{s.network()}
		l := serveLibrary(t, ctx, srv, nil)
		nic := s.nic(1)
		nic.Model = model
		m := s.boot(t, ctx, Machine{Firmware: firmware, NICs: []NIC{nic}})
		_, took := checkBooted(t, ctx, l, m, nic, "192.0.2.0/24", "192.0.2.1", medium.Content)
		return took
	}
}

// bootSecondNIC boots a machine whose first card is on a segment without a server.
// The initramfs must use the second, which is not the first that the kernel finds.
func bootSecondNIC(t *testing.T, ctx context.Context) time.Duration {
	s := newSegment(t, ctx)
	empty := newNetwork(t, ctx, "br1", "198.51.100.1/24")
	srv := rescueServer(t, s.medium)
	srv.Networks = []pxe.Network{s.network()}
	l := serveLibrary(t, ctx, srv, nil)
	first := NIC{Network: empty, HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
	second := s.nic(2)
	m := s.boot(t, ctx, Machine{Firmware: BIOS, NICs: []NIC{first, second}})
	line, took := checkBooted(t, ctx, l, m, second, "192.0.2.0/24", "192.0.2.1", s.medium.Content)
	require.Contains(t, line, "BOOTIF=01-02-00-00-00-00-02")
	require.NotContains(t, line, "BOOTIF=01-02-00-00-00-00-01")
	checkIgnored(t, l, first.HardwareAddr.String()) // the firmware tried it
	return took
}
