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
	loaderShim
	loaderGRUB
)

func kindOfLoader(name string) loaderKind {
	base := strings.ToLower(path.Base(name))
	ipxe := strings.Contains(base, "ipxe") || strings.Contains(base, "undionly") || strings.Contains(base, "snponly")
	switch ext := path.Ext(strings.TrimSuffix(base, ".signed")); {
	case strings.HasPrefix(base, "shim") && ext == ".efi":
		return loaderShim
	case strings.HasPrefix(base, "grub") && ext == ".efi":
		return loaderGRUB
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
	if r.lease.Proxy.IsValid() {
		return r.lease.Proxy
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
	if err := r.fits(name); err != nil {
		return err
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
	return r.startLoader(at)
}

// fits says what is wrong with a program for this firmware, as far as its name
// tells.
func (r *run) fits(name string) error {
	kind := kindOfLoader(name)
	bios := kind == loaderPXELinux || kind == loaderLPXELinux || kind == loaderIPXEBIOS
	switch {
	case kind == loaderUnknown:
		return fmt.Errorf("%w: %q is no loader that this machine knows (pxelinux.0, lpxelinux.0, undionly.kpxe, ipxe.efi, snponly.efi, shimx64.efi, grubx64.efi)", ErrLoader, name)
	case r.m.Firmware.uefi() && bios:
		return fmt.Errorf("%w: %q is a program for BIOSes, not for UEFI", ErrLoader, name)
	case !r.m.Firmware.uefi() && !bios:
		return fmt.Errorf("%w: %q is a program for UEFI, not for BIOSes", ErrLoader, name)
	case bios:
		return nil
	}
	// A name that tells no processor fits all: the bytes are not looked at.
	if arch := efiArchOf(name); arch != "" && arch != r.m.Firmware.efiArch() {
		return fmt.Errorf("%w: %q is a program for %s, the firmware is %s", ErrLoader, name, arch, r.m.Firmware.efiArch())
	}
	return nil
}

// efiArchOf is the processor that the name of a UEFI program tells; "" if it tells
// none.
func efiArchOf(name string) string {
	base := strings.ToLower(path.Base(name))
	for _, a := range []struct{ part, arch string }{
		{"ia32", "ia32"}, {"i386", "ia32"}, {"aa64", "aa64"}, {"arm64", "aa64"}, {"x86_64", "x64"}, {"x64", "x64"},
	} {
		if strings.Contains(base, a.part) {
			return a.arch
		}
	}
	return ""
}

// startLoader runs the program that firmware has loaded from at.
func (r *run) startLoader(at source) error {
	switch kind := kindOfLoader(at.url.Path); kind {
	case loaderPXELinux, loaderLPXELinux:
		return r.pxelinux(at, kind == loaderLPXELinux)
	case loaderShim:
		return r.shim(at)
	case loaderGRUB:
		return r.grub(at, strings.Contains(at.url.Path, "grubnet") || strings.HasSuffix(at.url.Path, ".signed"))
	case loaderIPXEUEFI:
		r.ipxe = true
		if done, err := r.autoexec(at); done || err != nil {
			return err
		}
	}
	r.ipxe = true
	if err := r.dhcp(exchangeOf(r.m.Firmware, true, r.m.HardwareAddr, r.uuid), StageDiscover, StageLease); err != nil {
		return err
	}
	return r.ipxeBootFile()
}

// autoexecName is the script that iPXE for UEFI looks for beside itself.
const autoexecName = "autoexec.ipxe"

// autoexec is what iPXE for UEFI does first since 2021: while it still has the
// firmware's network stack it fetches autoexec.ipxe from beside itself, and runs it
// instead of anything else that it would do. It has no address then, so a script
// that does not ask for one with its first command cannot go on. Without the file,
// or if fetching it fails, iPXE goes its usual way.
func (r *run) autoexec(loader source) (done bool, err error) {
	at, err := loader.beside(autoexecName)
	if err != nil {
		return true, err
	}
	text, err := r.fetchText(r.firmwareAgent(), StageConfig, at)
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
	if name == "" {
		r.stage = StageLoader
		return &sawError{fmt.Errorf("%w: nothing to boot for iPXE", ErrNoBootFile), r.saw}
	}
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
	case kind != loaderUnknown:
		if err := r.fits(at.url.Path); err != nil {
			return err
		}
		if _, err := r.fetch(ipxeAgent(), StageLoader, at, nil); err != nil {
			return err
		}
		return r.startLoader(at)
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

// beside is another file in the directory of this one.
func (s source) beside(name string) (source, error) {
	if s.url.Scheme != "tftp" {
		return join(s.url, name)
	}
	server, err := netip.ParseAddr(s.url.Hostname())
	if err != nil {
		return source{}, fmt.Errorf("%w: the host in %s is no address", ErrTransfer, s.url)
	}
	return tftpSource(server, s.name[:strings.LastIndexByte(s.name, '/')+1]+name), nil
}

// firmwareAgent is what programs use that fetch by the firmware's own stack.
func (r *run) firmwareAgent() agent {
	if r.m.Firmware.http() {
		return httpBootAgent()
	}
	return romAgent(r.m.Firmware)
}

// join resolves a reference against where a script came from.
func join(base *url.URL, ref string) (source, error) {
	u, err := base.Parse(ref)
	if err != nil {
		return source{}, fmt.Errorf("%w: %q is not a URL", ErrTransfer, ref)
	}
	return urlSource(u)
}
