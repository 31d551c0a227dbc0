package rootfs_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/rootfs"
)

// What mount(8) reads in the line is what was put in.
func TestNFSFstabLineIsReadBack(t *testing.T) {
	if _, err := exec.LookPath("findmnt"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("in CI this test is not skipped: it needs util-linux")
		}
		t.Skip("needs findmnt of util-linux")
	}
	table := filepath.Join(t.TempDir(), "fstab")
	for _, iso := range []string{"/srv/iso/rescue.iso", "/srv/all media/a\tb.iso", `/srv/back\slash\040.iso`, "/srv/#1.iso", "/srv/größe.iso", `/srv/"quoted".iso`} {
		line, err := hinted.FstabLine(rootfs.NFSShare{ISO: iso})
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(table, []byte(line+"\n"), 0o644))
		out, err := exec.Command("findmnt", "--tab-file", table, "--json", "--output", "SOURCE,TARGET,FSTYPE,OPTIONS").Output()
		require.NoError(t, err)
		var read struct {
			Filesystems []struct{ Source, Target, FSType, Options string }
		}
		require.NoError(t, json.Unmarshal(out, &read))
		require.Len(t, read.Filesystems, 1)
		got := read.Filesystems[0]
		require.Equal(t, []string{iso, "/srv/rescue", "iso9660", "loop,ro,nosuid,nodev"}, []string{got.Source, got.Target, got.FSType, got.Options})
	}
}
