package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/dhcp"
)

// withLeases reads a command line with -leases path and more flags.
func withLeases(t *testing.T, path string, more ...string) *options {
	t.Helper()
	o, err := parse(append([]string{
		"-interface", "eth1", "-range", "192.0.2.100-192.0.2.199", "-subnet", "198.51.100.0/24,range=198.51.100.100-198.51.100.199",
		"-media", "rescue.iso", "-leases", path,
	}, more...), io.Discard)
	require.NoError(t, err)
	return o
}

// claim gives an address to a machine.
func claim(t *testing.T, store dhcp.Store, addr string) {
	t.Helper()
	_, err := store.Claim(t.Context(), dhcp.Binding{
		HW: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Addr: netip.PrefixFrom(netip.MustParseAddr(addr), 32), State: dhcp.Bound,
	})
	require.NoError(t, err)
}

func TestAllNetworksKeepTheirLeasesInTheFile(t *testing.T) {
	o := withLeases(t, filepath.Join(t.TempDir(), "leases"))
	for _, addr := range []string{"192.0.2.100", "198.51.100.100"} {
		store, closeLeases, err := o.openLeases(io.Discard)
		require.NoError(t, err)
		claim(t, store, addr)
		closeLeases()
	}
	store, closeLeases, err := o.openLeases(io.Discard)
	require.NoError(t, err)
	defer closeLeases()
	networks, err := o.newNetworks(store)
	require.NoError(t, err)
	require.NoError(t, (&pxe.Server{Networks: networks}).Validate())
	for i, addr := range []string{"192.0.2.100", "198.51.100.100"} {
		lease, err := networks[i].Leases.(*dhcp.Pool).LeaseAt(t.Context(), netip.MustParseAddr(addr))
		require.NoError(t, err)
		require.NotNil(t, lease, addr)
	}
}

func TestWithoutTheFlagThereIsNoFile(t *testing.T) {
	o := withLeases(t, "")
	store, closeLeases, err := o.openLeases(io.Discard)
	require.NoError(t, err)
	closeLeases()
	require.True(t, store == nil, "an interface that is nil, not one that holds a nil pointer")
}

func TestALeaseFileThatCannotBeUsedIsNamedWithTheRemedy(t *testing.T) {
	dir := t.TempDir()
	o := withLeases(t, filepath.Join(dir, "leases"))
	_, closeLeases, err := o.openLeases(io.Discard)
	require.NoError(t, err)
	_, _, err = o.openLeases(io.Discard)
	require.ErrorIs(t, err, dhcp.ErrLeaseFileInUse)
	require.ErrorContains(t, err, "-leases: ")
	require.ErrorContains(t, err, "stop the other server")
	closeLeases()

	_, _, err = withLeases(t, filepath.Join(dir, "missing", "leases")).openLeases(io.Discard)
	require.ErrorContains(t, err, "its directory must exist")
	require.ErrorContains(t, err, "-leases: ")

	if os.Getuid() != 0 { // to whom nothing is forbidden
		require.NoError(t, os.Mkdir(filepath.Join(dir, "locked"), 0o500))
		_, _, err = withLeases(t, filepath.Join(dir, "locked", "leases")).openLeases(io.Discard)
		require.ErrorContains(t, err, "must be allowed to write")
	}
}

func TestADamagedLeaseFileIsRefusedAndRepairedOnDemand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	store, closeLeases, err := withLeases(t, path).openLeases(io.Discard)
	require.NoError(t, err)
	claim(t, store, "192.0.2.100")
	claim(t, store, "192.0.2.101")
	closeLeases()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	content[60] ^= 1 // in the first frame
	require.NoError(t, os.WriteFile(path, content, 0o600))

	_, _, err = withLeases(t, path).openLeases(io.Discard)
	require.ErrorContains(t, err, "damaged at offset")
	require.ErrorContains(t, err, "put back a copy of it that has all leases, or add -leases-repair")

	var said bytes.Buffer
	store, closeLeases, err = withLeases(t, path, "-leases-repair").openLeases(&said)
	require.NoError(t, err)
	require.Contains(t, said.String(), "leases kept: 1.")
	require.Contains(t, said.String(), path+".damaged")
	_, err = store.ByAddr(t.Context(), netip.MustParseAddr("192.0.2.101"))
	require.NoError(t, err)
	closeLeases()
	copied, err := os.ReadFile(path + ".damaged")
	require.NoError(t, err)
	require.Equal(t, content, copied)

	said.Reset()
	_, closeLeases, err = withLeases(t, path, "-leases-repair").openLeases(&said)
	require.NoError(t, err)
	closeLeases()
	require.Empty(t, said.String(), "there is nothing to repair any more")

	require.NoError(t, os.WriteFile(path, make([]byte, 100), 0o600))
	_, _, err = withLeases(t, path, "-leases-repair").openLeases(&said)
	require.ErrorContains(t, err, "move it away")
}

func TestTheOperatorHearsOfADiskThatFails(t *testing.T) {
	var said bytes.Buffer
	store, closeLeases, err := withLeases(t, filepath.Join(t.TempDir(), "leases")).openLeases(&said)
	require.NoError(t, err)
	defer closeLeases()
	file := store.(*dhcp.LeaseFile)
	require.False(t, file.Volatile, "no lease is given out that a crash would lose")
	file.OnDisk(errors.New("no space left on device"))
	require.Contains(t, said.String(), "machines may get no addresses until it works again: no space left on device")
	file.OnDisk(nil)
	require.Contains(t, said.String(), "on disk again")
}
