package pxe

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/pojntfx/go-nbd/pkg/backend"

	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/rootfs/nbd"
)

// ISOExports returns the exports under which an initramfs looks for a whole ISO
// image: "archiso", which is the default of SystemRescue and Arch Linux, and the
// image's volume label. They are what [rootfs.NBD] serves:
//
//	Root: &rootfs.NBD{Exports: pxe.ISOExports(iso)}
//
// The image must stay open as long as they are served.
func ISOExports(iso *asset.ISO) []nbd.Export {
	open := func(context.Context) (backend.Backend, error) {
		image, err := iso.Image()
		if err != nil {
			return nil, err
		}
		b, err := nbd.File(image)
		if err != nil {
			image.Close()
		}
		return b, err
	}
	exports := []nbd.Export{{Name: "archiso", Description: "ISO image " + iso.VolumeID(), Open: open}}
	if label := iso.VolumeID(); label != "" && label != "archiso" && utf8.ValidString(label) && !strings.ContainsRune(label, 0) {
		exports = append(exports, nbd.Export{Name: label, Description: "the same", Open: open})
	}
	return exports
}
