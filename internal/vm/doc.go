// Package vm boots real virtual machines from the library: QEMU with real
// firmware, on a network segment of the test's own, into a small system that
// behaves as SystemRescue does. It works on Linux only; elsewhere the package is
// empty.
//
// # What is real and what is not
//
// Real: the firmware (SeaBIOS with iPXE's option ROM, OVMF of 32 and 64 bits, Secure
// Boot included, AAVMF), the boot loaders (Debian's pxelinux, iPXE, shim and GRUB),
// the kernel, and in the initramfs the very
// programs that SystemRescue uses: klibc's ipconfig and nfsmount, curl and nbd-client.
// The firmware, the loader, the initramfs and the kernel each speak DHCP, TFTP, HTTP,
// NBD or NFS for themselves, with nothing of this library on the client's side.
//
// Ours: the initramfs' /init, which follows archiso's hooks step by step (how the
// command line is parsed, "ip=" with BOOTIF, the shell's eval of archiso_*_srv,
// one plain GET for each file, checksum, copy to RAM or none, overlay), and the root file
// system, which is small and checks itself. It prints lines that begin with
// "PXEKIT" on the serial console, listed in guest/init and guest/rootinit.
//
// The menu on the medium is written after SystemRescue's, with the same files, labels
// and parameters.
//
// So a boot that passes proves that firmware, loaders, a Linux kernel and those
// programs accept what the server sends, and that the root file system arrived
// whole, was mounted, and stays readable when the server is gone. It does not
// prove that SystemRescue's own release boots, that vendors' firmware behaves as
// QEMU's does, or anything about speed: the processor is emulated.
//
// On arm64 busybox stands in for curl ([ARM64Kernel]), and the boot sector of a
// machine's local disk ([BIOSDisk]) only says that it was started.
//
// Debian's live-boot and dracut are booted with initial RAM disks that Debian's own
// programs make ([BuildLiveImages]); there only the root file system is ours, and
// guest/liveinit.sh speaks for it.
//
// Some things are arranged to save time. OVMF is told not to try what cannot succeed
// (see [UEFIx64HTTP]). A router answers iPXE's router
// solicitations (see [NewNetwork]): iPXE waits for its IPv6 configuration, too, and
// without a router that takes twenty seconds. And the guest brings its interfaces
// up before it calls ipconfig, which archiso does not do: on an interface that is
// down klibc's ipconfig waits ten seconds after its first send fails.
//
// # Pieces
//
// [EnterNamespace] runs the calling program again in a network namespace of its
// own; [NewNetwork] makes a bridge there; [BuildMedium] makes the ISO image, once,
// out of Debian packages; [Machine] is what boots; [Start] runs the server under
// test, [Ganesha] an NFS server. A [Peer] is another host, as the relay agent of
// [NewRelayed]. [Missing] says which packages are to be installed first; foreign.sh
// unpacks those of other processors and kernels ([Kernel.Missing]).
package vm
