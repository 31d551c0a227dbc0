package vm

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

const stockDir = BaseDir + "/boot/syslinux"

// stockLoaders are the loader that the medium brings and the modules of its menu, in
// the order in which they are asked for.
var stockLoaders = []string{
	stockDir + "/lpxelinux.0", stockDir + "/ldlinux.c32",
	stockDir + "/whichsys.c32", stockDir + "/libcom32.c32",
	stockDir + "/vesamenu.c32", stockDir + "/libutil.c32",
}

// writeStockDefault puts a part of the medium's menu into a directory that the server
// looks into first, so that its default is the entry for HTTP.
func writeStockDefault(t *testing.T, dir string) {
	t.Helper()
	head, err := stockMenu.ReadFile("syslinux/sysresccd_head.cfg")
	require.NoError(t, err)
	file := filepath.Join(dir, filepath.FromSlash(stockDir), "sysresccd_head.cfg")
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, append(head, "DEFAULT sysresccd_http\n"...), 0o600))
}

// checkStockCommandLine wants what the menu's entry has, with the address that
// lpxelinux was given.
func checkStockCommandLine(t *testing.T, root, address, line string) {
	t.Helper()
	param := `archisolabel=RESCUE1200 archiso_nbd_srv=\$\{pxeserver\}`
	if root == "http" {
		param = `archiso_http_srv=http://\$\{pxeserver\}/`
	}
	require.Regexp(t, ` archisobasedir=sysresccd `+param+` iomem=relaxed `, " "+line)
	require.Contains(t, line, " ip="+address+":192.0.2.1:")
	require.Contains(t, line, " BOOTIF=01-02-00-00-00-00-01")
}

// checkStockFiles wants all that the medium's menu names to have come whole: the
// configuration that options 209 and 210 name, what it includes, the kernel, and the
// root file system under the name that the menu expects.
func checkStockFiles(t *testing.T, root string, medium *Medium, events []event) {
	t.Helper()
	all := map[string]event{}
	for _, files := range delivered(t, events) {
		for _, e := range files {
			all[e.Name] = e
		}
	}
	want := slices.Concat(kernelFiles, initrdFiles)
	for _, name := range []string{"sysresccd.cfg", "sysresccd_pxe.cfg", "sysresccd_head.cfg", "sysresccd_tail.cfg"} {
		want = append(want, stockDir+"/"+name)
	}
	for _, name := range want {
		require.Equal(t, "tftp", all[name].Via, "%s did not come", name)
	}
	require.NotContains(t, all, stockDir+"/sysresccd_sys.cfg", "the menu for machines that boot from a disk")
	if root == "http" {
		require.Equal(t, "http", all[rootFiles[0]].Via)
		require.Equal(t, medium.Root, all[rootFiles[0]].Bytes)
		return
	}
	require.Equal(t, "nbd", all["archiso"].Via)
	require.GreaterOrEqual(t, all["archiso"].Bytes, medium.Root)
}
