package main

import (
	"errors"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/rootfs"
)

// newRoot returns the way to the root file system that the flags ask for.
func (o *options) newRoot(medium asset.FileSource) (pxe.RootFSTransport, error) {
	switch o.root {
	case "tftp":
		return rootfs.TFTP{}, nil
	case "nfs":
		return rootfs.NFS{Export: o.nfs, Live: o.live}, nil
	case "nbd":
		iso, ok := medium.(*asset.ISO)
		if !ok {
			return nil, errors.New("-root nbd serves the ISO image itself, and -media is a directory: give the ISO")
		}
		return &rootfs.NBD{Exports: pxe.ISOExports(iso), Live: o.live}, nil
	}
	return rootfs.HTTP{}, nil
}
