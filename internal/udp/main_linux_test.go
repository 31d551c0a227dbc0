package udp

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/internal/vm"
)

// namespaceError says why there can be no interfaces to test with; nil: there can.
var namespaceError error

// TestMain runs the tests in a network namespace of their own, where interfaces
// may come and go.
func TestMain(m *testing.M) {
	if _, err := exec.LookPath("ip"); err != nil {
		namespaceError = errors.New("interfaces need the ip command: apt-get install iproute2")
	} else {
		inside, code, err := vm.EnterNamespace()
		if err == nil && !inside {
			os.Exit(code)
		}
		if namespaceError = err; err == nil {
			namespaceError = runIP("link set lo up")
		}
	}
	if namespaceError != nil && os.Getenv("CI") != "" {
		fmt.Fprintf(os.Stderr, "in CI these tests are not skipped: %v\n", namespaceError)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func runIP(args string) error {
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, out)
	}
	return nil
}

// ip runs the ip command in the tests' namespace. It skips the test where there
// is none.
func ip(t *testing.T, args ...string) {
	t.Helper()
	if namespaceError != nil {
		t.Skip(namespaceError)
	}
	for _, a := range args {
		require.NoError(t, runIP(a))
	}
}

// cable lays a cable between a network card of the server and one of a client,
// and removes it at the end of the test.
func cable(t *testing.T, server, client string, addrs ...string) {
	t.Helper()
	ip(t, fmt.Sprintf("link add %s type veth peer name %s", server, client))
	t.Cleanup(func() { _ = runIP("link del " + server) }) // the test may have done it
	plug(t, server, client, addrs...)
}

// plug gives the server's card its addresses, and waits until the cable carries.
func plug(t *testing.T, server, client string, addrs ...string) {
	t.Helper()
	for _, a := range addrs {
		ip(t, fmt.Sprintf("addr add %s dev %s", a, server))
	}
	ip(t, fmt.Sprintf("link set %s up", client), fmt.Sprintf("link set %s up", server))
	for _, name := range []string{server, client} {
		carries := func() bool {
			ifi, err := net.InterfaceByName(name)
			return err == nil && ifi.Flags&net.FlagRunning != 0
		}
		require.Eventually(t, carries, patience, time.Millisecond)
	}
}
