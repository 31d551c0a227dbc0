package bootcfg

import (
	"net"
	"net/netip"
	"strings"
)

// Renderer writes menus in the language of one boot loader. Implementations
// keep no state: both methods may be called concurrently.
type Renderer interface {
	// Render writes m for a machine that reaches files below b. It fails with
	// joined [*ValueError]s if m is not valid or says what the loader cannot
	// express; it never writes a part.
	Render(m *Menu, b Bases) (*Config, error)
	// Probe tells whether name, as requested by TFTP or HTTP, is one under
	// which the loader looks for its configuration, and what the name says
	// about the machine. It is safe for names from anywhere.
	Probe(name string) (Probe, bool)
}

// Config is a rendered configuration.
type Config struct {
	// Text is the configuration itself, to be given for the names that the
	// renderer's Probe recognises.
	Text []byte
	// Files are further files that Text refers to, by name below the bases; nil
	// if there are none. Serve them beside [Menu.Files].
	Files map[string][]byte
}

// Probe is what the name of a requested configuration says about the machine
// that asks. Exactly one field is set.
type Probe struct {
	// UUID is the machine's, in lower case with dashes.
	UUID string
	// HardwareAddr is the address of the interface that the machine boots from.
	HardwareAddr net.HardwareAddr
	// Addr is the machine's IPv4 address.
	Addr netip.Addr
	// Prefix holds the machine's IPv4 address: pxelinux drops one hexadecimal
	// digit after another.
	Prefix netip.Prefix
	// Default says that the name is the same for all machines.
	Default bool
}

// inDirectory returns the last element of name, and whether it lies in a
// directory called dir, wherever that is.
func inDirectory(name, dir string) (base string, ok bool) {
	i := strings.LastIndexByte(name, '/')
	parent, base := name[:max(i, 0)], name[i+1:]
	return base, parent == dir || strings.HasSuffix(parent, "/"+dir)
}
