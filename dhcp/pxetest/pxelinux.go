package pxetest

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"strings"
)

// pxelinux is PXELINUX at work after it was loaded. It makes no DHCP exchange of
// its own: it lives on the firmware's.
type pxelinuxLoader struct {
	*run
	agent  agent
	server netip.Addr
	prefix string // put before names, as a text
	parser pxelinuxParser
}

// pxelinux runs the loader that came from at.
func (r *run) pxelinux(at source, http bool) error {
	l := &pxelinuxLoader{run: r, agent: pxelinuxAgent(http)}
	server, err := hostPort(at.url, 0)
	if err != nil {
		return err
	}
	l.server = server.Addr()
	// Beside itself, unless option 210 says otherwise (RFC 5071 section 5).
	l.prefix = at.String()[:strings.LastIndexByte(at.String(), '/')+1]
	if p := r.lease.option(optPathPrefix); len(p) > 0 {
		l.prefix = strings.TrimRight(string(p), "\x00")
	}
	if err := l.module("ldlinux.c32"); err != nil {
		return err
	}
	if err := l.configure(); err != nil {
		return err
	}
	label, err := l.choose()
	if err != nil {
		return err
	}
	return l.load(label)
}

// source finds a file: URLs as they are, "::name" on the server's root, all else
// behind the prefix.
func (l *pxelinuxLoader) source(name string) (source, error) {
	if rest, ok := strings.CutPrefix(name, "::"); ok {
		return tftpSource(l.server, rest), nil
	}
	if host, rest, ok := strings.Cut(name, "::"); ok {
		if addr, err := netip.ParseAddr(host); err == nil {
			return tftpSource(addr, rest), nil
		}
	}
	if !isURL(name) {
		name = l.prefix + name
	}
	if isURL(name) {
		return parseSource(name)
	}
	return tftpSource(l.server, name), nil
}

