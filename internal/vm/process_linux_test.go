package vm

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProcess(t *testing.T) {
	serve := func(script string) (*Process, error) { return Start(t.Context(), "sh", "-c", script) }

	t.Run("stops", func(t *testing.T) {
		p, err := serve(`trap 'echo bye; exit 0' TERM; echo "ready: now" >&2; while :; do sleep 0.05; done`)
		require.NoError(t, err)
		require.NoError(t, p.Stop(t.Context()))
		require.Equal(t, "bye", text(p.Stdout))
		require.NoError(t, p.Stop(t.Context()), "twice")
	})
	t.Run("exit status", func(t *testing.T) {
		p, err := serve(`trap 'exit 3' TERM; echo ready >&2; while :; do sleep 0.05; done`)
		require.NoError(t, err)
		var exit *exec.ExitError
		require.ErrorAs(t, p.Stop(t.Context()), &exit)
		require.Equal(t, 3, exit.ExitCode())
	})
	t.Run("never ready", func(t *testing.T) {
		_, err := serve(`echo "port 67 is taken" >&2; exit 1`)
		require.ErrorContains(t, err, "port 67 is taken")
	})
	t.Run("does not stop", func(t *testing.T) {
		p, err := serve(`trap '' TERM; echo ready >&2; while :; do sleep 0.05; done`)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, p.Stop(ctx), context.Canceled)
	})
	t.Run("no such program", func(t *testing.T) {
		_, err := Start(t.Context(), "/no/such/program")
		require.ErrorIs(t, err, os.ErrNotExist)
	})
}

// TestNamespace shows that the tests see nothing of the host's network.
func TestNamespace(t *testing.T) {
	if namespaceError != nil {
		t.Skip(namespaceError)
	}
	interfaces, err := net.Interfaces()
	require.NoError(t, err)
	for _, i := range interfaces {
		require.True(t, i.Name == "lo" || strings.HasPrefix(i.Name, "br"), i.Name)
	}
	inside, code, err := EnterNamespace()
	require.NoError(t, err)
	require.True(t, inside)
	require.Zero(t, code)
}

func TestNetworkNeedsNamespace(t *testing.T) {
	t.Setenv(outerVariable, "")
	_, err := NewNetwork(t.Context(), "br0", netip.MustParsePrefix("192.0.2.1/24"))
	require.ErrorContains(t, err, "EnterNamespace")
}

func TestMachineArguments(t *testing.T) {
	_, err := Machine{Firmware: 99}.Start(t.Context())
	require.Error(t, err)
	require.Equal(t, "Firmware(99)", Firmware(99).String())
	require.Equal(t, "uefi-x64", UEFIx64.String())
}
