package dhcp

import (
	"errors"
	"fmt"
)

// Family is a kind of boot loader. It decides which menu the loader reads.
type Family int

// The families of loaders.
const (
	// FamilyPXELinux reads pxelinux.cfg/… beside itself.
	FamilyPXELinux Family = iota + 1
	// FamilyIPXE asks for a boot file itself, as a client of [Kind] IPXE, and
	// is given a script.
	FamilyIPXE
	// FamilyGRUB reads grub/grub.cfg.
	FamilyGRUB
	// FamilyUBoot is U-Boot itself, which reads pxelinux.cfg/… without a loader.
	FamilyUBoot
	// FamilyRaspberryPi is the firmware of a Raspberry Pi, which fetches its own
	// second stage, config.txt and kernel by their fixed names.
	FamilyRaspberryPi
)

// String returns "pxelinux", "ipxe", "grub", "u-boot" or "raspberry-pi".
func (f Family) String() string {
	switch f {
	case FamilyPXELinux:
		return "pxelinux"
	case FamilyIPXE:
		return "ipxe"
	case FamilyGRUB:
		return "grub"
	case FamilyUBoot:
		return "u-boot"
	case FamilyRaspberryPi:
		return "raspberry-pi"
	}
	return "unknown"
}

// LoaderRow is one way to boot one kind of firmware.
type LoaderRow struct {
	// Kind and Arch say for whom the row is. For Kind UBoot the Arch is not
	// looked at: U-Boot often does not tell its own, and needs no other program.
	Kind   Kind
	Arch   Arch
	Family Family
	// Names are file names of the loader as distributions name it, best first.
	// Empty: the firmware is its own loader. It fetches what it needs by TFTP from
	// the boot server, under names of its own, and heeds no boot file name.
	Names []string
	// Reason says why this loader, for people who wonder.
	Reason string
}

// LoadersFor returns those of the rows that are for this client, in their order.
// An iPXE can run what the firmware could in whose place it came; a client that
// does not tell its architecture is BIOS, which is older than the option.
//
// A client for which there is no row gets an error with the number of its
// architecture, since it is better refused aloud than given a file that it
// cannot run. Its text has nothing of the client's in it but numbers.
func LoadersFor(c Client, rows []LoaderRow) ([]LoaderRow, error) {
	kind, arch := c.Kind, ArchBIOS
	if c.HasArch {
		arch = c.Arch
	}
	if kind == IPXE {
		kind = PXE
		if arch.HTTP() {
			kind = HTTPBoot
		}
	}
	var found []LoaderRow
	for _, row := range rows {
		if row.Kind == kind && (row.Arch == arch || kind == UBoot) {
			found = append(found, row)
		}
	}
	switch {
	case found != nil:
		return found, nil
	case c.Kind == Plain:
		return nil, errors.New("dhcp: a plain DHCP client boots nothing")
	case !arch.known():
		return nil, fmt.Errorf("dhcp: no boot loader is known for a %s client of unknown architecture %d; add a row to the loaders, or a quirk that takes it for another", c.Kind, uint16(arch))
	}
	return nil, fmt.Errorf("dhcp: no boot loader is known for a %s client of architecture %d (%s); add a row to the loaders", c.Kind, uint16(arch), arch)
}

