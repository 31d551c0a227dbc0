package vm

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestKernelMissing names the script where packages are not unpacked, also when a
// part of them is.
func TestKernelMissing(t *testing.T) {
	if line := Missing(); line != "" {
		t.Skip(line)
	}
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	require.Empty(t, CloudKernel.Missing())
	for _, kernel := range []Kernel{FullKernel, ARM64Kernel} {
		require.Equal(t, needForeign, kernel.Missing())
	}
	boot := filepath.Join(cache, "pxekit-vm/foreign/amd64/boot")
	require.NoError(t, os.MkdirAll(boot, 0o755))
	require.Equal(t, needForeign, FullKernel.Missing())
	require.NoError(t, os.WriteFile(filepath.Join(boot, "vmlinuz-6.1.0-1-amd64"), nil, 0o644))
	require.Empty(t, FullKernel.Missing())
	_, err := findIngredients(99)
	require.ErrorContains(t, err, "no such kernel")
}
