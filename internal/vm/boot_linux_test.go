package vm

import (
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The stages of a boot as examples/appliance reports them.
const (
	stageDiscover = "discover"
	stageOffer    = "offer"
	stageRequest  = "request"
	stageACK      = "ack"
	stageLoader   = "loader"
	stageConfig   = "config"
	stageKernel   = "kernel"
	stageInitrd   = "initrd"
	stageLease    = "lease"  // of the initramfs
	stageRoot     = "root"   // the root file system
	stageSystem   = "system" // the lease of the booted system
)

// event is a line of the appliance's -events.
type event struct {
	Boot, Machine, Addr, Stage, Name, Via string
	Bytes, Size                           int64
	Done, Aborted                         bool
	Error, Drop                           string
}

// bootCase is one chain of firmware and loaders.
type bootCase struct {
	name     string
	firmware Firmware
	flags    []string // of the appliance, beyond what all have
	loaders  []string // boot loader files that must have been fetched
	config   string   // the loader's configuration
	stages   []string // up to the configuration; then all chains are alike
}

var bootCases = []bootCase{
	{
		name: "bios-lpxelinux", firmware: BIOS, flags: []string{"-loader", "pxelinux"},
		loaders: []string{"lpxelinux.0", "ldlinux.c32"},
		config:  "pxelinux.cfg/01-02-00-00-00-00-01",
		stages:  []string{stageDiscover, stageOffer, stageRequest, stageACK, stageLoader, stageConfig},
	},
	{
		name: "bios-ipxe", firmware: BIOS, flags: []string{"-loader", "auto"},
		config: "boot.ipxe",
		stages: []string{stageDiscover, stageOffer, stageRequest, stageACK, stageConfig},
	},
	{
		name: "uefi-x64-ipxe", firmware: UEFIx64, flags: []string{"-loader", "auto"},
		loaders: []string{"snponly.efi"},
		config:  "boot.ipxe",
		stages:  []string{stageDiscover, stageOffer, stageRequest, stageACK, stageLoader, stageConfig},
	},
}

// Files that every chain fetches, by stage.
var (
	kernelFiles = []string{BaseDir + "/boot/x86_64/vmlinuz"}
	initrdFiles = []string{
		BaseDir + "/boot/intel_ucode.img", BaseDir + "/boot/amd_ucode.img", BaseDir + "/boot/x86_64/sysresccd.img",
	}
	rootFiles = []string{BaseDir + "/x86_64/airootfs.sfs", BaseDir + "/x86_64/airootfs.sha512"}
)

// TestBoot boots machines from examples/appliance, with an ISO as its medium and
// the root file system by HTTP with its checksum.
func TestBoot(t *testing.T) {
	if namespaceError != nil {
		t.Skip(namespaceError)
	}
	appliance := buildAppliance(t)
	for _, c := range bootCases {
		t.Run(c.name, func(t *testing.T) {
			ctx := deadline(t)
			s := newSegment(t, ctx)
			server := startAppliance(t, ctx, appliance, s, c.flags...)
			machine := s.boot(t, ctx, Machine{Firmware: c.firmware, NICs: []NIC{s.nic(1)}})

			address := see(t, ctx, machine, `PXEKIT ip (\S+)`)[1]
			see(t, ctx, machine, `PXEKIT checksum ok`)
			require.Contains(t, see(t, ctx, machine, `PXEKIT cmdline (.*)`)[1], "archiso_http_srv=http://192.0.2.1/~")
			see(t, ctx, machine, `PXEKIT root-mounted squashfs`)
			require.Equal(t, s.medium.Content, see(t, ctx, machine, `PXEKIT root-content ok (\S+)`)[1])
			require.Equal(t, address, see(t, ctx, machine, `PXEKIT os-ip (\S+)`)[1])
			see(t, ctx, machine, `PXEKIT up`)

			// The machine goes on without the server.
			require.NoError(t, server.Stop(ctx))
			see(t, ctx, machine, `PXEKIT server-gone`)
			see(t, ctx, machine, `PXEKIT root-content-after-server-gone ok`)

			events := readEvents(t, server)
			checkTimeline(t, c, events)
			checkLeases(t, address, events)
			checkFiles(t, c, s.medium, events)
		})
	}
}

// buildAppliance compiles examples/appliance.
func buildAppliance(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "appliance")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../examples/appliance").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return binary
}

