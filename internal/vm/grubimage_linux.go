package vm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// GRUBImage is a kind of firmware that a network image of GRUB is made for.
type GRUBImage struct {
	format  string // as grub-mkimage names it
	pkg     string // the Debian package of its modules
	foreign string // the directory of unpacked packages that has them; "": they are installed
}

// GRUBs for UEFI: of both widths on x86, and on arm64.
var (
	GRUBx64   = GRUBImage{format: "x86_64-efi", pkg: "grub-efi-amd64-bin"}
	GRUBIA32  = GRUBImage{format: "i386-efi", pkg: "grub-efi-ia32-bin"}
	GRUBARM64 = GRUBImage{format: "arm64-efi", pkg: "grub-efi-arm64-bin", foreign: "arm64"}
)

// grubModules are in the image itself, so that it loads none over the network: what
// the menus use, the network, and FAT on a partition.
const grubModules = "all_video boot chain configfile echo efinet fat gzio halt http linux net normal part_gpt part_msdos probe reboot regexp search serial sleep terminal test tftp true"

// grubPrefix is where the image looks for its configuration: on the TFTP server that
// it came from.
const grubPrefix = "(tftp)/grub"

// Missing says in one line what must be installed before the image can be made; ""
// if nothing is missing.
func (g GRUBImage) Missing() string {
	dir, err := g.modules()
	if err != nil {
		return err.Error()
	}
	modules := requirement{pkg: g.pkg, file: dir + "/normal.mod"}
	if g.foreign != "" && !modules.present() {
		return needForeign
	}
	return missing([]requirement{{pkg: "grub-common", program: "grub-mkimage"}, modules})
}

// modules is the directory of its modules.
func (g GRUBImage) modules() (string, error) {
	root, err := foreignRoot(g.foreign)
	return filepath.Join(root, "usr/lib/grub", g.format), err
}

// Build returns the path of the image in the cache directory cache ("": the user's
// own). It makes the image there first if there is none yet for the GRUB that is
// installed now.
func (g GRUBImage) Build(ctx context.Context, cache string) (string, error) {
	if line := g.Missing(); line != "" {
		return "", fmt.Errorf("vm: %s", line)
	}
	modules, err := g.modules()
	if err != nil {
		return "", err
	}
	state := bytes.NewBufferString(g.format + grubModules + grubPrefix)
	for _, name := range strings.Fields("kernel.img " + strings.ReplaceAll(grubModules+" ", " ", ".mod ")) {
		info, err := os.Stat(filepath.Join(modules, name))
		if err != nil {
			return "", fmt.Errorf("vm: module of GRUB: %w", err)
		}
		fmt.Fprintln(state, name, info.Size(), info.ModTime().UnixNano())
	}
	key := sha256.Sum256(state.Bytes())
	dir, err := cached(cache, fmt.Sprintf("grub-%s-%x", g.format, key[:8]), func(_, done string) error {
		args := append([]string{"-O", g.format, "-d", modules, "-p", grubPrefix, "-o", filepath.Join(done, "grub.efi")}, strings.Fields(grubModules)...)
		return run(ctx, "grub-mkimage", args...)
	})
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "grub.efi"), nil
}
