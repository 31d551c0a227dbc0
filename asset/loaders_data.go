package asset

// loaderSets says where distributions put their boot loaders, in the order in
// which they are tried. Names are those that Debian's and iPXE's documentation
// use; where a distribution has another, this is the renaming.
//
// Not here on purpose: Alpine's iPXE, which carries a script that boots Alpine
// from the Internet; Arch's undionly.kpxe, shim and GRUB network image, which
// it does not package; openSUSE's shim, which loads "grub.efi" and no other name;
// the files with revocations and certificates that a shim asks for beside itself
// (revocations_sbat.efi, revocations_sku.efi, shim_certificate_0.efi), which no
// distribution packages and shim does without.
func loaderSets() []loaderSet {
	sets := []loaderSet{
		{"Debian", "lpxelinux.0", []loaderFile{
			{"lpxelinux.0", "/usr/lib/PXELINUX/lpxelinux.0", "pxelinux"},
			{"pxelinux.0", "/usr/lib/PXELINUX/pxelinux.0", "pxelinux"},
			{"*.c32", "/usr/lib/syslinux/modules/bios", "syslinux-common"},
			{"memdisk", "/usr/lib/syslinux/memdisk", "syslinux-common"},
		}},
		{"Fedora", "lpxelinux.0", []loaderFile{
			{"lpxelinux.0", "/usr/share/syslinux/lpxelinux.0", "syslinux-nonlinux"},
			{"pxelinux.0", "/usr/share/syslinux/pxelinux.0", "syslinux-nonlinux"},
			{"*.c32", "/usr/share/syslinux", "syslinux-nonlinux"},
			{"memdisk", "/usr/share/syslinux/memdisk", "syslinux-nonlinux"},
		}},
		{"Fedora", "lpxelinux.0", []loaderFile{
			{"lpxelinux.0", "/tftpboot/lpxelinux.0", "syslinux-tftpboot"},
			{"pxelinux.0", "/tftpboot/pxelinux.0", "syslinux-tftpboot"},
			{"*.c32", "/tftpboot", "syslinux-tftpboot"},
			{"memdisk", "/tftpboot/memdisk", "syslinux-tftpboot"},
		}},
		{"Arch", "lpxelinux.0", []loaderFile{
			{"lpxelinux.0", "/usr/lib/syslinux/bios/lpxelinux.0", "syslinux"},
			{"pxelinux.0", "/usr/lib/syslinux/bios/pxelinux.0", "syslinux"},
			{"*.c32", "/usr/lib/syslinux/bios", "syslinux"},
			{"memdisk", "/usr/lib/syslinux/bios/memdisk", "syslinux"},
		}},
		{"Alpine", "lpxelinux.0", []loaderFile{
			{"lpxelinux.0", "/usr/share/syslinux/lpxelinux.0", "syslinux"},
			{"pxelinux.0", "/usr/share/syslinux/pxelinux.0", "syslinux"},
			{"*.c32", "/usr/share/syslinux", "syslinux"},
			{"memdisk", "/usr/share/syslinux/memdisk", "syslinux"},
		}},

		{"Debian", "", []loaderFile{
			{"undionly.kpxe", "/usr/lib/ipxe/undionly.kpxe", "ipxe"},
			{"ipxe.pxe", "/usr/lib/ipxe/ipxe.pxe", "ipxe"},
			{"ipxe.lkrn", "/usr/lib/ipxe/ipxe.lkrn", "ipxe"},
			{"ipxe.efi", "/usr/lib/ipxe/ipxe.efi", "ipxe"},
			{"snponly.efi", "/usr/lib/ipxe/snponly.efi", "ipxe"},
			{"ipxe-arm64.efi", "/usr/lib/ipxe/ipxe-arm64.efi", "ipxe"},
		}},
		{"Fedora", "", []loaderFile{
			{"undionly.kpxe", "/usr/share/ipxe/undionly.kpxe", "ipxe-bootimgs-x86"},
			{"ipxe.lkrn", "/usr/share/ipxe/ipxe.lkrn", "ipxe-bootimgs-x86"},
			{"ipxe.efi", "/usr/share/ipxe/ipxe-x86_64.efi", "ipxe-bootimgs-x86"},
			{"snponly.efi", "/usr/share/ipxe/ipxe-snponly-x86_64.efi", "ipxe-bootimgs-x86"},
			{"ipxe-i386.efi", "/usr/share/ipxe/ipxe-i386.efi", "ipxe-bootimgs-x86"},
			{"ipxe-arm64.efi", "/usr/share/ipxe/arm64-efi/ipxe.efi", "ipxe-bootimgs-aarch64"},
			{"snponly-arm64.efi", "/usr/share/ipxe/arm64-efi/snponly.efi", "ipxe-bootimgs-aarch64"},
		}},
		{"Arch", "", []loaderFile{
			{"ipxe.lkrn", "/usr/share/ipxe/ipxe.lkrn", "ipxe"},
			{"ipxe.efi", "/usr/share/ipxe/x86_64/ipxe.efi", "ipxe"},
		}},

		// The signed GRUB that was built for the network, and the shim that
		// trusts its signature.
		{"Debian", "grubx64.efi", []loaderFile{
			{"grubx64.efi", "/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed", "grub-efi-amd64-signed"},
			{"shimx64.efi", "/usr/lib/shim/shimx64.efi.signed", "shim-signed"},
			{"mmx64.efi", "/usr/lib/shim/mmx64.efi.signed", "shim-helpers-amd64-signed"},
		}},
		{"Debian", "grubaa64.efi", []loaderFile{
			{"grubaa64.efi", "/usr/lib/grub/arm64-efi-signed/grubnetaa64.efi.signed", "grub-efi-arm64-signed"},
			{"shimaa64.efi", "/usr/lib/shim/shimaa64.efi.signed", "shim-signed"},
			{"mmaa64.efi", "/usr/lib/shim/mmaa64.efi.signed", "shim-helpers-arm64-signed"},
		}},
		{"Debian", "grubia32.efi", []loaderFile{
			{"grubia32.efi", "/usr/lib/grub/i386-efi-signed/grubnetia32.efi.signed", "grub-efi-ia32-signed"},
			{"shimia32.efi", "/usr/lib/shim/shimia32.efi.signed", "shim-signed"},
			{"mmia32.efi", "/usr/lib/shim/mmia32.efi.signed", "shim-helpers-i386-signed"},
		}},
		// The same image without a signature, for machines with Secure Boot off: no
		// shim loads it. The one for IA32 comes on 64-bit hosts too, where the
		// signed one does not.
		{"Debian", "grubx64.efi", []loaderFile{
			{"grubx64.efi", "/usr/lib/grub/x86_64-efi/monolithic/grubnetx64.efi", "grub-efi-amd64-bin"},
		}},
		{"Debian", "grubia32.efi", []loaderFile{
			{"grubia32.efi", "/usr/lib/grub/i386-efi/monolithic/grubnetia32.efi", "grub-efi-ia32-bin"},
		}},
		{"Debian", "grubaa64.efi", []loaderFile{
			{"grubaa64.efi", "/usr/lib/grub/arm64-efi/monolithic/grubnetaa64.efi", "grub-efi-arm64-bin"},
		}},
	}
	// Fedora and its relatives have theirs on the EFI system partition, whose
	// GRUB has the network modules in it. Often root alone may read it.
	for _, vendor := range []struct{ distribution, dir string }{
		{"Fedora", "fedora"}, {"RHEL", "redhat"}, {"CentOS", "centos"}, {"Rocky Linux", "rocky"}, {"AlmaLinux", "almalinux"},
	} {
		dir := "/boot/efi/EFI/" + vendor.dir + "/"
		sets = append(sets,
			loaderSet{vendor.distribution, "grubx64.efi", []loaderFile{
				{"grubx64.efi", dir + "grubx64.efi", "grub2-efi-x64"},
				{"shimx64.efi", dir + "shimx64.efi", "shim-x64"},
				{"mmx64.efi", dir + "mmx64.efi", "shim-x64"},
			}},
			loaderSet{vendor.distribution, "grubaa64.efi", []loaderFile{
				{"grubaa64.efi", dir + "grubaa64.efi", "grub2-efi-aa64"},
				{"shimaa64.efi", dir + "shimaa64.efi", "shim-aa64"},
				{"mmaa64.efi", dir + "mmaa64.efi", "shim-aa64"},
			}},
			loaderSet{vendor.distribution, "grubia32.efi", []loaderFile{
				{"grubia32.efi", dir + "grubia32.efi", "grub2-efi-ia32"},
				{"shimia32.efi", dir + "shimia32.efi", "shim-ia32"},
				{"mmia32.efi", dir + "mmia32.efi", "shim-ia32"},
			}})
	}
	return sets
}

// mediumLoaderDirs are the directories of media that may hold a network
// loader, the likeliest first.
func mediumLoaderDirs() []string {
	return []string{"sysresccd/boot/syslinux", "boot/syslinux", "isolinux", "arch/boot/syslinux"}
}
