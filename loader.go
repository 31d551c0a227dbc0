package pxe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/pxekit/pxe/dhcp"
)

// chooseLoader finds what this client can run: the boot program that the menu is,
// a script for an iPXE, else the first boot loader for its architecture that Files
// has.
func (v *services) chooseLoader(ctx context.Context, b *boot, r *dhcp.Request) (*dhcp.BootFile, error) {
	b.mu.Lock()
	program, treatment := b.menu.Program, b.treatment
	b.mu.Unlock()
	if program != nil {
		return v.program(b, r.Client)
	}
	family := v.server.family(treatment)
	if r.Client.Kind == dhcp.IPXE && (family == 0 || family == dhcp.FamilyIPXE) {
		return v.script(b, r.Client)
	}
	rows, err := dhcp.LoadersFor(r.Client, v.server.loaderRows(treatment))
	if !slices.ContainsFunc(rows, func(row dhcp.LoaderRow) bool { return row.Family == family }) {
		family = 0 // a machine for which there is none of that family gets another
		if r.Client.Kind == dhcp.IPXE {
			return v.script(b, r.Client) // which every iPXE can run, whatever the processor
		}
	}
	if err != nil {
		return nil, err
	}
	elsewhere := treatment.Bases.TFTP != nil
	if r.Client.Kind == dhcp.HTTPBoot {
		elsewhere = treatment.Bases.HTTP != nil
	}
	var missing []string
	for _, row := range rows {
		if family != 0 && row.Family != family {
			continue
		}
		name, ok := v.firstOf(ctx, row.Names, elsewhere)
		if !ok {
			missing = append(missing, row.Names...)
			continue
		}
		return v.loader(b, r.Client.Kind, row, name)
	}
	return nil, fmt.Errorf("no boot loader for %s: Files has none of %s; install one or add it to Files",
		architecture(r.Client), strings.Join(missing, ", "))
}

// architecture names a client's for people who look it up.
func architecture(c dhcp.Client) string {
	if !c.HasArch {
		return fmt.Sprintf("no architecture, taken for %s", dhcp.ArchBIOS)
	}
	return fmt.Sprintf("architecture %d (%s)", uint16(c.Arch), c.Arch)
}

// firstOf returns the first of some loaders that there is. A row without names is
// of firmware that needs none. What another computer has is not known: the best is
// taken to be there.
func (v *services) firstOf(ctx context.Context, names []string, elsewhere bool) (string, bool) {
	if len(names) == 0 {
		return "", true
	}
	if elsewhere {
		return names[0], true
	}
	i := slices.IndexFunc(names, func(name string) bool { return v.exists(ctx, name) })
	if i < 0 {
		return "", false
	}
	return names[i], true
}

// loader returns the boot file for a row of the table, with its configuration
// ready.
func (v *services) loader(b *boot, kind dhcp.Kind, row dhcp.LoaderRow, name string) (*dhcp.BootFile, error) {
	b.mu.Lock()
	elsewhere := b.treatment.Bases.TFTP != nil
	b.mu.Unlock()
	if _, watched := v.server.Booter.(BootWatcher); watched && elsewhere && row.Family != dhcp.FamilyIPXE {
		return nil, fmt.Errorf("the Booter wants to know what the machine has fetched, and Treat sends it to another computer for its configuration too: use %s, whose script comes from here", dhcp.FamilyIPXE)
	}
	if row.Family != dhcp.FamilyRaspberryPi { // which has no menu
		// lpxelinux.0 is the one that speaks HTTP.
		if err := v.configure(b, row.Family, path.Base(name) != "pxelinux.0"); err != nil {
			return nil, err
		}
	}
	b.remember(append([]string{name}, row.Names...)...)
	if name == "" {
		// U-Boot takes the directory of its menu from a name that it never loads.
		name = "boot"
	}
	return v.bootFileNamed(b, kind, name)
}

// program returns the boot file of a menu that is one.
func (v *services) program(b *boot, client dhcp.Client) (*dhcp.BootFile, error) {
	b.mu.Lock()
	program := *b.menu.Program
	b.mu.Unlock()
	arch := dhcp.ArchBIOS
	if client.HasArch {
		arch = client.Arch
	}
	if len(program.Arches) > 0 && !slices.Contains(program.Arches, uint16(arch)) {
		return nil, fmt.Errorf("the boot program %q is not for %s", program.File, architecture(client))
	}
	b.remember(program.File)
	file, err := v.bootFileNamed(b, client.Kind, program.File)
	if err != nil {
		return nil, err
	}
	for _, option := range []struct {
		value string
		of    func(string) (dhcpv4.Option, error)
	}{{program.ConfigFile, dhcp.PXELinuxConfigFile}, {program.PathPrefix, dhcp.PXELinuxPathPrefix}} {
		if option.value == "" {
			continue
		}
		o, err := option.of(option.value)
		if err != nil {
			return nil, err
		}
		file.Options = append(file.Options, o)
	}
	return file, nil
}

// bootFileNamed returns the boot file of a loader with this name in Files: by URL
// for firmware that boots by HTTP, else by TFTP from wherever the machine is sent.
func (v *services) bootFileNamed(b *boot, kind dhcp.Kind, name string) (*dhcp.BootFile, error) {
	b.mu.Lock()
	bases := v.bases(b)
	own := b.treatment.Bases.TFTP == nil
	b.mu.Unlock()
	switch {
	case kind == dhcp.HTTPBoot && bases.HTTP == nil && !own:
		return nil, errors.New("no boot loader can be fetched by HTTP: Treat gives a TFTP base only; give the HTTP one too")
	case kind == dhcp.HTTPBoot && bases.HTTP == nil:
		return nil, errors.New("no boot loader can be fetched: HTTP is not served; give Serve an HTTP listener")
	case kind == dhcp.HTTPBoot:
		return &dhcp.BootFile{Name: bases.HTTP.JoinPath(name).String()}, nil
	case bases.TFTP == nil:
		return nil, errors.New("no boot loader can be fetched: TFTP is not served; give Serve a TFTP socket")
	case own:
		return &dhcp.BootFile{Name: name}, nil
	}
	next, err := netip.ParseAddr(bases.TFTP.Hostname())
	if err != nil || !next.Is4() || bases.TFTP.Port() != "" && bases.TFTP.Port() != "69" {
		return nil, fmt.Errorf("the TFTP base %s that Treat gave: firmware needs an IPv4 address and port 69", bases.TFTP.Redacted())
	}
	return &dhcp.BootFile{Name: path.Join(strings.TrimPrefix(bases.TFTP.Path, "/"), name), ServerAddr: next}, nil
}

// script returns the boot file of an iPXE: a URL that names the boot, or a name
// for TFTP where HTTP is not served or this iPXE was built without it.
func (v *services) script(b *boot, client dhcp.Client) (*dhcp.BootFile, error) {
	withHTTP := !client.Features.Known || client.Features.HTTP
	if err := v.configure(b, dhcp.FamilyIPXE, withHTTP); err != nil {
		return nil, err
	}
	b.mu.Lock()
	own := v.ownBases(b.machine)
	b.mu.Unlock()
	if own.HTTP == nil || !withHTTP {
		return &dhcp.BootFile{Name: scriptName}, nil
	}
	return &dhcp.BootFile{Name: own.HTTP.JoinPath(scriptName).String()}, nil
}

// remember notes names as those of boot loaders, for whoever watches. There are as
// many as the tables have, at most.
func (b *boot) remember(names ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range names {
		if name != "" && !slices.Contains(b.loaders, name) {
			b.loaders = append(b.loaders, name)
		}
	}
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
