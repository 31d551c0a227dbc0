package asset_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/internal/isowrite"
)

func makeISO(t testing.TB, files ...isowrite.File) []byte {
	t.Helper()
	image := isowrite.Image{VolumeID: "RESCUE1200", Files: files, ModTime: time.Date(2025, 3, 4, 5, 6, 7, 0, time.UTC)}
	b, err := image.Make()
	require.NoError(t, err)
	return b
}

func newISO(t testing.TB, image []byte) *asset.ISO {
	t.Helper()
	iso, err := asset.NewISO(bytes.NewReader(image), int64(len(image)))
	require.NoError(t, err)
	return iso
}

func read(t testing.TB, src asset.FileSource, name string) string {
	t.Helper()
	f, err := src.OpenFile(t.Context(), name)
	require.NoError(t, err)
	defer f.Close()
	b, err := io.ReadAll(f)
	require.NoError(t, err)
	return string(b)
}

func media() []isowrite.File {
	return []isowrite.File{
		{Name: "sysresccd/x86_64/airootfs.sfs", Data: bytes.Repeat([]byte("squashfs"), 1000)},
		{Name: "sysresccd/x86_64/airootfs.sha512", Data: []byte("hash")},
		{Name: "sysresccd/boot/x86_64/vmlinuz", Data: []byte("kernel"), Mode: 0o755},
		{Name: "sysresccd/boot/x86_64/sysresccd.img", Data: []byte("initramfs")},
		{Name: "sysresccd/boot/syslinux/lpxelinux.0", Data: []byte("loader")},
		{Name: "sysresccd/boot/syslinux/ldlinux.c32", Data: []byte("module")},
		{Name: "EFI/boot/bootx64.efi", Data: []byte("efi")},
		{Name: "empty"},
		{Name: "emptydir", Mode: fs.ModeDir},
		{Name: "boot", Link: "sysresccd/boot"},
		{Name: "sysresccd/top", Link: "../EFI/./boot"},
	}
}

func TestISOPassesTestFS(t *testing.T) {
	iso := newISO(t, makeISO(t, media()...))
	require.NoError(t, fstest.TestFS(iso, "sysresccd/x86_64/airootfs.sfs", "EFI/boot/bootx64.efi", "empty", "emptydir", "boot"))
	require.NoError(t, iso.Close())
}

func TestISOSaysWhatItHolds(t *testing.T) {
	iso := newISO(t, makeISO(t, media()...))
	require.Equal(t, "RESCUE1200", iso.VolumeID())
	info, err := iso.Stat("sysresccd/boot/x86_64/vmlinuz")
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o755), info.Mode())
	require.EqualValues(t, 6, info.Size())
	require.True(t, info.ModTime().Equal(time.Date(2025, 3, 4, 5, 6, 7, 0, time.UTC)))
	link, err := iso.ReadLink("boot")
	require.NoError(t, err)
	require.Equal(t, "sysresccd/boot", link)
	info, err = iso.Lstat("boot")
	require.NoError(t, err)
	require.Equal(t, fs.ModeSymlink, info.Mode().Type())
	_, err = iso.ReadLink("empty")
	require.ErrorIs(t, err, fs.ErrInvalid)
	_, err = iso.ReadDir("empty")
	require.ErrorContains(t, err, "not a directory")
	for _, call := range []func(string) error{
		func(n string) error { _, err := iso.Stat(n); return err },
		func(n string) error { _, err := iso.Lstat(n); return err },
		func(n string) error { _, err := iso.ReadDir(n); return err },
		func(n string) error { _, err := iso.ReadLink(n); return err },
		func(n string) error { _, err := iso.Open(n); return err },
	} {
		var pathError *fs.PathError
		require.ErrorIs(t, call("not/there"), fs.ErrNotExist)
		require.ErrorAs(t, call("empty/below"), &pathError)
		require.Equal(t, "empty/below", pathError.Path)
		require.ErrorIs(t, call("../x"), fs.ErrInvalid)
	}
}

