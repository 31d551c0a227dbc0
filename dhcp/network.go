package dhcp

import (
	"fmt"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Mode says what a [Server] is on a network. There is no default: a DHCP server
// where none is wanted takes a network down.
type Mode int

const (
	// Full is a DHCP server: it gives out addresses, and tells machines what to
	// boot.
	Full Mode = iota + 1
	// Proxy is a proxyDHCP server (PXE 2.1 section 2.2.3): another server gives
	// out the addresses, this one tells machines that boot over the network what
	// to boot, on port 67 and, where firmware asks again there, on port 4011.
	// Everybody else it leaves alone, and U-Boot, which knows no proxies.
	Proxy
	// BootServer is a PXE boot server (PXE 2.1 section 2.2.4): it answers on port
	// 4011 only, to machines that another server's options send there: pxe.DHCPHint
	// writes them. UEFI HTTP Boot knows no such servers. What a loader does that
	// asks again for its configuration is up to the other server's lease: pxelinux,
	// shim and GRUB, and an iPXE in the network card, were booted so; an iPXE that
	// is loaded first was not.
	BootServer
)

// String returns "full", "proxy" or "boot server", and a number for a Mode that
// does not exist.
func (m Mode) String() string {
	switch m {
	case Full:
		return "full"
	case Proxy:
		return "proxy"
	case BootServer:
		return "boot server"
	}
	return fmt.Sprintf("mode %d", int(m))
}

// Network is one network that is served. Its fields are read while serving and
// must not change then.
type Network struct {
	// Interface is the network's interface. "" takes packets from every
	// interface and is allowed for a sole network only, those with a Subnet not
	// counted.
	Interface string
	// Addr is our address on the network, with its mask (192.0.2.1/24). Zero
	// asks the conn for each packet, which needs an [AddrLister], and follows
	// an interface whose address changes. It is required where several networks
	// are on one interface.
	Addr netip.Prefix
	// Subnet makes this the network of clients that reach us through relays only:
	// those whose relay's address, or the subnet that the relay selects (RFC
	// 3527, RFC 3011), lies in it. Addr must not be set then; our address is the
	// one that the relay asked, and Interface, if set, the one that its packets
	// must come in on. Networks without a Subnet serve relays too, for clients
	// in the subnet that we have an address in.
	Subnet netip.Prefix
	// Relays are addresses of relays that may select this network by their options
	// (link selection, subnet selection) without having an address in any network
	// that is served. Relays that have one need not be named.
	Relays []netip.Prefix
	// Link names the physical network. Networks with the same Link, and those on
	// the same Interface, share it: a client there may get a lease from any of
	// them, first from one whose policy knows it (see [Member]), then in the
	// order of [Server.Networks]; behind a relay the network that the relay
	// selects comes before the others. Empty: what Interface says.
	Link string
	// Mode must be set.
	Mode Mode
	// Leases decides who gets which address. It is required in mode Full, and
	// refused in the others, as are Routers, DNS, Domain, Options and
	// Authoritative: who sets them expects what another server is there for.
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
	// is not option 54, nor the address that firmware asks at port 4011 after an
	// OFFER of ours: renewals and such questions still come to us.
	ServerAddr netip.Addr
	// Options are further options for clients of this network. A client that
	// sends a list of what it wants (option 55) gets those on the list, one
	// that sends none gets all but 108 and 114 (RFC 8925, RFC 8910).
	Options []dhcpv4.Option
	// Authoritative says that no other DHCP server serves this network. Then a
	// client that comes with an address of another network, or renews a lease
	// that we do not know, is told so (DHCPNAK). Otherwise the server is silent
	// about what may be another server's.
	Authoritative bool
}
