package vm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// requirement is a file or program that a boot needs, and the Debian package it
// comes from.
type requirement struct {
	pkg     string
	program string // looked for in PATH, or
	file    string // a pattern of filepath.Match
}

const (
	kernelPattern = "/boot/vmlinuz-*-cloud-amd64"
	klibcDir      = "usr/lib/klibc/bin"
	pxelinuxDir   = "/usr/lib/PXELINUX"
	syslinuxDir   = "/usr/lib/syslinux/modules/bios"
)

// klibcPrograms are the programs of klibc that SystemRescue's initramfs uses.
func klibcPrograms() []string { return []string{"ipconfig", "nfsmount"} }

func requirements() []requirement {
	uefi := firmwares[UEFIx64]
	return []requirement{
		{pkg: "qemu-system-x86", program: "qemu-system-x86_64"},
		{pkg: "ipxe-qemu", file: "/usr/lib/ipxe/qemu/efi-virtio.rom"},
		{pkg: "ovmf", file: uefi.code},
		{pkg: "ovmf", file: uefi.vars},
		{pkg: "ipxe", file: "/usr/lib/ipxe/snponly.efi"},
		{pkg: "pxelinux", file: pxelinuxDir + "/lpxelinux.0"},
		{pkg: "syslinux-common", file: syslinuxDir + "/ldlinux.c32"},
		{pkg: "linux-image-cloud-amd64", file: kernelPattern},
		{pkg: "busybox-static", program: "busybox"},
		{pkg: "klibc-utils", file: "/" + klibcDir + "/nfsmount"},
		{pkg: "nbd-client", program: "nbd-client"},
		{pkg: "curl", program: "curl"},
		{pkg: "squashfs-tools", program: "mksquashfs"},
		{pkg: "xorriso", program: "xorriso"},
		{pkg: "iproute2", program: "ip"},
	}
}

// needForeign is what [Missing] and its kin say when foreign.sh has not been run.
const needForeign = "virtual machines need packages that are not installed, but unpacked: internal/vm/foreign.sh"

// foreignRoot is the directory in which the packages of an architecture, as Debian
// names it, were unpacked by foreign.sh; "/" for "".
func foreignRoot(arch string) (string, error) {
	if arch == "" {
		return "/", nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("vm: cache: %w", err)
	}
	return filepath.Join(cache, "pxekit-vm/foreign", arch), nil
}

// Missing says in one line what must be there before a medium for the kernel can be
// made; "" if nothing is missing.
func (k Kernel) Missing() string {
	line := Missing()
	row := kernelRows()[k]
	root, err := foreignRoot(row.foreign)
	if err != nil {
		return err.Error()
	}
	if line == "" && !(requirement{file: filepath.Join(root, row.pattern)}).present() {
		return needForeign
	}
	return line
}

// Missing says in one line what must be installed before machines can boot, as a
// command for Debian and its relatives; "" if nothing is missing. (Whether a
// namespace can be had [EnterNamespace] tells.)
func Missing() string { return missing(requirements()) }

func missing(needed []requirement) string {
	var pkgs []string
	for _, r := range needed {
		if !r.present() && (len(pkgs) == 0 || pkgs[len(pkgs)-1] != r.pkg) {
			pkgs = append(pkgs, r.pkg)
		}
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return "virtual machines need /dev/net/tun: modprobe tun"
	}
	if len(pkgs) == 0 {
		return ""
	}
	return "virtual machines need: apt-get install " + strings.Join(pkgs, " ")
}

func (r requirement) present() bool {
	if r.program != "" {
		_, err := exec.LookPath(r.program)
		return err == nil
	}
	found, err := filepath.Glob(r.file)
	return err == nil && len(found) > 0
}
