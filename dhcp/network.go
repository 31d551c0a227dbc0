package dhcp

import (
	"fmt"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Mode says what a [Server] is on a network. There is no default: a DHCP server
// where none is wanted takes a network down.
type Mode int

// Full is a DHCP server that gives out addresses.
const Full Mode = 1

// String returns "full", or a number for a Mode that does not exist.
func (m Mode) String() string {
	if m == Full {
		return "full"
	}
	return fmt.Sprintf("mode %d", int(m))
}

// Network is one network that is served. Its fields are read while serving and
// must not change then.
type Network struct {
	// Interface is the network's interface. "" takes packets from every
	// interface and is allowed for a sole network only.
	Interface string
	// Addr is our address on the network, with its mask (192.0.2.1/24). Zero
	// asks the conn for each packet, which needs an [AddrLister], and follows
	// an interface whose address changes.
	Addr netip.Prefix
	// Mode must be set.
	Mode Mode
	// Leases decides who gets which address. It is required in mode Full.
	Leases LeasePolicy
	// Routers and DNS are IPv4 addresses, best first (options 3 and 6); empty:
	// the options are not sent.
	Routers []netip.Addr
	DNS     []netip.Addr
	// Domain is the domain name (option 15): letters, digits, hyphens and dots
	// only, since boot scripts source it into a shell. Empty: not sent.
	Domain string
	// ServerAddr, if set, is given to clients as the address of the boot server
	// (siaddr, option 66, [Request.ServerAddr]) in place of our own: for a
	// server behind NAT, in a container, or with its files on another host. It
	// is not option 54: renewals still come to us.
	ServerAddr netip.Addr
	// Options are further options for clients of this network. A client that
	// sends a list of what it wants (option 55) gets those on the list, one
	// that sends none gets all.
	Options []dhcpv4.Option
	// Authoritative says that no other DHCP server serves this network. Then a
	// client that comes with an address of another network, or renews a lease
	// that we do not know, is told so (DHCPNAK). Otherwise the server is silent
	// about what may be another server's.
	Authoritative bool
}
