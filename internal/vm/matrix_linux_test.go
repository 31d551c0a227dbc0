package vm

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/rootfs"
)

// matrixCase is one chain of firmware and boot loaders.
type matrixCase struct {
	name     string
	firmware Firmware
	// flags are the appliance's, beyond what all have.
	flags []string
	// grub, if set, is an image that the server has under the name grubName.
	grub     GRUBImage
	grubName string
	// library, if set, makes a server in place of the appliance, where its flags do
	// not suffice; Files, Root, Booter and Networks are set by the test.
	library func() *pxe.Server
	needs   []requirement
	// loaders are the files of boot loaders that the machine must have fetched, in
	// this order; config is a pattern for the configuration that the last one read.
	loaders []string
	config  string
	// kernelVia is how kernel and initramfs must have come.
	kernelVia string
	// says are patterns that must appear on the console before the system does.
	says []string
	// httpOnly blocks TFTP.
	httpOnly bool
	// fullOnly is for chains that are tried with our own addresses only.
	fullOnly bool
}

var matrix = []matrixCase{
	{
		name: "bios-ipxe", firmware: BIOS, flags: []string{"-loader", "auto"},
		config: `boot\.ipxe`, kernelVia: "http",
	},
	{
		name: "bios-lpxelinux", firmware: BIOS, flags: []string{"-loader", "pxelinux"},
		loaders: []string{"lpxelinux.0", "ldlinux.c32"},
		config:  `pxelinux\.cfg/01-02-00-00-00-00-01`, kernelVia: "http",
	},
	{
		// QEMU's ROM is an iPXE, which is taken for the plain ROM of a network card
		// until it has the loader that such a ROM gets.
		name: "bios-undionly", firmware: BIOS, library: untilUndionly, fullOnly: true,
		needs:   []requirement{{pkg: "ipxe", file: "/usr/lib/ipxe/undionly.kpxe"}},
		loaders: []string{"undionly.kpxe"},
		config:  `boot\.ipxe`, kernelVia: "http",
	},
	{
		name: "uefi-x64-ipxe", firmware: UEFIx64, flags: []string{"-loader", "auto"},
		loaders: []string{"snponly.efi"},
		config:  `boot\.ipxe`, kernelVia: "http",
	},
	{
		name: "uefi-x64-http", firmware: UEFIx64HTTP, flags: []string{"-loader", "auto"}, httpOnly: true,
		needs:   []requirement{{pkg: "nftables", program: "nft"}},
		loaders: []string{"snponly.efi"},
		config:  `boot\.ipxe`, kernelVia: "http",
	},
	{
		// The appliance would choose the shim for it.
		name: "uefi-x64-grub", firmware: UEFIx64, library: withGRUBx64, grub: GRUBx64, grubName: "grub-own.efi",
		loaders: []string{"grub-own.efi"},
		config:  `grub/grub\.cfg-.+`, kernelVia: "http",
	},
	{
		name: "uefi-x64-shim-secureboot", firmware: UEFIx64SecureBoot,
		// The kernel says whether Secure Boot is on, unless it is to be quiet.
		flags: []string{"-loader", "grub", "-params", "console=ttyS0"},
		needs: []requirement{
			{pkg: "ovmf", file: firmwares[UEFIx64SecureBoot].vars},
			{pkg: "shim-signed", file: "/usr/lib/shim/shimx64.efi.signed"},
			{pkg: "grub-efi-amd64-signed", file: "/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed"},
		},
		loaders: []string{"shimx64.efi", "grubx64.efi"},
		// Debian's signed GRUB asks for no other, and knows no HTTP.
		config: `grub/grub\.cfg`, kernelVia: "tftp",
		says: []string{`Secure boot enabled`},
	},
	{
		name: "uefi-ia32-grub", firmware: UEFIIA32, fullOnly: true,
		flags: []string{"-loader", "grub"}, grub: GRUBIA32, grubName: "grubia32.efi",
		needs:   []requirement{{pkg: "ovmf-ia32", file: firmwares[UEFIIA32].code}},
		loaders: []string{"grubia32.efi"},
		config:  `grub/grub\.cfg-.+`, kernelVia: "http",
	},
}

