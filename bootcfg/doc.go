// Package bootcfg turns a description of what a machine may boot into the text
// that its boot loader reads.
//
// A [Menu] says what can be booted: entries with a kernel, initrds and kernel
// parameters, a default, a timeout and help texts. A [Renderer] writes it in
// the language of one loader: [PXELinux] for pxelinux and lpxelinux, [IPXE] for
// iPXE, [GRUB] for GRUB 2, [UBoot] for U-Boot. A menu may instead name a
// [Program] that the machine is given as it is. [SystemRescue] makes such a menu, with the kernel parameters that
// SystemRescue's initramfs needs to find its root file system on the network;
// [Archiso], [LiveBoot] and [Dracut] do the same for Arch Linux, for Debian's
// live media and for what is built with dracut. The parameters follow the URL of
// the root file system; what a system's initramfs cannot do is an error.
//
// The package is pure text: it opens no file and no socket, keeps no state and
// may be used from many goroutines at once.
//
// Boot loaders have next to no quoting, and what they pass on is read by the
// kernel and by shell scripts that run as root. So every value is checked for
// where it goes: it is escaped where the language has an escape, and otherwise
// refused with a [*ValueError] that names the value and the remedy. Nothing is
// ever dropped or altered silently.
package bootcfg
