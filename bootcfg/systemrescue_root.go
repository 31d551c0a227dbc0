package bootcfg

import (
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// formRoot is what may stand in a parameter that says where the root file system
// is. The initramfs runs these through a shell's eval, as root: a '$', '`', ';'
// or quote would be executed, and '&' would cut the rest off. Parameters of which
// nothing is known have to keep to it as well.
var formRoot = regexp.MustCompile(`^[A-Za-z0-9._~:/@%+=,-]+$`)

// root adds where the root file system is.
func (s *SystemRescue) root(w *paramWriter, u *url.URL) {
	const where = "SystemRescue: root"
	if u == nil {
		w.problems.add(where, "", "is missing", "give the URL of the root file system")
		return
	}
	before := len(w.problems)
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		w.problems.add(where, u.Redacted(), "has a query or a fragment, which the initramfs cuts off", "put tokens in the path")
	}
	if u.User != nil {
		w.problems.add(where, u.Redacted(), "has a user in it, for everybody on the machine to read", "put tokens in the path")
	}
	addr, _ := netip.ParseAddr(u.Hostname())
	if !isHost(u.Hostname()) || !isPort(u.Port()) || u.Opaque != "" {
		w.problems.add(where, u.Redacted(), "has no usable host", "give the server's IPv4 address")
	} else if addr.Is6() {
		w.problems.add(where, u.Redacted(), "has an IPv6 address, and the initramfs knows IPv4 only", "give the server's IPv4 address")
	}
	if len(w.problems) > before {
		return
	}
	const form = "has characters in it that the initramfs would hand to a shell"
	const remedy = "use letters, digits and '-._~/%+=,:@' in its path"
	path := u.EscapedPath()
	switch u.Scheme {
	case "http", "https", "tftp":
		if !strings.HasSuffix(path, "/") {
			w.problems.add(where, u.Redacted(), "does not end in a slash", "append one: the initramfs puts names right behind it")
		}
		if s.CopyToRAM == CopyNever {
			w.problems.add("SystemRescue: CopyToRAM", "", "is CopyNever, but what comes by "+u.Scheme+" is always copied",
				"use CopyAuto, or an NFS root")
		}
		w.value("archiso_http_srv", u.Scheme+"://"+u.Host+path, formRoot, form, remedy)
	case "nfs":
		if !addr.Is4() || u.Port() != "" {
			w.problems.add(where, u.Redacted(), "is no IPv4 address, or has a port",
				"give the server's IPv4 address, and a port as port= in NFSOptions")
		}
		if path == "" {
			w.problems.add(where, u.Redacted(), "names no export", "give its path on the server")
		}
		w.value("archiso_nfs_srv", u.Hostname()+":"+path, formRoot, form, remedy)
	case "nbd":
		if u.Port() != "" && u.Port() != "10809" {
			w.problems.add(where, u.Redacted(), "has a port that the initramfs cannot be told", "serve NBD on port 10809")
		}
		name := strings.TrimPrefix(path, "/")
		if name == "" {
			name = "archiso" // what the initramfs asks for by default
		}
		w.value("archiso_nbd_srv", u.Hostname(), formRoot, form, remedy)
		w.value("archiso_nbd_name", name, formRoot, form, remedy)
	default:
		w.problems.add(where, u.Redacted(), "has a scheme that the initramfs does not know", "use http, https, tftp, nfs or nbd")
	}
	s.nfsOptions(w, u.Scheme)
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
	for i, o := range s.NFSOptions {
		if !formNFS.MatchString(o) {
			w.problems.add(where, o, "is no option of klibc's nfsmount", "leave it out; NFS 4 and mountport are not possible")
			return
		}
		if slices.Contains(s.NFSOptions[:i], o) {
			w.problems.add(where, o, "is there twice", "keep one")
			return
		}
	}
	w.params = append(w.params, "archiso_nfs_opt="+strings.Join(s.NFSOptions, ","))
}
