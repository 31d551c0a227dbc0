package main

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/dhcp"
)

// hint says what the other DHCP server must be told about this one, without which no
// machine comes here: for networks of mode bootserver. It is lines, or empty.
func (o *options) hint() string {
	var b strings.Builder
	for _, n := range o.networks {
		if n.mode != dhcp.BootServer {
			continue
		}
		lines, err := pxe.DHCPHint{Mode: n.mode, ServerAddr: n.ourAddr()}.DnsmasqLines()
		if err != nil {
			fmt.Fprintf(&b, "what to tell the DHCP server on %s is not known: %v\n", n.iface, err)
			continue
		}
		fmt.Fprintf(&b, "the DHCP server on %s must send machines here; if it is a dnsmasq, by these lines (pxe.DHCPHint has them for others):\n", n.iface)
		for line := range strings.Lines(lines) {
			b.WriteString("  " + line)
		}
	}
	return b.String()
}

// ourAddr is our address on the network: the one that was given, else the first IPv4
// address of the interface, the zero Addr if it has none.
func (n *network) ourAddr() netip.Addr {
	if n.addr.IsValid() {
		return n.addr.Addr()
	}
	iface, err := net.InterfaceByName(n.iface)
	if err != nil {
		return netip.Addr{}
	}
	addrs, err := iface.Addrs()
	if err != nil {
		return netip.Addr{}
	}
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Is4() {
			return prefix.Addr()
		}
	}
	return netip.Addr{}
}
