package vm

import (
	"fmt"
	"os"
	"path/filepath"
)

// Firmware is what a machine starts with.
type Firmware int

const (
	// Direct is QEMU's own loader: it starts Machine.Kernel with no firmware in
	// between that could look at the network.
	Direct Firmware = iota
	// BIOS is SeaBIOS with iPXE's option ROM on the network interface, so its PXE
	// requests carry iPXE's user class.
	BIOS
	// UEFIx64 is 64-bit OVMF, Secure Boot off, with a network interface that has no
	// option ROM: the PXE client is the firmware's own.
	UEFIx64
	// UEFIARM64 is AAVMF on QEMU's generic arm64 machine, Secure Boot off; the PXE
	// client is the firmware's own. Its serial port is ttyAMA0.
	UEFIARM64
	// UEFIx64SecureBoot is UEFIx64 with Microsoft's keys and Secure Boot on.
	UEFIx64SecureBoot
	// UEFIx64HTTP is UEFIx64 that boots by UEFI HTTP Boot: its PXE client is
	// turned off.
	UEFIx64HTTP
	// UEFIIA32 is 32-bit OVMF, Secure Boot off, on a 64-bit processor.
	UEFIIA32
)

// firmwareRow is what QEMU has to be told for one firmware.
type firmwareRow struct {
	name string
	// program and cpu are QEMU's for another processor; empty: qemu-system-x86_64
	// and max.
	program, cpu string
	// args go on QEMU's command line as they are.
	args []string
	// code and vars are the flash images of UEFI firmware: code is mapped from the
	// file, vars is copied first since the firmware writes to it.
	code, vars string
	// noROM leaves out the option ROM that QEMU would give the network interface.
	noROM bool
}

var noScreen = ",graphics=off" // SeaBIOS and the option ROM then talk to the serial port

var firmwares = map[Firmware]firmwareRow{
	Direct: {
		name:  "direct",
		args:  []string{"-machine", "pc" + noScreen},
		noROM: true,
	},
	BIOS: {
		name: "bios",
		args: []string{"-machine", "pc" + noScreen, "-boot", "strict=on"},
	},
	// None of them does PXE over IPv6: there is no DHCPv6 server, and when IPv4
	// fails the wait for one is long.
	UEFIx64: {
		name:  "uefi-x64",
		args:  ovmfArgs(false, pxeIPv6),
		code:  "/usr/share/OVMF/OVMF_CODE_4M.fd",
		vars:  "/usr/share/OVMF/OVMF_VARS_4M.fd",
		noROM: true,
	},
	UEFIx64SecureBoot: {
		name:  "uefi-x64-secureboot",
		args:  ovmfArgs(true, pxeIPv6),
		code:  "/usr/share/OVMF/OVMF_CODE_4M.ms.fd",
		vars:  "/usr/share/OVMF/OVMF_VARS_4M.ms.fd",
		noROM: true,
	},
	UEFIx64HTTP: {
		name: "uefi-x64-http",
		// HTTP Boot has its turn when PXE has timed out, after two minutes, unless
		// there is no PXE.
		args:  ovmfArgs(false, pxeIPv4, pxeIPv6),
		code:  "/usr/share/OVMF/OVMF_CODE_4M.fd",
		vars:  "/usr/share/OVMF/OVMF_VARS_4M.fd",
		noROM: true,
	},
	UEFIIA32: {
		name: "uefi-ia32",
		// Debian has no build without Secure Boot; without keys it is off.
		args:  ovmfArgs(true, pxeIPv6),
		code:  "/usr/share/OVMF/OVMF32_CODE_4M.secboot.fd",
		vars:  "/usr/share/OVMF/OVMF32_VARS_4M.fd",
		noROM: true,
	},
	UEFIARM64: aavmf,
}

// What OVMF can be told to leave out.
const (
	pxeIPv4 = "IPv4PXESupport"
	pxeIPv6 = "IPv6PXESupport"
)

// ovmfArgs returns QEMU's arguments for OVMF. Builds that can do Secure Boot insist
// on system management mode, and on flash that can be written to in that mode only.
func ovmfArgs(secure bool, without ...string) []string {
	args := []string{"-machine", "q35" + noScreen, "-boot", "strict=on"}
	if secure {
		args = []string{
			"-machine", "q35,smm=on" + noScreen, "-boot", "strict=on",
			"-global", "driver=cfi.pflash01,property=secure,value=on",
		}
	}
	for _, name := range without {
		args = append(args, "-fw_cfg", "name=opt/org.tianocore/"+name+",string=no")
	}
	return args
}

// String is the name of the firmware as it appears in messages.
func (f Firmware) String() string {
	if row, ok := firmwares[f]; ok {
		return row.name
	}
	return fmt.Sprintf("Firmware(%d)", int(f))
}

// flash returns QEMU's arguments for the firmware's images; dir takes the copy.
func (r firmwareRow) flash(dir string) ([]string, error) {
	if r.code == "" {
		return nil, nil
	}
	vars, err := os.ReadFile(r.vars)
	if err != nil {
		return nil, fmt.Errorf("vm: variables of %s: %w", r.name, err)
	}
	own := filepath.Join(dir, "vars.fd")
	if err := os.WriteFile(own, vars, 0o600); err != nil {
		return nil, fmt.Errorf("vm: variables of %s: %w", r.name, err)
	}
	return []string{
		"-drive", "if=pflash,format=raw,unit=0,readonly=on,file=" + r.code,
		"-drive", "if=pflash,format=raw,unit=1,file=" + own,
	}, nil
}
