package vm

import (
	"sync/atomic"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/dhcp"
)

// matrixCase is one chain of firmware and boot loaders.
type matrixCase struct {
	name     string
	firmware Firmware
	// flags are the appliance's, beyond what all have.
	flags []string
	// grub, if set, is an image that the server has under the name grubName.
	grub     GRUBImage
	grubName string
	// library, if set, makes a server in place of the appliance, where its flags do
	// not suffice; Files, Root, Booter and Networks are set by the test.
	library func() *pxe.Server
	needs   []requirement
	// loaders are the files of boot loaders that the machine must have fetched, in
	// this order; config is a pattern for the configuration that the last one read.
	loaders []string
	config  string
	// kernelVia is how kernel and initramfs must have come.
	kernelVia string
	// asks4011 is whether the firmware asks port 4011 for the boot file where another
	// server gives the addresses.
	asks4011 bool
	// nextServer has the server that gives the addresses name ours as the next one:
	// Debian's GRUB takes the address of its files from the lease alone.
	nextServer bool
	// says are patterns that must appear on the console before the system does.
	says []string
	// httpOnly blocks TFTP.
	httpOnly bool
	// stock, if set, says that the medium's own menu boots the machine, and how its
	// default entry reaches the root file system: "nbd" as on the medium, or "http".
	stock string
	// fullOnly is for chains that are tried with our own addresses only.
	fullOnly bool
}

var matrix = []matrixCase{
	{
		name: "bios-ipxe", firmware: BIOS, flags: []string{"-loader", "auto"},
		config: `boot\.ipxe`, kernelVia: "http",
	},
	{
		name: "bios-lpxelinux", firmware: BIOS, flags: []string{"-loader", "pxelinux"},
		loaders: []string{"lpxelinux.0", "ldlinux.c32"},
		config:  `pxelinux\.cfg/01-02-00-00-00-00-01`, kernelVia: "http",
	},
	{
		name: "bios-stock-nbd", firmware: BIOS, flags: []string{"-loader", "stock"}, stock: "nbd",
		loaders: stockLoaders, kernelVia: "tftp",
	},
	{
		name: "bios-stock-http", firmware: BIOS, flags: []string{"-loader", "stock"}, stock: "http", fullOnly: true,
		loaders: stockLoaders, kernelVia: "tftp",
	},
	{
		// QEMU's ROM is an iPXE, which is taken for the plain ROM of a network card
		// until it has the loader that such a ROM gets.
		name: "bios-undionly", firmware: BIOS, library: untilUndionly, fullOnly: true,
		needs:   []requirement{{pkg: "ipxe", file: "/usr/lib/ipxe/undionly.kpxe"}},
		loaders: []string{"undionly.kpxe"},
		config:  `boot\.ipxe`, kernelVia: "http",
	},
	{
		name: "uefi-x64-ipxe", firmware: UEFIx64, asks4011: true, flags: []string{"-loader", "auto"},
		loaders: []string{"snponly.efi"},
		config:  `boot\.ipxe`, kernelVia: "http",
	},
	{
		name: "uefi-x64-http", firmware: UEFIx64HTTP, flags: []string{"-loader", "auto"}, httpOnly: true,
		needs:   []requirement{{pkg: "nftables", program: "nft"}},
		loaders: []string{"snponly.efi"},
		config:  `boot\.ipxe`, kernelVia: "http",
	},
	{
		// The appliance would choose the shim for it.
		name: "uefi-x64-grub", firmware: UEFIx64, nextServer: true, asks4011: true, library: withGRUBx64, grub: GRUBx64, grubName: "grub-own.efi",
		loaders: []string{"grub-own.efi"},
		config:  `grub/grub\.cfg-.+`, kernelVia: "http",
	},
	{
		name: "uefi-x64-shim-secureboot", firmware: UEFIx64SecureBoot, nextServer: true, asks4011: true,
		// The kernel says whether Secure Boot is on, unless it is to be quiet.
		flags: []string{"-loader", "grub", "-params", "console=ttyS0"},
		needs: []requirement{
			{pkg: "ovmf", file: firmwares[UEFIx64SecureBoot].vars},
			{pkg: "shim-signed", file: "/usr/lib/shim/shimx64.efi.signed"},
			{pkg: "grub-efi-amd64-signed", file: "/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed"},
		},
		loaders: []string{"shimx64.efi", "grubx64.efi"},
		// Debian's signed GRUB asks for no other, and knows no HTTP.
		config: `grub/grub\.cfg`, kernelVia: "tftp",
		says: []string{`Secure boot enabled`},
	},
	{
		name: "uefi-ia32-grub", firmware: UEFIIA32, fullOnly: true,
		flags: []string{"-loader", "grub"}, grub: GRUBIA32, grubName: "grubia32.efi",
		needs:   []requirement{{pkg: "ovmf-ia32", file: firmwares[UEFIIA32].code}},
		loaders: []string{"grubia32.efi"},
		config:  `grub/grub\.cfg-.+`, kernelVia: "http",
	},
}

// untilUndionly is a server that takes every iPXE for a plain ROM until undionly.kpxe
// was fetched. (From then on the user class alone breaks the loop.)
func untilUndionly() *pxe.Server {
	var fetched atomic.Bool
	return &pxe.Server{
		Loader: dhcp.FamilyIPXE,
		Classify: func(_ *dhcp.Request, c dhcp.Client) dhcp.Client {
			if c.Kind == dhcp.IPXE && !fetched.Load() {
				c.Kind = dhcp.PXE
			}
			return c
		},
		OnEvent: func(e pxe.Event) {
			if e.Name == "undionly.kpxe" && e.Done && !e.Aborted && e.Err == nil {
				fetched.Store(true)
			}
		},
	}
}

// withGRUBx64 is a server that has a GRUB of its own for x64.
func withGRUBx64() *pxe.Server {
	return &pxe.Server{Loaders: []dhcp.LoaderRow{{
		Kind: dhcp.PXE, Arch: dhcp.ArchX64, Family: dhcp.FamilyGRUB, Names: []string{"grub-own.efi"},
		Reason: "a test of GRUB without the shim",
	}}}
}
