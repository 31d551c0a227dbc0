package dhcp

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLoaderTable(t *testing.T) {
	for _, row := range LoaderTable() {
		require.NotEmpty(t, row.Reason, "every row says why")
		require.NotEqual(t, IPXE, row.Kind, "P-022: iPXE never gets a loader again")
		require.NotEqual(t, Plain, row.Kind)
		require.NotEqual(t, "unknown", row.Family.String())
		require.True(t, row.Arch.known())
		require.Equal(t, row.Kind == HTTPBoot, row.Arch.HTTP(), "H-004: %s %s", row.Kind, row.Arch)
		ownLoader := row.Family == FamilyUBoot || row.Family == FamilyRaspberryPi
		require.Equal(t, ownLoader, len(row.Names) == 0, "%s", row.Arch)
		for _, name := range row.Names {
			require.Equal(t, row.Arch.Firmware() == FirmwareUEFI, strings.HasSuffix(name, ".efi"), "%s for %s", name, row.Arch)
			if strings.HasPrefix(name, "grub") || strings.HasPrefix(name, "shim") {
				require.Equal(t, row.Arch.Processor()+".efi", name[4:], "the EFI naming")
			}
		}
	}
	LoaderTable()[0].Names[0] = "changed"
	require.Equal(t, "lpxelinux.0", LoaderTable()[0].Names[0], "the table is the caller's own")
	rows := LoaderTable()
	before := map[Kind]string{}
	for _, row := range rows {
		if row.Arch.Processor() == "aa64" && row.Family == FamilyIPXE {
			before[row.Kind] = row.Names[0]
			row.Names[0] = "of " + row.Kind.String()
		}
	}
	require.Equal(t, map[Kind]string{PXE: "snponly-arm64.efi", HTTPBoot: "snponly-arm64.efi"}, before, "the rows share no names")
}

// TestLoadersForEveryArchitecture goes through the registry: everything has a
// loader or is refused with its number.
func TestLoadersForEveryArchitecture(t *testing.T) {
	first := map[Arch]string{
		0: "pxelinux lpxelinux.0", 6: "ipxe snponly-i386.efi", 7: "ipxe snponly.efi", 9: "ipxe snponly.efi",
		10: "ipxe snponly-arm32.efi", 11: "ipxe snponly-arm64.efi",
		15: "ipxe snponly-i386.efi", 16: "ipxe snponly.efi", 17: "ipxe snponly.efi", 18: "ipxe snponly-arm32.efi", 19: "ipxe snponly-arm64.efi",
		20: "ipxe ipxe.pxe", 21: "u-boot", 22: "u-boot", 23: "u-boot", 24: "u-boot",
		25: "ipxe snponly-riscv32.efi", 26: "ipxe snponly-riscv32.efi", 27: "ipxe snponly-riscv64.efi", 28: "ipxe snponly-riscv64.efi",
		39: "ipxe snponly-loong64.efi", 40: "ipxe snponly-loong64.efi", 41: "raspberry-pi",
	}
	got := map[Arch]string{}
	for a := range Arch(60) {
		c := Client{Kind: PXE, Arch: a, HasArch: true}
		switch {
		case a.Firmware() == FirmwareUBoot:
			c.Kind = UBoot
		case a.HTTP():
			c.Kind = HTTPBoot
		}
		rows, err := LoadersFor(c, LoaderTable())
		if err != nil {
			require.Empty(t, rows)
			require.ErrorContains(t, err, fmt.Sprintf("architecture %d", uint16(a)), "the number")
			if a.known() {
				require.ErrorContains(t, err, "("+a.String()+")")
			} else {
				require.ErrorContains(t, err, "unknown architecture")
			}
			continue
		}
		got[a] = rows[0].Family.String()
		if len(rows[0].Names) > 0 {
			got[a] += " " + rows[0].Names[0]
		}
		for _, row := range rows {
			require.Equal(t, rows[0].Kind, row.Kind)
		}
	}
	require.Equal(t, first, got)
}

func TestLoadersFor(t *testing.T) {
	rows := []LoaderRow{
		{PXE, ArchBIOS, FamilyPXELinux, []string{"a"}, ""}, {PXE, ArchX64, FamilyGRUB, []string{"b"}, ""},
		{HTTPBoot, ArchX64HTTP, FamilyGRUB, []string{"c"}, ""}, {PXE, ArchX64, FamilyIPXE, []string{"d"}, ""},
		{UBoot, ArchUBootARM64, FamilyUBoot, nil, ""},
	}
	for name, c := range map[string]struct {
		client Client
		want   []LoaderRow
		err    string
	}{
		"in their order":               {Client{Kind: PXE, Arch: ArchX64, HasArch: true}, []LoaderRow{rows[1], rows[3]}, ""},
		"without an architecture":      {Client{Kind: PXE, Arch: ArchX64}, rows[:1], ""},
		"by HTTP":                      {Client{Kind: HTTPBoot, Arch: ArchX64HTTP, HasArch: true}, rows[2:3], ""},
		"iPXE in the firmware's place": {Client{Kind: IPXE, Arch: ArchX64, HasArch: true}, []LoaderRow{rows[1], rows[3]}, ""},
		"iPXE of an HTTP type":         {Client{Kind: IPXE, Arch: ArchX64HTTP, HasArch: true}, rows[2:3], ""},
		"U-Boot that does not say":     {Client{Kind: UBoot}, rows[4:], ""},
		"U-Boot of 2015":               {Client{Kind: UBoot, Arch: 256, HasArch: true}, rows[4:], ""},
		"refused aloud": {Client{Kind: PXE, Arch: ArchPowerPC, HasArch: true}, nil,
			"dhcp: no boot loader is known for a pxe client of architecture 12 (PowerPC Open Firmware); add a row to the loaders"},
		"unknown": {Client{Kind: HTTPBoot, Arch: 4711, HasArch: true, VendorClass: "HTTPClient\n"}, nil,
			"dhcp: no boot loader is known for a httpboot client of unknown architecture 4711; add a row to the loaders, or a quirk that takes it for another"},
		"of another kind": {Client{Kind: HTTPBoot, Arch: ArchX64, HasArch: true}, nil, "architecture 7 (x64 UEFI)"},
		"plain":           {Client{}, nil, "dhcp: a plain DHCP client boots nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := LoadersFor(c.client, rows)
			require.Equal(t, c.want, got)
			if c.err == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.err)
			}
		})
	}
}