// LoaderTable returns the loaders for each kind of firmware, best first; the
// caller may change it. It has no row for iPXE, which boots a script, and none
// for architectures for which nobody distributes a loader: see [LoadersFor].
//
// The names are those under which iPXE and distributions publish the files, with
// the processor in them. A UEFI loader is the same file by TFTP and by HTTP.
func LoaderTable() []LoaderRow {
	rows := []LoaderRow{
		{PXE, ArchBIOS, FamilyPXELinux, []string{"lpxelinux.0", "pxelinux.0"},
			"shows the medium's own menu; lpxelinux fetches kernels by HTTP, pxelinux by TFTP only"},
		{PXE, ArchBIOS, FamilyIPXE, []string{"undionly.kpxe"},
			"uses the ROM's own driver, which works for every card that got this far"},
		{HTTPBoot, ArchBIOSHTTP, FamilyIPXE, []string{"ipxe.pxe"},
			"brings its own drivers: firmware that boots by HTTP need not have the PXE calls that undionly and pxelinux live on"},
		{UBoot, ArchUBootARM64, FamilyUBoot, nil,
			"reads a menu in the language of pxelinux itself, and starts kernels that are not EFI programs"},
		{PXE, ArchRPiBoot, FamilyRaspberryPi, nil,
			"fetches start4.elf, config.txt and the kernel by fixed names, first from a directory named after its serial number"},
	}
	for _, p := range []struct {
		tftp, http Arch
		loaders    []loader
		reason     string
	}{
		{ArchX64, ArchX64HTTP, x64Loaders(), ""},
		{ArchEBC, ArchEBCHTTP, x64Loaders(), "; type 9 is sent by x64 firmware after the text of RFC 4578"},
		{ArchIA32, ArchIA32HTTP, ia32Loaders(), ""},
		{ArchARM64, ArchARM64HTTP, arm64Loaders(), ""},
		{ArchARM32, ArchARM32HTTP, unsigned("arm32", "arm", "32-bit ARM"), ""},
		{ArchRISCV32, ArchRISCV32HTTP, unsigned("riscv32", "riscv32", "32-bit RISC-V"), ""},
		{ArchRISCV64, ArchRISCV64HTTP, unsigned("riscv64", "riscv64", "64-bit RISC-V"), ""},
		{ArchLoongArch64, ArchLoongArch64HTTP, unsigned("loong64", "loongarch64", "64-bit LoongArch"), ""},
	} {
		for _, l := range p.loaders {
			rows = append(rows, LoaderRow{PXE, p.tftp, l.family, l.names, l.reason + p.reason})
		}
		for _, l := range p.loaders {
			// Names of its own: the caller may change one row and not the other.
			names := append([]string(nil), l.names...)
			rows = append(rows, LoaderRow{HTTPBoot, p.http, l.family, names, l.reason + p.reason + "; by URL"})
		}
	}
	return rows
}

// loader is a program for one processor.
type loader struct {
	family Family
	names  []string
	reason string
}

func x64Loaders() []loader {
	return []loader{
		{FamilyIPXE, []string{"snponly.efi", "snponly-x86_64.efi", "ipxe.efi", "ipxe-x86_64.efi"},
			"snponly uses the firmware's driver of the card it booted from; ipxe.efi brings its own drivers"},
		{FamilyGRUB, []string{"shimx64.efi", "grubx64.efi"},
			"the chain that boots under Secure Boot: shim loads grubx64.efi from beside itself"},
	}
}

func ia32Loaders() []loader {
	return []loader{
		{FamilyIPXE, []string{"snponly-i386.efi", "ipxe-i386.efi"},
			"32-bit firmware loads 32-bit loaders only, also on a 64-bit processor"},
		{FamilyGRUB, []string{"shimia32.efi", "grubia32.efi"},
			"32-bit firmware; GRUB starts a 64-bit kernel from it"},
	}
}

func arm64Loaders() []loader {
	return []loader{
		{FamilyIPXE, []string{"snponly-arm64.efi", "ipxe-arm64.efi"},
			"64-bit ARM; snponly uses the firmware's driver"},
		{FamilyGRUB, []string{"shimaa64.efi", "grubaa64.efi"},
			"64-bit ARM, the chain that boots under Secure Boot"},
	}
}

// unsigned are the loaders of a processor for which no shim is signed. iPXE names
// it after the directory that it is built in, GRUB as UEFI does.
func unsigned(ipxe, efi, text string) []loader {
	return []loader{
		{FamilyIPXE, []string{"snponly-" + ipxe + ".efi", "ipxe-" + ipxe + ".efi"},
			text + "; snponly uses the firmware's driver"},
		{FamilyGRUB, []string{"grub" + efi + ".efi"},
			text + "; no shim is signed for it, so without Secure Boot"},
	}
}
