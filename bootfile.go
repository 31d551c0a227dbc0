package pxe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

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
	return file, nil
}

// decide asks the Booter, once per boot: an answer is kept, an error is not.
func (v *services) decide(ctx context.Context, b *boot, addr netip.Addr) (*bootcfg.Menu, error) {
	b.deciding.Lock()
	defer b.deciding.Unlock()
	b.mu.Lock()
	b.machine.Addr = addr
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
	timeout := v.server.BootTimeout
	if timeout == 0 {
		timeout = defaultBootTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := locateRoot(v.server.Root, &m, v.target(m)); err != nil {
		return nil, err
	}
	root := m.Root
	menu, err := v.server.Booter.Boot(ctx, &m)
	if err != nil {
		return nil, fmt.Errorf("asking the Booter: %w", err)
	}
	if menu != nil {
		if err := menu.Validate(); err != nil {
			return nil, fmt.Errorf("the Booter's menu: %w", err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.menu, b.root, b.decided = menu, root, true
	return menu, nil
}

// target returns where this machine finds what we serve. All of it names the
// boot.
func (v *services) target(m Machine) rootfs.Target {
	t := rootfs.Target{Server: m.ServerAddr, Machine: m.Addr, BootID: m.BootID, HTTP: v.bases(m).HTTP}
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

// bases returns the URLs below which a loader finds our files. The TFTP one does
// not name the boot: some loaders have room for short names only.
func (v *services) bases(m Machine) bootcfg.Bases {
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

// chooseLoader finds what this client can run: a script for an iPXE, else the
// first boot loader for its architecture that Files has.
func (v *services) chooseLoader(ctx context.Context, b *boot, r *dhcp.Request) (*dhcp.BootFile, error) {
	family := v.server.Loader
	if r.Client.Kind == dhcp.IPXE && (family == 0 || family == dhcp.FamilyIPXE) {
		return v.script(b)
	}
	if v.tftpPort == 0 && r.Client.Kind != dhcp.HTTPBoot {
		return nil, errors.New("no boot loader can be fetched: TFTP is not served; give Serve a TFTP socket")
	}
	var missing []string
	for _, row := range dhcp.LoaderTable() {
		if !suits(row, r.Client) || (family != 0 && row.Family != family) {
			continue
		}
		if _, err := renderer(row.Family); err != nil {
			continue
		}
		for _, name := range row.Names {
			if !v.exists(ctx, name) {
				missing = append(missing, name)
				continue
			}
			if err := v.configure(b, row.Family, name); err != nil {
				return nil, err
			}
			return v.loaderFile(b, r.Client.Kind, name)
		}
	}
	arch := fmt.Sprintf("architecture %d (%s)", uint16(r.Client.Arch), r.Client.Arch)
	if missing == nil {
		return nil, fmt.Errorf("no boot loader is known for a %s client of %s", r.Client.Kind, arch)
	}
	return nil, fmt.Errorf("no boot loader for %s: Files has none of %s; install one or add it to Files",
		arch, strings.Join(missing, ", "))
}

// loaderFile returns the boot file of a loader, by URL for firmware that boots
// by HTTP.
func (v *services) loaderFile(b *boot, kind dhcp.Kind, name string) (*dhcp.BootFile, error) {
	if kind != dhcp.HTTPBoot {
		return &dhcp.BootFile{Name: name}, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	base := v.bases(b.machine).HTTP
	if base == nil {
		return nil, errors.New("no boot loader can be fetched: HTTP is not served; give Serve an HTTP listener")
	}
	return &dhcp.BootFile{Name: base.JoinPath(name).String()}, nil
}

// suits reports whether a client can run the loader of a row. An iPXE can run
// what the firmware could in whose place it came; a client that does not tell
// its architecture is BIOS, which is older than the option.
func suits(row dhcp.LoaderRow, client dhcp.Client) bool {
	kind, arch := client.Kind, dhcp.ArchBIOS
	if kind == dhcp.IPXE {
		kind = dhcp.PXE
	}
	if client.HasArch {
		arch = client.Arch
	}
	return row.Kind == kind && row.Arch == arch
}

// script returns the boot file of an iPXE: a URL that names the boot, or a name
// for TFTP where HTTP is not served.
func (v *services) script(b *boot) (*dhcp.BootFile, error) {
	if err := v.configure(b, dhcp.FamilyIPXE, scriptName); err != nil {
		return nil, err
	}
	b.mu.Lock()
	bases := v.bases(b.machine)
	b.mu.Unlock()
	if bases.HTTP == nil {
		return &dhcp.BootFile{Name: scriptName}, nil
	}
	return &dhcp.BootFile{Name: bases.HTTP.JoinPath(scriptName).String()}, nil
}

// configure renders the menu for a loader before the loader is offered, so that
// what cannot be written is found now and not on the machine's screen.
func (v *services) configure(b *boot, family dhcp.Family, loader string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Contains(b.loaders, loader) {
		b.loaders = append(b.loaders, loader) // as many as LoaderTable has, at most
	}
	if b.configs[family] != nil {
		return nil
	}
	language, err := renderer(family)
	if err != nil {
		return err
	}
	bases := v.bases(b.machine)
	if loader == "pxelinux.0" {
		bases.HTTP = nil // lpxelinux.0 is the one that speaks HTTP
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

// exists reports whether Files has a file of this name.
func (v *services) exists(ctx context.Context, name string) bool {
	if v.server.Files == nil {
		return false
	}
	file, err := v.server.Files.OpenFile(ctx, name)
	if err != nil {
		return false
	}
	defer file.Close()
	info, err := file.Stat()
	return err == nil && info.Mode().IsRegular()
}
