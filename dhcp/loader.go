package dhcp

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
	Kind   Kind
	Arch   Arch
	Family Family
	// Names are file names of the loader as distributions name it, best first.
	Names []string
	// Reason says why this loader, for people who wonder.
	Reason string
}

// LoaderTable returns the loaders for each kind of firmware, best first; the
// caller may change it. It has no row for iPXE, which boots a script, and none
// for architectures for which no distribution has a loader: such a client is
// better refused aloud than given a file that it cannot run.
func LoaderTable() []LoaderRow {
	rows := []LoaderRow{
		{PXE, ArchBIOS, FamilyPXELinux, []string{"lpxelinux.0", "pxelinux.0"},
			"shows the medium's own menu; lpxelinux fetches kernels by HTTP, pxelinux by TFTP only"},
		{PXE, ArchBIOS, FamilyIPXE, []string{"undionly.kpxe"},
			"uses the ROM's own driver, which works for every card that got this far"},
	}
	for _, a := range []Arch{ArchX64, ArchEBC} {
		reason := ""
		if a == ArchEBC {
			reason = "; type 9 is sent by x64 firmware after the text of RFC 4578"
		}
		rows = append(rows, uefi(PXE, a, x64Loaders(), reason)...)
	}
	rows = append(rows, uefi(PXE, ArchIA32, ia32Loaders(), "")...)
	rows = append(rows, uefi(PXE, ArchARM64, arm64Loaders(), "")...)
	rows = append(rows, uefi(HTTPBoot, ArchX64HTTP, x64Loaders(), "; by URL")...)
	rows = append(rows, uefi(HTTPBoot, ArchEBCHTTP, x64Loaders(), "; by URL, x64 as type 9 is")...)
	rows = append(rows, uefi(HTTPBoot, ArchIA32HTTP, ia32Loaders(), "; by URL")...)
	rows = append(rows, uefi(HTTPBoot, ArchARM64HTTP, arm64Loaders(), "; by URL")...)
	return rows
}

// uefi makes the rows of one firmware out of the loaders of its processor.
func uefi(kind Kind, arch Arch, loaders []LoaderRow, reason string) []LoaderRow {
	for i := range loaders {
		loaders[i].Kind, loaders[i].Arch = kind, arch
		loaders[i].Reason += reason
	}
	return loaders
}

func x64Loaders() []LoaderRow {
	return []LoaderRow{
		{Family: FamilyIPXE, Names: []string{"snponly.efi", "ipxe.efi"},
			Reason: "snponly uses the firmware's driver of the card it booted from; ipxe.efi brings its own drivers"},
		{Family: FamilyGRUB, Names: []string{"shimx64.efi", "grubx64.efi"},
			Reason: "the chain that boots under Secure Boot: shim loads grubx64.efi from beside itself"},
	}
}

func ia32Loaders() []LoaderRow {
	return []LoaderRow{
		{Family: FamilyIPXE, Names: []string{"ipxe-i386.efi"},
			Reason: "32-bit firmware loads 32-bit loaders only, also on a 64-bit processor"},
		{Family: FamilyGRUB, Names: []string{"shimia32.efi", "grubia32.efi"},
			Reason: "32-bit firmware; GRUB starts a 64-bit kernel from it"},
	}
}

func arm64Loaders() []LoaderRow {
	return []LoaderRow{
		{Family: FamilyIPXE, Names: []string{"snponly-arm64.efi", "ipxe-arm64.efi"},
			Reason: "64-bit ARM; snponly uses the firmware's driver"},
		{Family: FamilyGRUB, Names: []string{"shimaa64.efi", "grubaa64.efi"},
			Reason: "64-bit ARM, the chain that boots under Secure Boot"},
	}
}
