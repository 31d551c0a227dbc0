package rootfs

import (
	"fmt"
	"net/url"

	"github.com/pxekit/pxe/internal/bootvalue"
)

// HTTP is a root file system that comes over HTTP or HTTPS. The zero value
// means this server: machines are sent to [Target].HTTP. Machines copy such a
// root file system to memory, so the server may go away once it is fetched.
//
// HTTP serves nothing by itself. Where it names this server, [Files] does.
type HTTP struct {
	// Base is a web server elsewhere that has the same tree of files. It must
	// be absolute with the scheme http or https and end in "/", because boot
	// code appends file names to it. Boot code also passes it through a shell
	// as root, so its path may contain only A-Z a-z 0-9 and ._~:/@%+=,- and it
	// has neither user, query nor fragment: put tokens in the path. Prefer an
	// address to a host name, since not every machine has DNS this early.
	// Nil: this server.
	Base *url.URL
}

// Validate reports what is wrong with Base.
func (h HTTP) Validate() error {
	if h.Base == nil {
		return nil
	}
	return checkBase("HTTP.Base", h.Base)
}

// RootURL returns Base or, when that is nil, the target's own HTTP base. It
// returns a [*TargetError] when the server has none for this target, and the
// error of Validate for a Base that boot code would misread.
func (h HTTP) RootURL(t Target) (*url.URL, error) {
	base := h.Base
	if base == nil {
		if t.HTTP == nil {
			return nil, &TargetError{
				Transport: "http",
				Reason:    "this server does not serve HTTP to it",
				Remedy:    "give the server an HTTP listener, or set HTTP.Base to a web server that has the files",
			}
		}
		base = t.HTTP
		if err := checkBase("Target.HTTP", base); err != nil {
			return nil, err
		}
	} else if err := h.Validate(); err != nil {
		return nil, err
	}
	u := *base
	return &u, nil
}

// checkBase reports why boot code could not append file names to u.
func checkBase(field string, u *url.URL) error {
	f := bootvalue.CheckBase(u, "http", "https")
	if f.OK() {
		f = bootvalue.CheckSafe(u.EscapedPath())
	}
	if f.OK() {
		return nil
	}
	return fmt.Errorf("rootfs: %s %q %s", field, u.Redacted(), f)
}
