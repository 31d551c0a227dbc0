package pxe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"slices"

	"github.com/pxekit/pxe/bootcfg"
	"github.com/pxekit/pxe/rootfs"
)

// SystemRescue boots SystemRescue from the Server's Files with the root file
// system that the Server's Root offers. Its fields are those of
// [bootcfg.SystemRescue]; the zero value boots the medium's defaults.
type SystemRescue bootcfg.SystemRescue

// Archiso, LiveBoot and Dracut boot other systems in the same way: live media of
// Arch Linux and its kind, of Debian and its kind, and systems whose initramfs
// was made by dracut. Their fields are those of the types of package bootcfg.
type (
	Archiso  bootcfg.Archiso
	LiveBoot bootcfg.LiveBoot
	Dracut   bootcfg.Dracut
)

// Boot returns the same menu to every machine, but for the addresses in it.
func (s SystemRescue) Boot(_ context.Context, m *Machine) (*bootcfg.Menu, error) {
	system := bootcfg.SystemRescue(s)
	m.mount(&system.NFSOptions, &system.CopyToRAM)
	return m.menu(system.Menu)
}

// Boot returns the same menu to every machine, but for the addresses in it.
func (a Archiso) Boot(_ context.Context, m *Machine) (*bootcfg.Menu, error) {
	system := bootcfg.Archiso(a)
	m.mount(&system.NFSOptions, &system.CopyToRAM)
	return m.menu(system.Menu)
}

// Boot returns the same menu to every machine, but for the addresses in it.
func (l LiveBoot) Boot(_ context.Context, m *Machine) (*bootcfg.Menu, error) {
	system := bootcfg.LiveBoot(l)
	m.mount(&system.NFSOptions, &system.CopyToRAM)
	if m.Root != nil && m.Root.Scheme == "nfs" && !m.Mount.Live && system.CopyToRAM == bootcfg.CopyAuto {
		system.CopyToRAM = bootcfg.CopyAlways // unlike the others it would stay mounted
	}
	return m.menu(system.Menu)
}

// Boot returns the same menu to every machine, but for the addresses in it.
func (d Dracut) Boot(_ context.Context, m *Machine) (*bootcfg.Menu, error) {
	system := bootcfg.Dracut(d)
	m.mount(&system.NFSOptions, &system.CopyToRAM)
	return m.menu(system.Menu)
}

// errNoRoot is a mistake that every machine would meet.
var errNoRoot = errors.New("the system needs a root file system: set the Server's Root, for example to &rootfs.HTTP{}")

// mount adds what the Server's Root asks of a system that mounts from there.
func (m *Machine) mount(nfsOptions *[]string, mode *bootcfg.CopyMode) {
	*nfsOptions = slices.Concat(m.Mount.NFS, *nfsOptions)
	if m.Mount.Live && *mode == bootcfg.CopyAuto {
		*mode = bootcfg.CopyNever
	}
}

// menu is a system's menu for this machine.
func (m *Machine) menu(of func(root *url.URL) (*bootcfg.Menu, error)) (*bootcfg.Menu, error) {
	if m.Root == nil {
		return nil, errNoRoot
	}
	return of(m.Root)
}

// checkSystem reports what no machine could boot with, given the Server's Root, if
// the Booter, or one of a BootOnce, is one of this package's.
func (s *Server) checkSystem() error {
	if once, ok := s.Booter.(*BootOnce); ok {
		return errors.Join(s.checkBooter(once.Once), s.checkBooter(once.Otherwise))
	}
	return s.checkBooter(s.Booter)
}

func (s *Server) checkBooter(booter Booter) error {
	switch booter.(type) {
	case SystemRescue, *SystemRescue, Archiso, *Archiso, LiveBoot, *LiveBoot, Dracut, *Dracut:
	default:
		return nil
	}
	sample := Machine{
		HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}, BootID: newBootID(),
		Addr: netip.AddrFrom4([4]byte{192, 0, 2, 2}), ServerAddr: netip.AddrFrom4([4]byte{192, 0, 2, 1}),
	}
	target := rootfs.Target{
		Server: sample.ServerAddr, Machine: sample.Addr, BootID: sample.BootID,
		HTTP: namedBase("http", sample, 80, 80),
		TFTP: namedBase("tftp", sample, 69, 69),
		NBD:  netip.AddrPortFrom(sample.ServerAddr, s.nbdPort()),
	}
	if s.TLS != nil {
		target.HTTPS = namedBase("https", sample, 443, 443)
	}
	if err := locateRoot(s.Root, &sample, target); err != nil {
		var elsewhere *rootfs.TargetError
		if errors.As(err, &elsewhere) && !s.ownRoot() {
			return nil // it may have its reasons against a machine that is invented
		}
		return err
	}
	_, err := booter.Boot(context.Background(), &sample)
	return err
}

// ownRoot says whether the Root is one of this module's.
func (s *Server) ownRoot() bool {
	switch s.Root.(type) {
	case rootfs.HTTP, *rootfs.HTTP, rootfs.TFTP, *rootfs.TFTP, rootfs.NFS, *rootfs.NFS,
		*rootfs.NBD, rootfs.RemoteNBD, *rootfs.RemoteNBD:
		return true
	}
	return false
}
