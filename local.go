package pxe

import (
	"context"

	"github.com/pxekit/pxe/bootcfg"
)

// LocalDisk is a [Booter] that sends machines on to their local disk, by a boot
// loader. To tell a machine nothing has the same end, but UEFI firmware goes on
// asking for minutes (EDK2 for five) before it tries its disk.
type LocalDisk struct{}

// Boot returns a menu of one entry, the local disk, to every machine.
func (LocalDisk) Boot(context.Context, *Machine) (*bootcfg.Menu, error) {
	return &bootcfg.Menu{Title: "Local disk", Entries: []bootcfg.Entry{{Name: "local", Title: "Local disk", Local: true}}}, nil
}
