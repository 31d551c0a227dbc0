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
	ArchItanium         Arch = 2
	ArchIA32            Arch = 6
	ArchX64             Arch = 7
	ArchEBC             Arch = 9
	ArchARM32           Arch = 10
	ArchARM64           Arch = 11
	ArchPowerPC         Arch = 12 // Open Firmware
	ArchPowerPCePAPR    Arch = 13
	ArchPowerOPAL       Arch = 14
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
	ArchS390            Arch = 31
	ArchS390Extended    Arch = 32
	ArchLoongArch32     Arch = 37
	ArchLoongArch32HTTP Arch = 38
	ArchLoongArch64     Arch = 39
	ArchLoongArch64HTTP Arch = 40
	ArchRPiBoot         Arch = 41
)

// Firmware is the kind of firmware that sends an architecture. "" is firmware
// that no loader here boots: Open Firmware, OPAL, s390 and what is extinct.
type Firmware string

// The kinds of firmware. Each runs boot files of its own form.
const (
	FirmwareBIOS        Firmware = "BIOS"
	FirmwareUEFI        Firmware = "UEFI"
	FirmwareUBoot       Firmware = "U-Boot"
	FirmwareRaspberryPi Firmware = "Raspberry Pi"
)

// archInfo is a row of the registry, with what its name says.
type archInfo struct {
	name      string
	firmware  Firmware
	processor string
	http      bool
}

// archs is IANA's registry "Processor Architecture Types", by type.
var archs = [...]archInfo{
	{"x86 BIOS", FirmwareBIOS, "x86", false},
	{"NEC/PC98", "", "", false},
	{"Itanium", FirmwareUEFI, "ia64", false},
	{"DEC Alpha", "", "", false},
	{"Arc x86", "", "", false},
	{"Intel Lean Client", "", "", false},
	{"x86 UEFI", FirmwareUEFI, "ia32", false},
	{"x64 UEFI", FirmwareUEFI, "x64", false},
	{"EFI Xscale", FirmwareUEFI, "", false},
	{"EBC", FirmwareUEFI, "x64", false},
	{"ARM 32-bit UEFI", FirmwareUEFI, "arm", false},
	{"ARM 64-bit UEFI", FirmwareUEFI, "aa64", false},
	{"PowerPC Open Firmware", "", "ppc", false},
	{"PowerPC ePAPR", "", "ppc", false},
	{"POWER OPAL v3", "", "ppc64", false},
	{"x86 UEFI boot from HTTP", FirmwareUEFI, "ia32", true},
	{"x64 UEFI boot from HTTP", FirmwareUEFI, "x64", true},
	{"EBC boot from HTTP", FirmwareUEFI, "x64", true},
	{"ARM 32-bit UEFI boot from HTTP", FirmwareUEFI, "arm", true},
	{"ARM 64-bit UEFI boot from HTTP", FirmwareUEFI, "aa64", true},
	{"PC/AT BIOS boot from HTTP", FirmwareBIOS, "x86", true},
	{"ARM 32-bit U-Boot", FirmwareUBoot, "arm", false},
	{"ARM 64-bit U-Boot", FirmwareUBoot, "aa64", false},
	{"ARM 32-bit U-Boot boot from HTTP", FirmwareUBoot, "arm", true},
	{"ARM 64-bit U-Boot boot from HTTP", FirmwareUBoot, "aa64", true},
	{"RISC-V 32-bit UEFI", FirmwareUEFI, "riscv32", false},
	{"RISC-V 32-bit UEFI boot from HTTP", FirmwareUEFI, "riscv32", true},
	{"RISC-V 64-bit UEFI", FirmwareUEFI, "riscv64", false},
	{"RISC-V 64-bit UEFI boot from HTTP", FirmwareUEFI, "riscv64", true},
	{"RISC-V 128-bit UEFI", FirmwareUEFI, "riscv128", false},
	{"RISC-V 128-bit UEFI boot from HTTP", FirmwareUEFI, "riscv128", true},
	{"s390 Basic", "", "s390", false},
	{"s390 Extended", "", "s390", false},
	{"MIPS 32-bit UEFI", FirmwareUEFI, "mips", false},
	{"MIPS 64-bit UEFI", FirmwareUEFI, "mips64", false},
	{"Sunway 32-bit UEFI", FirmwareUEFI, "sunway", false},
	{"Sunway 64-bit UEFI", FirmwareUEFI, "sunway64", false},
	{"LoongArch 32-bit UEFI", FirmwareUEFI, "loongarch32", false},
	{"LoongArch 32-bit UEFI boot from HTTP", FirmwareUEFI, "loongarch32", true},
	{"LoongArch 64-bit UEFI", FirmwareUEFI, "loongarch64", false},
	{"LoongArch 64-bit UEFI boot from HTTP", FirmwareUEFI, "loongarch64", true},
	{"ARM rpiboot", FirmwareRaspberryPi, "aa64", false},
}

func (a Arch) known() bool { return int(a) < len(archs) }

// info is the registry's row, the zero archInfo for a type that it does not
// have.
func (a Arch) info() archInfo {
	if !a.known() {
		return archInfo{}
	}
	return archs[a]
}

// String returns the registry's name ("x64 UEFI"), and "arch 4711" for a type
// that the registry does not have.
func (a Arch) String() string {
	if !a.known() {
		return fmt.Sprintf("arch %d", uint16(a))
	}
	return archs[a].name
}

// Firmware says what the machine boots with, "" if nothing is known that would.
func (a Arch) Firmware() Firmware { return a.info().firmware }

// Processor says what the machine's programs are made for, in the words of UEFI
// 2.10 section 3.5.1.1, with which the names of EFI loaders end: "ia32", "x64",
// "arm", "aa64", "riscv64", "loongarch64". It is "x64" for EBC, see [Arch], and
// "x86" for BIOS, which starts 16-bit programs. "" means unknown.
func (a Arch) Processor() string { return a.info().processor }

// HTTP reports whether the firmware fetches its boot file by HTTP, from a URL;
// otherwise by TFTP.
func (a Arch) HTTP() bool { return a.info().http }
