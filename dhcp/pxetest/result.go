package pxetest

import (
	"net"
	"net/netip"
	"time"
)

// Boot is what a machine went through. After an error it holds what happened
// until then.
type Boot struct {
	// Leases are the DHCP exchanges in order: the firmware's, that of an iPXE that
	// was loaded, the initramfs'.
	Leases []Lease
	// Loader is the name of the first network boot program, as DHCP gave it; for
	// firmware that is iPXE already, the name of its script.
	Loader string
	// Config is the name under which the loader found its configuration or script:
	// a TFTP name or a URL.
	Config string
	// Entry is the menu entry that was booted: the label that the loader uses.
	// Empty without a menu.
	Entry string
	// Local says that the machine was told to boot its own disk. Nothing below is
	// set then.
	Local bool

	Kernel  File
	Initrds []File
	// CommandLine is what the kernel gets; Params are its blank-separated words,
	// where blanks inside double quotes do not separate.
	CommandLine string
	Params      []string
	// Root is the root file system that the initramfs reached. The zero Root: the
	// parameters are not those of an archiso initramfs (SystemRescue's), so the
	// machine's further life is not played.
	Root Root

	// Files is all that was fetched, in order.
	Files []File
	// Missing is what was asked for and answered "not found", in order: loaders
	// probe. An iPXE that UEFI firmware has loaded asks for autoexec.ipxe beside
	// itself and is best told that there is none: see ErrAutoexec.
	Missing []string
}

// Lease is the outcome of one DHCP exchange.
type Lease struct {
	Client     string // who asked: "firmware", "iPXE", "initramfs"
	Addr       netip.Prefix
	Server     netip.Addr // option 54
	NextServer netip.Addr // siaddr; the zero Addr: none was given
	// BootFile is what the client was told to boot, by Server or by Proxy.
	BootFile string
	// Proxy is who told BootFile and NextServer where that is not Server: a
	// proxyDHCP server, or a boot server at port 4011 (which may have the address of
	// Server). The zero Addr: Server did.
	Proxy    netip.Addr
	Routers  []netip.Addr
	DNS      []netip.Addr
	HostName string
	Domain   string
	Duration time.Duration
	// Options are the raw options of the DHCPACK by their codes, ProxyOptions those
	// of what Proxy sent.
	Options, ProxyOptions map[uint8][]byte

	file      string     // the header's, which is all that shim reads
	ackServer netip.Addr // siaddr of the DHCPACK, which is all that GRUB reads
}

// option is an option of the one who told the boot file, else of the DHCP server.
func (l *Lease) option(code uint8) []byte {
	if o, ok := l.ProxyOptions[code]; ok {
		return o
	}
	return l.Options[code]
}

// File is a file that was fetched to its end.
type File struct {
	Name     string // as it was asked for: a TFTP name, or a URL for HTTP
	Protocol string // "tftp" or "http"
	Stage    Stage
	Size     int64
	SHA256   string // hexadecimal
	Duration time.Duration
}

// Root is the root file system.
type Root struct {
	// Transport is "http", "https", "tftp", "nfs" or "nbd". An NFS export is only
	// looked at: the machine stops, successfully, where it would mount it; so is
	// an NBD export on a computer that is not there. Else it is read, whole.
	Transport string
	URL       string // of airootfs.sfs, of the export
	Bytes     int64
	SHA512    string // hexadecimal; of what was fetched
	Verified  bool   // against airootfs.sha512, by the parameter checksum
}

// Stage names a part of a boot.
type Stage string

// The stages, in the order of a boot. Discover to Script come once more for an
// iPXE that was loaded; a chain of scripts repeats Script.
const (
	StageDiscover Stage = "discover" // DISCOVER sent, until an acceptable OFFER
	StageLease    Stage = "lease"    // REQUEST sent, until the ACK
	// StageBootServer is the question at port 4011, where an OFFER led there.
	StageBootServer Stage = "boot server"
	StageLoader     Stage = "loader" // network boot program and its modules
	StageConfig     Stage = "config" // the loader's configuration or script
	StageMenu       Stage = "menu"   // an entry is chosen
	StageKernel     Stage = "kernel"
	StageInitrd     Stage = "initrd"
	StageStart      Stage = "start"   // the kernel and its initramfs read the command line
	StageNetwork    Stage = "network" // the initramfs' own DHCP exchange
	StageRoot       Stage = "root"    // airootfs.sfs
	StageChecksum   Stage = "checksum"
)

// Step tells of progress: see Machine.Observe.
type Step struct {
	Machine net.HardwareAddr
	Stage   Stage
	Name    string // the file, the DHCP client, the menu entry
	Bytes   int64  // so far
	Total   int64  // -1 where unknown
	Done    bool
	Err     error // the stage ended with it
}
