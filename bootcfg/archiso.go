package bootcfg

import (
	"net/url"
	"strings"
	"time"
)

// Archiso describes how live media made with archiso, as those of Arch Linux
// are, boot over the network. Its zero value boots Arch Linux's own of May 2024
// and later, which carry the microcode in their initramfs. Params gives the
// kernel parameters, Menu a whole menu. SystemRescue has a type of its own.
//
// Values are letters, digits and "-._~:/@%+=,": the initramfs reads them with a
// shell.
type Archiso struct {
	// Title is what the menu calls the system; empty: "Arch Linux".
	Title string
	// BaseDir is the directory on the medium below which everything lies,
	// without slashes at its ends. Empty: "arch".
	BaseDir string
	// Arch is the processor, as uname -m says it in the initramfs and the medium's
	// directories are called: "aarch64", for example. Empty: "x86_64".
	Arch string
	// Kernel is the name of the kernel; empty: boot/x86_64/vmlinuz-linux in
	// BaseDir, with the Arch in it.
	Kernel string
	// Initrds are the names of the initrds, microcode first; nil:
	// boot/x86_64/initramfs-linux.img in BaseDir, with the Arch in it.
	Initrds []string
	// Timeout is how long the menu waits for a key. Zero: ten seconds; negative:
	// for ever.
	Timeout time.Duration

	// EROFS says that the root file system is airootfs.erofs. The initramfs
	// finds out by itself; it matters to who watches the boot.
	EROFS bool
	// Checksum has the initramfs compare the root file system with the checksum
	// beside it before it is used.
	Checksum bool
	// Verify has it verify the PGP signature beside the root file system, and
	// CMSVerify the CMS signature, which Arch Linux's own media have. The keys
	// are in the initramfs.
	Verify, CMSVerify bool
	// CopyToRAM says whether the root file system is copied into memory.
	CopyToRAM CopyMode
	// CopyToRAMSize is the most memory that the copy may take, as "60%" or "2G";
	// empty: 75%.
	CopyToRAMSize string
	// COWSpaceSize is the memory for changes to files, as "60%" or "2G"; empty:
	// 256M.
	COWSpaceSize string
	// COWLabel is the label of a file system on a local disk for changes to
	// files; empty: they are kept in memory.
	COWLabel string
	// COWDirectory is the directory on that file system, as "/live".
	COWDirectory string
	// AnyInterface leaves it to the initramfs to find the network interface; see
	// [Entry].AnyInterface.
	AnyInterface bool
	// NFSOptions are mount options of an NFS root; see [SystemRescue].
	NFSOptions []string
	// Consoles are where the kernel's messages go, the last one being
	// /dev/console: "tty0", "ttyS0,115200n8". Empty: the screen.
	Consoles []string
	// Extra are further kernel parameters. Those that a field or a renderer makes,
	// and those that name a local medium, are refused.
	Extra []string
}

// Params returns the kernel parameters that boot the system with the root file
// system at root. BOOTIF and initrd are not among them: the renderers add them.
//
// The scheme of root is http, https, nfs or nbd; what it names is that of
// [SystemRescue.Params]. TFTP is refused: the initramfs asks for one byte of the
// root file system to see if it is there, and by TFTP it gets all of it, then
// once more. https needs a certificate that the initramfs trusts.
//
// Errors are joined [*ValueError]s.
func (a Archiso) Params(root *url.URL) ([]string, error) {
	w := &paramWriter{system: "Archiso"}
	stage := a.stage()
	stage.params(w, root)
	w.consoles(a.Consoles)
	w.extra(a.Extra, a.refuse)
	return w.done()
}

// Menu returns a menu of the system as a describes it, which is the default; of
// variants for the cases in which that does not come up; and of the local disk.
// What a has anyway is not offered once more.
//
// The names are those of the medium's files. RootFiles are the files that the
// initramfs fetches by HTTP; there are none by NFS and NBD.
func (a Archiso) Menu(root *url.URL) (*Menu, error) {
	b := newSystemMenu(orElse(a.Title, "Arch Linux"), root, a.Timeout)
	b.plain("live", a.entry)
	if v := a; a.CopyToRAM == CopyNever {
		v.CopyToRAM = CopyAlways
		b.copied(v.entry)
	}
	if v := a; !a.Checksum {
		v.Checksum = true
		b.checked(v.entry)
	}
	if v := a; len(a.Consoles) == 0 {
		v.Consoles = serialConsoles()
		b.serial(v.entry)
	}
	return b.done()
}

// stage describes what archiso's hooks do.
func (a *Archiso) stage() *archisoStage {
	return &archisoStage{baseDir: orElse(a.BaseDir, "arch"),
		checksum: a.Checksum, verify: a.Verify, cmsVerify: a.CMSVerify,
		copyToRAM: a.CopyToRAM, copyToRAMSize: a.CopyToRAMSize, cowSpaceSize: a.COWSpaceSize,
		cowLabel: a.COWLabel, cowDir: a.COWDirectory, nfsOptions: a.NFSOptions}
}

// entry returns the system as a describes it.
func (a *Archiso) entry(root *url.URL) (Entry, error) {
	params, err := a.Params(root)
	if err != nil {
		return Entry{}, err
	}
	stage, arch := a.stage(), orElse(a.Arch, "x86_64")
	if f := checkFileName(arch); f != (flaw{}) || strings.Contains(arch, "/") {
		return Entry{}, &ValueError{Where: "Archiso: Arch", Value: arch, Problem: "is no name of a processor", Remedy: "use what uname -m says, as aarch64"}
	}
	initrds := a.Initrds
	if initrds == nil {
		initrds = []string{stage.baseDir + "/boot/" + arch + "/initramfs-linux.img"}
	}
	image := stage.baseDir + "/" + arch + "/airootfs.sfs"
	if a.EROFS {
		image = stage.baseDir + "/" + arch + "/airootfs.erofs"
	}
	return Entry{Kernel: orElse(a.Kernel, stage.baseDir+"/boot/"+arch+"/vmlinuz-linux"), Initrds: initrds,
		Params: params, AnyInterface: a.AnyInterface, RootFiles: stage.rootFiles(root, image)}, nil
}

// refuse returns what is wrong with an extra parameter.
func (a *Archiso) refuse(key string) flaw {
	switch key {
	case "verify":
		return elsewhere("set Verify")
	case "cms_verify":
		return elsewhere("set CMSVerify")
	case "arch":
		return flaw{"makes the initramfs look for another machine's files", "remove it; set Arch to name the medium's directories"}
	}
	return a.stage().refuse(key)
}
