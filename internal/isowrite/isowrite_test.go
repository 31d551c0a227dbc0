package isowrite_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/internal/isowrite"
)

// sample has a bit of everything: deep directories, names that need one and
// two continued NM entries, links, an empty file and an empty directory, and
// so many files that directories span sectors.
func sample() isowrite.Image {
	files := []isowrite.File{
		{Name: "sysresccd/x86_64/airootfs.sfs", Data: bytes.Repeat([]byte("squash"), 5000)},
		{Name: "sysresccd/boot/x86_64/vmlinuz", Data: []byte("kernel"), Mode: 0o755},
		{Name: "sysresccd/boot/syslinux/ldlinux.c32", Reader: strings.NewReader("module"), Size: 6},
		{Name: "a/b/c/d/e/f/g/h/i/j/deep", Data: []byte("deep")},
		{Name: "empty"},
		{Name: "empty from a reader", Reader: strings.NewReader("")},
		{Name: "emptydir", Mode: fs.ModeDir | 0o700},
		{Name: "link", Link: "sysresccd/boot/x86_64/vmlinuz"},
		{Name: "a/up", Link: "../empty"},
		{Name: strings.Repeat("n", 250), Data: []byte("long")},
		{Name: strings.Repeat("é", 127) + "m", Data: []byte("255 bytes")},
	}
	for i := range 300 {
		files = append(files, isowrite.File{
			Name: fmt.Sprintf("many/a rather long name of the file number %03d.txt", i), Data: fmt.Append(nil, i)})
	}
	return isowrite.Image{VolumeID: "RESCUE1200", Files: files, ModTime: time.Date(2025, 3, 4, 5, 6, 7, 0, time.UTC)}
}

func TestSameInputSameBytes(t *testing.T) {
	make := func() []byte {
		image := sample()
		b, err := image.Make()
		require.NoError(t, err)
		return b
	}
	require.Equal(t, sha256.Sum256(make()), sha256.Sum256(make()))
}

func TestXorrisoAndBsdtarReadTheSame(t *testing.T) {
	for _, tool := range []struct {
		name, pkg string
		args      func(iso, dir string) []string
	}{
		{"bsdtar", "libarchive-tools", func(iso, dir string) []string { return []string{"-xf", iso, "-C", dir} }},
		{"xorriso", "xorriso", func(iso, dir string) []string {
			return []string{"-osirrox", "on", "-indev", iso, "-extract", "/", dir}
		}},
	} {
		t.Run(tool.name, func(t *testing.T) {
			if _, err := exec.LookPath(tool.name); err != nil {
				t.Skipf("%s is missing: apt-get install %s", tool.name, tool.pkg)
			}
			image := sample()
			iso, dir := filepath.Join(t.TempDir(), "x.iso"), filepath.Join(t.TempDir(), "out")
			b, err := image.Make()
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(iso, b, 0o600))
			require.NoError(t, os.Mkdir(dir, 0o700))
			out, err := exec.Command(tool.name, tool.args(iso, dir)...).CombinedOutput()
			require.NoError(t, err, string(out))
			require.NotContains(t, string(out), "WARNING")
			t.Cleanup(func() { // read-only directories stand in the way of TempDir's cleaning
				_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, _ error) error {
					if d != nil && d.IsDir() {
						_ = os.Chmod(p, 0o700)
					}
					return nil
				})
			})
			for _, f := range sample().Files {
				p := filepath.Join(dir, f.Name)
				if f.Link != "" {
					link, err := os.Readlink(p)
					require.NoError(t, err)
					require.Equal(t, f.Link, link)
					continue
				}
				info, err := os.Stat(p)
				require.NoError(t, err)
				require.Equal(t, f.Mode.IsDir(), info.IsDir(), f.Name)
				if f.Mode.IsDir() {
					continue
				}
				require.True(t, info.ModTime().Equal(image.ModTime), "%s: %v", f.Name, info.ModTime())
				want := f.Data
				if f.Reader != nil {
					want, err = io.ReadAll(f.Reader)
					require.NoError(t, err)
				}
				got, err := os.ReadFile(p)
				require.NoError(t, err)
				require.True(t, bytes.Equal(want, got), f.Name)
				mode := f.Mode
				if mode == 0 {
					mode = 0o444
				}
				require.Equal(t, mode, info.Mode(), f.Name)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	one := func(f isowrite.File) isowrite.Image { return isowrite.Image{Files: []isowrite.File{f}} }
	for name, tt := range map[string]struct {
		image isowrite.Image
		says  string
	}{
		"volume id":       {isowrite.Image{VolumeID: "rescue"}, "volume identifier"},
		"year":            {isowrite.Image{ModTime: time.Date(2156, 1, 1, 0, 0, 0, 0, time.UTC)}, "1900 to 2155"},
		"absolute":        {one(isowrite.File{Name: "/x"}), "relative"},
		"dot":             {one(isowrite.File{Name: "."}), "relative"},
		"NUL":             {one(isowrite.File{Name: "x\x00"}), "relative"},
		"long element":    {one(isowrite.File{Name: strings.Repeat("x", 256)}), "longer"},
		"size, no data":   {one(isowrite.File{Name: "x", Size: 1}), "Size"},
		"device":          {one(isowrite.File{Name: "x", Mode: fs.ModeDevice}), "only files"},
		"link and data":   {one(isowrite.File{Name: "x", Link: "y", Data: []byte("z")}), "no content"},
		"short reader":    {one(isowrite.File{Name: "x", Size: 9, Reader: strings.NewReader("y")}), "ended after 1 of 9"},
		"long reader":     {one(isowrite.File{Name: "x", Size: 1, Reader: strings.NewReader("yz")}), "x: its reader goes on after its Size of 1 bytes"},
		"reader, no size": {one(isowrite.File{Name: "x", Reader: strings.NewReader("y")}), "goes on after its Size of 0"},
		"failing reader":  {one(isowrite.File{Name: "x", Size: 1, Reader: io.MultiReader(strings.NewReader("y"), iotest.ErrReader(errors.New("torn")))}), "torn"},
		"link and dir":    {one(isowrite.File{Name: "x", Link: "y", Mode: fs.ModeDir}), "Link goes without fs.ModeDir"},
		"twice":           {isowrite.Image{Files: []isowrite.File{{Name: "x"}, {Name: "x"}}}, "twice"},
		"below a file":    {isowrite.Image{Files: []isowrite.File{{Name: "x"}, {Name: "x/y"}}}, "lies below"},
		"endless link":    {one(isowrite.File{Name: "x", Link: strings.Repeat("y", 3000)}), "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := tt.image.WriteTo(io.Discard)
			require.ErrorContains(t, err, tt.says)
			require.NotNil(t, n)
		})
	}
}

func Example() {
	image := isowrite.Image{VolumeID: "RESCUE1200", Files: isowrite.Bytes(map[string][]byte{
		"sysresccd/boot/x86_64/vmlinuz": []byte("kernel"),
	})}
	var b bytes.Buffer
	n, err := image.WriteTo(&b)
	fmt.Println(n == int64(b.Len()), err)
	// Output: true <nil>
}
