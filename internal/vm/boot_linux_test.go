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

// Files that every chain fetches, by stage.
var (
	kernelFiles = []string{BaseDir + "/boot/x86_64/vmlinuz"}
	initrdFiles = []string{
		BaseDir + "/boot/intel_ucode.img", BaseDir + "/boot/amd_ucode.img", BaseDir + "/boot/x86_64/sysresccd.img",
	}
	rootFiles = []string{BaseDir + "/x86_64/airootfs.sfs", BaseDir + "/x86_64/airootfs.sha512"}
)

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
	all := []string{
		"-interface", s.Interface(), "-addr", s.Addr().String(),
		"-media", s.medium.ISO, "-events", "-",
	}
	if !slices.Contains(flags, "stock") { // whose menu has them
		all = append(all, "-params", "console=ttyS0 quiet")
	}
	if !slices.Contains(flags, "-proxy") {
		all = append(all, "-range", "192.0.2.100-192.0.2.199")
	}
	server, err := Start(ctx, binary, append(all, flags...)...)
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
// machine.
func readEvents(t *testing.T, server *Process) []event {
	t.Helper()
	var events []event
	for _, line := range server.Stdout.Lines() {
		events = append(events, readEvent(t, line.Text))
	}
	require.NotEmpty(t, events)
	require.NotEmpty(t, events[0].Boot)
	return events
}

func readEvent(t *testing.T, text string) event {
	t.Helper()
	var e event
	require.NoError(t, json.Unmarshal([]byte(text), &e), text)
	require.Equal(t, "02:00:00:00:00:01", e.Machine, text)
	return e
}

// checkTimeline wants the stages to begin in this order.
func checkTimeline(t *testing.T, want []string, events []event) {
	t.Helper()
	var timeline []string
	for _, e := range events {
		if slices.Contains(want, e.Stage) && !slices.Contains(timeline, e.Stage) {
			timeline = append(timeline, e.Stage)
		}
	}
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

// delivered are the files that arrived whole, by stage, in the order of their first
// arrival.
func delivered(t *testing.T, events []event) map[string][]event {
	t.Helper()
	got := map[string][]event{}
	for _, e := range events {
		if !e.Done || e.Aborted || e.Error != "" || e.Bytes == 0 {
			continue // asked for in vain, or for the size
		}
		if e.Via != "nbd" { // of a disk a machine reads what it needs
			require.Equal(t, e.Size, e.Bytes, "%+v", e)
		}
		if !slices.ContainsFunc(got[e.Stage], func(f event) bool { return f.Name == e.Name }) {
			got[e.Stage] = append(got[e.Stage], e)
		}
	}
	return got
}

func names(files []event) []string {
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
	}
	return names
}

// bootLimit is far above what a boot takes on an idle machine (half a minute, or three
// with nothing but TFTP): where many other tests run it takes several times as long. A boot that fails ends
// by what the console says, long before this.
const bootLimit = 15 * time.Minute
