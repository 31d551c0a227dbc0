package pxe

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"reflect"

	"github.com/pxekit/pxe/bootcfg"
	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/rootfs"
)

// Machine is what is known of a machine when it asks what to boot. Texts come
// from the machine as they are: quote them before they go to a log, and never
// put them into a script.
type Machine struct {
	// HardwareAddr identifies the machine over the whole boot.
	HardwareAddr net.HardwareAddr
	// Addr is the address that it is about to be offered, or has.
	Addr netip.Addr
	// network is the subnet it was heard on, also through a relay.
	network netip.Prefix
	// UUID is the firmware's identifier (RFC 4578 section 2.3) in lower case
	// with dashes; empty when it sent none.
	UUID string
	// Kind and Arch say which sort of client asked first: firmware by TFTP or
	// HTTP, or an iPXE in the network card. Kind is dhcp.Plain, and Arch without
	// a meaning, for a machine in a boot that was begun before this Server was
	// started: then nothing is known of it but what its lease says.
	Kind dhcp.Kind
	Arch dhcp.Arch
	// VendorClass and UserClass are DHCP options 60 and 77.
	VendorClass, UserClass string
	// Interface is the one the machine was heard on, empty when not known.
	Interface string
	// RelayAddr is the relay agent in between, zero when there is none.
	RelayAddr netip.Addr
	// ServerAddr is our address as this machine reaches us.
	ServerAddr netip.Addr
	// BootID names this boot in events and in the URLs the machine is given.
	BootID string
	// Root is where this machine reaches its root file system, as the Server's
	// Root answered; nil when the Server has no Root.
	Root *url.URL
	// Mount is what the Server's Root asks of a system that mounts from there.
	Mount rootfs.MountOptions
}

// Booter decides what a machine boots. It is asked once per boot, and the
// answer is kept until the machine begins another one; asked again only when it
// returned an error, and, with another BootID, when a Server was started anew in the
// middle of the boot, or after it: a system that is up and fetches a file from here
// cannot always be told from a boot. Boot is called concurrently for different machines.
//
// A nil menu means that there is nothing to boot from us; the machine still
// gets its address, and is asked about again when it comes again. After an error
// it gets no reply at all and asks again: that is for passing trouble, not for
// machines that are unknown. A menu is read by several goroutines as long as the
// boot lasts: do not change it after Boot returned it.
//
// The context ends at the Server's BootTimeout: firmware
// waits a second or two, so decide from memory and do slow work beforehand.
type Booter interface {
	Boot(ctx context.Context, m *Machine) (*bootcfg.Menu, error)
}

// BooterFunc is a function that is a [Booter].
type BooterFunc func(ctx context.Context, m *Machine) (*bootcfg.Menu, error)

// Boot calls f.
func (f BooterFunc) Boot(ctx context.Context, m *Machine) (*bootcfg.Menu, error) { return f(ctx, m) }

// isNil reports whether an interface holds nothing, or a nil pointer.
func isNil(v any) bool {
	r := reflect.ValueOf(v)
	return !r.IsValid() || r.Kind() == reflect.Pointer && r.IsNil()
}
