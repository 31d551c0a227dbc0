package pxetest

import (
	"fmt"
	"net"
	"time"
)

// Firmware is the kind of a machine: which network boot client it has in ROM.
type Firmware int

// The machines. BIOSPXE and UEFIx64 have their makers' own PXE stacks and must be
// given a loader; IPXEROM is a BIOS machine whose network card carries iPXE (as
// QEMU's do) and can be given a script at once. UEFIIA32 is 32-bit firmware, which
// runs 32-bit loaders only; UEFIx64HTTP is UEFI that boots by HTTP and does without
// TFTP.
const (
	BIOSPXE Firmware = 1 + iota
	UEFIx64
	IPXEROM
	UEFIIA32
	UEFIARM64
	UEFIx64HTTP
)

// String implements fmt.Stringer.
func (f Firmware) String() string {
	switch f {
	case BIOSPXE:
		return "BIOS PXE"
	case UEFIx64:
		return "UEFI x64"
	case IPXEROM:
		return "iPXE ROM"
	case UEFIIA32:
		return "UEFI IA32"
	case UEFIARM64:
		return "UEFI ARM64"
	case UEFIx64HTTP:
		return "UEFI x64 HTTP"
	}
	return fmt.Sprintf("Firmware(%d)", int(f))
}

func (f Firmware) known() bool { return f >= BIOSPXE && f <= UEFIx64HTTP }
func (f Firmware) uefi() bool  { return f.known() && f != BIOSPXE && f != IPXEROM }
func (f Firmware) ipxe() bool  { return f == IPXEROM }
func (f Firmware) http() bool  { return f == UEFIx64HTTP }

// linuxArch is what uname -m says in the initramfs, a part of the root's path. A
// 64-bit kernel runs under 32-bit firmware.
func (f Firmware) linuxArch() string {
	if f == UEFIARM64 {
		return "aarch64"
	}
	return "x86_64"
}

// efiArch is how the names of UEFI programs tell their processor.
func (f Firmware) efiArch() string {
	switch f {
	case UEFIIA32:
		return "ia32"
	case UEFIARM64:
		return "aa64"
	}
	return "x64"
}

// pxeArch is the client system architecture of a PXE client, RFC 4578 section 2.1
// and IANA's registry.
func (f Firmware) pxeArch() byte {
	switch {
	case f == UEFIIA32:
		return 6
	case f == UEFIARM64:
		return 11
	case f.uefi():
		return 7
	}
	return 0
}

// exchangeOf gives the DHCP client of a machine in ROM, or of the iPXE that it has
// loaded or has in ROM.
func exchangeOf(f Firmware, ipxe bool, hw net.HardwareAddr, uuid [16]byte) *exchange {
	switch {
	case ipxe:
		return ipxeExchange(f, hw, uuid)
	case f.http():
		return httpExchange(hw, uuid)
	case f.uefi():
		return edk2Exchange(f, hw, uuid)
	}
	return romExchange(hw, uuid)
}

// PXE 2.1 section 2.2.2: four tries.
func pxeWaits() []time.Duration {
	return []time.Duration{4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second}
}

// romExchange is a BIOS PXE ROM, such as Intel's Boot Agent.
func romExchange(hw net.HardwareAddr, uuid [16]byte) *exchange {
	return &exchange{
		client: "firmware", hw: hw, flags: broadcastFlag, minSize: 548, maxSize: 1260,
		waits: pxeWaits(), boots: true, choose: chooseROM,
		bootServer: bootServerHabits{source: dhcpClientPort, waits: bootServerWaits()},
		options: []option{
			{optMaxSize, []byte{1260 >> 8, 1260 & 0xff}},
			{optParameters, []byte{1, 2, 3, 5, 6, 11, 12, 13, 15, 16, 17, 18, 43, 54, 60, 67,
				128, 129, 130, 131, 132, 133, 134, 135}},
			{optUUID, append([]byte{0}, uuid[:]...)},
			{optArch, []byte{0, 0}},
			{optInterface, []byte{1, 2, 1}},
			{optVendorClass, []byte("PXEClient:Arch:00000:UNDI:002001")},
		},
	}
}

