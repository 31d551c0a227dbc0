package vm

import (
	"cmp"
	"debug/elf"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// aavmf is UEFI firmware for QEMU's generic arm64 machine.
var aavmf = firmwareRow{
	name:    "uefi-arm64",
	program: "qemu-system-aarch64",
	// Emulating a newer processor's pointer authentication takes twice the time.
	cpu: "cortex-a57",
	args: []string{
		"-machine", "virt", "-boot", "strict=on",
		"-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=no",
	},
	code:  "/usr/share/AAVMF/AAVMF_CODE.fd",
	vars:  "/usr/share/AAVMF/AAVMF_VARS.fd",
	noROM: true,
}

// MissingARM64 says in one line what must be there before machines with [UEFIARM64]
// can boot; "" if nothing is missing.
func MissingARM64() string {
	if line := missing([]requirement{
		{pkg: "qemu-system-arm", program: aavmf.program},
		{pkg: "qemu-efi-aarch64", file: aavmf.code},
	}); line != "" {
		return line
	}
	return cmp.Or(GRUBARM64.Missing(), ARM64Kernel.Missing())
}

// foreignPrograms finds the programs of the initramfs in the unpacked packages below
// root: klibc's ipconfig as SystemRescue has it, and for all else busybox. A curl
// would bring twenty libraries.
func foreignPrograms(in *ingredients, root string) error {
	in.busybox = filepath.Join(root, "bin/busybox")
	ipconfig := klibcDir + "/ipconfig"
	in.files = map[string]string{"bin/busybox": in.busybox, ipconfig: filepath.Join(root, ipconfig)}
	in.links = map[string]string{
		"usr/bin/ipconfig":  "/" + ipconfig,
		"usr/bin/ip":        "/bin/busybox",
		"usr/bin/sha512sum": "/bin/busybox",
	}
	lib, err := interpreterOf(in.files[ipconfig])
	if err != nil {
		return err
	}
	in.files[strings.TrimPrefix(lib, "/")] = filepath.Join(root, lib)
	return nil
}

// interpreterOf returns the path that a program names as its interpreter; "" for a
// static one. klibc's programs need nothing else.
func interpreterOf(program string) (string, error) {
	f, err := elf.Open(program)
	if err != nil {
		return "", fmt.Errorf("vm: program %s: %w", program, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			name, err := io.ReadAll(p.Open())
			if err != nil {
				return "", fmt.Errorf("vm: interpreter of %s: %w", program, err)
			}
			return strings.TrimRight(string(name), "\x00"), nil
		}
	}
	return "", nil
}