// untilUndionly is a server that takes every iPXE for a plain ROM until undionly.kpxe
// was fetched. (From then on the user class alone breaks the loop.)
func untilUndionly() *pxe.Server {
	var fetched atomic.Bool
	return &pxe.Server{
		Loader: dhcp.FamilyIPXE,
		Classify: func(_ *dhcp.Request, c dhcp.Client) dhcp.Client {
			if c.Kind == dhcp.IPXE && !fetched.Load() {
				c.Kind = dhcp.PXE
			}
			return c
		},
		OnEvent: func(e pxe.Event) {
			if e.Name == "undionly.kpxe" && e.Done && !e.Aborted && e.Err == nil {
				fetched.Store(true)
			}
		},
	}
}

// withGRUBx64 is a server that has a GRUB of its own for x64.
func withGRUBx64() *pxe.Server {
	return &pxe.Server{Loaders: []dhcp.LoaderRow{{
		Kind: dhcp.PXE, Arch: dhcp.ArchX64, Family: dhcp.FamilyGRUB, Names: []string{"grub-own.efi"},
		Reason: "a test of GRUB without the shim",
	}}}
}

// Addresses of the DHCP server that a proxy has beside it.
var (
	otherServer = netip.MustParseAddr("192.0.2.2")
	otherFirst  = netip.MustParseAddr("192.0.2.200")
	otherLast   = netip.MustParseAddr("192.0.2.219")
)

// TestMatrix boots every firmware by every chain of boot loaders to a checked root
// file system: once where the server gives the addresses, and once as proxyDHCP
// beside a dnsmasq that does. A part of it is run by name, as in
// -run TestMatrix/proxy/uefi.
func TestMatrix(t *testing.T) {
	if namespaceError != nil {
		t.Skip(namespaceError)
	}
	appliance := buildAppliance(t)
	var booted []bootRow
	expected := 0
	for _, mode := range []string{"full", "proxy"} {
		t.Run(mode, func(t *testing.T) {
			for _, c := range matrix {
				if mode == "proxy" && c.fullOnly {
					continue
				}
				expected++
				t.Run(c.name, func(t *testing.T) {
					booted = append(booted, c.boot(t, appliance, mode == "proxy"))
				})
			}
		})
	}
	if *update {
		require.Len(t, booted, expected, "docs/boots.md is made from a run of the whole matrix that passed")
		writeBoots(t, booted)
	}
}

func (c matrixCase) boot(t *testing.T, appliance string, proxy bool) bootRow {
	c.checkNeeds(t, proxy)
	ctx := deadline(t)
	s := newSegment(t, ctx)
	watch := watchDHCP(t, s)
	if proxy {
		startDnsmasq(t, ctx, s)
	}
	tftpPackets := func() string { return "0" }
	if c.httpOnly {
		tftpPackets = blockTFTP(t, ctx)
	}
	server := c.serve(t, ctx, appliance, s, proxy)
	machine := s.boot(t, ctx, Machine{Firmware: c.firmware, NICs: []NIC{s.nic(1)}})

	for _, said := range c.says {
		see(t, ctx, machine, said)
	}
	address := see(t, ctx, machine, `PXEKIT ip (\S+)`)[1]
	see(t, ctx, machine, `PXEKIT checksum ok`)
	cmdline := see(t, ctx, machine, `PXEKIT cmdline (.*)`)[1]
	require.Contains(t, cmdline, "archiso_http_srv=http://192.0.2.1/~")
	require.NotContains(t, cmdline, otherServer.String()+"/")
	see(t, ctx, machine, `PXEKIT root-mounted squashfs`)
	checked, content, err := machine.Console.WaitFor(ctx, `PXEKIT root-content ok (\S+)`)
	require.NoError(t, err)
	require.Equal(t, s.medium.Content, content[1])
	require.Equal(t, address, see(t, ctx, machine, `PXEKIT os-ip (\S+)`)[1])
	see(t, ctx, machine, `PXEKIT up`)

	// The machine goes on without the server.
	server.stop()
	see(t, ctx, machine, `PXEKIT server-gone`)
	see(t, ctx, machine, `PXEKIT root-content-after-server-gone ok`)

	require.Equal(t, "0", tftpPackets(), "TFTP was asked for")
	events := server.events()
	if proxy {
		checkProxy(t, address, watch, events)
	} else {
		checkFull(t, address, watch, events)
	}
	checkTimeline(t, c.stages(proxy), events)
	loaders := c.checkFiles(t, s.medium, events)
	return bootRow{c.name, c.firmware, proxy, loaders, c.kernelVia, checked.At}
}

