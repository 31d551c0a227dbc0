package asset_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/asset"
)

// need skips the test where a tool is missing and says how to get it.
func need(t testing.TB, tool, debianPackage string) {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		t.Skipf("%s is missing: apt-get install %s", tool, debianPackage)
	}
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(t, err, "%s %s\n%s", name, strings.Join(args, " "), out)
	return string(out)
}

// line describes one file for comparison; without attributes where the format
// has none.
func line(name string, mode fs.FileMode, modTime time.Time, content []byte, attributes bool) string {
	sum := sha256.Sum256(content)
	s := fmt.Sprintf("%s %d %x", name, len(content), sum[:8])
	if attributes {
		s += fmt.Sprintf(" %v %s", mode, modTime.UTC().Format(time.DateTime))
	}
	return s
}

// digestFS lists everything below the root of fsys: directories, links with
// their target, files with their hash.
func digestFS(t testing.TB, fsys fs.FS, attributes bool) []string {
	t.Helper()
	var lines []string
	require.NoError(t, fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		switch d.Type() {
		case fs.ModeDir:
			if name != "." {
				lines = append(lines, name+"/")
			}
		case fs.ModeSymlink:
			target, err := fs.ReadLink(fsys, name)
			require.NoError(t, err)
			lines = append(lines, name+" -> "+target)
		default:
			content, err := fs.ReadFile(fsys, name)
			require.NoError(t, err)
			info, err := d.Info()
			require.NoError(t, err)
			require.EqualValues(t, info.Size(), len(content), name)
			lines = append(lines, line(name, info.Mode(), info.ModTime(), content, attributes))
		}
		return nil
	}))
	sort.Strings(lines)
	return lines
}

// digestBsdtar lists the same as bsdtar reads it, converted to a tar stream.
func digestBsdtar(t testing.TB, iso string, attributes bool) []string {
	t.Helper()
	need(t, "bsdtar", "libarchive-tools")
	out, err := exec.Command("bsdtar", "-cf", "-", "--format", "pax", "@"+iso).Output()
	require.NoError(t, err)
	var lines []string
	for r := tar.NewReader(bytes.NewReader(out)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		name := strings.TrimPrefix(h.Name, "./")
		switch h.Typeflag {
		case tar.TypeDir:
			if name = strings.TrimSuffix(name, "/"); name != "." && name != "" {
				lines = append(lines, name+"/")
			}
		case tar.TypeSymlink:
			lines = append(lines, name+" -> "+h.Linkname)
		default:
			content, err := io.ReadAll(r)
			require.NoError(t, err)
			lines = append(lines, line(name, h.FileInfo().Mode(), h.ModTime, content, attributes))
		}
	}
	sort.Strings(lines)
	return lines
}

// digestXorriso lists the same as xorriso extracts it.
func digestXorriso(t testing.TB, iso string, attributes bool) []string {
	t.Helper()
	need(t, "xorriso", "xorriso")
	dir := filepath.Join(t.TempDir(), "out")
	require.NoError(t, os.Mkdir(dir, 0o700))
	t.Cleanup(func() { // read-only directories stand in the way of TempDir's cleaning
		_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, _ error) error {
			if d != nil && d.IsDir() {
				_ = os.Chmod(p, 0o700)
			}
			return nil
		})
	})
	run(t, "xorriso", "-osirrox", "on", "-indev", iso, "-extract", "/", dir)
	return digestFS(t, os.DirFS(dir), attributes)
}

