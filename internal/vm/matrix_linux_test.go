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
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/rootfs"
)

// Addresses of the DHCP server that a proxy has beside it.
var (
	otherServer = netip.MustParseAddr("192.0.2.2")
	otherFirst  = netip.MustParseAddr("192.0.2.200")
	otherLast   = netip.MustParseAddr("192.0.2.219")
)

// TestMatrix boots every firmware by every chain of boot loaders to a checked root
// file system: once where the server gives the addresses, and once as proxyDHCP
// beside a dnsmasq that does; then machines in other circumstances. A part of it is
// run by name, as in -run TestMatrix/proxy/uefi or TestMatrix/net/relay.
func TestMatrix(t *testing.T) {
	if namespaceError != nil {
		t.Skip(namespaceError)
	}
	appliance := buildAppliance(t)
	var booted []bootRow
	var arranged []arrangedRow
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
	for _, group := range []struct {
		name  string
		cases []arrangement
	}{{"arm64", arm64Cases}, {"net", slices.Concat(netCases, restartCases)}, {"disk", diskArrangements()}} {
		t.Run(group.name, func(t *testing.T) {
			for _, c := range group.cases {
				expected++
				t.Run(c.name, func(t *testing.T) {
					if c.missing != nil {
						need(t, c.missing())
					}
					arranged = append(arranged, arrangedRow{c, c.boot(t, deadline(t))})
				})
			}
		})
	}
	if *update {
		require.Equal(t, expected, len(booted)+len(arranged), "docs/boots.md is made from a run of the whole matrix that passed")
		writeBoots(t, booted, arranged)
	}
}

// arrangement is a machine, or several, in circumstances that take more than a line
// of the table of chains. boot returns when it had come up.
type arrangement struct {
	name     string
	what     string // for the table
	firmware Firmware
	missing  func() string // nil: nothing can be
	boot     func(*testing.T, context.Context) time.Duration
}

var arm64Cases = []arrangement{
	{name: "grub", what: "Debian's arm64 kernel, by GRUB", firmware: UEFIARM64, missing: MissingARM64, boot: bootARM64},
}

func (c matrixCase) boot(t *testing.T, appliance string, proxy bool) bootRow {
	c.checkNeeds(t, proxy)
	ctx := deadline(t)
	s := newSegment(t, ctx)
	watch := watchDHCP(t, s)
	if proxy {
		var options []string
		if c.nextServer {
			options = []string{"--dhcp-option=option:server-ip-address," + s.Addr().Addr().String()}
		}
		startDnsmasq(t, ctx, s, options)
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
	cmdline := see(t, ctx, machine, `PXEKIT cmdline (.*)`)[1]
	if c.stock != "" {
		checkStockCommandLine(t, c.stock, address, cmdline)
	} else {
		see(t, ctx, machine, `PXEKIT checksum ok`)
		require.Contains(t, cmdline, "archiso_http_srv=http://192.0.2.1/~")
	}
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
		c.checkProxy(t, address, watch, events)
	} else {
		c.checkFull(t, address, watch, events)
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
	stages := []string{stageDiscover, stageOffer, stageRequest}
	if !proxy || c.asks4011 {
		stages = append(stages, stageACK)
	}
	if len(c.loaders) > 0 {
		stages = append(stages, stageLoader)
	}
	if c.stock == "nbd" {
		return append(stages, stageRoot)
	} else if c.stock != "" {
		return stages
	}
	return append(stages, stageConfig, stageKernel, stageInitrd, stageLease, stageRoot, stageSystem)
}

// startDnsmasq starts the DHCP server that gives the addresses, with these options
// beyond them.
func startDnsmasq(t *testing.T, ctx context.Context, s *segment, options []string) {
	t.Helper()
	other, err := Dnsmasq{Network: s.Network, Addr: otherServer, First: otherFirst, Last: otherLast, Options: options}.Start(ctx)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, other.Close())
		if t.Failed() || testing.Verbose() {
			t.Logf("dnsmasq:\n%s", other.Stderr)
		}
	})
}

// read builds the image and returns its content.
func (g GRUBImage) read(t *testing.T, ctx context.Context) []byte {
	t.Helper()
	image, err := g.Build(ctx, "")
	require.NoError(t, err)
	content, err := os.ReadFile(image)
	require.NoError(t, err)
	return content
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
		require.NoError(t, os.WriteFile(filepath.Join(more, c.grubName), c.grub.read(t, ctx), 0o600))
	}
	if c.stock == "http" {
		writeStockDefault(t, more)
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
func (c matrixCase) checkFull(t *testing.T, address string, watch *dhcpWatch, events []event) {
	t.Helper()
	if c.stock == "" { // whose system asks for no lease
		checkLeases(t, address, events)
	}
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
// all that happened to be known as this machine's and this boot's.
func (c matrixCase) checkProxy(t *testing.T, address string, watch *dhcpWatch, events []event) {
	t.Helper()
	got := netip.MustParseAddr(address)
	require.False(t, got.Less(otherFirst) || otherLast.Less(got), "%s is no address of dnsmasq's", got)
	ours, _ := watch.by(netip.MustParseAddr("192.0.2.1"))
	require.NotEmpty(t, ours)
	asked := slices.ContainsFunc(ours, func(m dhcpSent) bool { return m.from.Port() == 4011 })
	require.Equal(t, c.asks4011, asked, "whether it asked at port 4011")
	for _, m := range ours {
		require.Equal(t, "0.0.0.0", m.YourIPAddr.String(), m.Summary())
		require.False(t, m.Options.Has(dhcpLeaseTime), m.Summary())
		require.Equal(t, "192.0.2.1", m.ServerIdentifier().String(), m.Summary())
		require.Equal(t, "192.0.2.1", m.ServerIPAddr.String(), m.Summary())
	}
	for _, e := range events {
		require.Equal(t, events[0].Boot, e.Boot, "%+v", e)
		if e.Via == "tftp" || e.Via == "http" || e.Stage == stageLease || e.Stage == stageSystem {
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
	if c.stock != "" {
		checkStockFiles(t, c.stock, medium, events)
		return loadersVia(got[stageLoader])
	}
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
	return loadersVia(got[stageLoader])
}

// loadersVia says which boot loaders came, and how.
func loadersVia(loaders []event) string {
	var said []string
	for _, e := range loaders {
		said = append(said, e.Name+" ("+e.Via+")")
	}
	return strings.Join(said, ", ")
}