// checkNeeds skips the test when something is missing that only some cases need.
func (c matrixCase) checkNeeds(t *testing.T, proxy bool) {
	t.Helper()
	lines := []string{missing(c.needs)}
	if c.grubName != "" {
		lines = append(lines, c.grub.Missing())
	}
	if proxy {
		lines = append(lines, MissingDnsmasq())
	}
	for _, line := range lines {
		switch {
		case line == "":
		case os.Getenv("CI") != "":
			t.Fatal(line)
		default:
			t.Skip(line)
		}
	}
}

// stages are the steps of the boot, in their order.
func (c matrixCase) stages(proxy bool) []string {
	stages := []string{stageDiscover, stageOffer}
	if !proxy {
		stages = append(stages, stageRequest, stageACK)
	}
	if len(c.loaders) > 0 {
		stages = append(stages, stageLoader)
	}
	stages = append(stages, stageConfig, stageKernel, stageInitrd)
	if proxy { // leases are not ours
		return append(stages, stageRoot)
	}
	return append(stages, stageLease, stageRoot, stageSystem)
}

// startDnsmasq starts the DHCP server that gives the addresses.
func startDnsmasq(t *testing.T, ctx context.Context, s *segment) {
	t.Helper()
	other, err := Dnsmasq{Network: s.Network, Addr: otherServer, First: otherFirst, Last: otherLast}.Start(ctx)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, other.Close())
		if t.Failed() || testing.Verbose() {
			t.Logf("dnsmasq:\n%s", other.Stderr)
		}
	})
}

// blockTFTP throws away what comes to UDP port 69, and returns how to count it.
func blockTFTP(t *testing.T, ctx context.Context) (packets func() string) {
	t.Helper()
	nft := func(ctx context.Context, command string) string {
		out, err := exec.CommandContext(ctx, "nft", command).CombinedOutput()
		require.NoError(t, err, "%s: %s", command, out)
		return string(out)
	}
	nft(ctx, `table inet pxekit {
		counter tftp { }
		chain input { type filter hook input priority 0; udp dport 69 counter name tftp drop; }
	}`)
	t.Cleanup(func() { nft(context.Background(), "delete table inet pxekit") })
	return func() string {
		return regexp.MustCompile(`packets (\d+)`).FindStringSubmatch(nft(ctx, "list counter inet pxekit tftp"))[1]
	}
}

// matrixServer is what boots the machine.
type matrixServer struct {
	stop   func()
	events func() []event
}

// serve starts the case's server, for as long as the test runs.
func (c matrixCase) serve(t *testing.T, ctx context.Context, appliance string, s *segment, proxy bool) matrixServer {
	t.Helper()
	more := t.TempDir()
	if c.grubName != "" {
		image, err := c.grub.Build(ctx, "")
		require.NoError(t, err)
		content, err := os.ReadFile(image)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(more, c.grubName), content, 0o600))
	}
	if c.library == nil {
		flags := append(slices.Clone(c.flags), "-loaders", more)
		if proxy {
			flags = append(flags, "-proxy")
		}
		server := startAppliance(t, ctx, appliance, s, flags...)
		return matrixServer{
			stop:   func() { require.NoError(t, server.Stop(ctx)) },
			events: func() []event { return readEvents(t, server) },
		}
	}
	iso, err := asset.OpenISO(s.medium.ISO)
	require.NoError(t, err)
	t.Cleanup(func() { iso.Close() })
	loaders, err := asset.Dir(more)
	require.NoError(t, err)
	t.Cleanup(func() { loaders.Close() })
	srv := c.library()
	srv.Files = asset.Overlay(loaders, iso, asset.MediumLoaders(iso), asset.SystemLoaders())
	srv.Root = rootfs.HTTP{}
	srv.Booter = pxe.SystemRescue{Checksum: true, Extra: []string{"console=ttyS0", "quiet"}, Timeout: time.Second}
	if proxy {
		srv.Networks = []pxe.Network{{Interface: s.Interface(), Addr: s.Addr(), Mode: dhcp.Proxy}}
	}
	library := startLibrary(t, ctx, s, srv, false)
	t.Cleanup(func() {
		if t.Failed() || testing.Verbose() {
			t.Logf("library:\n%s", library)
		}
	})
	return matrixServer{
		stop: func() { require.NoError(t, library.Close()) },
		events: func() []event {
			var events []event
			for _, e := range library.events(t) {
				text, err := json.Marshal(e)
				require.NoError(t, err)
				events = append(events, readEvent(t, string(text)))
			}
			return events
		},
	}
}