// startAppliance starts it on the segment, for as long as the test runs.
func startAppliance(t *testing.T, ctx context.Context, binary string, s *segment, flags ...string) *Process {
	t.Helper()
	server, err := Start(ctx, binary, append([]string{
		"-interface", s.Interface(), "-addr", s.Addr().String(), "-range", "192.0.2.100-192.0.2.199",
		"-media", s.medium.ISO, "-params", "console=ttyS0 quiet", "-events", "-",
	}, flags...)...)
	require.NoError(t, err)
	t.Cleanup(func() {
		server.Kill()
		if t.Failed() || testing.Verbose() {
			t.Logf("appliance:\n%s", server.Stderr)
		}
	})
	return server
}

// readEvents decodes what the appliance printed. Everything must be about this one
// machine and, from its first message on, this one boot.
func readEvents(t *testing.T, server *Process) []event {
	t.Helper()
	var events []event
	for _, line := range server.Stdout.Lines() {
		var e event
		require.NoError(t, json.Unmarshal([]byte(line.Text), &e), line.Text)
		events = append(events, e)
	}
	require.NotEmpty(t, events)
	require.NotEmpty(t, events[0].Boot)
	for _, e := range events {
		require.Equal(t, "02:00:00:00:00:01", e.Machine, "%+v", e)
	}
	return events
}

// checkTimeline wants the stages to begin in their order: when a step is begun for
// the first time, the step before it must be over at least once.
func checkTimeline(t *testing.T, c bootCase, events []event) {
	t.Helper()
	var timeline []string
	for _, e := range events {
		if !slices.Contains(timeline, e.Stage) {
			timeline = append(timeline, e.Stage)
		}
	}
	want := append(slices.Clone(c.stages), stageKernel, stageInitrd, stageLease, stageRoot, stageSystem)
	timeline = slices.DeleteFunc(timeline, func(stage string) bool { return !slices.Contains(want, stage) })
	require.Equal(t, want, timeline)
}

// checkLeases wants one address in the whole boot.
func checkLeases(t *testing.T, address string, events []event) {
	t.Helper()
	got := map[string]int{}
	for _, e := range events {
		switch e.Stage {
		case stageACK, stageLease, stageSystem:
			if e.Done {
				require.Equal(t, address, e.Addr, "%+v", e)
				got[e.Stage]++
			}
		}
	}
	for _, stage := range []string{stageACK, stageLease, stageSystem} {
		require.Positive(t, got[stage], "no lease in stage %s", stage)
	}
}

// checkFiles wants each file to have been delivered whole, and no other.
func checkFiles(t *testing.T, c bootCase, medium *Medium, events []event) {
	t.Helper()
	got := map[string][]string{}
	for _, e := range events {
		if !e.Done || e.Aborted || e.Error != "" || e.Size == 0 {
			continue
		}
		if !slices.Contains(got[e.Stage], e.Name) {
			got[e.Stage] = append(got[e.Stage], e.Name)
		}
		require.Equal(t, e.Size, e.Bytes, "%+v", e)
		if e.Name == rootFiles[0] {
			require.Equal(t, medium.Root, e.Bytes)
		}
	}
	require.ElementsMatch(t, c.loaders, got[stageLoader])
	require.Contains(t, got[stageConfig], c.config)
	require.ElementsMatch(t, kernelFiles, got[stageKernel])
	require.ElementsMatch(t, initrdFiles, got[stageInitrd])
	require.ElementsMatch(t, rootFiles, got[stageRoot])
}

// bootLimit is far above what a boot takes on an idle machine (half a minute, or three
// with nothing but TFTP): where many other tests run it takes several times as long. A boot that fails ends
// by what the console says, long before this.
const bootLimit = 15 * time.Minute
