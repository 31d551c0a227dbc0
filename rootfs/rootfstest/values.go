package rootfstest

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/pxekit/pxe/internal/bootvalue"
	"github.com/pxekit/pxe/rootfs"
)

// knownSchemes are those that RootFSTransport documents.
func knownSchemes() []string { return []string{"http", "https", "tftp", "nfs", "nbd"} }

// checkURL checks a URL as boot code will take it apart.
func (s *suite) checkURL(r *report, known knownTarget, u *url.URL) {
	add := func(f bootvalue.Flaw) { r.add("its URL %q for %s %s", u.Redacted(), known.name, f) }
	if !slices.Contains(s.schemes, u.Scheme) {
		r.add("its URL %q for %s has the scheme %q, for which no boot configuration of this module has parameters; "+
			"use one of %s, or declare it by Schemes", u.Redacted(), known.name, u.Scheme, strings.Join(s.schemes, ", "))
		return
	}
	if f := bootvalue.CheckURL(u); !f.OK() {
		add(f)
		return
	}
	if f := bootvalue.CheckSafe(u.EscapedPath()); !f.OK() {
		add(f)
	}
	switch u.Scheme {
	case "http", "https", "tftp":
		if f := bootvalue.CheckBase(u, u.Scheme); !f.OK() {
			add(f)
		}
	case "nfs":
		s.checkNFS(r, known, u)
	case "nbd":
		if name := strings.TrimPrefix(u.Path, "/"); name == "" {
			add(bootvalue.Flaw{Problem: "names no export", Remedy: "put its name behind the host"})
		} else if f := bootvalue.CheckPlain(name); !f.OK() {
			add(f)
		}
	}
	again, err := url.Parse(u.String())
	if err != nil || again.Scheme != u.Scheme || again.Host != u.Host || again.Path != u.Path {
		r.add("its URL for %s does not read back as it was: %q", known.name, u.Redacted())
	}
}

// checkNFS checks what klibc's nfsmount is told, which resolves no names, knows
// no IPv6 and decodes nothing.
func (s *suite) checkNFS(r *report, known knownTarget, u *url.URL) {
	if addr, err := netip.ParseAddr(u.Host); err != nil || !addr.Is4() {
		r.add("its URL %q for %s has no plain IPv4 address as its host, and boot code resolves no names and mounts NFS over IPv4 only", u.Redacted(), known.name)
	}
	if f := bootvalue.CheckExportPath(u.Path); !f.OK() {
		r.add("its URL %q for %s %s", u.Redacted(), known.name, f)
	}
	if m := known.target.Machine; m.IsValid() && !m.Unmap().Is4() {
		r.add("it sends the machine %s to %q, and boot code mounts NFS over IPv4 only: give such a machine a TargetError", m, u.Redacted())
	}
}

// mountOptions checks Mounter.
func (s *suite) mountOptions(r *report) {
	m, ok := s.create().(rootfs.Mounter)
	if !ok {
		return
	}
	for _, known := range s.targets() {
		if len(r.problems) > 0 {
			return
		}
		u, err := m.RootURL(clone(known.target))
		if err != nil || u == nil {
			continue // MountOptions is called after RootURL, for a target that got one
		}
		target := clone(known.target)
		options, err := m.MountOptions(target)
		if !sameTarget(target, known.target) {
			r.add("it changes %s: transports must not change what a Target points to", known.name)
			return
		}
		if !s.answer(r, known, "MountOptions", err != nil, err) || err != nil {
			continue
		}
		s.checkOptions(r, known, u, options)
		kept := slices.Clone(options.NFS)
		for i := range options.NFS {
			options.NFS[i] = "changed"
		}
		again, err := m.MountOptions(clone(known.target))
		if err == nil && slices.Contains(again.NFS, "changed") {
			r.add("what it says of %s changes when a caller changes what it got: return a copy of the options", known.name)
		} else if err != nil || again.Live != options.Live || !slices.Equal(again.NFS, kept) {
			r.add("it is not deterministic: asked twice about %s it says %q, and then %q (%v)", known.name, kept, again.NFS, err)
		}
	}
}

// checkOptions checks the words that go to boot code.
func (s *suite) checkOptions(r *report, known knownTarget, u *url.URL, options rootfs.MountOptions) {
	if len(options.NFS) > 0 && u.Scheme != "nfs" {
		r.add("it gives %s options of an NFS mount (%q) with the URL %q", known.name, options.NFS, u.Redacted())
	}
	if bad, f := bootvalue.CheckNFSOptions(options.NFS); !f.OK() {
		r.add("its NFS option %q for %s %s", bad, known.name, f)
	}
	if base := []string{"http", "https", "tftp"}; options.Live && slices.Contains(base, u.Scheme) {
		r.add("it leaves the root of %s mounted over the network (Live), but what comes by %s is always copied", known.name, u.Scheme)
	}
}
