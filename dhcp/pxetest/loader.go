package pxetest

import (
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"strings"
)

// loaderKind is a boot program, told by its name: this machine does not execute
// the bytes that it fetched, so a test may serve any.
type loaderKind int

const (
	loaderUnknown loaderKind = iota
	loaderPXELinux
	loaderLPXELinux
	loaderIPXEBIOS
	loaderIPXEUEFI
)

func kindOfLoader(name string) loaderKind {
	base := strings.ToLower(path.Base(name))
	ipxe := strings.Contains(base, "ipxe") || strings.Contains(base, "undionly") || strings.Contains(base, "snponly")
	switch ext := path.Ext(base); {
	case base == "pxelinux.0":
		return loaderPXELinux
	case base == "lpxelinux.0":
		return loaderLPXELinux
	case ipxe && ext == ".efi":
		return loaderIPXEUEFI
	case ipxe && (ext == ".kpxe" || ext == ".kkpxe" || ext == ".kkkpxe" || ext == ".pxe" || ext == ".0"):
		return loaderIPXEBIOS
	}
	return loaderUnknown
}

// nextServer is where a plain boot file name is to be had.
func (r *run) nextServer() netip.Addr {
	if r.lease.NextServer.IsValid() {
		return r.lease.NextServer
	}
	return r.lease.Server
}

// romBootFile is the PXE firmware: it loads one program by TFTP and starts it.
func (r *run) romBootFile() error {
	name := r.lease.BootFile
	r.step(Step{Stage: StageLoader, Name: name, Total: -1})
	if isURL(name) {
		return fmt.Errorf("%w: %q is a URL, PXE firmware loads by TFTP", ErrLoader, name)
	}
	kind := kindOfLoader(name)
	bios := kind == loaderPXELinux || kind == loaderLPXELinux || kind == loaderIPXEBIOS
	switch {
	case kind == loaderUnknown:
		return fmt.Errorf("%w: %q is no loader that this machine knows (pxelinux.0, lpxelinux.0, undionly.kpxe, ipxe.efi, snponly.efi)", ErrLoader, name)
	case r.m.Firmware.uefi() && bios:
		return fmt.Errorf("%w: %q is a program for BIOSes, not for UEFI", ErrLoader, name)
	case !r.m.Firmware.uefi() && !bios:
		return fmt.Errorf("%w: %q is a program for UEFI, not for BIOSes", ErrLoader, name)
	}
	at := tftpSource(r.nextServer(), name)
	a := romAgent(r.m.Firmware)
	c, err := r.tftp(a, at)
	if err != nil {
		return err
	}
	// The size first: UEFI to allocate, ROMs to check. They end it differently.
	code := uint16(0)
	if r.m.Firmware.uefi() {
		code = tftpOptionRefused
	}
	size, err := c.probe(r.ctx, name, code)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	f, err := r.fetch(a, StageLoader, at, nil)
	if err != nil {
		return err
	}
	if f.Size == 0 || size >= 0 && size != f.Size {
		return fmt.Errorf("%w: %q has %d bytes, its size was told as %d", ErrLoader, name, f.Size, size)
	}
	if kind == loaderPXELinux || kind == loaderLPXELinux {
		return r.pxelinux(at, kind == loaderLPXELinux)
	}
	r.ipxe = true
	if kind == loaderIPXEUEFI {
		if done, err := r.autoexec(at); done || err != nil {
			return err
		}
	}
	if err := r.dhcp(exchangeOf(r.m.Firmware, true, r.m.HardwareAddr, r.uuid), StageDiscover, StageLease); err != nil {
		return err
	}
	return r.ipxeBootFile()
}

// autoexecName is the script that iPXE for UEFI looks for beside itself.
const autoexecName = "autoexec.ipxe"

// autoexec is what iPXE for UEFI does first since 2021: while it still has the
// firmware's network stack it fetches autoexec.ipxe by TFTP, and runs it instead
// of anything else that it would do. It has no address then, so a script that
// does not ask for one with its first command cannot go on. Without the file, or
// if fetching it fails, iPXE goes its usual way.
func (r *run) autoexec(loader source) (done bool, err error) {
	at := tftpSource(r.nextServer(), loader.name[:strings.LastIndexByte(loader.name, '/')+1]+autoexecName)
	text, err := r.fetchText(romAgent(r.m.Firmware), StageConfig, at)
	switch {
	case r.ctx.Err() != nil:
		return true, err
	case err != nil:
		return false, nil
	}
	if first := firstCommand(text); !isIPXEScript(text) || first != "dhcp" && first != "ifconf" {
		return true, fmt.Errorf("%w: %q", ErrAutoexec, at)
	}
	r.boot.Config = at.String()
	return true, r.ipxeScript(text, at)
}

// ipxeBootFile is iPXE after its DHCP exchange.
func (r *run) ipxeBootFile() error {
	name := r.lease.BootFile
	if !isURL(name) {
		return r.ipxeLoad(tftpSource(r.nextServer(), name))
	}
	at, err := parseSource(name)
	if err != nil {
		return err
	}
	return r.ipxeLoad(at)
}

// ipxeLoad is iPXE executing a file that is not known to be a kernel.
func (r *run) ipxeLoad(at source) error {
	r.stage = StageLoader
	switch kind := kindOfLoader(at.url.Path); {
	case kind == loaderIPXEBIOS || kind == loaderIPXEUEFI:
		return fmt.Errorf("%w: iPXE is told to load iPXE again, %q: a server must give it a script", ErrChainLoop, at)
	case kind != loaderUnknown && r.m.Firmware.uefi():
		return fmt.Errorf("%w: %q is a program for BIOSes, not for UEFI", ErrLoader, at)
	case kind != loaderUnknown:
		if _, err := r.fetch(ipxeAgent(), StageLoader, at, nil); err != nil {
			return err
		}
		return r.pxelinux(at, kind == loaderLPXELinux)
	}
	text, err := r.fetchText(ipxeAgent(), StageConfig, at)
	if err != nil {
		return err
	}
	if !isIPXEScript(text) {
		return fmt.Errorf("%w: %q is not an iPXE script: it does not begin with #!ipxe", ErrLoader, at)
	}
	r.boot.Config = at.String()
	return r.ipxeScript(text, at)
}

// join resolves a reference against where a script came from.
func join(base *url.URL, ref string) (source, error) {
	u, err := base.Parse(ref)
	if err != nil {
		return source{}, fmt.Errorf("%w: %q is not a URL", ErrTransfer, ref)
	}
	return urlSource(u)
}
