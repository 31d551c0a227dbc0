package bootcfg

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/pxekit/pxe/internal/bootvalue"
)

// maxRoot is the longest URL of a root file system, in bytes.
const maxRoot = 512

// root adds the parameters that name the root file system, which source makes
// of its URL. It reports whether it could.
func (w *paramWriter) root(u *url.URL, source func(*url.URL) ([]string, flaw)) bool {
	if u == nil {
		w.problem("root", "", "is missing", "give the URL of the root file system")
		return false
	}
	params, f := source(u)
	if addr, err := netip.ParseAddr(u.Hostname()); f == (flaw{}) && err == nil && addr.Is6() {
		f = flaw{"has an IPv6 address, and the initramfs knows IPv4 only", "give the server's IPv4 address"}
	}
	if f == (flaw{}) && len(u.String()) > maxRoot {
		f = flaw{"is too long", "use a shorter path"}
	}
	if f != (flaw{}) {
		w.check(w.system+": root", u.Redacted(), f)
		return false
	}
	w.params = append(w.params, params...)
	return true
}

// unknownScheme is the flaw of a root by a scheme that a system has never heard
// of.
func unknownScheme(known string) flaw {
	return flaw{"has a scheme that the initramfs does not know", "use " + known}
}

// baseText returns a URL below which files are fetched, as it is handed to
// who fetches them and decodes it.
func baseText(u *url.URL, schemes ...string) (string, flaw) {
	f := bootvalue.CheckBase(u, schemes...)
	if f.OK() {
		f = bootvalue.CheckSafe(u.EscapedPath())
	}
	return u.Scheme + "://" + u.Host + u.EscapedPath(), flaw(f)
}

// plainPath is the flaw of a URL whose path would be decoded by nobody.
func plainPath(u *url.URL) flaw { return flaw(bootvalue.CheckPlain(u.EscapedPath())) }

// nfsSource returns an NFS export as "address:/path", for mount commands, which
// decode nothing. Names are refused: klibc's nfsmount resolves none.
func nfsSource(u *url.URL) (string, flaw) {
	f := bootvalue.CheckURL(u)
	if addr, err := netip.ParseAddr(u.Host); f.OK() && (err != nil || !addr.Is4()) {
		f = bootvalue.Flaw{Problem: "is no IPv4 address, or has a port",
			Remedy: "give the server's IPv4 address, and a port as port= in NFSOptions"}
	}
	if f.OK() {
		f = bootvalue.CheckExportPath(u.Path)
	}
	return u.Host + ":" + u.Path, flaw(f)
}

// nbdSource returns host and export of an NBD server for nbd-client, which
// decodes nothing either. The export may be "".
func nbdSource(u *url.URL) (host, export string, _ flaw) {
	f := bootvalue.CheckURL(u)
	export = strings.TrimPrefix(u.Path, "/")
	if f.OK() {
		f = bootvalue.CheckPlain(export)
	}
	return u.Hostname(), export, flaw(f)
}

// nfsOptions returns the mount options of an NFS root, "" if there are none.
func (w *paramWriter) nfsOptions(options []string, scheme string) string {
	const where = "NFSOptions"
	if len(options) == 0 {
		return ""
	}
	if scheme != "nfs" {
		w.problem(where, "", "are set, but the root file system comes by "+clip(scheme), "clear them, or give an nfs:// root")
		return ""
	}
	if bad, f := bootvalue.CheckNFSOptions(options); !f.OK() {
		w.check(w.system+": "+where, bad, flaw(f))
		return ""
	}
	return strings.Join(options, ",")
}

// fetched reports a mode that what is fetched as a file cannot have: it is in
// memory from then on.
func (w *paramWriter) fetched(mode CopyMode, scheme string) {
	if mode == CopyNever {
		w.problem("CopyToRAM", "", "is CopyNever, but what comes by "+scheme+" is always copied",
			"use CopyAuto, or an NFS root")
	}
}

// orElse returns s, or other if s is empty.
func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
