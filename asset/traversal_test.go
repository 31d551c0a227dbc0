package asset_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/internal/isowrite"
)

// traversalNames reads the shared table of hostile names.
func traversalNames(t testing.TB) []string {
	t.Helper()
	b, err := os.ReadFile("testdata/traversal.txt")
	require.NoError(t, err)
	var names []string
	for _, line := range strings.Split(string(b), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		name, err := strconv.Unquote(line)
		require.NoError(t, err, line)
		names = append(names, name)
	}
	require.Greater(t, len(names), 200)
	return names
}

// escapeTree makes a root with links of every shape that lead out of it, and a
// secret beside the root.
func escapeTree(t testing.TB) string {
	t.Helper()
	top := t.TempDir()
	root := filepath.Join(top, "root")
	require.NoError(t, os.MkdirAll(filepath.Join(root, "sub"), 0o755))
	for _, name := range []string{"secret.txt", "root/inside.txt", "root/sub/inside.txt"} {
		require.NoError(t, os.WriteFile(filepath.Join(top, name), []byte(filepath.Base(name)), 0o600))
	}
	for link, target := range map[string]string{
		"link": "../secret.txt", "linkdir": "..", "abslink": filepath.Join(top, "secret.txt"),
		"chain": "sub/link", "sub/link": "../../secret.txt", "fine": "sub/inside.txt", "finedir": "sub",
	} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Skipf("symbolic links cannot be made here: %v", err)
		}
	}
	return root
}

func TestTraversalLeavesNoRoot(t *testing.T) {
	root := escapeTree(t)
	dir, err := asset.Dir(root)
	require.NoError(t, err)
	defer dir.Close()
	iso := newISO(t, makeISO(t,
		isowrite.File{Name: "inside.txt"}, isowrite.File{Name: "sub/inside.txt"},
		isowrite.File{Name: "link", Link: "../secret.txt"}, isowrite.File{Name: "linkdir", Link: ".."},
		isowrite.File{Name: "abslink", Link: "/secret.txt"}, isowrite.File{Name: "chain", Link: "sub/link"},
		isowrite.File{Name: "sub/link", Link: "../../secret.txt"}))
	memory := asset.Memory{"inside.txt": nil, "sub/inside.txt": nil, "../secret.txt": nil, "/etc/passwd": nil}
	sources := map[string]asset.FileSource{
		"Dir":           dir,
		"ISO":           iso,
		"Memory":        memory,
		"FS":            asset.FS(fstest.MapFS{"inside.txt": {}, "sub/inside.txt": {}, "../secret.txt": {}}),
		"Overlay":       asset.Overlay(memory, dir, iso),
		"Alias":         asset.Alias(dir, map[string]string{"../secret.txt": "inside.txt", "link": "../secret.txt"}),
		"SystemLoaders": asset.SystemLoaders(),
		"MediumLoaders": asset.MediumLoaders(dir),
	}
	for source, src := range sources {
		t.Run(source, func(t *testing.T) {
			for _, name := range traversalNames(t) {
				f, err := src.OpenFile(t.Context(), name)
				if err == nil {
					_ = f.Close()
					t.Errorf("%q opened", name)
					continue
				}
				var pathError *fs.PathError
				if !errors.As(err, &pathError) || pathError.Path != name {
					t.Errorf("%q: %v is not about the name", name, err)
				}
				if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrInvalid) {
					t.Errorf("%q: %v is no decision", name, err)
				}
				if strings.Contains(err.Error(), root) {
					t.Errorf("%q: %v tells where the files are", name, err)
				}
			}
		})
	}
}

// TestCVE_2026_39822_SymlinkAndTrailingSlash: os.Root once followed a link out
// of the root when a slash came after it.
func TestCVE_2026_39822_SymlinkAndTrailingSlash(t *testing.T) {
	root := escapeTree(t)
	dir, err := asset.Dir(root)
	require.NoError(t, err)
	defer dir.Close()
	for _, name := range []string{"linkdir", "linkdir/", "linkdir//", "linkdir/.", "linkdir/./", "linkdir/secret.txt", "abslink/", "chain/"} {
		_, err := dir.OpenFile(t.Context(), name)
		require.Error(t, err, name)
	}
	// The same without our gate: the standard library that this was built
	// with must hold by itself.
	std, err := os.OpenRoot(root)
	require.NoError(t, err)
	defer std.Close()
	for _, name := range []string{"linkdir/", "linkdir//", "linkdir/.", "abslink/", "chain/"} {
		f, err := std.Open(name)
		if err == nil {
			_ = f.Close()
		}
		require.Error(t, err, "os.Root follows %q out of the root: build with Go 1.26.5, 1.25.12 or later", name)
	}
	require.Equal(t, "inside.txt", read(t, dir, "fine"), "links that stay inside are followed")
	require.Equal(t, "inside.txt", read(t, dir, "finedir/inside.txt"))
}

// TestCVE_2025_22873_DotDotSlash: os.Root once opened "../" as the root's parent.
func TestCVE_2025_22873_DotDotSlash(t *testing.T) {
	dir, err := asset.Dir(escapeTree(t))
	require.NoError(t, err)
	defer dir.Close()
	for _, name := range []string{"..", "../", "../.", "sub/../..", "sub/../../"} {
		_, err := dir.OpenFile(t.Context(), name)
		require.ErrorIs(t, err, fs.ErrInvalid, name)
	}
}

// TestCVE_2026_27139_ListingStaysInside: what a directory lists must describe
// the link, not what lies behind it outside.
func TestCVE_2026_27139_ListingStaysInside(t *testing.T) {
	dir, err := asset.Dir(escapeTree(t))
	require.NoError(t, err)
	defer dir.Close()
	f, err := dir.OpenFile(t.Context(), ".")
	require.NoError(t, err)
	defer f.Close()
	list, err := f.(fs.ReadDirFile).ReadDir(-1)
	require.NoError(t, err)
	for _, entry := range list {
		if strings.Contains(entry.Name(), "link") {
			require.Equal(t, fs.ModeSymlink, entry.Type())
			info, err := entry.Info()
			require.NoError(t, err)
			require.Equal(t, fs.ModeSymlink, info.Mode().Type())
		}
	}
}
