package asset_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"testing/fstest"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/asset"
)

// sourceFS lets fstest.TestFS try a source.
type sourceFS struct{ src asset.FileSource }

func (s sourceFS) Open(name string) (fs.File, error) {
	return s.src.OpenFile(context.Background(), name)
}

var files = map[string][]byte{
	"vmlinuz":                []byte("kernel"),
	"boot/syslinux/menu.c32": []byte("menu"),
	"boot/empty":             {},
}

func names() []string { return []string{"vmlinuz", "boot", "boot/syslinux/menu.c32", "boot/empty"} }

func mapFS() fstest.MapFS {
	m := fstest.MapFS{}
	for name, data := range files {
		m[name] = &fstest.MapFile{Data: data, Mode: 0o444}
	}
	return m
}

// zipFS has files that can neither seek nor read at an offset.
func zipFS(t testing.TB) fs.FS {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, data := range files {
		f, err := w.Create(name)
		require.NoError(t, err)
		_, err = f.Write(data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	r, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	require.NoError(t, err)
	return r
}

// seekFS hides all of a file but Seek.
type seekFS struct{ fs.FS }

func (s seekFS) Open(name string) (fs.File, error) {
	f, err := s.FS.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || info.IsDir() {
		return f, err
	}
	return struct {
		fs.File
		io.Seeker
	}{f, f.(io.Seeker)}, nil
}

// dirFS is a directory of the host with the files.
func hostDir(t testing.TB) string {
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, mapFS()))
	return dir
}

func sources(t testing.TB) map[string]asset.FileSource {
	dir, err := asset.Dir(hostDir(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = dir.Close() })
	return map[string]asset.FileSource{
		"Dir":          dir,
		"FS":           asset.FS(mapFS()),
		"FS of os":     asset.FS(os.DirFS(hostDir(t))),
		"FS of zip":    asset.FS(zipFS(t)),
		"FS that seek": asset.FS(seekFS{mapFS()}),
		"Memory":       asset.Memory(files),
		"Overlay":      asset.Overlay(asset.Memory{"other/file": nil}, asset.Memory(nil), asset.Overlay(), asset.Memory(files)),
	}
}

func TestSourcesPassTestFS(t *testing.T) {
	for name, src := range sources(t) {
		t.Run(name, func(t *testing.T) {
			if name == "Overlay" { // directories are not merged
				require.NoError(t, fstest.TestFS(sourceFS{src}, "other/file"))
				require.Equal(t, "menu", read(t, src, "boot/syslinux/menu.c32"))
				return
			}
			require.NoError(t, fstest.TestFS(sourceFS{src}, names()...))
		})
	}
}

func TestSourcesReadAtAnyOffset(t *testing.T) {
	for name, src := range sources(t) {
		t.Run(name, func(t *testing.T) {
			f, err := src.OpenFile(t.Context(), "vmlinuz")
			require.NoError(t, err)
			defer f.Close()
			p := make([]byte, 3)
			_, err = io.ReadFull(f, p[:2])
			require.NoError(t, err)
			n, err := f.ReadAt(p, 3)
			require.Equal(t, 3, n)
			require.True(t, err == nil || err == io.EOF)
			require.Equal(t, "nel", string(p))
			n, err = f.ReadAt(p, 4)
			require.Equal(t, 2, n)
			require.Equal(t, io.EOF, err)
			_, err = f.ReadAt(p, -1)
			require.Error(t, err)
			rest, err := io.ReadAll(f)
			require.NoError(t, err)
			require.Equal(t, "rnel", string(rest), "ReadAt moves nothing")
			if seeker, ok := f.(io.Seeker); ok {
				at, err := seeker.Seek(-4, io.SeekCurrent)
				require.NoError(t, err)
				require.EqualValues(t, 2, at)
				_, err = seeker.Seek(0, io.SeekStart)
				require.NoError(t, err)
				require.NoError(t, iotest.TestReader(f, []byte("kernel")))
			}
		})
	}
}

