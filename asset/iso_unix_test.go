//go:build unix

package asset_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/asset"
)

func TestOpenISODoesNotWaitForAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe.iso")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	_, err := asset.OpenISO(path)
	require.ErrorContains(t, err, "pipe.iso: not a regular file")
	require.ErrorContains(t, err, "give the ISO image itself")
}
