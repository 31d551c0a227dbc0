package bootcfg

import (
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Dracut describes how a system boots over the network whose initramfs is made
// with dracut: a live image by HTTP or TFTP, and a root file system as it is by
// NFS or NBD. Its zero value has the file names of Fedora's live media. Params
// gives the kernel parameters, Menu a whole menu.
//
// The initramfs needs dracut's modules for what it shall do: livenet with
// overlayfs, nfs or nbd, and network-legacy below them. With systemd-networkd in
// its place dracut 059 asks for the network and never for the root.
//
// Values are letters, digits and "-._~:/@%+=,": the initramfs reads them with a
// shell, parts of them without quotes.
type Dracut struct {
	// Title is what the menu calls the system; empty: "Linux".
	Title string
	// Image is the name of the live image that is fetched by HTTP or TFTP: a
	// squashfs whose top level is the root file system. Changes to files are
	// kept in memory. Empty: "LiveOS/squashfs.img". NFS and NBD mount what root
	// names, as it is.
	Image string
	// Kernel is the name of the kernel; empty: "images/pxeboot/vmlinuz".
	Kernel string
	// Initrds are the names of the initrds, microcode first; nil:
	// "images/pxeboot/initrd.img".
	Initrds []string
	// Timeout is how long the menu waits for a key. Zero: ten seconds; negative:
	// for ever.
	Timeout time.Duration

	// FSType is the type of the file system on an NBD export, as "squashfs";
	// empty: whatever is recognised.
	FSType string
	// CopyToRAM may ask for what happens anyway: an image that is fetched is
	// in memory from then on, and an NFS or NBD root never is.
	CopyToRAM CopyMode
	// AnyInterface leaves it to the initramfs to find the network interface; see
	// [Entry].AnyInterface.
	AnyInterface bool
	// NFSOptions are mount options of an NFS root, those of [SystemRescue] but
	// for v2, udp and lock, which mount.nfs or dracut no longer has. The root is
	// mounted by NFSv3, read-only unless "rw" is among them.
	NFSOptions []string
	// Consoles are where the kernel's messages go, the last one being
	// /dev/console: "tty0", "ttyS0,115200n8". Empty: the screen.
	Consoles []string
	// Extra are further kernel parameters, as "rd.live.dir=live". Those that a
	// field or a renderer makes are refused.
	Extra []string
}

var (
	formFSType = regexp.MustCompile(`^[a-z][a-z0-9]{0,15}$`)
	// formNumber is what the initramfs takes for an NBD port, not a name.
	formNumber = regexp.MustCompile(`^[+-]?[0-9]+$`)
)

// Params returns the kernel parameters that boot the system with the root file
// system at root. BOOTIF and initrd are not among them: the renderers add them.
//
// The scheme of root decides how the initramfs gets its root file system:
//
//	http, tftp  Image below a URL that ends in "/", by curl
//	nfs         nfs://IPv4-address/path, an export that is the root file system;
//	            neither ':' nor ',' in its path
//	nbd         nbd://host/export, a file system's image, on port 10809
//
// HTTPS would need a certificate that the initramfs trusts, and is refused.
// Errors are joined [*ValueError]s.
func (d Dracut) Params(root *url.URL) ([]string, error) {
	w := &paramWriter{system: "Dracut"}
	if !formDir.MatchString(d.image()) {
		w.problem("Image", d.Image, noFile, noFileRemedy)
	}
	if d.FSType != "" && !formFSType.MatchString(d.FSType) {
		w.problem("FSType", d.FSType, "is no type of a file system", "name one, as squashfs or ext4, or none")
	}
	if options := d.nfsOptions(w, root); w.root(root, func(u *url.URL) ([]string, flaw) { return d.source(u, options) }) {
		d.mode(w, root.Scheme)
	}
	w.params = append(w.params, "rd.neednet=1", "ip=dhcp")
	w.copyMode(d.CopyToRAM)
	w.consoles(d.Consoles)
	w.extra(d.Extra, d.refuse)
	return w.done()
}

// source names the root file system at u. The initramfs takes the value to
// pieces at its colons; the export's name and an image's path are then used
// without quotes.
func (d *Dracut) source(u *url.URL, nfsOptions string) ([]string, flaw) {
	switch u.Scheme {
	case "http", "tftp":
		base, f := baseText(u, "http", "tftp")
		// rd.live.image is what the booted system knows a live boot by. Without
		// the overlay a squashfs with the root at its top level fails: one script
		// of dracut 059 takes it for granted, and the one that makes it waits to
		// be asked.
		return []string{"root=live:" + base + d.image(), "rd.live.image", "rd.live.overlay.overlayfs=1"}, f
	case "nfs":
		export, f := nfsSource(u)
		if f == (flaw{}) && strings.ContainsAny(u.Path, ":,") {
			f = flaw{"has ':' or ',' in its path, which dracut takes for the beginning of mount options", "export it by another path"}
		}
		return []string{"root=nfs:" + export + ":" + nfsOptions}, f
	case "nbd":
		host, export, f := nbdSource(u)
		if f == (flaw{}) {
			f = nbdExport(export, u.Port())
		}
		// The server may serve for reading only.
		params := []string{"root=nbd:" + host + ":" + export, "ro"}
		if d.FSType != "" {
			params[0] += ":" + d.FSType
		}
		return params, f
	}
	if u.Scheme == "https" {
		return nil, flaw{"comes by HTTPS, whose certificate the initramfs does not trust", "use http"}
	}
	return nil, unknownScheme("http, tftp, nfs or nbd")
}

// nbdExport checks what goes between two colons as either a port or a name.
func nbdExport(name, port string) flaw {
	switch {
	case name == "":
		return flaw{"names no export", "name it, as nbd://192.0.2.1/root"}
	case port != "" && port != "10809":
		return flaw{"has a port and an export, and the initramfs can be told only one of them",
			"serve NBD on port 10809"}
	case formNumber.MatchString(name):
		return flaw{"has an export whose name the initramfs takes for a port", "give the export a name with a letter in it"}
	case strings.ContainsAny(name, ":/"):
		return flaw{"has an export with ':' or '/' in its name, at which dracut cuts it", "give the export another name"}
	}
	return flaw{}
}

// nfsOptions returns the mount options of an NFS root for mount.nfs. klibc's
// words mean the same to it, but for the version's and those refused here.
func (d *Dracut) nfsOptions(w *paramWriter, root *url.URL) string {
	// mount.nfs would try NFSv4 first, where the path may be another.
	options := []string{"vers=3"}
	if root == nil || w.nfsOptions(d.NFSOptions, root.Scheme) == "" {
		return options[0]
	}
	for _, option := range d.NFSOptions {
		switch option {
		case "v3":
		case "v2", "udp", "lock":
			w.problem("NFSOptions", option, "is not there any more with mount.nfs and dracut",
				"leave it out: the root is mounted by NFSv3 over TCP, without locks")
		default:
			options = append(options, option)
		}
	}
	return strings.Join(options, ",")
}

// mode reports a mode that the root file system cannot have.
func (d *Dracut) mode(w *paramWriter, scheme string) {
	if scheme != "nfs" && scheme != "nbd" {
		w.fetched(d.CopyToRAM, scheme)
	} else if d.CopyToRAM == CopyAlways {
		w.problem("CopyToRAM", "", "is CopyAlways, and dracut copies no root that comes by "+scheme, "use CopyAuto, or an HTTP root")
	}
}

// Menu returns a menu of the system as d describes it, which is the default; of
// a variant with a serial console, unless d has Consoles; and of the local disk.
//
// RootFiles is the file that the initramfs fetches by HTTP or TFTP; there is
// none by NFS and NBD.
func (d Dracut) Menu(root *url.URL) (*Menu, error) {
	b := newSystemMenu(orElse(d.Title, "Linux"), root, d.Timeout)
	b.plain("live", d.entry)
	if v := d; len(d.Consoles) == 0 {
		v.Consoles = serialConsoles()
		b.serial(v.entry)
	}
	return b.done()
}

// entry returns the system as d describes it.
func (d *Dracut) entry(root *url.URL) (Entry, error) {
	params, err := d.Params(root)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Kernel: orElse(d.Kernel, "images/pxeboot/vmlinuz"), Initrds: d.Initrds,
		Params: params, AnyInterface: d.AnyInterface}
	if e.Initrds == nil {
		e.Initrds = []string{"images/pxeboot/initrd.img"}
	}
	if root.Scheme != "nfs" && root.Scheme != "nbd" {
		e.RootFiles = []string{d.image()}
	}
	return e, nil
}

func (d *Dracut) image() string { return orElse(d.Image, "LiveOS/squashfs.img") }

// refuse returns what is wrong with an extra parameter.
func (d *Dracut) refuse(key string) flaw {
	switch key {
	case "root", "netroot", "nfsroot":
		return elsewhere("give it as the root URL")
	case "ip", "rd.neednet":
		return elsewhere("remove it: it is always ip=dhcp")
	case "rd.live.image", "liveimg", "ro":
		return elsewhere("remove it: it is there where the root asks for it")
	case "rw":
		return flaw{"has the root file system mounted for writing, which many servers refuse", `remove it, or give "rw" in NFSOptions`}
	case "rd.live.overlay.overlayfs":
		return elsewhere("remove it: it is always there for what is fetched")
	case "rootfstype":
		return elsewhere("set FSType")
	case "rd.live.ram", "live_ram":
		return flaw{"copies into memory what is there already", "remove it"}
	}
	return flaw{}
}
