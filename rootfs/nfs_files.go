package rootfs

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pxekit/pxe/internal/sunrpc"
)

// readFiles looks for the files, as the kernel of a machine does once the export
// is mounted.
func (c *nfsCheck) readFiles(ctx context.Context, root sunrpc.Handle) error {
	return c.with(ctx, c.nfs, true, func(client *sunrpc.Client) error {
		attr, err := client.GetAttr(root)
		if err != nil {
			return c.fileFailed(ctx, ".", err)
		}
		if attr.Type != sunrpc.Directory {
			return c.notDirectory("file", nil)
		}
		for _, name := range c.files {
			if err := c.readFile(ctx, client, root, name); err != nil {
				return err
			}
		}
		return nil
	})
}

// readFile walks to one file and sees whether root of a machine may read it.
func (c *nfsCheck) readFile(ctx context.Context, client *sunrpc.Client, root sunrpc.Handle, name string) error {
	const step = "file"
	at := root
	for segment := range strings.SplitSeq(name, "/") {
		next, err := client.Lookup(at, segment)
		if err != nil {
			return c.fileFailed(ctx, name, err)
		}
		at = next
	}
	attr, err := client.GetAttr(at)
	if err != nil {
		return c.fileFailed(ctx, name, err)
	}
	if attr.Type != sunrpc.Regular {
		what := "not a file"
		if attr.Type == sunrpc.Symlink {
			what = "a symbolic link, which machines would follow on their own side"
		}
		return c.fail(step, NFSFileMissing, nil, name+" below it is "+what, "put the file itself there")
	}
	readable, err := client.Readable(at)
	if err != nil {
		return c.fileFailed(ctx, name, err)
	}
	if !readable {
		return c.unreadable(name, fmt.Sprintf("has the mode %04o", attr.Mode), nil)
	}
	return nil
}

// unreadable says that a mode is in the way. The server's treatment of root is
// not: with or without root squash, everybody may read what is readable for all.
func (c *nfsCheck) unreadable(name, problem string, err error) error {
	return c.fail("file", NFSFileUnreadable, err, name+" below it "+problem+", and the server does not let root of a machine read it",
		"make the file readable for all and its directories searchable (chmod a+rX)")
}

// fileFailed says why a file cannot be had.
func (c *nfsCheck) fileFailed(ctx context.Context, name string, err error) error {
	const step = "file"
	var status sunrpc.Status
	if !errors.As(err, &status) {
		return c.badAnswer(ctx, step, err)
	}
	switch status {
	case sunrpc.NoEntry, sunrpc.NotDirectory:
		return c.fail(step, NFSFileMissing, err, name+" is not below it", "export the directory that has the medium's top directory in it, or mount the ISO image there")
	case sunrpc.AccessDenied, sunrpc.NotPermitted:
		if !c.reserved {
			return c.privilegedPort(step, err)
		}
		if name == "." {
			name = "everything"
		}
		return c.unreadable(name, "or a directory on the way to it is closed", err)
	case sunrpc.Stale, sunrpc.BadHandle:
		return c.fail(step, NFSBadAnswer, err, "the server does not know the file handle that its own MOUNT service gave", "restart the server, and export a file system that knows file handles (overlay file systems do not)")
	}
	return c.badAnswer(ctx, step, err)
}
