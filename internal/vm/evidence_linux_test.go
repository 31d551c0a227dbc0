package vm

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// captureDir is where the packets of machines that did not boot are kept; without it
// none are recorded.
var captureDir = os.Getenv("PXEKIT_VM_CAPTURE")

// capture records the packets of a network until the test ends, their headers and
// what is short (an answer of DHCP, a request of HTTP), and keeps the record when the
// test has failed.
func capture(t *testing.T, ctx context.Context, n *Network) {
	t.Helper()
	if captureDir == "" {
		return
	}
	file := filepath.Join(captureDir, strings.ReplaceAll(t.Name(), "/", "_")+".pcap")
	ctx = context.WithoutCancel(ctx) // which ends before the test's cleanup
	dump, err := start(ctx, exec.CommandContext(ctx, "tcpdump", "-Z", "root", "-i", n.Interface(), "-s", "400", "-B", "16384", "-w", file), `listening on`)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, dump.Stop(ctx))
		if t.Failed() {
			t.Logf("packets: %s", file)
		} else {
			require.NoError(t, os.Remove(file))
		}
	})
}

// state is what can be asked of a machine that does not get on.
func state(machine *Running) string {
	var all strings.Builder
	for _, command := range []string{"info status", "info registers", "info network", "info pic"} {
		answer, err := machine.Monitor(command)
		if err != nil {
			answer = err.Error()
		}
		all.WriteString(command + ":\n" + answer + "\n")
	}
	return all.String()
}

func TestMonitor(t *testing.T) {
	ctx := deadline(t)
	s := newSegment(t, ctx)
	machine := s.boot(t, ctx, Machine{Firmware: BIOS, NICs: []NIC{s.nic(1)}})
	see(t, ctx, machine, `SeaBIOS`)
	answer, err := machine.Monitor("info status")
	require.NoError(t, err)
	require.Contains(t, answer, "running")
	answer, err = machine.Monitor("no such thing")
	require.NoError(t, err)
	require.Contains(t, answer, "unknown command")
	require.Contains(t, state(machine), "EIP=")
	require.NoError(t, machine.Stop())
	_, err = machine.Monitor("info status")
	require.Error(t, err)
}
