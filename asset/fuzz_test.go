package asset_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/internal/isowrite"
)

var update = flag.Bool("update", false, "rewrite files under testdata (needs xorriso)")

// fuzzSectors bounds the images that are fuzzed: small ones, for speed.
const fuzzSectors = 128

// pack writes an image down as the fuzz target reads it: its length in
// sectors, then for each run of data its sector, offset, length and bytes. A
// few hundred bytes stand for an image that way, so mutations hit structure
// instead of zeros. It is "" for an image that is too large.
func pack(image []byte) []byte {
	if len(image) > fuzzSectors*2048 {
		return nil
	}
	out := []byte{byte(len(image) / 2048)}
	for at := 0; at < len(image); at += 2048 {
		sector := image[at:min(at+2048, len(image))]
		for from := 0; from < len(sector); {
			if sector[from] == 0 {
				from++
				continue
			}
			to, zeros := from, 0
			for i := from; i < len(sector) && zeros < 8; i++ {
				if zeros++; sector[i] != 0 {
					to, zeros = i+1, 0
				}
			}
			out = append(out, byte(at/2048))
			out = binary.LittleEndian.AppendUint16(out, uint16(from))
			out = binary.LittleEndian.AppendUint16(out, uint16(to-from))
			out = append(out, sector[from:to]...)
			from = to
		}
	}
	return out
}

// unpack is the inverse of pack for any input, into a buffer of zeros.
func unpack(packed, image []byte) []byte {
	if len(packed) == 0 {
		return nil
	}
	image = image[:int(packed[0])%(fuzzSectors+1)*2048]
	for packed = packed[1:]; len(packed) >= 5; {
		at := int(packed[0])*2048 + int(binary.LittleEndian.Uint16(packed[1:]))
		n := min(int(binary.LittleEndian.Uint16(packed[3:])), len(packed)-5)
		if at < len(image) {
			copy(image[at:], packed[5:5+n])
		}
		packed = packed[5+n:]
	}
	return image
}

// fuzzSeeds are images with all that isowrite can write; what it cannot comes
// from xorriso and lies under testdata/fuzz.
func fuzzSeeds(t testing.TB) map[string][]byte {
	images := map[string]isowrite.Image{
		"empty": {VolumeID: "EMPTY"},
		"media": {VolumeID: "RESCUE1200", Files: []isowrite.File{
			{Name: "sysresccd/x86_64/airootfs.sfs", Data: bytes.Repeat([]byte("squash"), 500)},
			{Name: "sysresccd/boot/x86_64/vmlinuz", Data: []byte("kernel")},
			{Name: "link", Link: "sysresccd/boot"},
			{Name: "loop", Link: "loop/loop"},
			{Name: "out", Link: "../../etc/passwd"},
		}},
		"names": {Files: []isowrite.File{
			{Name: strings.Repeat("n", 250), Data: []byte("long")},
			{Name: strings.Repeat("é", 120), Data: []byte("long too")},
			{Name: "a", Data: []byte("a")}, {Name: "A", Data: []byte("A")},
			{Name: "a/../b", Data: nil},
		}[:4]},
		"deep": {Files: []isowrite.File{{Name: "1/2/3/4/5/6/7/8/9/10/file", Data: []byte("deep")}}},
	}
	seeds := map[string][]byte{}
	for name, image := range images {
		b, err := image.Make()
		require.NoError(t, err)
		packed := pack(b)
		require.NotEmpty(t, packed)
		require.Equal(t, b, unpack(packed, make([]byte, fuzzSectors*2048)))
		seeds[name] = packed
	}
	return seeds
}

// countingReader counts what is read of an image.
type countingReader struct {
	*bytes.Reader
	n int64
}

func (c *countingReader) ReadAt(p []byte, off int64) (int, error) {
	c.n += int64(len(p))
	return c.Reader.ReadAt(p, off)
}

