package rootfs

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"

	"github.com/pxekit/pxe/internal/bootvalue"
)

// RemoteNBD is a root file system on an NBD server that runs elsewhere, or beside
// this program. It is a hint: it tells machines where to connect and serves
// nothing itself.
type RemoteNBD struct {
	// Addr is where the server listens. SystemRescue and Arch Linux know no port
	// but 10809.
	Addr netip.AddrPort

	// Export is the name of the export, of letters, digits and "-._~:/@+=,".
	// Empty: "archiso", which SystemRescue and Arch Linux ask for if they are
	// not told.
	Export string

	// Live is that of [NBD].
	Live bool
}

// Validate reports what is wrong with Addr and Export.
func (n RemoteNBD) Validate() error {
	if f := bootvalue.CheckAddr(n.Addr.Addr()); !f.OK() {
		return fmt.Errorf("rootfs: RemoteNBD.Addr %q %s", n.Addr, f)
	}
	if n.Addr.Port() == 0 {
		return fmt.Errorf("rootfs: RemoteNBD.Addr %q has no port: the standard one is %d", n.Addr, nbdPort)
	}
	if f := bootvalue.CheckPlain(n.Export); !f.OK() {
		return fmt.Errorf("rootfs: RemoteNBD.Export %q %s", n.Export, f)
	}
	return nil
}

// RootURL returns nbd://192.0.2.9/archiso, with the port where it is not 10809, or
// the error of Validate.
func (n RemoteNBD) RootURL(Target) (*url.URL, error) {
	if err := n.Validate(); err != nil {
		return nil, err
	}
	return nbdURL(n.Addr, cmp.Or(n.Export, defaultExport)), nil
}

// MountOptions returns Live.
func (n RemoteNBD) MountOptions(Target) (MountOptions, error) { return MountOptions{Live: n.Live}, nil }
