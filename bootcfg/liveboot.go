package bootcfg

import (
	"net/url"
	"path"
	"regexp"
	"time"
)

// LiveBoot describes how live media of Debian and its kind, whose initramfs is
// made with live-boot, boot over the network. Its zero value boots Debian's own.
// Params gives the kernel parameters, Menu a whole menu.
//
// Values are letters, digits and "-._~:/@%+=,": the initramfs reads them with a
// shell, parts of them without quotes.
type LiveBoot struct {
	// Title is what the menu calls the system; empty: "Debian".
	Title string
	// BaseDir is the directory on the medium below which everything lies,
	// without slashes at its ends. Empty: "live".
	BaseDir string
	// Image is the name of the root file system in BaseDir; it ends in
	// ".squashfs". Empty: "filesystem.squashfs".
	Image string
	// Kernel is the name of the kernel; empty: vmlinuz in BaseDir.
	Kernel string
	// Initrds are the names of the initrds, microcode first; nil: initrd.img in
	// BaseDir.
	Initrds []string
	// Timeout is how long the menu waits for a key. Zero: ten seconds; negative:
	// for ever.
	Timeout time.Duration

	// CopyToRAM says whether the root file system is copied into memory. By NFS
	// it is not, unless CopyAlways asks for it.
	CopyToRAM CopyMode
	// OverlaySize is the memory for changes to files, as "60%" or "2G"; empty:
	// 50%.
	OverlaySize string
	// NoComponents leaves out the parameter that has live-config set the system
	// up: no user, no host name, no locale then. Extra may name some, as
	// "components=user-setup,locales".
	NoComponents bool
	// AnyInterface leaves it to the initramfs to find the network interface; see
	// [Entry].AnyInterface.
	AnyInterface bool
	// NFSOptions are mount options of an NFS root; see [SystemRescue].
	NFSOptions []string
	// Consoles are where the kernel's messages go, the last one being
	// /dev/console: "tty0", "ttyS0,115200n8". Empty: the screen.
	Consoles []string
	// Extra are further kernel parameters, those of live-config among them:
	// "locales=de_DE.UTF-8", "keyboard-layouts=de". "ethdevice-timeout=60" waits
	// longer than 15 seconds for DHCP, as switches with STP need it. Those that a
	// field or a renderer makes, and those that name another medium, are refused.
	Extra []string
}

