package rootfs

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

// NFS is a root file system on an NFS server that runs elsewhere, or beside
// this program. It is a hint: it tells machines where to mount from and serves
// nothing itself. The server must offer NFS version 3 and the MOUNT protocol,
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
	// the machine copies the root file system to memory and disconnects.
	Live bool
}

// Validate reports what is wrong with Export and Options.
func (n NFS) Validate() error {
	if _, _, err := n.parse(); err != nil {
		return fmt.Errorf("rootfs: NFS.Export %q: %w", n.Export, err)
	}
	for _, option := range n.Options {
		if err := checkNFSOption(option); err != nil {
			return fmt.Errorf("rootfs: NFS.Options: %q %w", option, err)
		}
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
	if addr.IsUnspecified() || addr.IsMulticast() || addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return addr, "", fmt.Errorf("must have the address of one machine, not %s", addr)
	}
	if !path.IsAbs(dir) {
		return addr, "", errors.New(`must have a path that begins with "/" after the colon`)
	}
	if clean := path.Clean(dir); clean != dir {
		return addr, "", fmt.Errorf("must have a clean path: write it as %q", addr.String()+":"+clean)
	}
	// Percent signs and brackets would read differently in a URL and in a mount
	// command, so they are refused although a shell leaves them alone.
	for _, r := range dir {
		if r >= 0x80 || !safeByte(byte(r)) || strings.ContainsRune("%[]", r) {
			return addr, "", fmt.Errorf("must not contain %q: boot code passes the path through a shell; export it under a plainer name", r)
		}
	}
	return addr, dir, nil
}

// checkNFSOption reports why klibc's nfsmount would refuse option, and with it
// the whole mount. Its errors are halves of sentences that follow the option.
// The list is that of the oldest nfsmount in use, mkinitcpio-nfs-utils, which
// the later ones only add to.
func checkNFSOption(option string) error {
	name, value, hasValue := strings.Cut(option, "=")
	switch name {
	case "port", "rsize", "wsize", "timeo", "retrans", "acregmin", "acregmax", "acdirmin", "acdirmax":
		n, err := strconv.ParseUint(value, 10, 31)
		switch {
		case !hasValue || err != nil:
			return errors.New(`must be a name, "=" and a whole number`)
		case value != strconv.FormatUint(n, 10):
			return errors.New("must have a number without leading zeros, which boot code reads as octal")
		case name == "port" && (n == 0 || n > 65535):
			return errors.New("must be a port from 1 to 65535")
		}
		return nil
	case "soft", "hard", "intr", "nointr", "posix", "noposix", "cto", "nocto", "ac", "noac",
		"lock", "nolock", "v2", "v3", "tcp", "udp", "ro", "rw":
		if hasValue {
			return errors.New("must not have a value")
		}
		return nil
	case "vers", "nfsvers", "v4":
		return errors.New(`is not known to boot code: write "v3", the only version to count on`)
	case "mountport", "mountproto", "mountvers":
		return errors.New("is not known to boot code, which asks the portmapper of the NFS server: run one on port 111")
	}
	return errors.New("is not an option of klibc's nfsmount, which refuses the mount because of it: leave it out")
}
