package pxe

import (
	"bytes"
	"context"
	"net/netip"
	"path"
	"slices"
	"time"

	"github.com/pxekit/pxe/dhcp"
)

// A server that was started anew has no registry, and a machine in the middle of its
// boot asks it for the next file from an address that it was given before. The leases
// say whose address it is; the rest is asked and written again. It is as good as it
// was before, but for what only the firmware's DHCP messages tell.

// restore opens a boot for the machine that has an address by a lease, nil if
// nobody does. server is the address of ours that was asked.
//
// Not everybody with a lease who asks for a file is in a boot: booting says that
// this one is, by what it asks for. So does the UUID of its lease, which only
// firmware and boot loaders send; that a system which is up has it too, from the boot
// that it came by, cannot be told from here. booting is called last, for those with a
// lease: it takes longer than all else that is done for a stranger.
func (v *services) restore(ctx context.Context, addr, server netip.Addr, booting func() bool) *boot {
	if v.server.Booter == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, v.server.bootTimeout())
	defer cancel()
	n, lease := v.leaseAt(ctx, addr)
	if lease == nil {
		return nil
	}
	binding, _ := lease.(dhcp.Binding) // another policy's may not know the UUID
	if binding.UUID == "" && !booting() {
		return nil
	}
	if n.ServerAddr.IsValid() {
		server = n.ServerAddr
	} else if !server.IsValid() {
		server = n.Addr.Addr()
	}
	if !server.IsValid() {
		return nil
	}
	return v.registry.restore(Machine{
		HardwareAddr: lease.HardwareAddr(), Addr: addr, UUID: binding.UUID,
		Interface: n.Interface, ServerAddr: server,
	}, time.Now())
}

// leaseAt finds the lease of an address, and its network. One policy may serve several
// networks: that which says that the address lies in it comes first.
func (v *services) leaseAt(ctx context.Context, addr netip.Addr) (network *Network, found Lease) {
	for i := range v.server.Networks {
		n := &v.server.Networks[i]
		finder, ok := n.Leases.(dhcp.LeaseFinder)
		if !ok {
			continue
		}
		lease, err := finder.LeaseAt(ctx, addr)
		if err != nil {
			v.logger().Warn("pxe: a machine goes on with its boot, and its lease cannot be looked up", "address", addr, "because", err)
			continue
		}
		if lease == nil || len(lease.HardwareAddr()) == 0 || lease.Prefix().Addr() != addr {
			continue
		}
		if end := lease.Expiry(); !end.IsZero() && !end.After(time.Now()) {
			continue
		}
		if n.Addr.Contains(addr) || n.Subnet.Contains(addr) {
			return n, lease
		}
		if network == nil {
			network, found = n, lease
		}
	}
	return network, found
}

// restore makes a machine known that has m.Addr by a lease, and returns its boot, a
// new one if it is in none. It returns nil if an ACK since the start says otherwise:
// that the machine has another address by now, or the address another machine.
func (r *registry) restore(m Machine, now time.Time) *boot {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, holder := r.byHW[string(m.HardwareAddr)], r.byAddr[m.Addr]
	if known != nil && known.given && known.addr != m.Addr || holder != nil && !bytes.Equal(holder.hw, m.HardwareAddr) {
		return nil
	}
	r.bind(m.HardwareAddr, m.Addr, true)
	b, opened := r.open(m, false, [4]byte{}, now)
	if opened {
		b.restored = true
	}
	return b
}

// prepare decides what a restored boot boots, and writes it down for every boot
// loader that the machine may have loaded: it asks for one of them, by its name.
func (v *services) prepare(ctx context.Context, b *boot, byHTTP bool) {
	menu, err := v.decide(ctx, b, netip.Addr{})
	if err != nil || menu == nil {
		return
	}
	// Who asks at the same time waits until all of them are written.
	b.deciding.Lock()
	defer b.deciding.Unlock()
	b.mu.Lock()
	done, treatment := b.configs != nil, b.treatment
	b.mu.Unlock()
	if done {
		return
	}
	if menu.Program != nil {
		b.remember(menu.Program.File)
		return
	}
	// U-Boot asks for the names that pxelinux asks for, and nothing in its lease tells
	// it from a machine with that: it is meant where there is none.
	text, byLPXELinux := dhcp.FamilyUBoot, false
	for _, row := range v.server.loaderRows(treatment) {
		b.remember(row.Names...)
		if row.Family != dhcp.FamilyPXELinux || text == row.Family {
			continue
		}
		if name, is := v.firstOf(ctx, row.Names, treatment.Bases.TFTP != nil); is {
			text, byLPXELinux = row.Family, path.Base(name) != "pxelinux.0"
		}
	}
	for family, withHTTP := range map[dhcp.Family]bool{
		dhcp.FamilyIPXE: byHTTP, // by TFTP only one asks that has no HTTP
		dhcp.FamilyGRUB: true,   // it finds out by itself
		text:            byLPXELinux,
	} {
		if err := v.configure(b, family, withHTTP); err != nil {
			// Most likely it is not the one that the machine has loaded.
			v.logger().Debug("pxe: a boot that goes on after a restart", "machine", b.hw.String(), "because", err)
		}
	}
}

// ofBoot reports whether only a machine that boots asks for this name: a boot
// loader, or the configuration that one looks for.
func (v *services) ofBoot(name string) bool {
	for _, family := range []dhcp.Family{dhcp.FamilyPXELinux, dhcp.FamilyIPXE, dhcp.FamilyGRUB, dhcp.FamilyUBoot} {
		language, err := renderer(family)
		if err != nil {
			continue
		}
		if _, is := language.Probe(name); is {
			return true
		}
	}
	return isModule(name) || slices.ContainsFunc(v.server.loaderRows(Treatment{}), func(row dhcp.LoaderRow) bool {
		return slices.Contains(row.Names, name)
	})
}