// module loads a program of Syslinux itself, from the first directory that has it.
func (l *pxelinuxLoader) module(name string) error {
	for _, d := range []string{"", "/boot/isolinux/", "/isolinux/", "/boot/syslinux/", "/syslinux/", "/"} {
		at, err := l.source(d + name)
		if err != nil {
			return err
		}
		_, err = l.fetch(l.agent, StageLoader, at, nil)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return fmt.Errorf("%w: %s is not beside it: %w", ErrLoader, name, fs.ErrNotExist)
}

// configure tries the names of the configuration in turn.
func (l *pxelinuxLoader) configure() error {
	l.step(Step{Stage: StageConfig, Total: -1})
	var names []string
	if f := l.lease.option(optConfigFile); len(f) > 0 {
		names = append(names, strings.TrimRight(string(f), "\x00"))
	}
	names = append(names,
		"pxelinux.cfg/"+uuidText(l.uuid),
		"pxelinux.cfg/01-"+strings.ReplaceAll(l.m.HardwareAddr.String(), ":", "-"))
	ip := fmt.Sprintf("%X", l.lease.Addr.Addr().AsSlice())
	for n := len(ip); n > 0; n-- {
		names = append(names, "pxelinux.cfg/"+ip[:n])
	}
	names = append(names, "pxelinux.cfg/default")
	for _, name := range names {
		at, err := l.source(name)
		if err != nil {
			return err
		}
		text, err := l.fetchText(l.agent, StageConfig, at)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		l.boot.Config = at.String()
		l.parser.include = func(name string) (string, error) {
			at, err := l.source(name)
			if err != nil {
				return "", err
			}
			return l.fetchText(l.agent, StageConfig, at)
		}
		return l.parser.parse(at.String(), text, 0)
	}
	return fmt.Errorf("%w: pxelinux tried %s", ErrNoConfig, strings.Join(names, ", "))
}

// choose is the screen: a menu module or the prompt, and what the person or the
// timeout picks.
func (l *pxelinuxLoader) choose() (*pxelinuxLabel, error) {
	c := &l.parser.pxelinuxConfig
	if len(c.labels) == 0 {
		return nil, fmt.Errorf("%w: %s has no LABEL", ErrConfig, l.boot.Config)
	}
	ui, _ := cutWord(c.ui)
	def := c.def
	if name, _ := cutWord(def); ui == "" && isModule(name) && c.label(name) == nil {
		ui, def = name, "" // the way before UI existed
	}
	if c.display != "" {
		at, err := l.source(c.display)
		if err != nil {
			return nil, err
		}
		// Text on the screen; pxelinux goes on without it.
		if _, err := l.fetch(l.agent, StageMenu, at, nil); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if ui != "" {
		if err := l.menuModule(ui); err != nil {
			return nil, err
		}
		if c.menuDefault != "" {
			def = c.menuDefault
		}
		if def == "" {
			def = c.labels[0].name
		}
	}
	def, _ = cutWord(def)
	var items []menuItem
	for _, label := range c.labels {
		items = append(items, menuItem{name: label.name, title: label.title})
	}
	asks := c.prompt || ui != ""
	name := def
	if asks {
		if c.onTimeout != "" && c.timeout > 0 && l.m.Choose == "" {
			def, _ = cutWord(c.onTimeout)
		}
		var err error
		if name, err = l.pick(items, def, c.timeout); err != nil {
			return nil, err
		}
	}
	label := c.label(name)
	if label == nil {
		return nil, fmt.Errorf("%w: pxelinux has no LABEL %q to boot (DEFAULT or UI missing?)", ErrNoChoice, name)
	}
	return label, nil
}

// menuModule loads the module that draws the menu, and the libraries it needs.
func (l *pxelinuxLoader) menuModule(ui string) error {
	modules := []string{ui}
	dir := ui[:len(ui)-len(path.Base(ui))]
	switch path.Base(ui) {
	case "vesamenu.c32":
		modules = append(modules, dir+"libcom32.c32", dir+"libutil.c32")
	case "menu.c32":
		modules = append(modules, dir+"libutil.c32")
	}
	for _, m := range modules {
		if err := l.module(m); err != nil {
			return err
		}
	}
	return nil
}

// load fetches what a label names and makes the command line.
func (l *pxelinuxLoader) load(label *pxelinuxLabel) error {
	if label.local {
		l.boot.Local = true
		return nil
	}
	if label.kernel == "" || label.module {
		return fmt.Errorf("%w: the label %q boots %q, which is no Linux kernel", ErrConfig, label.name, label.kernel)
	}
	args := label.append
	if !label.hasAppend {
		args = l.parser.append
	}
	if args == "-" {
		args = ""
	}
	line := strings.TrimSpace("BOOT_IMAGE=" + label.kernel + " " + args)
	initrds := label.initrd
	for _, word := range strings.Fields(args) {
		if v, ok := strings.CutPrefix(word, "initrd="); ok && initrds == "" {
			initrds = v
		}
	}
	if label.initrd != "" {
		line += " initrd=" + label.initrd
	}
	sys := label.sysAppend
	if sys < 0 {
		sys = l.parser.sysAppend
	}
	if s := l.sysAppend(sys); s != "" {
		line += " " + s
	}
	kernel, err := l.source(label.kernel)
	if err != nil {
		return err
	}
	if l.boot.Kernel, err = l.fetch(l.agent, StageKernel, kernel, nil); err != nil {
		return err
	}
	for name := range strings.SplitSeq(initrds, ",") {
		if name == "" {
			continue
		}
		at, err := l.source(name)
		if err != nil {
			return err
		}
		f, err := l.fetch(l.agent, StageInitrd, at, nil)
		if err != nil {
			return err
		}
		l.boot.Initrds = append(l.boot.Initrds, f)
	}
	l.boot.CommandLine = line
	return nil
}

// sysAppend is what SYSAPPEND adds for the bits that concern the network.
func (l *pxelinuxLoader) sysAppend(bits int) string {
	var words []string
	if bits&1 != 0 {
		gateway := netip.IPv4Unspecified()
		if len(l.lease.Routers) > 0 {
			gateway = l.lease.Routers[0]
		}
		words = append(words, fmt.Sprintf("ip=%v:%v:%v:%v", l.lease.Addr.Addr(), l.server, gateway, maskOf(l.lease.Addr.Bits())))
	}
	if bits&2 != 0 {
		words = append(words, "BOOTIF=01-"+strings.ReplaceAll(l.m.HardwareAddr.String(), ":", "-"))
	}
	if bits&4 != 0 {
		words = append(words, "SYSUUID="+uuidText(l.uuid))
	}
	return strings.Join(words, " ")
}

// maskOf is a prefix length as an address.
func maskOf(bits int) netip.Addr {
	p, _ := broadcastAddr().Prefix(bits)
	return p.Addr()
}