// checkFull wants every lease to be ours, and one address in the whole boot.
func checkFull(t *testing.T, address string, watch *dhcpWatch, events []event) {
	t.Helper()
	checkLeases(t, address, events)
	ours, others := watch.by(netip.MustParseAddr("192.0.2.1"))
	require.NotEmpty(t, ours)
	require.Empty(t, others)
	for _, m := range ours {
		require.Equal(t, address, m.YourIPAddr.String(), m.Summary())
		require.Equal(t, "192.0.2.1", m.ServerIdentifier().String(), m.Summary())
		require.Contains(t, []string{"192.0.2.1", "0.0.0.0"}, m.ServerIPAddr.String(), m.Summary())
	}
}

// checkProxy wants the address to be the other server's, no lease to be ours, and
// all that the machine fetched to be known as this machine's.
func checkProxy(t *testing.T, address string, watch *dhcpWatch, events []event) {
	t.Helper()
	got := netip.MustParseAddr(address)
	require.False(t, got.Less(otherFirst) || otherLast.Less(got), "%s is no address of dnsmasq's", got)
	ours, _ := watch.by(netip.MustParseAddr("192.0.2.1"))
	require.NotEmpty(t, ours)
	for _, m := range ours {
		require.Equal(t, "0.0.0.0", m.YourIPAddr.String(), m.Summary())
		require.False(t, m.Options.Has(dhcpLeaseTime), m.Summary())
		require.Equal(t, "192.0.2.1", m.ServerIdentifier().String(), m.Summary())
		require.Equal(t, "192.0.2.1", m.ServerIPAddr.String(), m.Summary())
	}
	for _, e := range events {
		require.Equal(t, events[0].Boot, e.Boot, "%+v", e)
		require.NotContains(t, []string{stageLease, stageSystem}, e.Stage, "%+v", e)
		if e.Via != "dhcp" {
			require.Equal(t, address, e.Addr, "%+v", e)
		}
	}
}

// checkFiles wants each file to have been delivered whole, and no other. It returns
// the boot loaders and how they came.
func (c matrixCase) checkFiles(t *testing.T, medium *Medium, events []event) string {
	t.Helper()
	got := delivered(t, events)
	require.Equal(t, c.loaders, names(got[stageLoader]))
	require.NotEmpty(t, got[stageConfig])
	require.Regexp(t, "^"+c.config+"$", got[stageConfig][0].Name)
	require.ElementsMatch(t, kernelFiles, names(got[stageKernel]))
	require.ElementsMatch(t, initrdFiles, names(got[stageInitrd]))
	for _, e := range slices.Concat(got[stageKernel], got[stageInitrd]) {
		require.Equal(t, c.kernelVia, e.Via, "%+v", e)
	}
	require.ElementsMatch(t, rootFiles, names(got[stageRoot]))
	for _, e := range got[stageRoot] {
		require.True(t, e.Name != rootFiles[0] || e.Bytes == medium.Root, "%+v", e)
	}
	var loaders []string
	for _, e := range got[stageLoader] {
		loaders = append(loaders, e.Name+" ("+e.Via+")")
	}
	return strings.Join(loaders, ", ")
}
