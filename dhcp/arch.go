package dhcp

import "fmt"

// Arch is a processor architecture type as IANA lists them for option 93 (RFC
// 4578, RFC 5970 and later registrations).
//
// RFC 4578's own text exchanges the types 7 and 9: 7 is x64 UEFI, and firmware
// that sends 9, EFI byte code by the registry, is x64 UEFI too.
type Arch uint16

// The architectures that boot servers meet.
const (
	ArchBIOS            Arch = 0
	ArchIA32            Arch = 6
	ArchX64             Arch = 7
	ArchEBC             Arch = 9
	ArchARM32           Arch = 10
	ArchARM64           Arch = 11
	ArchIA32HTTP        Arch = 15
	ArchX64HTTP         Arch = 16
	ArchEBCHTTP         Arch = 17
	ArchARM32HTTP       Arch = 18
	ArchARM64HTTP       Arch = 19
	ArchBIOSHTTP        Arch = 20
	ArchUBootARM32      Arch = 21
	ArchUBootARM64      Arch = 22
	ArchUBootARM32HTTP  Arch = 23
	ArchUBootARM64HTTP  Arch = 24
	ArchRISCV32         Arch = 25
	ArchRISCV32HTTP     Arch = 26
	ArchRISCV64         Arch = 27
	ArchRISCV64HTTP     Arch = 28
	ArchRISCV128        Arch = 29
	ArchRISCV128HTTP    Arch = 30
	ArchLoongArch32     Arch = 37
	ArchLoongArch32HTTP Arch = 38
	ArchLoongArch64     Arch = 39
	ArchLoongArch64HTTP Arch = 40
	ArchRPiBoot         Arch = 41
)

// archNames are the registry's names, by type.
var archNames = [...]string{
	"x86 BIOS", "NEC/PC98", "Itanium", "DEC Alpha", "Arc x86", "Intel Lean Client",
	"x86 UEFI", "x64 UEFI", "EFI Xscale", "EBC", "ARM 32-bit UEFI", "ARM 64-bit UEFI",
	"PowerPC Open Firmware", "PowerPC ePAPR", "POWER OPAL v3",
	"x86 UEFI boot from HTTP", "x64 UEFI boot from HTTP", "EBC boot from HTTP",
	"ARM 32-bit UEFI boot from HTTP", "ARM 64-bit UEFI boot from HTTP", "PC/AT BIOS boot from HTTP",
	"ARM 32-bit U-Boot", "ARM 64-bit U-Boot", "ARM 32-bit U-Boot boot from HTTP", "ARM 64-bit U-Boot boot from HTTP",
	"RISC-V 32-bit UEFI", "RISC-V 32-bit UEFI boot from HTTP",
	"RISC-V 64-bit UEFI", "RISC-V 64-bit UEFI boot from HTTP",
	"RISC-V 128-bit UEFI", "RISC-V 128-bit UEFI boot from HTTP",
	"s390 Basic", "s390 Extended", "MIPS 32-bit UEFI", "MIPS 64-bit UEFI",
	"Sunway 32-bit UEFI", "Sunway 64-bit UEFI",
	"LoongArch 32-bit UEFI", "LoongArch 32-bit UEFI boot from HTTP",
	"LoongArch 64-bit UEFI", "LoongArch 64-bit UEFI boot from HTTP", "ARM rpiboot",
}

func (a Arch) known() bool { return int(a) < len(archNames) }

// String returns the registry's name ("x64 UEFI"), and "arch 4711" for a type
// that the registry does not have.
func (a Arch) String() string {
	if !a.known() {
		return fmt.Sprintf("arch %d", uint16(a))
	}
	return archNames[a]
}
