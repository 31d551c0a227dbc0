package bootcfg

import "time"

// SystemRescue describes how SystemRescue is booted over the network. Its zero
// value boots current x86-64 media as their own menu does. Params gives the
// kernel parameters, Menu a whole menu.
//
// Each field becomes one parameter on the kernel command line, which every
// user of the booted system can read. Values are letters, digits and
// "-._~:/@%+=,$" unless a field says otherwise: the initramfs reads them with a
// shell.
type SystemRescue struct {
	// BaseDir is the directory on the medium below which everything lies,
	// without slashes at its ends; it may be nested. Empty: "sysresccd".
	BaseDir string
	// Arch is "x86_64", also if empty, or "i686" for media up to 9.03.
	Arch string
	// Initrds are the names of the initrds, if they are not the medium's three:
	// the microcode of Intel and AMD, and sysresccd.img. Leave out those that
	// the medium does not have; a name that cannot be loaded fails the boot.
	Initrds []string
	// Memtest is the name of a memory test to offer in the menu, as
	// "sysresccd/boot/memtest"; empty: none.
	Memtest string
	// Timeout is how long the menu waits for a key. Zero: ten seconds; negative:
	// for ever.
	Timeout time.Duration

	// Checksum has the initramfs compare the root file system with the checksum
	// beside it before it is used.
	Checksum bool
	// CopyToRAM says whether the root file system is copied into memory.
	CopyToRAM CopyMode
	// CopyToRAMSize is the most memory that the copy may take, as "60%" or "2G";
	// empty: 75%.
	CopyToRAMSize string
	// COWSpaceSize is the memory for changes to files, as "60%" or "2G"; empty:
	// 25%.
	COWSpaceSize string
	// COWLabel is the label of a file system on a local disk for changes to
	// files; empty: they are kept in memory.
	COWLabel string
	// COWDirectory is the directory on that file system, as "/rescue".
	COWDirectory string
	// LoadSRM loads the modules (.srm) that lie beside the root file system.
	// HTTP roots have none.
	LoadSRM bool
	// AnyInterface leaves it to the initramfs to find the network interface; see
	// [Entry].AnyInterface.
	AnyInterface bool

	// NFSOptions are mount options of an NFS root, in klibc's words: port=,
	// rsize=, wsize=, timeo=, retrans=, acregmin=, acregmax=, acdirmin=,
	// acdirmax=, soft, hard, nolock, v2, v3, tcp, udp, ro and their kind.
	NFSOptions []string

	// Keymap is the keyboard, as "de"; empty: US.
	Keymap string
	// RootPassword sets root's password in clear text: prefer RootCryptPass.
	// Letters, digits and "-._~:/@%+=,".
	RootPassword string
	// RootCryptPass sets root's password by its hash, as crypt(5) writes it:
	// "$6$salt$hash".
	RootCryptPass string
	// RootShell is root's shell, as "/bin/zsh".
	RootShell string
	// NoFirewall turns off the firewall, which otherwise drops all that comes
	// in, ssh included.
	NoFirewall bool
	// NoAutologin asks for a password on the console.
	NoAutologin bool
	// StartX starts the graphical desktop.
	StartX bool
	// StartVNC starts a VNC server, whose password is VNCPassword: six
	// characters or more, letters, digits and "-._~:/@%+=,".
	StartVNC    bool
	VNCPassword string
	// Consoles are where the kernel's messages go, the last one being
	// /dev/console: "tty0", "ttyS0,115200n8". Empty: the screen.
	Consoles []string
	// NoModeset keeps to the graphics mode of the firmware.
	NoModeset bool
	// NoMDLVM leaves software RAID and logical volumes alone.
	NoMDLVM bool

	// Config are sources of SystemRescue's YAML configuration, later ones
	// winning: an http:// or https:// URL, which is the only way in with an HTTP
	// root; an absolute path inside the initramfs; or a name in sysrescue.d on
	// the medium. Note that Checksum works from here only, not from YAML.
	Config []string
	// Autorun is where scripts to run come from.
	Autorun Autorun

	// Extra are further kernel parameters. Those that a field or a renderer makes,
	// those that name a local medium, and those that SystemRescue gave up long
	// ago, are refused.
	Extra []string
}

// Autorun says which scripts SystemRescue runs after it has come up.
type Autorun struct {
	// Source is the directory to look in: an http, https or nfs URL, a Samba
	// share ("//host/share"), or a device; empty: the medium.
	Source string
	// Suffixes are the scripts to run, "0" to "9" and "A" to "F"; empty: all.
	Suffixes []string
	// Attempts is how often a download is tried; zero: SystemRescue's own
	// number.
	Attempts int
	// Disable runs none at all.
	Disable bool
	// NoWait, IgnoreFail and NoDelete do not wait for a key afterwards, go on
	// after a failed script, and leave the downloaded scripts in place.
	NoWait, IgnoreFail, NoDelete bool
}

// CopyMode says whether the root file system is copied into the machine's
// memory, so that it can do without the server afterwards.
type CopyMode uint8

// The modes.
const (
	// CopyAuto leaves it to the system: those with archiso's initramfs copy
	// whatever comes by network, the others what comes by HTTP and TFTP.
	CopyAuto CopyMode = iota
	// CopyAlways asks for the copy.
	CopyAlways
	// CopyNever uses the server as long as the machine runs. It works by NFS;
	// by NBD newer clients hang; by HTTP and TFTP there is always a copy.
	CopyNever
)

// baseDir returns the directory of the medium.
func (s *SystemRescue) baseDir() string {
	if s.BaseDir == "" {
		return "sysresccd"
	}
	return s.BaseDir
}

// arch returns the architecture of the medium.
func (s *SystemRescue) arch() string {
	if s.Arch == "" {
		return "x86_64"
	}
	return s.Arch
}

// kernel returns the name of the kernel.
func (s *SystemRescue) kernel() string { return s.baseDir() + "/boot/" + s.arch() + "/vmlinuz" }

// initrds returns the names of the initrds, microcode first, as the kernel
// wants it.
func (s *SystemRescue) initrds() []string {
	if s.Initrds != nil {
		return s.Initrds
	}
	return []string{
		s.baseDir() + "/boot/intel_ucode.img",
		s.baseDir() + "/boot/amd_ucode.img",
		s.baseDir() + "/boot/" + s.arch() + "/sysresccd.img",
	}
}
