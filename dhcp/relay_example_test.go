package dhcp_test

import (
	"fmt"
	"net/netip"

	"github.com/pxekit/pxe/dhcp"
)

// A server with two pools on its own link and two subnets behind relays, of
// which one is an overflow of the other.
func ExampleServer_relays() {
	pool := func(first, last string) *dhcp.Pool {
		return &dhcp.Pool{First: netip.MustParseAddr(first), Last: netip.MustParseAddr(last)}
	}
	srv := &dhcp.Server{Networks: []dhcp.Network{
		{Interface: "eth1", Addr: netip.MustParsePrefix("192.0.2.1/25"), Mode: dhcp.Full, Leases: pool("192.0.2.10", "192.0.2.99")},
		{Interface: "eth1", Addr: netip.MustParsePrefix("192.0.2.129/25"), Mode: dhcp.Full, Leases: pool("192.0.2.140", "192.0.2.199")},
		{Subnet: netip.MustParsePrefix("198.51.100.0/24"), Link: "hall 2", Mode: dhcp.Full, Leases: pool("198.51.100.10", "198.51.100.99"),
			Routers: []netip.Addr{netip.MustParseAddr("198.51.100.1")}},
		{Subnet: netip.MustParsePrefix("203.0.113.0/24"), Link: "hall 2", Mode: dhcp.Full, Leases: pool("203.0.113.10", "203.0.113.99"),
			Routers: []netip.Addr{netip.MustParseAddr("203.0.113.1")}},
	}}
	fmt.Println(srv.Validate())
	// Output: <nil>
}
