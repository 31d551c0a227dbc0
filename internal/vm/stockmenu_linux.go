package vm

import (
	"embed"
	"path"
)

// stockMenu is the medium's own menu for BIOS machines. Files, labels, modules and
// parameters are those of SystemRescue's: a choice by how the machine was booted, a
// graphical menu whose first entry is the default, names below the path prefix of DHCP
// option 210, ${pxeserver} for the server, and an address on the kernel's command line
// (SYSAPPEND). Two things differ: the entries have a serial console, and the menu waits
// two seconds instead of half a minute.
//
//go:embed syslinux/*.cfg
var stockMenu embed.FS

// stockMenuFiles returns its files by their names.
func stockMenuFiles() (map[string][]byte, error) {
	entries, err := stockMenu.ReadDir("syslinux")
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, entry := range entries {
		if files[entry.Name()], err = stockMenu.ReadFile(path.Join("syslinux", entry.Name())); err != nil {
			return nil, err
		}
	}
	return files, nil
}
