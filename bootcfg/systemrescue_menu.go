package bootcfg

import "net/url"

// Menu returns a menu like that of SystemRescue's own medium: the system as s
// describes it, which is the default; variants for the cases in which that does
// not come up; the memory test, if s names one; and the local disk. What s has
// anyway is not offered once more.
//
// The names are those of the medium's files. RootFiles are the files that the
// initramfs fetches by HTTP or TFTP; there are none by NFS and NBD.
func (s SystemRescue) Menu(root *url.URL) (*Menu, error) {
	b := newSystemMenu("SystemRescue", root, s.Timeout)
	b.menu.Help = s.help()
	b.plain("rescue", s.entry)
	if v := s; s.CopyToRAM == CopyNever {
		v.CopyToRAM = CopyAlways
		b.copied(v.entry)
	}
	if v := s; !s.Checksum {
		v.Checksum = true
		b.checked(v.entry)
	}
	if v := s; !s.NoModeset {
		v.NoModeset = true
		b.add("nomodeset", " with basic display drivers",
			"For screens that stay dark: keeps the graphics mode of the firmware.", v.entry)
	}
	if v := s; len(s.Consoles) == 0 {
		v.Consoles = serialConsoles()
		b.serial(v.entry)
	}
	if s.Memtest == "" {
		return b.done()
	}
	return b.done(Entry{Name: "memtest", Title: "Test the memory", AnyInterface: true,
		Help: "Tests the memory of this machine until it is switched off.", Kernel: s.Memtest})
}

// StockMenu returns the boot loader and the menu that SystemRescue's own medium
// brings for BIOS machines, as they are: of s it uses BaseDir alone. That menu
// loads the kernel beside itself, expects the root file system by NBD as "archiso"
// on port 10809, with which it begins, by NFS as "/run/sysresccd/bootmnt"
// ("/run/archiso/bootmnt" on media like Arch's) or by HTTP at "http://SERVER/", and
// takes for SERVER the one that the loader came from. All of the loader's names begin with the
// path prefix, so files are served at the root of TFTP.
func (s SystemRescue) StockMenu() (*Menu, error) {
	m := &Menu{Title: "SystemRescue", Program: &Program{
		File:       s.baseDir() + "/boot/syslinux/lpxelinux.0",
		Arches:     []uint16{0}, // BIOS
		ConfigFile: "boot/syslinux/sysresccd.cfg",
		PathPrefix: "/" + s.baseDir() + "/",
	}}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return m, nil
}

// entry returns the system as s describes it.
func (s *SystemRescue) entry(root *url.URL) (Entry, error) {
	params, err := s.Params(root)
	if err != nil {
		return Entry{}, err
	}
	return Entry{Kernel: s.kernel(), Initrds: s.initrds(), Params: params, AnyInterface: s.AnyInterface,
		RootFiles: s.stage().rootFiles(root, s.baseDir()+"/"+s.arch()+"/airootfs.sfs")}, nil
}

// help returns the screens on function keys.
func (s *SystemRescue) help() []HelpText {
	return []HelpText{
		{Key: 1, Name: "about", Text: `SystemRescue is a Linux system for repairing and restoring machines. It is
started over the network here: nothing is written to the disks of this machine
unless you do it.

It needs 4 GB of memory to be comfortable. Once it has come up, it runs from
memory and does without the server, unless its operator chose otherwise.`},
		{Key: 2, Name: "options", Text: `Kernel parameters that may help:

checksum: compare the system with its checksum before it is started.
nomodeset: keep the graphics mode of the firmware.
console=ttyS0,115200n8: use the first serial port.
setkmap=de: a German keyboard.
nofirewall: let connections in, ssh for example.
break: a shell in the initramfs.

See https://www.system-rescue.org/manual/Booting_SystemRescue/`},
		{Key: 3, Name: "trouble", Text: `If the boot stops after the kernel has started:

"device did not show up": the initramfs found no network. Is the cable in the
interface that the machine booted from?

No answer to DHCP: the port of the switch may take too long to come up. Turn
on PortFast, or turn off STP on it.

"404" from curl: the server has another release than the menu.

"no space left": there is too little memory.`},
	}
}
