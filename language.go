package pxe

import (
	"fmt"

	"github.com/pxekit/pxe/bootcfg"
	"github.com/pxekit/pxe/dhcp"
)

// renderer returns the language of a family of boot loaders.
func renderer(family dhcp.Family) (bootcfg.Renderer, error) {
	switch family {
	case dhcp.FamilyPXELinux:
		return bootcfg.PXELinux{}, nil
	case dhcp.FamilyIPXE:
		return bootcfg.IPXE{}, nil
	case dhcp.FamilyGRUB:
		return bootcfg.GRUB{}, nil
	case dhcp.FamilyUBoot:
		return bootcfg.UBoot{}, nil
	}
	return nil, fmt.Errorf("no configuration can be written for boot loader family %s", family)
}