func TestSourcesDecide(t *testing.T) {
	for name, src := range sources(t) {
		t.Run(name, func(t *testing.T) {
			_, err := src.OpenFile(t.Context(), "nowhere")
			require.ErrorIs(t, err, fs.ErrNotExist)
			_, err = src.OpenFile(t.Context(), "vmlinuz/below")
			require.ErrorIs(t, err, fs.ErrNotExist)
			_, err = src.OpenFile(t.Context(), "/vmlinuz")
			require.ErrorIs(t, err, fs.ErrInvalid)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err = src.OpenFile(ctx, "vmlinuz")
			require.ErrorIs(t, err, context.Canceled)

			f, err := src.OpenFile(t.Context(), ".")
			require.NoError(t, err)
			defer f.Close()
			info, err := f.Stat()
			require.NoError(t, err)
			require.True(t, info.IsDir())
			_, err = f.ReadAt(make([]byte, 1), 0)
			require.Error(t, err)
			_, err = f.Read(make([]byte, 1))
			require.Error(t, err)
			_, _, _, ok := extent(f)
			require.False(t, ok)
		})
	}
}

func extent(f asset.File) (file *os.File, off, n int64, ok bool) {
	if e, is := f.(asset.Extenter); is {
		return e.Extent()
	}
	return nil, 0, 0, false
}

func TestDirFilesTellTheirExtentAndNotTheirPlace(t *testing.T) {
	root := hostDir(t)
	dir, err := asset.Dir(root)
	require.NoError(t, err)
	f, err := dir.OpenFile(t.Context(), "vmlinuz")
	require.NoError(t, err)
	host, off, n, ok := extent(f)
	require.True(t, ok)
	p := make([]byte, n)
	_, err = host.ReadAt(p, off)
	require.NoError(t, err)
	require.Equal(t, "kernel", string(p))
	require.NoError(t, f.Close())
	for _, call := range []func() error{
		func() error { _, err := f.Read(p); return err },
		func() error { _, err := f.ReadAt(p, 0); return err },
		func() error { _, err := f.Stat(); return err },
		func() error { _, err := f.(io.Seeker).Seek(0, 0); return err },
		func() error { return f.Close() },
	} {
		require.ErrorIs(t, call(), fs.ErrClosed)
		require.NotContains(t, call().Error(), root)
	}
	require.NoError(t, dir.Close())
	_, err = dir.OpenFile(t.Context(), "vmlinuz")
	require.ErrorIs(t, err, fs.ErrClosed)
	_, err = asset.Dir(filepath.Join(root, "vmlinuz"))
	require.ErrorContains(t, err, "directory to serve")
}

func TestDirRefusesWhatIsNoFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no device files to be had")
	}
	dir, err := asset.Dir("/dev")
	require.NoError(t, err)
	defer dir.Close()
	_, err = dir.OpenFile(t.Context(), "null")
	require.ErrorIs(t, err, fs.ErrPermission)
}

