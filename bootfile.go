package pxe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"

	"github.com/pxekit/pxe/bootcfg"
	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/rootfs"
)

// scriptName is what an iPXE is told to run.
const scriptName = "boot.ipxe"

// bootFile answers the DHCP server's question what a network boot client loads
// next. The boot was opened when the message was received.
func (v *services) bootFile(ctx context.Context, r *dhcp.Request) (*dhcp.BootFile, error) {
	b := v.registry.ofMachine(r.HardwareAddr())
	if v.server.Booter == nil || len(r.HardwareAddr()) == 0 {
		return nil, nil
	}
	if b == nil {
		return nil, errors.New("the machine was forgotten: more machines came at once than MaxMachines")
	}
	menu, err := v.decide(ctx, b, r.YourAddr)
	if err != nil || menu == nil {
		return nil, err
	}
	file, err := v.chooseLoader(ctx, b, r)
	if err != nil {
		// The machine still gets its address, and says itself that there was no
		// boot file; the operator learns why.
		v.emit(b.event(Event{Stage: StageLoader, Err: err, Done: true}))
		return nil, nil
	}
	file.Style = b.treated().Style
	if item, asked := r.BootItem(); asked && (r.Destination == r.ServerID || !r.Destination.IsValid()) {
		// Whoever lists this server for a type means what it boots. A question to
		// all boot servers is for one that has this type of its own.
		file.Item = item.Type
	}
	return file, nil
}

// treated returns what is different for the machine of this boot.
func (b *boot) treated() Treatment {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.treatment
}

// decide asks the Booter, once per boot: an answer is kept, an error is not.
func (v *services) decide(ctx context.Context, b *boot, addr netip.Addr) (*bootcfg.Menu, error) {
	b.deciding.Lock()
	defer b.deciding.Unlock()
	b.mu.Lock()
	if addr.IsValid() { // a proxy does not know what another server gives
		b.machine.Addr = addr
	}
	decided, menu, machine := b.decided, b.menu, b.machine
	b.mu.Unlock()
	if decided {
		return menu, nil
	}
	v.emit(b.event(Event{Stage: StageBooter}))
	menu, err := v.ask(ctx, b, machine)
	done := Event{Stage: StageBooter, Done: true, Err: err}
	switch {
	case err != nil:
	case menu == nil:
		done.Name = "nothing to boot"
	default:
		done.Name = menu.Title
	}
	v.emit(b.event(done))
	return menu, err
}

func (v *services) ask(ctx context.Context, b *boot, m Machine) (*bootcfg.Menu, error) {
	ctx, cancel := context.WithTimeout(ctx, v.server.bootTimeout())
	defer cancel()
	if err := locateRoot(v.server.Root, &m, v.target(m)); err != nil {
		return nil, err
	}
	root := m.Root
	var treatment Treatment
	if v.server.Treat != nil {
		treatment = v.server.Treat(&m)
	}
	menu, err := v.server.Booter.Boot(ctx, &m)
	if err != nil {
		return nil, fmt.Errorf("asking the Booter: %w", err)
	}
	if menu != nil {
		if err := menu.Validate(); err != nil {
			return nil, fmt.Errorf("the Booter's menu: %w", err)
		}
		if len(menu.Files) > 0 && (treatment.Bases.HTTP != nil || treatment.Bases.TFTP != nil) {
			return nil, errors.New("the Booter's menu has Files of its own, which this server has, and Treat sends the machine to another one: leave its Bases nil, or put the files there")
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.menu, b.root, b.treatment, b.decided = menu, root, treatment, true
	return menu, nil
}

// target returns where this machine finds what we serve. All of it names the
// boot.
func (v *services) target(m Machine) rootfs.Target {
	t := rootfs.Target{Server: m.ServerAddr, Machine: m.Addr, BootID: m.BootID, HTTP: v.ownBases(m).HTTP}
	if v.httpsPort != 0 {
		t.HTTPS = namedBase("https", m, v.httpsPort, 443)
	}
	if v.tftpPort != 0 {
		t.TFTP = namedBase("tftp", m, v.tftpPort, 69)
	}
	if v.nbdPort != 0 {
		t.NBD = netip.AddrPortFrom(m.ServerAddr, v.nbdPort)
	}
	return t
}

// namedBase is a base that names the boot, so that a request tells which boot it
// belongs to through proxies and address translation.
func namedBase(scheme string, m Machine, port, standard uint16) *url.URL {
	return &url.URL{Scheme: scheme, Host: host(m.ServerAddr, port, standard), Path: "/~" + m.BootID + "/"}
}

// locateRoot asks the transport where this machine reaches its root file system.
func locateRoot(root RootFSTransport, m *Machine, target rootfs.Target) error {
	if isNil(root) {
		return nil
	}
	var err error
	if m.Root, err = root.RootURL(target); err != nil {
		return fmt.Errorf("root file system: %w", err)
	}
	if m.Root == nil {
		return fmt.Errorf("root file system: RootURL of %T returned neither a URL nor an error", root)
	}
	if mounter, ok := root.(rootfs.Mounter); ok {
		if m.Mount, err = mounter.MountOptions(target); err != nil {
			return fmt.Errorf("root file system: %w", err)
		}
	}
	return nil
}

// bases returns the URLs below which this boot's loader finds its files. b.mu is
// held.
func (v *services) bases(b *boot) bootcfg.Bases {
	bases := v.ownBases(b.machine)
	if elsewhere := b.treatment.Bases; elsewhere.HTTP != nil || elsewhere.TFTP != nil {
		bases.HTTP = elsewhere.HTTP // a file has one place: not half of them here
		if elsewhere.TFTP != nil {
			bases.TFTP = elsewhere.TFTP
		}
	}
	return bases
}

// ownBases are the URLs below which this server has its files. The TFTP one does
// not name the boot: some loaders have room for short names only.
func (v *services) ownBases(m Machine) bootcfg.Bases {
	var b bootcfg.Bases
	if v.httpPort != 0 {
		b.HTTP = namedBase("http", m, v.httpPort, 80)
	}
	if v.tftpPort != 0 {
		b.TFTP = &url.URL{Scheme: "tftp", Host: host(m.ServerAddr, v.tftpPort, 69), Path: "/"}
	}
	return b
}

// host leaves out the port that the scheme implies: some loaders know no other
// form.
func host(addr netip.Addr, port, standard uint16) string {
	if port == standard {
		return addr.String()
	}
	return netip.AddrPortFrom(addr, port).String()
}

// configure renders the menu for a loader before the loader is offered, so that
// what cannot be written is found now and not on the machine's screen.
// It is written anew each time: an iPXE in the ROM may know less than the one that it
// is followed by.
func (v *services) configure(b *boot, family dhcp.Family, withHTTP bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	language, err := renderer(family)
	if err != nil {
		return err
	}
	bases := v.bases(b)
	if !withHTTP {
		bases.HTTP = nil
	}
	config, err := language.Render(b.menu, bases)
	if err != nil {
		return fmt.Errorf("menu for %s: %w", family, err)
	}
	if b.configs == nil {
		b.configs = make(map[dhcp.Family]*bootcfg.Config)
	}
	b.configs[family] = config
	return nil
}