var formSquashFS = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*\.squashfs$`)

// Params returns the kernel parameters that boot the system with the root file
// system at root. BOOTIF and initrd are not among them: the renderers add them.
// There is no ip= either: a root makes live-boot ask DHCP anyway, and it would
// take ip=dhcp for the name of an interface to configure in the booted system.
//
// The scheme of root decides how the initramfs gets its root file system:
//
//	http  files below a URL that ends in "/", by BusyBox's wget
//	tftp  the same by BusyBox's tftp, which decodes no percent signs: letters,
//	      digits and "-._~:/@+=,"
//	nfs   nfs://IPv4-address/path, an export that holds the medium's tree
//
// A host name is resolved by the DNS server that DHCP named. live-boot knows no
// NBD. HTTPS is refused: that wget checks no certificates.
//
// Errors are joined [*ValueError]s.
func (l LiveBoot) Params(root *url.URL) ([]string, error) {
	w := &paramWriter{system: "LiveBoot", params: []string{"boot=live"}}
	w.flag(!l.NoComponents, "components")
	if !formDir.MatchString(l.baseDir()) {
		w.problem("BaseDir", l.BaseDir, noDir, "give its path, as live, without slashes at its ends")
	}
	if !formSquashFS.MatchString(l.image()) {
		// live-boot goes by the ending, here and when it looks into an export.
		w.problem("Image", l.Image, "is no name of a squashfs", "give one that ends in .squashfs, as filesystem.squashfs")
	}
	if w.root(root, l.source) {
		l.mode(w, root.Scheme)
	}
	w.copyMode(l.CopyToRAM)
	w.value("overlay-size", l.OverlaySize, formSize, noSize, sizeRemedy)
	w.consoles(l.Consoles)
	w.extra(l.Extra, l.refuse)
	return w.done()
}

// source names the root file system at u. The initramfs takes a URL to pieces
// with sed and dirname, and hands most of them on without quotes: a blank would
// begin another argument, and '*' match files.
func (l *LiveBoot) source(u *url.URL) ([]string, flaw) {
	switch u.Scheme {
	case "http", "tftp":
		base, f := baseText(u, "http", "tftp")
		if f == (flaw{}) && u.Scheme == "tftp" {
			f = plainPath(u)
		}
		return []string{"fetch=" + base + l.baseDir() + "/" + l.image()}, f
	case "nfs":
		export, f := nfsSource(u)
		params := []string{"netboot=nfs", "nfsroot=" + export}
		if l.baseDir() != "live" {
			params = append(params, "live-media-path="+l.baseDir())
		}
		return params, f
	case "https":
		return nil, flaw{"is HTTPS, and the initramfs' wget checks no certificates", "use http, tftp or nfs"}
	case "nbd":
		return nil, flaw{"is NBD, which live-boot does not know", "use http, tftp or nfs"}
	}
	return nil, unknownScheme("http, tftp or nfs")
}

// mode adds how the root file system is used.
func (l *LiveBoot) mode(w *paramWriter, scheme string) {
	options := w.nfsOptions(l.NFSOptions, scheme)
	if options != "" {
		w.params = append(w.params, "nfsopts="+options)
	}
	if scheme != "nfs" {
		w.fetched(l.CopyToRAM, scheme) // and asking for a copy would make a second one
		return
	}
	// The one file, not the whole export, which may hold much else.
	w.flag(l.CopyToRAM == CopyAlways, "toram="+l.image())
}

// Menu returns a menu of the system as l describes it, which is the default; of
// variants for the cases in which that does not come up; and of the local disk.
// What l has anyway is not offered once more.
//
// The names are those of the medium's files. RootFiles is the file that the
// initramfs fetches by HTTP or TFTP; there is none by NFS.
func (l LiveBoot) Menu(root *url.URL) (*Menu, error) {
	b := newSystemMenu(orElse(l.Title, "Debian"), root, l.Timeout)
	b.plain("live", l.entry)
	if v := l; root != nil && root.Scheme == "nfs" && l.CopyToRAM != CopyAlways {
		v.CopyToRAM = CopyAlways
		b.copied(v.entry)
	}
	if v := l; len(l.Consoles) == 0 {
		v.Consoles = serialConsoles()
		b.serial(v.entry)
	}
	return b.done()
}

// entry returns the system as l describes it.
func (l *LiveBoot) entry(root *url.URL) (Entry, error) {
	params, err := l.Params(root)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Kernel: orElse(l.Kernel, l.baseDir()+"/vmlinuz"), Initrds: l.Initrds,
		Params: params, AnyInterface: l.AnyInterface}
	if e.Initrds == nil {
		e.Initrds = []string{l.baseDir() + "/initrd.img"}
	}
	if root.Scheme != "nfs" {
		e.RootFiles = []string{path.Join(l.baseDir(), l.image())}
	}
	return e, nil
}

func (l *LiveBoot) baseDir() string { return orElse(l.BaseDir, "live") }

func (l *LiveBoot) image() string { return orElse(l.Image, "filesystem.squashfs") }

// refuse returns what is wrong with an extra parameter.
func (l *LiveBoot) refuse(key string) flaw {
	switch key {
	case "fetch", "netboot", "nfsroot", "httpfs", "ftpfs", "root":
		return elsewhere("give it as the root URL")
	case "nfsopts":
		return elsewhere("set NFSOptions")
	case "toram":
		return elsewhere("set CopyToRAM")
	case "overlay-size":
		return elsewhere("set OverlaySize")
	case "live-media-path":
		return elsewhere("set BaseDir")
	case "boot":
		return elsewhere("remove it: it is always boot=live")
	case "ip":
		return flaw{"would be written into the booted system as an interface's static address", "remove it: DHCP is asked anyway"}
	case "verify-checksums", "live-boot.verify-checksums":
		return flaw{"makes live-boot reboot when the checksums are right", "remove it"}
	case "live-media", "bootfrom", "fromiso", "isofrom", "findiso", "iscsi", "todisk":
		return flaw{"names another medium", "remove it: the root file system is the root argument"}
	}
	return flaw{}
}
