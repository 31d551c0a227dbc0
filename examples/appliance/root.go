package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/rootfs"
)

// nfsCheckTime is how long the look at an NFS server may take at start: more than
// the check's own limit for one answer.
const nfsCheckTime = 20 * time.Second

// newRoot returns the way to the root file system that the flags ask for.
func (o *options) newRoot(medium asset.FileSource) (pxe.RootFSTransport, error) {
	if iso, ok := medium.(*asset.ISO); ok && o.loader == "stock" {
		// Its menu offers NBD, and HTTP below "/", which is served in any case.
		return &rootfs.NBD{Exports: pxe.ISOExports(iso)}, nil
	}
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

// checkNFS looks at the NFS server as machines will, and says what they would run
// into. It is a warning: the server may be started later.
func (o *options) checkNFS(ctx context.Context, root pxe.RootFSTransport, stderr io.Writer) {
	nfs, ok := root.(rootfs.NFS)
	if !ok {
		return
	}
	limited, cancel := context.WithTimeout(ctx, nfsCheckTime)
	defer cancel()
	files := []string{rootfs.DefaultNFSFile}
	if !o.noChecksum {
		files = append(files, strings.TrimSuffix(rootfs.DefaultNFSFile, ".sfs")+".sha512")
	}
	if err := nfs.Check(limited, files...); err != nil && ctx.Err() == nil {
		fmt.Fprintf(stderr, "warning: machines will not boot from -nfs %s as it is now: %v\n", nfs.Export, err)
	}
}
