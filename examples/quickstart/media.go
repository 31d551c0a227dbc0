package main

import (
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/pxekit/pxe/internal/isowrite"
)

// Sizes of the made-up medium: small, but enough to see progress.
const (
	kernelSize = 4 << 20
	initrdSize = 12 << 20
	rootSize   = 48 << 20
)

// makeMedium writes a small SystemRescue-shaped ISO below dir and returns its
// path. Its files are noise of about the right proportions: a simulated machine
// loads and verifies them, but does not run them.
func makeMedium(dir string) (string, error) {
	noise := rand.NewChaCha8([32]byte{'p', 'x', 'e'})
	some := func(n int) []byte {
		b := make([]byte, n)
		_, _ = noise.Read(b) // never fails
		return b
	}
	root := some(rootSize)
	sum := sha512.Sum512(root)
	image := isowrite.Image{VolumeID: "RESCUE1200", Files: isowrite.Bytes(map[string][]byte{
		"sysresccd/VERSION":                   []byte("12.00\n"),
		"sysresccd/boot/x86_64/vmlinuz":       some(kernelSize),
		"sysresccd/boot/x86_64/sysresccd.img": some(initrdSize),
		"sysresccd/boot/intel_ucode.img":      some(64 << 10),
		"sysresccd/boot/amd_ucode.img":        some(64 << 10),
		"sysresccd/boot/syslinux/lpxelinux.0": some(90 << 10),
		"sysresccd/boot/syslinux/ldlinux.c32": some(120 << 10),
		"sysresccd/x86_64/airootfs.sfs":       root,
		"sysresccd/x86_64/airootfs.sha512":    []byte(hex.EncodeToString(sum[:]) + "  airootfs.sfs\n"),
	})}
	path := filepath.Join(dir, "systemrescue-made-up.iso")
	file, err := os.Create(path)
	if err != nil {
		return "", err
	}
	if _, err := image.WriteTo(file); err != nil {
		file.Close()
		return "", fmt.Errorf("making the medium: %w", err)
	}
	return path, file.Close()
}

// uefiLoader stands for an iPXE where the simulated machine has UEFI firmware
// and no boot loader is installed on this computer: like the medium's files it
// is loaded, and not run.
func uefiLoader() map[string][]byte {
	return map[string][]byte{"snponly.efi": make([]byte, 200<<10)}
}
