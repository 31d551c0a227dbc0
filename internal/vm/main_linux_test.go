package vm

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// namespaceError says why machines cannot be tested here; nil: they can.
var namespaceError error

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		namespaceError = errors.New("virtual machines are not booted with -short")
	} else if line := Missing(); line != "" {
		namespaceError = errors.New(line)
	} else {
		inside, code, err := EnterNamespace()
		if err == nil && !inside {
			os.Exit(code)
		}
		namespaceError = err
	}
	if namespaceError != nil && os.Getenv("CI") != "" && !testing.Short() {
		fmt.Fprintf(os.Stderr, "in CI these tests are not skipped: %v\n", namespaceError)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// segment is what a boot test starts from: a medium and a network with the server's
// address, in a namespace of the tests' own. It skips the test where there is none.
type segment struct {
	*Network
	medium *Medium
}

func newSegment(t *testing.T, ctx context.Context) *segment {
	t.Helper()
	if namespaceError != nil {
		t.Skip(namespaceError)
	}
	medium, err := BuildMedium(ctx, "")
	require.NoError(t, err)
	network, err := NewNetwork(ctx, "br0", netip.MustParsePrefix("192.0.2.1/24"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, network.Close()) })
	capture(t, ctx, network)
	return &segment{network, medium}
}

// boot switches a machine on, for as long as the test runs.
func (s *segment) boot(t *testing.T, ctx context.Context, m Machine) *Running {
	t.Helper()
	machine, err := m.Start(ctx)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, machine.Stop())
		if t.Failed() || testing.Verbose() {
			t.Logf("%v console:\n%s", m.Firmware, machine.Console)
		}
	})
	return machine
}

// nic is a network interface of the machine with the given number.
func (s *segment) nic(n byte) NIC {
	return NIC{Network: s.Network, HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, n}}
}

// see waits until the machine has said that on its console.
func see(t *testing.T, ctx context.Context, machine *Running, pattern string) []string {
	t.Helper()
	line, match, err := machine.Console.WaitFor(ctx, pattern)
	if err != nil {
		t.Log(state(machine))
	}
	require.NoError(t, err)
	t.Logf("%6.1f s: %s", line.At.Seconds(), line.Text)
	return match
}

// deadline bounds one boot.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), bootLimit)
	t.Cleanup(cancel)
	return ctx
}

func params(root string, more ...string) []string {
	return append([]string{
		"console=ttyS0", "quiet", "archisobasedir=" + BaseDir,
		fmt.Sprintf("archiso_http_srv=%s", root),
	}, more...)
}
