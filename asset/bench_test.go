package asset_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/internal/isowrite"
)

// benchImage is an image on disk with about as many files as SystemRescue's.
func benchImage(b testing.TB) string {
	files := []isowrite.File{{Name: "sysresccd/x86_64/airootfs.sfs", Data: bytes.Repeat([]byte("squashfs"), 1<<20)}}
	for i := range 300 {
		files = append(files, isowrite.File{Name: fmt.Sprintf("sysresccd/boot/syslinux/module-%03d.c32", i), Data: make([]byte, 100)})
	}
	path := filepath.Join(b.TempDir(), "x.iso")
	f, err := os.Create(path)
	require.NoError(b, err)
	image := isowrite.Image{VolumeID: "RESCUE1200", Files: files}
	_, err = image.WriteTo(f)
	require.NoError(b, err)
	require.NoError(b, f.Close())
	return path
}

func BenchmarkOpenISO(b *testing.B) {
	path := benchImage(b)
	b.ReportAllocs()
	for b.Loop() {
		iso, err := asset.OpenISO(path)
		if err != nil {
			b.Fatal(err)
		}
		_ = iso.Close()
	}
}

func BenchmarkISOOpenFile(b *testing.B) {
	iso, err := asset.OpenISO(benchImage(b))
	require.NoError(b, err)
	defer iso.Close()
	ctx := b.Context()
	for _, name := range []string{"sysresccd/boot/syslinux/module-150.c32", "SYSRESCCD/BOOT/SYSLINUX/MODULE-150.C32"} {
		b.Run(name[:9], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f, err := iso.OpenFile(ctx, name)
				if err != nil {
					b.Fatal(err)
				}
				_ = f.Close()
			}
		})
	}
}

func BenchmarkISOReadAt(b *testing.B) {
	iso, err := asset.OpenISO(benchImage(b))
	require.NoError(b, err)
	defer iso.Close()
	f, err := iso.OpenFile(b.Context(), "sysresccd/x86_64/airootfs.sfs")
	require.NoError(b, err)
	for _, size := range []int{1468, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			p := make([]byte, size)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				if n, err := f.ReadAt(p, 1<<20); n != size || (err != nil && err != io.EOF) {
					b.Fatal(n, err)
				}
			}
		})
	}
}

// BenchmarkFuzzISO is one execution of the fuzz target's body.
func BenchmarkFuzzISO(b *testing.B) {
	seed := fuzzSeeds(b)["media"]
	buffer := make([]byte, fuzzSectors*2048)
	b.ReportAllocs()
	for b.Loop() {
		image := unpack(seed, buffer)
		iso, err := asset.NewISO(bytes.NewReader(image), int64(len(image)))
		if err != nil {
			b.Fatal(err)
		}
		checkTree(b, iso, image)
		clear(image)
	}
}
