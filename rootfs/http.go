package rootfs

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

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

	// TLS sends machines to [Target].HTTPS instead of Target.HTTP. It needs no
	// Base; a Base says itself what it is. SystemRescue does not check the
	// server's certificate: this hides the download from listeners, and proves
	// nothing to the machine.
	TLS bool
}

// Validate reports what is wrong with Base.
func (h HTTP) Validate() error {
	if h.Base == nil {
		return nil
	}
	if h.TLS {
		return errors.New("rootfs: HTTP.TLS is for this server, and HTTP.Base names another: clear one of them")
	}
	return checkBase("HTTP.Base", h.Base, "http", "https")
}

// RootURL returns Base or, when that is nil, the target's own HTTP base. It
// returns a [*TargetError] when the server has none for this target, and the
// error of Validate for a Base that boot code would misread.
func (h HTTP) RootURL(t Target) (*url.URL, error) {
	if err := h.Validate(); err != nil {
		return nil, err
	}
	if h.Base != nil {
		return external("HTTP.Base", h.Base, "http", "https")
	}
	if h.TLS {
		return own(t.HTTPS, "https", "give the server an HTTPS listener and a TLS configuration, or clear HTTP.TLS")
	}
	return own(t.HTTP, "http", "give the server an HTTP listener, or set HTTP.Base to a web server that has the files")
}

// own returns this server's base for a target, which has none if it is nil.
func own(base *url.URL, scheme, remedy string) (*url.URL, error) {
	name := strings.ToUpper(scheme)
	if base == nil {
		return nil, &TargetError{
			Transport: scheme,
			Reason:    "this server does not serve " + name + " to it",
			Remedy:    remedy,
		}
	}
	return external("Target."+name, base, scheme)
}

// external returns a copy of a base that boot code can append file names to.
func external(field string, base *url.URL, schemes ...string) (*url.URL, error) {
	if err := checkBase(field, base, schemes...); err != nil {
		return nil, err
	}
	u := *base
	return &u, nil
}

// checkBase reports why boot code could not append file names to u.
func checkBase(field string, u *url.URL, schemes ...string) error {
	f := bootvalue.CheckBase(u, schemes...)
	if f.OK() {
		f = bootvalue.CheckSafe(u.EscapedPath())
	}
	if f.OK() {
		return nil
	}
	return fmt.Errorf("rootfs: %s %q %s", field, u.Redacted(), f)
}
