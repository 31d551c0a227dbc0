package bootcfg

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/pxekit/pxe/internal/bootvalue"
)

// root adds where the root file system is. The initramfs runs these parameters
// through a shell's eval, as root: a '$', '`', ';' or quote would be executed,
// and '&' would cut the rest off.
func (s *SystemRescue) root(w *paramWriter, u *url.URL) {
	const where = "SystemRescue: root"
	if u == nil {
		w.problems.add(where, "", "is missing", "give the URL of the root file system")
		return
	}
	var params []string
	var f flaw
	switch u.Scheme {
	case "http", "https", "tftp":
		params, f = httpRoot(u)
		if s.CopyToRAM == CopyNever {
			w.problems.add("SystemRescue: CopyToRAM", "", "is CopyNever, but what comes by "+u.Scheme+" is always copied",
				"use CopyAuto, or an NFS root")
		}
	case "nfs":
		params, f = nfsRoot(u)
	case "nbd":
		params, f = nbdRoot(u)
	default:
		f = flaw{"has a scheme that the initramfs does not know", "use http, https, tftp, nfs or nbd"}
	}
	if addr, err := netip.ParseAddr(u.Hostname()); f == (flaw{}) && err == nil && addr.Is6() {
		f = flaw{"has an IPv6 address, and the initramfs knows IPv4 only", "give the server's IPv4 address"}
	}
	if f == (flaw{}) && len(u.String()) > maxRoot {
		f = flaw{"is too long", "use a shorter path"}
	}
	if f != (flaw{}) {
		w.check(where, u.Redacted(), f)
		return
	}
	w.params = append(w.params, params...)
	s.nfsOptions(w, u.Scheme)
}

// maxRoot is the longest URL of a root file system, in bytes.
const maxRoot = 512

// httpRoot names a root that curl fetches: by a URL, which it decodes.
func httpRoot(u *url.URL) ([]string, flaw) {
	f := bootvalue.CheckBase(u, "http", "https", "tftp")
	if f.OK() {
		f = bootvalue.CheckSafe(u.EscapedPath())
	}
	return []string{"archiso_http_srv=" + u.Scheme + "://" + u.Host + u.EscapedPath()}, flaw(f)
}

// nfsRoot names a root for nfsmount, which decodes nothing.
func nfsRoot(u *url.URL) ([]string, flaw) {
	f := bootvalue.CheckURL(u)
	if addr, err := netip.ParseAddr(u.Host); f.OK() && (err != nil || !addr.Is4()) {
		f = bootvalue.Flaw{Problem: "is no IPv4 address, or has a port",
			Remedy: "give the server's IPv4 address, and a port as port= in NFSOptions"}
	}
	if f.OK() {
		f = bootvalue.CheckExportPath(u.Path)
	}
	return []string{"archiso_nfs_srv=" + u.Host + ":" + u.Path}, flaw(f)
}

// nbdRoot names a root for nbd-client, which decodes nothing either.
func nbdRoot(u *url.URL) ([]string, flaw) {
	f := bootvalue.CheckURL(u)
	if f.OK() && u.Port() != "" && u.Port() != "10809" {
		f = bootvalue.Flaw{Problem: "has a port that the initramfs cannot be told", Remedy: "serve NBD on port 10809"}
	}
	name := strings.TrimPrefix(u.Path, "/")
	if name == "" {
		name = "archiso" // what the initramfs asks for by default
	}
	if f.OK() {
		f = bootvalue.CheckPlain(name)
	}
	return []string{"archiso_nbd_srv=" + u.Hostname(), "archiso_nbd_name=" + name}, flaw(f)
}

// nfsOptions adds the mount options of an NFS root.
func (s *SystemRescue) nfsOptions(w *paramWriter, scheme string) {
	if len(s.NFSOptions) == 0 {
		return
	}
	const where = "SystemRescue: NFSOptions"
	if scheme != "nfs" {
		w.problems.add(where, "", "are set, but the root file system comes by "+clip(scheme), "clear them, or give an nfs:// root")
		return
	}
	if bad, f := bootvalue.CheckNFSOptions(s.NFSOptions); !f.OK() {
		w.check(where, bad, flaw(f))
		return
	}
	w.params = append(w.params, "archiso_nfs_opt="+strings.Join(s.NFSOptions, ","))
}
