package dhcp

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestArchNames(t *testing.T) {
	require.Len(t, archs, 42, "the registry has the types 0 to 41")
	for i, row := range archs {
		require.Equal(t, row.name, Arch(i).String())
		require.NotEmpty(t, row.name)
	}
	require.Equal(t, "x64 UEFI", ArchX64.String())
	require.Equal(t, "LoongArch 64-bit UEFI", ArchLoongArch64.String())
	require.Equal(t, "POWER OPAL v3", ArchPowerOPAL.String())
	require.Equal(t, "s390 Basic", ArchS390.String())
	require.Equal(t, "ARM rpiboot", ArchRPiBoot.String())
	require.Equal(t, "arch 42", Arch(42).String())
	require.Equal(t, "arch 65535", Arch(65535).String())
}

// TestH004_WhoBootsByHTTP has the types of UEFI 2.10 and IANA written out once
// more, and what remains for TFTP.
func TestH004_WhoBootsByHTTP(t *testing.T) {
	byHTTP := map[Firmware][]Arch{
		FirmwareUEFI:  {15, 16, 17, 18, 19, 26, 28, 30, 38, 40},
		FirmwareBIOS:  {20},
		FirmwareUBoot: {23, 24},
	}
	for a := range Arch(50) {
		require.Equal(t, slices.Contains(byHTTP[a.Firmware()], a), a.HTTP(), "%s", a)
		require.Equal(t, strings.Contains(a.String(), "HTTP"), a.HTTP(), "%s by its name", a)
		if a.HTTP() {
			require.NotEmpty(t, a.Processor())
		}
	}
	require.Equal(t, FirmwareRaspberryPi, ArchRPiBoot.Firmware())
	require.Equal(t, Firmware(""), ArchPowerPC.Firmware())
	require.Equal(t, Firmware(""), Arch(4711).Firmware())
	require.Empty(t, Arch(4711).Processor())
	require.False(t, Arch(4711).HTTP())
	require.Equal(t, "x64", ArchEBC.Processor(), "type 9 is sent by x64 firmware")
	require.Equal(t, "x64", ArchEBCHTTP.Processor())
}

// TestH004_PairsOfTypes: what boots by HTTP has the processor of what boots by
// TFTP.
func TestH004_PairsOfTypes(t *testing.T) {
	for http, tftp := range map[Arch]Arch{
		ArchIA32HTTP: ArchIA32, ArchX64HTTP: ArchX64, ArchEBCHTTP: ArchEBC, ArchARM32HTTP: ArchARM32, ArchARM64HTTP: ArchARM64,
		ArchBIOSHTTP: ArchBIOS, ArchUBootARM32HTTP: ArchUBootARM32, ArchUBootARM64HTTP: ArchUBootARM64, ArchRISCV32HTTP: ArchRISCV32,
		ArchRISCV64HTTP: ArchRISCV64, ArchRISCV128HTTP: ArchRISCV128, ArchLoongArch32HTTP: ArchLoongArch32, ArchLoongArch64HTTP: ArchLoongArch64,
	} {
		require.Equal(t, tftp.Processor(), http.Processor())
		require.Equal(t, tftp.Firmware(), http.Firmware())
		require.True(t, http.HTTP())
		require.False(t, tftp.HTTP())
	}
}