func TestZ011_NamesInAnyCase(t *testing.T) {
	iso := newISO(t, makeISO(t, append(media(),
		isowrite.File{Name: "Both", Data: []byte("Both")}, isowrite.File{Name: "BOTH", Data: []byte("BOTH")})...))
	for name, want := range map[string]string{
		"sysresccd/x86_64/airootfs.sha512": "hash",
		"SYSRESCCD/X86_64/AIROOTFS.SHA512": "hash",
		"efi/BOOT/BootX64.EFI":             "efi",
		"Both":                             "Both", // the exact name wins
		"BOTH":                             "BOTH",
		"both":                             "BOTH", // then the first in byte order
	} {
		require.Equal(t, want, read(t, iso, name), name)
	}
	_, err := iso.Open("sysresccd/x86_64/airootfs.sfs2")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestZ006_LinksStayInside(t *testing.T) {
	long := strings.Repeat("d", 200) + "/" + strings.Repeat("e", 255) + "/" + strings.Repeat("f", 255)
	iso := newISO(t, makeISO(t,
		isowrite.File{Name: "a/b/file", Data: []byte("found")},
		isowrite.File{Name: "a/up", Link: "../a/./b/file"},
		isowrite.File{Name: "dir", Link: "a/b/"},
		isowrite.File{Name: "chain", Link: "dir/../up"},
		isowrite.File{Name: "long", Link: long},
		isowrite.File{Name: "absolute", Link: "/a/b/file"},
		isowrite.File{Name: "out", Link: "../a/b/file"},
		isowrite.File{Name: "a/further", Link: "../../../../etc/passwd"},
		isowrite.File{Name: "dangling", Link: "nowhere"},
		isowrite.File{Name: "self", Link: "self"},
		isowrite.File{Name: "ping", Link: "pong/x"},
		isowrite.File{Name: "pong", Link: "ping/x"},
		isowrite.File{Name: long, Data: []byte("long")},
	))
	for name, want := range map[string]string{
		"a/up": "found", "dir/file": "found", "chain": "found", "long": "long", "CHAIN": "found",
	} {
		require.Equal(t, want, read(t, iso, name), name)
	}
	for name, want := range map[string]error{
		"absolute": fs.ErrPermission, "out": fs.ErrPermission, "a/further": fs.ErrPermission,
		"dangling": fs.ErrNotExist, "a/b/file/x": fs.ErrNotExist,
	} {
		_, err := iso.Open(name)
		require.ErrorIs(t, err, want, name)
	}
	for _, name := range []string{"self", "ping", "pong", "self/x"} {
		_, err := iso.Open(name)
		require.ErrorContains(t, err, "too many symbolic links", name)
	}
}

func TestISOReadAtIsConcurrent(t *testing.T) {
	content := make([]byte, 300_000)
	for i := range content {
		content[i] = byte(i ^ i>>8)
	}
	iso := newISO(t, makeISO(t, isowrite.File{Name: "data", Data: content}))
	f, err := iso.OpenFile(t.Context(), "data")
	require.NoError(t, err)
	var group sync.WaitGroup
	for seed := range uint64(8) {
		group.Go(func() {
			random := rand.New(rand.NewPCG(seed, 1))
			for range 200 {
				off := random.IntN(len(content))
				p := make([]byte, random.IntN(4000))
				n, err := f.ReadAt(p, int64(off))
				want := content[off:min(off+len(p), len(content))]
				if !bytes.Equal(want, p[:n]) || (n < len(p)) != errors.Is(err, io.EOF) {
					t.Errorf("%d bytes at %d: %d, %v", len(p), off, n, err)
					return
				}
			}
		})
	}
	group.Wait()
}

func TestISOFilesTellTheirExtent(t *testing.T) {
	image := makeISO(t, media()...)
	path := filepath.Join(t.TempDir(), "x.iso")
	require.NoError(t, os.WriteFile(path, image, 0o600))
	iso, err := asset.OpenISO(path)
	require.NoError(t, err)
	f, err := iso.OpenFile(t.Context(), "sysresccd/x86_64/airootfs.sfs")
	require.NoError(t, err)
	host, off, n, ok := f.(asset.Extenter).Extent()
	require.True(t, ok)
	p := make([]byte, n)
	_, err = host.ReadAt(p, off)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("squashfs", 1000), string(p))

	whole, err := iso.Image()
	require.NoError(t, err)
	_, off, n, ok = whole.(asset.Extenter).Extent()
	require.True(t, ok)
	require.Zero(t, off)
	require.EqualValues(t, len(image), n)
	b, err := io.ReadAll(whole)
	require.NoError(t, err)
	require.True(t, bytes.Equal(image, b))
	info, err := whole.Stat()
	require.NoError(t, err)
	require.Equal(t, "x.iso", info.Name())

	require.NoError(t, iso.Close())
	_, err = f.Read(p)
	require.ErrorIs(t, err, fs.ErrClosed)
	require.NotContains(t, err.Error(), filepath.Dir(path))

	f, err = newISO(t, image).OpenFile(t.Context(), "empty")
	require.NoError(t, err)
	_, _, _, ok = f.(asset.Extenter).Extent()
	require.False(t, ok)
}

func TestISOThatShrinksFailsToRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.iso")
	require.NoError(t, os.WriteFile(path, makeISO(t, media()...), 0o600))
	iso, err := asset.OpenISO(path)
	require.NoError(t, err)
	defer iso.Close()
	require.NoError(t, os.Truncate(path, 50_000))
	f, err := iso.OpenFile(t.Context(), "sysresccd/x86_64/airootfs.sfs")
	require.NoError(t, err)
	_, err = io.ReadAll(f)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.NotContains(t, err.Error(), path)
}

// hole is a long file of zeros with marks in it, which needs no room on disk.
type hole struct {
	size  int64
	marks map[int64]string
}

// Read says that a hole ends, after sparse skipped it.
func (hole) Read([]byte) (int, error) { return 0, io.EOF }

// sparse writes an image to a file and leaves holes where hole is copied.
type sparse struct {
	*os.File
	off int64
}

func (s *sparse) Write(p []byte) (int, error) {
	n, err := s.WriteAt(p, s.off)
	s.off += int64(n)
	return n, err
}

func (s *sparse) ReadFrom(r io.Reader) (int64, error) {
	limited, ok := r.(*io.LimitedReader)
	if !ok {
		return 0, fmt.Errorf("a %T", r)
	}
	h, ok := limited.R.(hole)
	if !ok {
		return io.Copy(struct{ io.Writer }{s}, r)
	}
	for at, mark := range h.marks {
		if _, err := s.WriteAt([]byte(mark), s.off+at); err != nil {
			return 0, err
		}
	}
	limited.N = 0
	s.off += h.size
	return h.size, s.Truncate(s.off)
}

func TestZ007_FileOver4GiB(t *testing.T) {
	const gib = 1 << 30
	big := hole{size: 9*gib + 12345, marks: map[int64]string{
		0: "first", 4*gib - 2048 - 3: "around", 4*gib - 2: "border", 8*gib - 4096 - 1: "second seam", 9*gib + 12341: "last",
	}}
	path := filepath.Join(t.TempDir(), "big.iso")
	f, err := os.Create(path)
	require.NoError(t, err)
	image := isowrite.Image{VolumeID: "BIG", Files: []isowrite.File{
		{Name: "big.img", Reader: big, Size: big.size}, {Name: "small", Data: []byte("small")},
	}}
	_, err = image.WriteTo(&sparse{File: f})
	require.NoError(t, err)
	require.NoError(t, f.Close())

	iso, err := asset.OpenISO(path)
	require.NoError(t, err)
	defer iso.Close()
	require.Equal(t, "small", read(t, iso, "small"))
	file, err := iso.OpenFile(t.Context(), "big.img")
	require.NoError(t, err)
	info, err := file.Stat()
	require.NoError(t, err)
	require.Equal(t, big.size, info.Size())
	for at, mark := range big.marks {
		p := make([]byte, len(mark))
		_, err := file.ReadAt(p, at)
		require.NoError(t, err)
		require.Equal(t, mark, string(p))
	}
	n, err := file.ReadAt(make([]byte, 10), big.size-4)
	require.Equal(t, 4, n)
	require.Equal(t, io.EOF, err)
	_, off, length, ok := file.(asset.Extenter).Extent()
	require.True(t, ok, "sections that follow each other are one piece")
	require.Equal(t, big.size, length)
	require.Positive(t, off)

	need(t, "bsdtar", "libarchive-tools")
	require.Contains(t, run(t, "bsdtar", "-tvf", path), fmt.Sprint(big.size))
	need(t, "xorriso", "xorriso")
	require.Contains(t, run(t, "xorriso", "-indev", path, "-lsl", "/"), fmt.Sprint(big.size))
}
