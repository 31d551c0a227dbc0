package vm

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMissing(t *testing.T) {
	require.Empty(t, missing([]requirement{{pkg: "bash", program: "sh"}, {pkg: "base-files", file: "/et[c]"}}))
	require.Equal(t, "virtual machines need: apt-get install one two", missing([]requirement{
		{pkg: "one", file: "/no/such/file-*"},
		{pkg: "one", program: "no-such-program"},
		{pkg: "bash", program: "sh"},
		{pkg: "two", program: "no-such-program"},
	}))
}

func TestResolveModules(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"modules.dep": "kernel/net.ko: kernel/failover.ko kernel/ring.ko\nkernel/failover.ko:\n" +
			"kernel/ring.ko: kernel/bus.ko\nkernel/bus.ko:\nkernel/my-fs.ko.xz: kernel/bus.ko\n",
		"modules.builtin": "kernel/packet.ko\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
	}
	files, err := resolveModules(dir, []string{"net", "packet", "my_fs"})
	require.NoError(t, err)
	for i := range files {
		files[i], err = filepath.Rel(dir, files[i])
		require.NoError(t, err)
	}
	require.Equal(t, []string{
		"kernel/failover.ko", "kernel/bus.ko", "kernel/ring.ko", "kernel/net.ko", "kernel/my-fs.ko.xz",
	}, files)

	_, err = resolveModules(dir, []string{"tokenring"})
	require.ErrorContains(t, err, "no module tokenring")
	_, err = resolveModules(filepath.Join(dir, "none"), nil)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestReadModuleDecompresses(t *testing.T) {
	if _, err := exec.LookPath("xz"); err != nil {
		t.Skip("apt-get install xz-utils")
	}
	file := filepath.Join(t.TempDir(), "a.ko")
	require.NoError(t, os.WriteFile(file, []byte("module"), 0o644))
	require.NoError(t, run(t.Context(), "xz", file))
	data, err := readModule(file + ".xz")
	require.NoError(t, err)
	require.Equal(t, "module", string(data))
}

func TestCompareVersions(t *testing.T) {
	ordered := []string{"5.10.0-30", "6.1.0-9-cloud", "6.1.0-10", "6.1.0-10-cloud", "6.1.0-010-cloud2", "6.12"}
	for i, a := range ordered {
		require.Zero(t, compareVersions(a, a))
		for _, b := range ordered[i+1:] {
			require.Negative(t, compareVersions(a, b), "%s < %s", a, b)
			require.Positive(t, compareVersions(b, a), "%s > %s", b, a)
		}
	}
}

func TestParseLDD(t *testing.T) {
	require.Equal(t, []string{"/lib/x86_64-linux-gnu/libz.so.1"}, parseLDD(
		"\tlinux-vdso.so.1 (0x00007f0)\n\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f1)\n"+
			"\tlibnone.so => not found\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f2)\n"))
}

// TestCPIO has busybox read what the writer wrote.
func TestCPIO(t *testing.T) {
	if _, err := exec.LookPath("busybox"); err != nil {
		t.Skip("apt-get install busybox-static")
	}
	var archive bytes.Buffer
	c := newCPIOWriter(&archive)
	c.dir("dev")
	c.file("a/b/file", 0o755, []byte("five!"))
	c.file("a/b/empty", 0o644, nil)
	c.link("a/link", "b/file")
	require.NoError(t, c.close())
	require.Zero(t, archive.Len()%512)

	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "busybox", "cpio", "-i")
	cmd.Dir, cmd.Stdin = dir, &archive
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	data, err := os.ReadFile(filepath.Join(dir, "a/link"))
	require.NoError(t, err)
	require.Equal(t, "five!", string(data))
	info, err := os.Stat(filepath.Join(dir, "a/b/file"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o755), info.Mode())
	require.DirExists(t, filepath.Join(dir, "dev"))
	require.FileExists(t, filepath.Join(dir, "a/b/empty"))
}

// TestBuildMedium has several callers ask for the medium at once, and looks at the
// image with xorriso.
func TestBuildMedium(t *testing.T) {
	if testing.Short() {
		t.Skip("the medium is not built with -short")
	}
	if line := Missing(); line != "" {
		t.Skip(line)
	}
	var media [3]*Medium
	var errs [3]error
	var all sync.WaitGroup
	for i := range media {
		all.Go(func() { media[i], errs[i] = BuildMedium(t.Context(), "") })
	}
	all.Wait()
	for i := range media {
		require.NoError(t, errs[i])
		require.Equal(t, media[0], media[i])
	}
	out, err := exec.CommandContext(t.Context(), "xorriso", "-indev", media[0].ISO, "-pvd_info", "-find", "/", "-type", "f").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "RESCUE1200")
	for _, name := range []string{
		"boot/x86_64/vmlinuz", "boot/x86_64/sysresccd.img", "boot/intel_ucode.img", "boot/amd_ucode.img",
		"x86_64/airootfs.sfs", "x86_64/airootfs.sha512", "VERSION", "boot/syslinux/lpxelinux.0", "boot/syslinux/ldlinux.c32",
		"boot/syslinux/whichsys.c32", "boot/syslinux/vesamenu.c32", "boot/syslinux/sysresccd.cfg", "boot/syslinux/sysresccd_pxe.cfg",
	} {
		require.Contains(t, string(out), "'/sysresccd/"+name+"'")
	}
	sums := exec.CommandContext(t.Context(), "sha512sum", "-c", "airootfs.sha512")
	sums.Dir = filepath.Join(media[0].Tree, BaseDir, "x86_64")
	out, err = sums.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.True(t, strings.HasSuffix(strings.TrimSpace(string(out)), "OK"))
}