// tree makes a directory with 1,000 files in one place, deep directories, long
// names and links.
func tree(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, content string) {
		p := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		require.NoError(t, os.WriteFile(p, []byte(content), 0o644))
	}
	for i := range 1000 {
		write(fmt.Sprintf("many/file-%04d-of-a-directory-with-a-thousand.txt", i), strings.Repeat("x", i%50))
	}
	write("1/2/3/4/5/6/7/8/9/10/11/12/deep.txt", "deep")
	write("1/2/3/4/5/6/7/8/9/other/file.txt", "other")
	write("1/2/3/4/5/6/7/beside.txt", "beside")
	for _, n := range []int{100, 150, 200, 250, 255} {
		write("long/"+strings.Repeat("n", n-4)+".txt", fmt.Sprint(n))
	}
	write("long/"+strings.Repeat("é", 120)+".txt", "utf-8")
	write("sysresccd/x86_64/airootfs.sfs", strings.Repeat("squashfs", 3000))
	write("sysresccd/boot/x86_64/vmlinuz", strings.Repeat("kernel", 500))
	write("empty.txt", "")
	write("many dots.tar.gz", "dots")
	write("UPPER.TXT", "upper")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "emptydir"), 0o755))
	require.NoError(t, os.Symlink("sysresccd/boot/x86_64/vmlinuz", filepath.Join(dir, "link")))
	require.NoError(t, os.Symlink("../beside.txt", filepath.Join(dir, "1/2/3/4/5/6/7/8/up")))
	return dir
}

// xorriso makes an image of dir.
func xorriso(t testing.TB, dir string, args ...string) string {
	t.Helper()
	need(t, "xorriso", "xorriso")
	path := filepath.Join(t.TempDir(), "x.iso")
	run(t, "xorriso", append(append([]string{"-volid", "RESCUE1200", "-outdev", path}, args...), "-map", dir, "/", "-commit")...)
	return path
}

// TestZ008_OraclesAgree reads images that xorriso made and compares every
// name, mode, time, link and content with what xorriso and bsdtar find in them.
func TestZ008_OraclesAgree(t *testing.T) {
	dir := tree(t)
	for name, args := range map[string][]string{
		"Rock Ridge, deep as it is": {"-rockridge", "on", "-joliet", "off", "-compliance", "deep_paths"},
		"Rock Ridge, relocated": {"-rockridge", "on", "-joliet", "off",
			"-compliance", "deep_paths_off:long_paths_off", "-rr_reloc_dir", "rr_moved"},
		"Rock Ridge beats Joliet": {"-rockridge", "on", "-joliet", "on"},
	} {
		t.Run(name, func(t *testing.T) {
			path := xorriso(t, dir, args...)
			iso, err := asset.OpenISO(path)
			require.NoError(t, err)
			defer iso.Close()
			require.Equal(t, "RESCUE1200", iso.VolumeID())
			got := digestFS(t, iso, true)
			require.Greater(t, len(got), 1030)
			require.Equal(t, digestXorriso(t, path, true), got)
			require.Equal(t, digestBsdtar(t, path, true), got)
			require.NoError(t, fstest.TestFS(iso, "sysresccd/x86_64/airootfs.sfs", "link"))
		})
	}
}

// TestZ008_WithoutRockRidge compares Joliet and plain names with bsdtar's; of
// plain ones it keeps the capitals.
func TestZ008_WithoutRockRidge(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"README", "Some File.Txt", "sub/noext", "sub/deeper/a.b.c", "archive.tar.gz", "two.dots..x", "ünï.txt"} {
		p := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		require.NoError(t, os.WriteFile(p, []byte(name), 0o644))
	}
	for i := range 1000 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%d", i)), fmt.Append(nil, i), 0o644))
	}
	for name, tt := range map[string]struct {
		args []string
		is   string
		fold func(string) string
	}{
		"Joliet": {[]string{"-rockridge", "off", "-joliet", "on"}, "Some File.Txt", func(s string) string { return s }},
		"plain":  {[]string{"-rockridge", "off", "-joliet", "off"}, "some_file.txt", strings.ToLower},
	} {
		t.Run(name, func(t *testing.T) {
			path := xorriso(t, dir, tt.args...)
			iso, err := asset.OpenISO(path)
			require.NoError(t, err)
			defer iso.Close()
			want := digestBsdtar(t, path, false)
			for i := range want {
				want[i] = tt.fold(want[i])
			}
			sort.Strings(want)
			require.Equal(t, want, digestFS(t, iso, false))
			require.NoError(t, fstest.TestFS(iso, tt.is))
		})
	}
}
