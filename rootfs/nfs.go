package rootfs

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/pxekit/pxe/internal/bootvalue"
)

// NFS is a root file system on an NFS server that runs elsewhere, or beside
// this program. It is a hint: it tells machines where to mount from and serves
// nothing itself. What to configure on the server say [NFS.ExportsLine] and
// [NFS.GaneshaExport]; whether machines will be able to mount it, [NFS.Check].
//
// The server must offer NFS version 3 and the MOUNT protocol,
// both registered with its portmapper, for that is all that klibc's nfsmount
// and the initramfs around it speak.
type NFS struct {
	// Export is what machines mount, "192.0.2.9:/srv/rescue": a dotted IPv4
	// address, because nfsmount resolves no names and knows no IPv6, and an
	// absolute path without "." and "..", of A-Z a-z 0-9 and ._~:/@+=,- only,
	// because boot code passes it through a shell as root.
	Export string

	// Options are mount options in the words of klibc's nfsmount, such as
	// "soft" or "rsize=32768". None: NFS version 3 over TCP, without locks.
	Options []string

	// Live keeps the machine on the export for as long as it runs. Without it
	// a system that can do so copies the root file system to memory and
	// disconnects; those of dracut stay.
	Live bool
}

// Validate reports what is wrong with Export and Options.
func (n NFS) Validate() error {
	if _, _, err := n.parse(); err != nil {
		return fmt.Errorf("rootfs: NFS.Export %q %w", n.Export, err)
	}
	if bad, f := bootvalue.CheckNFSOptions(n.Options); !f.OK() {
		return fmt.Errorf("rootfs: NFS.Options: %q %s", bad, f)
	}
	return nil
}

// RootURL returns the export as a URL, nfs://192.0.2.9/srv/rescue. It returns
// a [*TargetError] for a machine that has no IPv4 address, and the error of
// Validate for an export or option that boot code would misread.
func (n NFS) RootURL(t Target) (*url.URL, error) {
	if err := n.Validate(); err != nil {
		return nil, err
	}
	if t.Machine.IsValid() && !t.Machine.Unmap().Is4() {
		return nil, &TargetError{
			Transport: "nfs",
			Reason:    "it has the IPv6 address " + t.Machine.String() + ", and boot code mounts NFS over IPv4 only",
			Remedy:    "give the machine an IPv4 address, or use the HTTP root",
		}
	}
	addr, dir, err := n.parse()
	if err != nil {
		return nil, err
	}
	return &url.URL{Scheme: "nfs", Host: addr.String(), Path: dir}, nil
}

// MountOptions returns Options and Live.
func (n NFS) MountOptions(Target) (MountOptions, error) {
	if err := n.Validate(); err != nil {
		return MountOptions{}, err
	}
	return MountOptions{NFS: slices.Clone(n.Options), Live: n.Live}, nil
}

// parse splits Export. Its errors are halves of sentences that follow it.
func (n NFS) parse() (addr netip.Addr, dir string, err error) {
	host, dir, ok := strings.Cut(n.Export, ":")
	if !ok {
		return addr, "", errors.New(`must be an address and a path, such as "192.0.2.9:/srv/rescue"`)
	}
	addr, err = netip.ParseAddr(host)
	if err != nil || !addr.Is4() {
		return addr, "", errors.New("must begin with a dotted IPv4 address: boot code resolves no names and mounts NFS over IPv4 only")
	}
	if f := bootvalue.CheckAddr(addr); !f.OK() {
		return addr, "", fmt.Errorf("begins with %s, which %s", addr, f)
	}
	if f := bootvalue.CheckExportPath(dir); !f.OK() {
		return addr, "", errors.New(f.String())
	}
	return addr, dir, nil
}
