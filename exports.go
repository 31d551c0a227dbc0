package pxe

import (
	"context"
	"strings"

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
// The image must stay open as long as they are served. Nil has none.
func ISOExports(iso *asset.ISO) []nbd.Export {
	if iso == nil {
		return nil
	}
	open := func(context.Context) (backend.Backend, error) { return backendOf(iso.Image()) }
	exports := []nbd.Export{{Name: "archiso", Description: "ISO image", Open: open}}
	// A label is whatever the image says; a name must not have a NUL in it.
	if label := iso.VolumeID(); label != "" && label != "archiso" && !strings.ContainsRune(label, 0) {
		exports = append(exports, nbd.Export{Name: label, Description: "ISO image", Open: open})
	}
	return exports
}

// FileExport returns an export of one file of a source, by the given name. That is
// for a system whose initramfs mounts an export as its root file system, as
// dracut's does:
//
//	Root: &rootfs.NBD{Export: "root", Exports: []nbd.Export{
//		pxe.FileExport("root", iso, "LiveOS/squashfs.img")}}
func FileExport(name string, source FileSource, file string) nbd.Export {
	return nbd.Export{Name: name, Open: func(ctx context.Context) (backend.Backend, error) {
		return backendOf(source.OpenFile(ctx, file))
	}}
}

// backendOf makes a backend of a file that was just opened.
func backendOf(file asset.File, err error) (backend.Backend, error) {
	if err != nil {
		return nil, err
	}
	b, err := nbd.File(file)
	if err != nil {
		file.Close()
	}
	return b, err
}
