package bootcfg

import "fmt"

// Program is a boot program that a machine is given as it is: one that brings
// its own menu, such as the loader on a medium, or one that needs none, such as
// a memory test or a switch's installer.
type Program struct {
	// File is the name of the program, as in a FileSource (io/fs.ValidPath). It
	// must be one that the machine's firmware can run.
	File string
	// Arches are the architectures whose firmware can run it, by IANA's numbers (0 is
	// BIOS, 7 x64 UEFI): no other machine is given it. Empty: whoever gets this menu
	// can.
	Arches []uint16
	// ConfigFile is the configuration that a pxelinux shall read, relative to
	// PathPrefix: DHCP option 209 (RFC 5071, section 4). Printable ASCII, at
	// most 255 bytes; empty: the option is not sent, and the program looks for a
	// configuration where it always does.
	ConfigFile string
	// PathPrefix is what a pxelinux puts in front of all names: DHCP option 210
	// (RFC 5071, section 5), as "/sysresccd/" with the slash at its end.
	// Printable ASCII, at most 255 bytes; empty: the option is not sent, and
	// names are relative to the directory of File.
	PathPrefix string
}

// maxOption is how much fits into one DHCP option, in bytes.
const maxOption = 255

// validate checks a menu that is a program.
func (g *Program) validate(m *Menu, p *problems) {
	p.check("menu program", g.File, checkFileName(g.File))
	p.check("menu program: configuration", g.ConfigFile, checkOption(g.ConfigFile))
	p.check("menu program: path prefix", g.PathPrefix, checkOption(g.PathPrefix))
	if len(m.Entries) > 0 {
		p.add("menu", "", "has entries beside a program", "give either: the program brings its own menu")
	}
	if m.Prompt || m.Timeout != 0 || m.Default != "" || len(m.Help) > 0 {
		p.add("menu", "", "has a prompt, timeout, default or help texts, which its program would not show",
			"clear them: the program brings its own menu")
	}
}

// checkOption accepts the text of a DHCP option that a pxelinux reads.
func checkOption(s string) flaw {
	switch {
	case len(s) > maxOption:
		return flaw{fmt.Sprintf("has %d bytes", len(s)), fmt.Sprintf("keep to %d, which fit into a DHCP option", maxOption)}
	case !isPrintable(s):
		return flaw{"has something else than printable ASCII in it", "rename the file"}
	}
	return flaw{}
}

// renderable reports what is wrong with m for any renderer.
func (m *Menu) renderable() error {
	if err := m.Validate(); err != nil {
		return err
	}
	if m.Program != nil {
		return &ValueError{Where: "menu program", Value: m.Program.File,
			Problem: "is a boot program, for which there is no configuration to write",
			Remedy:  "name it to the machine as its boot file, or use Entries"}
	}
	return nil
}