// edk2Exchange is the PXE stack that UEFI firmware has from EDK2.
func edk2Exchange(f Firmware, hw net.HardwareAddr, uuid [16]byte) *exchange {
	return &exchange{
		client: "firmware", hw: hw, flags: broadcastFlag, maxSize: firmwareMaxSize,
		waits: pxeWaits(), boots: true, choose: chooseEDK2, optionFirst: true,
		bootServer: bootServerHabits{source: pxePort, waits: bootServerWaits(), newXID: true},
		options: []option{
			{optMaxSize, []byte{firmwareMaxSize >> 8, firmwareMaxSize & 0xff}},
			{optParameters, []byte{1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43,
				50, 51, 54, 58, 59, 60, 66, 67, 97, 128, 129, 130, 131, 132, 133, 134, 135}},
			{optUUID, append([]byte{0}, uuid[:]...)},
			{optInterface, []byte{1, 3, 16}},
			{optArch, []byte{0, f.pxeArch()}},
			{optVendorClass, fmt.Appendf(nil, "PXEClient:Arch:%05d:UNDI:003016", f.pxeArch())},
		},
	}
}

// httpExchange is UEFI HTTP Boot from EDK2; 16 is x64 by HTTP.
func httpExchange(hw net.HardwareAddr, uuid [16]byte) *exchange {
	return &exchange{
		client: "firmware", hw: hw, flags: broadcastFlag, maxSize: firmwareMaxSize,
		waits: pxeWaits(), boots: true, choose: chooseHTTP, optionFirst: true,
		options: []option{
			{optMaxSize, []byte{firmwareMaxSize >> 8, firmwareMaxSize & 0xff}},
			{optParameters, []byte{1, 3, 6, 12, 15, 28, 43, 50, 51, 54, 58, 59, 60, 66, 67, 97}},
			{optUUID, append([]byte{0}, uuid[:]...)},
			{optInterface, []byte{1, 3, 16}},
			{optArch, []byte{0, 16}},
			{optVendorClass, []byte("HTTPClient:Arch:00016:UNDI:003016")},
		},
	}
}

// ipxeExchange is iPXE. It does not ask for broadcasts: its driver hears frames
// for an address that it does not have yet.
func ipxeExchange(f Firmware, hw net.HardwareAddr, uuid [16]byte) *exchange {
	class, undi := fmt.Sprintf("PXEClient:Arch:%05d:UNDI:002001", f.pxeArch()), []byte{1, 2, 1}
	format := byte(24) // bzImage
	if f.uefi() {
		class, undi = fmt.Sprintf("PXEClient:Arch:%05d:UNDI:003010", f.pxeArch()), []byte{1, 3, 10}
		format = 36 // EFI
	}
	return &exchange{
		client: "iPXE", hw: hw, maxSize: firmwareMaxSize, boots: true, choose: chooseIPXE,
		bootServer: bootServerHabits{source: dhcpClientPort, names: true, offers: true, second: true,
			waits: []time.Duration{time.Second / 4, time.Second / 2, time.Second, 2 * time.Second}},
		waits: []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 10 * time.Second},
		options: []option{
			{optMaxSize, []byte{firmwareMaxSize >> 8, firmwareMaxSize & 0xff}},
			{optArch, []byte{0, f.pxeArch()}},
			{optInterface, undi},
			{optVendorClass, []byte(class)},
			{optUserClass, []byte("iPXE")},
			{optParameters, []byte{1, 3, 6, 7, 12, 15, 17, 26, 43, 60, 66, 67, 119,
				128, 129, 130, 131, 132, 133, 134, 135, 175, 203}},
			{optIPXE, []byte{
				177, 5, 1, 0x80, 0x86, 0x10, 0x0e, // the network card, by bus and IDs
				235, 3, 1, 21, 1, // version
				16, 1, 2, 19, 1, 1, 18, 1, 1, 39, 1, 1, format, 1, 1, // PXE, HTTP, TFTP, menus
			}},
			{optClientID, append([]byte{1}, hw...)},
			{optUUID, append([]byte{0}, uuid[:]...)},
		},
	}
}

// initramfsExchange is ipconfig as archiso's initramfs runs it for ip=dhcp, with
// -t 20: short messages without any identity, and no broadcast flag.
func initramfsExchange(hw net.HardwareAddr) *exchange {
	return &exchange{
		client: "initramfs", hw: hw, maxSize: defaultMaxSize, choose: firstAddress,
		waits: []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 5 * time.Second},
		total: 20 * time.Second,
		options: []option{
			{optParameters, []byte{1, 3, 6, 12, 15, 17, 26, 28, 40, 119}},
		},
	}
}
