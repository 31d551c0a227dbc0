//go:build unix

package dhcp

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCVE_2025_32803_LeasesAreNotForTheWorld: Kea's lease files could be read by
// everybody.
func TestCVE_2025_32803_LeasesAreNotForTheWorld(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077, 0o777} {
		dir := t.TempDir()
		path := filepath.Join(dir, "leases")
		func() {
			defer syscall.Umask(syscall.Umask(umask))
			f := openLeases(t, path)
			mode := func() {
				entries, err := os.ReadDir(dir)
				require.NoError(t, err)
				require.NotEmpty(t, entries)
				for _, e := range entries {
					info, err := e.Info()
					require.NoError(t, err)
					require.Equal(t, leaseMode, info.Mode(), "%s with umask %o", e.Name(), umask)
				}
			}
			mode()
			f.growth = 1
			for i := range 20 {
				claimed(t, f, boundTo(i))
			}
			require.NoError(t, f.Close())
			mode()
			require.NoError(t, os.Chmod(path, 0o666))
			f = openLeases(t, path)
			mode()
			require.NoError(t, f.Close())
			require.NoError(t, os.WriteFile(path, []byte("damaged"), 0o600))
			_, err := RepairLeaseFile(path)
			require.Error(t, err)
			pool := small(3)
			pool.Store = openLeases(t, filepath.Join(dir, "others"))
			dora(t, newServer(withPool(pool)), mac(1))
			mode()
		}()
	}
}
