package vm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// BaseDir is the directory on the medium that SystemRescue's archisobasedir names.
const BaseDir = "sysresccd"

const (
	mediumVersion  = "12.00"
	mediumVolumeID = "RESCUE1200"
)

// Medium is an ISO image in the shape of SystemRescue's, and what a test compares a
// boot from it with.
type Medium struct {
	// ISO is the image's path, Tree that of a directory with the same files. Kernel
	// and Initrd are the paths of the two of its files that [Direct] boots without a
	// server.
	ISO, Tree, Kernel, Initrd string
	// KernelFile, InitrdFiles and RootFiles are names of files on the medium.
	KernelFile             string
	InitrdFiles, RootFiles []string
	// Root is the size in bytes of its airootfs.sfs.
	Root int64
	// Content is what the guest says in "PXEKIT root-content ok": the SHA-256, in
	// hexadecimal, of the root file system's list of checksums.
	Content string
}

// BuildMedium returns the medium for the cloud kernel: see [BuildMediumFor].
func BuildMedium(ctx context.Context, cache string) (*Medium, error) {
	return BuildMediumFor(ctx, cache, CloudKernel)
}

// BuildMediumFor returns the medium for a kernel, in the cache directory cache ("":
// the user's own), and makes it there first if there is none yet for the packages
// there are now and the guest's scripts and the menu of today. That takes a few seconds. Several
// processes may do it at the same time.
func BuildMediumFor(ctx context.Context, cache string, kernel Kernel) (*Medium, error) {
	in, err := findIngredients(kernel)
	if err != nil {
		return nil, err
	}
	key, err := in.key()
	if err != nil {
		return nil, err
	}
	menu, err := stockMenuFiles()
	if err != nil {
		return nil, err
	}
	texts := [][]byte{guestInit, guestRootInit, guestLiveInit, guestUDHCPC}
	for _, name := range slices.Sorted(maps.Keys(menu)) {
		texts = append(texts, []byte(name), menu[name])
	}
	recipe := sha256.Sum256(bytes.Join(texts, nil))
	dir, err := cached(cache, fmt.Sprintf("medium-%s-%x", key, recipe[:8]), func(work, done string) error {
		return buildMedium(ctx, in, work, done)
	})
	if err != nil {
		return nil, err
	}
	return openMedium(dir, in.arch)
}

// buildMedium makes the medium in done.
func buildMedium(ctx context.Context, in *ingredients, work, done string) error {
	root := filepath.Join(work, "root")
	content, err := writeRootTree(root, in)
	if err != nil {
		return fmt.Errorf("vm: build the root file system: %w", err)
	}
	iso := &tree{dir: filepath.Join(done, "iso")}
	if err := writeMediumTree(ctx, iso, root, in); err != nil {
		return fmt.Errorf("vm: build the medium: %w", err)
	}
	// As SystemRescue's own: files of more than 2 GiB possible, Rock Ridge, no Joliet.
	err = run(ctx, "xorriso", "-as", "mkisofs", "-quiet", "-iso-level", "3", "-R", "-V", mediumVolumeID,
		"-o", filepath.Join(done, "rescue.iso"), iso.dir)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(done, "content"), []byte(content), 0o644); err != nil {
		return fmt.Errorf("vm: build the medium: %w", err)
	}
	return nil
}

// writeMediumTree fills the tree with the files of SystemRescue's ISO.
func writeMediumTree(ctx context.Context, iso *tree, root string, in *ingredients) error {
	boot := BaseDir + "/boot/"
	iso.copy(boot+in.arch+"/vmlinuz", in.kernel)
	iso.made(boot+in.arch+"/sysresccd.img", func(w io.Writer) error { return writeInitramfs(w, in) })
	if in.arch == "x86_64" {
		iso.made(boot+"intel_ucode.img", func(w io.Writer) error { return writeMicrocode(w, "GenuineIntel") })
		iso.made(boot+"amd_ucode.img", func(w io.Writer) error { return writeMicrocode(w, "AuthenticAMD") })
		iso.copy("isolinux/ldlinux.c32", syslinuxDir+"/ldlinux.c32")
	}
	for _, loader := range in.loaders { // of x86 only
		iso.copy(boot+"syslinux/"+filepath.Base(loader), loader)
	}
	if in.arch == "x86_64" {
		menu, err := stockMenuFiles()
		if err != nil {
			return err
		}
		for name, text := range menu {
			iso.file(boot+"syslinux/"+name, 0o644, text)
		}
	}
	iso.file(BaseDir+"/VERSION", 0o644, []byte(mediumVersion+"\n"))
	iso.file("sysrescue.d/100-defaults.yaml", 0o644, []byte("---\nglobal:\n    copytoram: false\n"))
	iso.mkdir("autorun")

	system := filepath.Join(iso.dir, BaseDir, in.arch)
	iso.mkdir(BaseDir + "/" + in.arch)
	if iso.err != nil {
		return iso.err
	}
	image := filepath.Join(system, "airootfs.sfs")
	if err := squash(ctx, root, image); err != nil {
		return err
	}
	data, err := os.ReadFile(image)
	if err != nil {
		return err
	}
	sum := sha512.Sum512(data)
	iso.file(BaseDir+"/"+in.arch+"/airootfs.sha512", 0o644, []byte(hex.EncodeToString(sum[:])+"  airootfs.sfs\n"))
	return iso.err
}

// made adds a file that write writes.
func (t *tree) made(name string, write func(io.Writer) error) {
	var b bytes.Buffer
	if t.err == nil {
		t.err = write(&b)
	}
	t.file(name, 0o644, b.Bytes())
}

func openMedium(dir, arch string) (*Medium, error) {
	content, err := os.ReadFile(filepath.Join(dir, "content"))
	if err != nil {
		return nil, fmt.Errorf("vm: medium: %w", err)
	}
	m := &Medium{
		ISO:         filepath.Join(dir, "rescue.iso"),
		Tree:        filepath.Join(dir, "iso"),
		Content:     strings.TrimSpace(string(content)),
		KernelFile:  BaseDir + "/boot/" + arch + "/vmlinuz",
		InitrdFiles: []string{BaseDir + "/boot/" + arch + "/sysresccd.img"},
		RootFiles:   []string{BaseDir + "/" + arch + "/airootfs.sfs", BaseDir + "/" + arch + "/airootfs.sha512"},
	}
	m.Kernel, m.Initrd = filepath.Join(m.Tree, m.KernelFile), filepath.Join(m.Tree, m.InitrdFiles[0])
	if arch == "x86_64" {
		boot := BaseDir + "/boot/"
		m.InitrdFiles = []string{boot + "intel_ucode.img", boot + "amd_ucode.img", m.InitrdFiles[0]}
	}
	root, err := os.Stat(filepath.Join(m.Tree, m.RootFiles[0]))
	if err != nil {
		return nil, fmt.Errorf("vm: medium: %w", err)
	}
	m.Root = root.Size()
	return m, nil
}
