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
	m := &Menu{Title: "SystemRescue", Default: "rescue", Timeout: s.Timeout, Help: s.help()}
	switch {
	case s.Timeout == 0:
		m.Timeout = defaultTimeout
	case s.Timeout < 0:
		m.Timeout = 0
	}
	var first error
	add := func(name, title, help string, v SystemRescue) {
		params, err := v.Params(root)
		if err != nil {
			if first == nil {
				first = err
			}
			return
		}
		m.Entries = append(m.Entries, Entry{Name: name, Title: title, Help: help, Kernel: v.kernel(),
			Initrds: v.initrds(), Params: params, AnyInterface: v.AnyInterface, RootFiles: v.rootFiles(root)})
	}
	add("rescue", "Boot SystemRescue", "Boots the system with the options that its operator chose.", s)
	if first != nil {
		return nil, first // the variants would say the same again
	}
	if v := s; s.CopyToRAM == CopyNever {
		v.CopyToRAM = CopyAlways
		add("copytoram", "Boot SystemRescue and copy it to RAM",
			"Copies the whole system into memory, which has to be large enough.\n"+
				"Afterwards it works without the server.", v)
	}
	if v := s; !s.Checksum {
		v.Checksum = true
		add("checksum", "Boot SystemRescue and verify its integrity",
			"Compares the system with its checksum before it is started.", v)
	}
	if v := s; !s.NoModeset {
		v.NoModeset = true
		add("nomodeset", "Boot SystemRescue with basic display drivers",
			"For screens that stay dark: keeps the graphics mode of the firmware.", v)
	}
	if v := s; len(s.Consoles) == 0 {
		v.Consoles = []string{"tty0", "ttyS0,115200n8"}
		add("serial", "Boot SystemRescue with a serial console",
			"Uses the first serial port, at 115200 bits per second.", v)
	}
	if first != nil {
		return nil, first
	}
	if s.Memtest != "" {
		m.Entries = append(m.Entries, Entry{Name: "memtest", Title: "Test the memory", AnyInterface: true,
			Help: "Tests the memory of this machine until it is switched off.", Kernel: s.Memtest})
	}
	m.Entries = append(m.Entries, Entry{Name: "local", Title: "Boot from the local disk", Local: true,
		Help: "Leaves the network, and boots what is installed on this machine."})
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return m, nil
}

// rootFiles returns the names of the files that the initramfs fetches.
func (s *SystemRescue) rootFiles(root *url.URL) []string {
	if root.Scheme == "nfs" || root.Scheme == "nbd" {
		return nil
	}
	dir := s.baseDir() + "/" + s.arch() + "/"
	files := []string{dir + "airootfs.sfs"}
	if s.Checksum {
		files = append(files, dir+"airootfs.sha512")
	}
	return files
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
