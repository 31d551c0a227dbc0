package pxe

import (
	"github.com/pxekit/pxe/bootcfg"
	"github.com/pxekit/pxe/dhcp"
)

// Treatment says how one machine is served where that differs from what the Server
// does for all of them. The zero value changes nothing.
type Treatment struct {
	// Bases are where this machine's loader finds its files if another computer
	// serves them: the boot loader below TFTP, whose host becomes the machine's
	// next server (siaddr), or below HTTP for firmware that boots by HTTP; kernels
	// and initrds below HTTP, else TFTP. What is nil comes from this Server.
	//
	// An iPXE still gets its script from this Server, which names the other
	// computer in it. pxelinux and GRUB look for their configuration where they
	// were loaded from, so that computer must have one. Files that a menu brings
	// (bootcfg.Menu.Files) are on this Server only, and so refused here.
	Bases bootcfg.Bases
	// Loader is the family of boot loaders that the machine is given. Zero: as
	// Server.Loader says.
	Loader dhcp.Family
	// Loaders are rows that come before Server.Loaders.
	Loaders []dhcp.LoaderRow
	// Style is how its firmware is told of the boot file. Zero: by the quirks
	// that apply to it.
	Style dhcp.Style
}

// loaderRows are the loaders for a machine, the first that suits it counts.
func (s *Server) loaderRows(t Treatment) []dhcp.LoaderRow {
	rows := append(append([]dhcp.LoaderRow(nil), t.Loaders...), s.Loaders...)
	return append(rows, dhcp.LoaderTable()...)
}

// family is the family of loaders that a machine gets, zero for any.
func (s *Server) family(t Treatment) dhcp.Family {
	if t.Loader != 0 {
		return t.Loader
	}
	return s.Loader
}