func TestOpenISONamesThingAndRemedy(t *testing.T) {
	_, err := asset.OpenISO(filepath.Join(t.TempDir(), "missing.iso"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = asset.OpenISO(t.TempDir())
	require.ErrorContains(t, err, "give the ISO image itself")
	path := filepath.Join(t.TempDir(), "x.iso")
	require.NoError(t, os.WriteFile(path, makeISO(t, media()...)[:60_000], 0o600))
	_, err = asset.OpenISO(path)
	require.ErrorContains(t, err, "x.iso: the ISO image is incomplete")
	require.ErrorContains(t, err, "finish the download")
}

// brokenFS fails in ways of its own.
type brokenFS struct{ err error }

func (b brokenFS) Open(string) (fs.File, error) { return nil, b.err }

func TestErrorsTellNoHostPath(t *testing.T) {
	for _, err := range []error{
		&fs.PathError{Op: "open", Path: "/srv/secret/x", Err: errors.New("/srv/secret/x is odd")},
		fmt.Errorf("/srv/secret: %w", fs.ErrNotExist),
		errors.New("/srv/secret"),
	} {
		_, got := asset.FS(brokenFS{err}).OpenFile(t.Context(), "x")
		require.Error(t, got)
		require.NotContains(t, got.Error(), "secret")
		require.Equal(t, errors.Is(err, fs.ErrNotExist), errors.Is(got, fs.ErrNotExist))
		require.NotErrorIs(t, got, fs.ErrPermission)
	}
}

func TestOverlayOrderAndErrors(t *testing.T) {
	first := asset.Memory{"a": []byte("1")}
	second := asset.Memory{"a": []byte("2"), "b": []byte("2")}
	src := asset.Overlay(first, second)
	require.Equal(t, "1", read(t, src, "a"))
	require.Equal(t, "2", read(t, src, "b"))
	src = asset.Overlay(asset.FS(brokenFS{fs.ErrPermission}), second)
	_, err := src.OpenFile(t.Context(), "b")
	require.ErrorIs(t, err, fs.ErrPermission, "trouble is not papered over")
}

func TestOverlayKeepsTheMostTellingError(t *testing.T) {
	plain := asset.Memory(nil)
	_, bare := plain.OpenFile(t.Context(), "x")
	telling := asset.SystemLoaders()
	if _, err := telling.OpenFile(t.Context(), "ipxe-i386.efi"); err == nil {
		t.Skip("the loader is installed here")
	}
	for name, src := range map[string]asset.FileSource{
		"first":     asset.Overlay(telling, plain, brokenSource{bare}, brokenSource{fs.ErrNotExist}),
		"middle":    asset.Overlay(brokenSource{syscall.ENOENT}, telling, plain),
		"last":      asset.Overlay(plain, telling),
		"nested":    asset.Overlay(asset.Overlay(telling, plain), plain),
		"of two":    asset.Overlay(telling, brokenSource{fmt.Errorf("later: %w", fs.ErrNotExist)}),
		"by alias":  asset.Overlay(asset.Alias(telling, map[string]string{"ipxe-i386.efi": "ipxe-i386.efi"}), plain),
		"all plain": asset.Overlay(plain, plain),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := src.OpenFile(t.Context(), "ipxe-i386.efi")
			require.ErrorIs(t, err, fs.ErrNotExist)
			if name == "all plain" {
				require.EqualError(t, err, "open ipxe-i386.efi: file does not exist")
				return
			}
			require.EqualError(t, err, "open ipxe-i386.efi: boot loader not installed: install the package ipxe-bootimgs-x86 (Fedora)")
		})
	}
}

func TestAliasKeepsTheReason(t *testing.T) {
	src := asset.Alias(asset.SystemLoaders(), map[string]string{"boot.efi": "ipxe-i386.efi"})
	f, err := src.OpenFile(t.Context(), "boot.efi")
	if err == nil {
		_ = f.Close()
		t.Skip("the loader is installed here")
	}
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.EqualError(t, err, "open boot.efi: boot loader not installed: install the package ipxe-bootimgs-x86 (Fedora)")
	_, err = asset.Alias(brokenSource{errors.New("/srv/secret")}, map[string]string{"x": "y"}).OpenFile(t.Context(), "x")
	require.NotContains(t, err.Error(), "secret", "of a source that does not keep to FileSource's words")
}

// brokenSource fails as it likes.
type brokenSource struct{ err error }

func (b brokenSource) OpenFile(context.Context, string) (asset.File, error) { return nil, b.err }

func TestAliasServesItsNamesAlone(t *testing.T) {
	names := map[string]string{"kernel": "boot/vmlinuz", "gone": "nowhere", "bad": "../x"}
	src := asset.Alias(asset.Memory{"boot/vmlinuz": []byte("kernel")}, names)
	names["late"] = "boot/vmlinuz"
	require.Equal(t, "kernel", read(t, src, "kernel"))
	for name, want := range map[string]error{
		"boot/vmlinuz": fs.ErrNotExist, "gone": fs.ErrNotExist, "late": fs.ErrNotExist, "bad": fs.ErrInvalid,
	} {
		_, err := src.OpenFile(t.Context(), name)
		require.ErrorIs(t, err, want, name)
		require.NotContains(t, err.Error(), "nowhere")
	}
}