// FuzzISO opens damaged images. One that opens must be whole: every file that
// the walk finds opens and has as many bytes as it says, any part of it read
// alone is that part of the whole, names are sane, and neither opening nor
// walking does more work than the image's size accounts for.
func FuzzISO(f *testing.F) {
	for _, seed := range fuzzSeeds(f) {
		f.Add(seed)
		for i := range 20 { // and damaged ones
			mutated := bytes.Clone(seed)
			mutated[(i*7919+13)%len(mutated)] ^= byte(1 << (i % 8))
			f.Add(mutated)
		}
	}
	buffer := make([]byte, fuzzSectors*2048)
	f.Fuzz(func(t *testing.T, packed []byte) {
		image := unpack(packed, buffer)
		defer clear(image)
		r := &countingReader{Reader: bytes.NewReader(image)}
		iso, err := asset.NewISO(r, int64(len(image)))
		if limit := 4*int64(len(image)) + 300*2048; r.n > limit {
			t.Fatalf("opening %d bytes read %d", len(image), r.n)
		}
		if err != nil {
			var format *asset.FormatError
			var incomplete *asset.IncompleteError
			if !errors.As(err, &format) && !errors.As(err, &incomplete) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		checkTree(t, iso, image)
	})
}

// checkTree holds the properties of an image that opened.
func checkTree(t testing.TB, iso *asset.ISO, image []byte) {
	budget, entries := 1<<20, 0
	var visit func(dir string, depth int)
	visit = func(dir string, depth int) {
		if depth > 130 {
			t.Fatalf("%q is too deep", dir)
		}
		list, err := iso.ReadDir(dir)
		if err != nil {
			t.Fatalf("%q is a directory: %v", dir, err)
		}
		last := ""
		for _, entry := range list {
			name := path.Join(dir, entry.Name())
			if entries++; entries > len(image)/16 {
				t.Fatalf("%d entries in %d bytes", entries, len(image))
			}
			if entry.Name() <= last || !fs.ValidPath(name) || strings.ContainsAny(entry.Name(), "/\x00") {
				t.Fatalf("name %q after %q", entry.Name(), last)
			}
			last = entry.Name()
			switch entry.Type() {
			case fs.ModeDir:
				visit(name, depth+1)
			case fs.ModeSymlink:
				if f, err := iso.Open(name); err == nil {
					_ = f.Close()
				}
			case 0:
				checkFile(t, iso, name, entry, &budget)
			}
		}
	}
	visit(".", 0)
}

func checkFile(t testing.TB, iso *asset.ISO, name string, entry fs.DirEntry, budget *int) {
	f, err := iso.OpenFile(t.Context(), name)
	if err != nil {
		t.Fatalf("%q was listed: %v", name, err)
	}
	info, err := f.Stat()
	if err != nil || info.Name() != entry.Name() || info.Size() < 0 {
		t.Fatalf("%q: %v, %v", name, info, err)
	}
	if isASCII(entry.Name()) {
		inCapitals := path.Join(path.Dir(name), strings.ToUpper(entry.Name()))
		if other, err := iso.Lstat(inCapitals); err != nil || !strings.EqualFold(other.Name(), entry.Name()) {
			t.Fatalf("%q is not found as %q: %v", name, inCapitals, err)
		}
	}
	if int64(*budget) < info.Size() { // files may share extents, so their sum has no bound
		return
	}
	*budget -= int(info.Size())
	whole, err := io.ReadAll(f)
	if err != nil || int64(len(whole)) != info.Size() {
		t.Fatalf("%q has %d bytes, read %d: %v", name, info.Size(), len(whole), err)
	}
	for _, part := range [][2]int{{0, 1}, {len(whole) / 3, len(whole) / 2}, {len(whole) - 1, 1}, {2047, 2}} {
		off, n := part[0], part[1]
		if off < 0 || off+n > len(whole) {
			continue
		}
		p := make([]byte, n)
		if got, err := f.ReadAt(p, int64(off)); got != n || (err != nil && err != io.EOF) || !bytes.Equal(p, whole[off:off+n]) {
			t.Fatalf("%q: %d bytes at %d differ from the whole: %v", name, n, off, err)
		}
	}
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// TestFuzzCorpus writes, with -update, the seeds that only xorriso can make.
func TestFuzzCorpus(t *testing.T) {
	if !*update {
		t.Skip("only with -update")
	}
	dir := t.TempDir()
	for _, name := range []string{"README.TXT", "1/2/3/4/5/6/7/8/9/x", "Long " + strings.Repeat("n", 180), "b/c"} {
		p := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		require.NoError(t, os.WriteFile(p, []byte(name), 0o644))
	}
	require.NoError(t, os.Symlink("b/c", filepath.Join(dir, "link")))
	for name, args := range map[string][]string{
		"xorriso-relocated": {"-rockridge", "on", "-joliet", "off", "-compliance", "deep_paths_off:long_paths_off", "-rr_reloc_dir", "rr_moved"},
		"xorriso-joliet":    {"-rockridge", "off", "-joliet", "on"},
		"xorriso-plain":     {"-rockridge", "off", "-joliet", "off"},
	} {
		b, err := os.ReadFile(xorriso(t, dir, append([]string{"-padding", "0"}, args...)...))
		require.NoError(t, err)
		packed := pack(b)
		require.NotEmpty(t, packed, "%s: %d sectors", name, len(b)/2048)
		require.NoError(t, os.MkdirAll("testdata/fuzz/FuzzISO", 0o755))
		require.NoError(t, os.WriteFile(filepath.Join("testdata/fuzz/FuzzISO", name),
			fmt.Appendf(nil, "go test fuzz v1\n[]byte(%q)\n", packed), 0o644))
	}
}
