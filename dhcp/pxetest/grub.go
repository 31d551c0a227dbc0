package pxetest

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// shim runs shim, which loads grubx64.efi from beside itself. It knows the place
// from what DHCP said, and of that it reads the header alone: a boot file that came
// in option 67 only has no directory for it, and without siaddr it has no server.
func (r *run) shim(at source) error {
	dir := at
	if at.url.Scheme == "tftp" {
		if !r.lease.NextServer.IsValid() {
			return fmt.Errorf("%w: shim reads its server from siaddr, which is empty", ErrLoader)
		}
		dir = tftpSource(r.lease.NextServer, r.lease.file)
	}
	a := r.firmwareAgent()
	for _, name := range []string{"revocations_sku.efi", "revocations_sbat.efi", "shim_certificate_0.efi"} {
		at, err := dir.beside(name)
		if err != nil {
			return err
		}
		// They add to what it trusts or distrusts; without them it goes on.
		if _, err := r.fetch(a, StageLoader, at, nil); err != nil && r.ctx.Err() != nil {
			return err
		}
	}
	second, err := dir.beside("grub" + r.m.Firmware.efiArch() + ".efi")
	if err != nil {
		return err
	}
	f, err := r.fetch(a, StageLoader, second, nil)
	if err != nil {
		if r.lease.file == "" && at.url.Scheme == "tftp" {
			err = fmt.Errorf("%w (shim reads the boot file from the header alone, and that has none)", err)
		}
		return err
	}
	if f.Size == 0 {
		return fmt.Errorf("%w: %q is empty", ErrLoader, second)
	}
	return r.grub(second, true)
}

// grubLoader is GRUB at work after it was loaded. It makes no DHCP exchange of its
// own.
type grubLoader struct {
	*run
	// signed: a distribution's image for Secure Boot. It has no http, loads no
	// modules, and looks for one configuration only.
	signed bool
	root   string // the device, as "tftp,192.0.2.1"
	shell  *grubShell
}

// grubAgent is GRUB's TFTP and HTTP.
func grubAgent() agent {
	return agent{blockSize: 1024, tries: 6, wait: 2 * time.Second, http: &httpClient{
		version: "1.1", headers: "User-Agent: GRUB 2.06\r\n", chunked: true}}
}

// grub runs GRUB. Where its files are it knows from siaddr of the DHCPACK: the one
// of upstream and of Debian does not look at a proxy's OFFER.
func (r *run) grub(at source, signed bool) error {
	g := &grubLoader{run: r, signed: signed, root: "http," + at.url.Host}
	if at.url.Scheme == "tftp" {
		if !r.lease.ackServer.IsValid() {
			return fmt.Errorf("%w: GRUB reads its server from siaddr of the DHCPACK, which is empty", ErrLoader)
		}
		g.root = "tftp," + r.lease.ackServer.String()
	}
	if at.url.Scheme != "tftp" && signed {
		return fmt.Errorf("%w: %q: a signed GRUB has no http", ErrLoader, at)
	}
	g.shell = newGRUBShell(g)
	platform := map[string]string{"x64": "x86_64-efi", "ia32": "i386-efi", "aa64": "arm64-efi"}[r.m.Firmware.efiArch()]
	g.shell.set("grub_platform", "efi")
	g.shell.set("grub_cpu", strings.TrimSuffix(platform, "-efi"))
	g.shell.set("root", g.root)
	g.shell.set("prefix", "("+g.root+")/grub")
	g.shell.set("net_default_ip", g.lease.Addr.Addr().String())
	g.shell.set("net_default_mac", g.m.HardwareAddr.String())
	if g.lease.ackServer.IsValid() {
		g.shell.set("net_default_server", g.lease.ackServer.String())
	}
	for _, name := range []string{"command", "fs", "crypto", "terminal"} {
		at, err := g.source("/grub/" + platform + "/" + name + ".lst")
		if err != nil {
			return err
		}
		if _, err := r.fetch(grubAgent(), StageLoader, at, nil); err != nil && r.ctx.Err() != nil {
			return err
		}
	}
	return g.configure()
}

// configure tries the names of the configuration in turn. A signed image knows the
// last alone.
func (g *grubLoader) configure() error {
	g.step(Step{Stage: StageConfig, Total: -1})
	var names []string
	if !g.signed {
		names = append(names, "grub.cfg-01-"+strings.ReplaceAll(g.m.HardwareAddr.String(), ":", "-"))
		ip := fmt.Sprintf("%X", g.lease.Addr.Addr().AsSlice())
		for n := len(ip); n > 0; n-- {
			names = append(names, "grub.cfg-"+ip[:n])
		}
	}
	names = append(names, "grub.cfg")
	for _, name := range names {
		at, err := g.source("/grub/" + name)
		if err != nil {
			return err
		}
		text, err := g.fetchText(grubAgent(), StageConfig, at)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		g.boot.Config = at.String()
		return g.shell.run(at.String(), text)
	}
	return fmt.Errorf("%w: GRUB tried %s in /grub of %s", ErrNoConfig, strings.Join(names, ", "), g.root)
}

// source finds a file: "(device)/path", or a path on the root device.
func (g *grubLoader) source(name string) (source, error) {
	device := g.shell.vars["root"]
	if strings.HasPrefix(name, "(") {
		var ok bool
		if device, name, ok = strings.Cut(name[1:], ")"); !ok {
			return source{}, fmt.Errorf("%w: %q lacks the )", ErrConfig, name)
		}
	}
	protocol, host, ok := strings.Cut(device, ",")
	if !ok {
		host = g.shell.vars["net_default_server"]
	}
	switch {
	case !strings.HasPrefix(name, "/"):
		return source{}, fmt.Errorf("%w: %q is no absolute path", ErrConfig, name)
	case protocol == "http" && (g.signed || !g.shell.modules["http"]):
		return source{}, fmt.Errorf("%w: (%s)%s: this GRUB has no http", ErrTransfer, device, name)
	case protocol != "tftp" && protocol != "http":
		return source{}, fmt.Errorf("%w: (%s)%s: the device is neither tftp,ADDRESS nor http,ADDRESS", ErrConfig, device, name)
	}
	at, err := parseSource(protocol + "://" + host)
	if err != nil {
		return source{}, err
	}
	// GRUB puts the path into the request as it is: it escapes nothing.
	if strings.ContainsAny(name, " \t\r\n") && protocol == "http" {
		return source{}, fmt.Errorf("%w: (%s)%s: GRUB does not escape blanks in HTTP requests", ErrTransfer, device, name)
	}
	if at.url.Path, at.url.RawPath = name, ""; protocol == "http" {
		if u, err := at.url.Parse(name); err == nil {
			at.url = u
		}
	}
	at.name = name
	return at, nil
}
