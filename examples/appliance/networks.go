package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/dhcp"
)

// network is one -network or -subnet, or what the flags of a single network say.
type network struct {
	flag        string // as the user wrote it, for messages
	iface       string
	addr        netip.Prefix
	subnet      netip.Prefix // of clients behind a relay
	first, last netip.Addr
	router, dns []netip.Addr
	mode        dhcp.Mode
}

// networkHelp is what -h says of the flag's value.
const networkHelp = "`network` to serve, as iface=eth1,range=192.0.2.100-192.0.2.199[,addr=192.0.2.1/24][,router=192.0.2.254][,dns=192.0.2.53][,mode=full|proxy|bootserver]; may be given several times, in place of the flags of a single network; a bootserver has port 4011 only, and says at the start what the other server must be told"

const subnetHelp = "`subnet` behind a relay, as 198.51.100.0/24,range=198.51.100.100-198.51.100.199[,router=198.51.100.1][,dns=192.0.2.53]; may be given several times"

// modes are the modes of a network by their names on the command line.
func modes() map[string]dhcp.Mode {
	return map[string]dhcp.Mode{"full": dhcp.Full, "proxy": dhcp.Proxy, "bootserver": dhcp.BootServer}
}

// parseNetwork reads the value of -network.
func parseNetwork(s string) (network, error) {
	n := network{flag: "-network " + s, mode: dhcp.Full}
	if err := n.keys(s, "iface", "addr", "range", "router", "dns", "mode"); err != nil {
		return n, err
	}
	if n.iface == "" {
		return n, fmt.Errorf("%s: no iface=; name the network interface", n.flag)
	}
	return n, n.checkRange()
}

// parseSubnet reads the value of -subnet.
func parseSubnet(s string) (network, error) {
	prefix, rest, _ := strings.Cut(s, ",")
	n := network{flag: "-subnet " + s, mode: dhcp.Full}
	var err error
	if n.subnet, err = netip.ParsePrefix(prefix); err != nil || !n.subnet.Addr().Is4() {
		return n, fmt.Errorf("%s: begin with the subnet, as 198.51.100.0/24", n.flag)
	}
	if rest != "" {
		if err := n.keys(rest, "range", "router", "dns"); err != nil {
			return n, err
		}
	}
	return n, n.checkRange()
}

// checkRange wants a range where addresses are given out, and none elsewhere.
func (n *network) checkRange() error {
	switch {
	case n.mode == dhcp.Full && !n.first.IsValid():
		return fmt.Errorf("%s: no range; give the addresses to hand out, as range=192.0.2.100-192.0.2.199", n.flag)
	case n.mode != dhcp.Full && n.first.IsValid():
		return fmt.Errorf("%s: a range, but another server gives out the addresses in mode %s", n.flag, n.mode)
	case n.mode != dhcp.Full && len(n.router)+len(n.dns) > 0:
		return fmt.Errorf("%s: router and dns are told by the server that gives out the addresses", n.flag)
	}
	return nil
}

// keys reads key=value pairs. A value with commas in it is one address after
// another: what has no "=" belongs to the key before.
func (n *network) keys(s string, known ...string) error {
	key := ""
	values := make(map[string]string)
	for part := range strings.SplitSeq(s, ",") {
		k, v, is := strings.Cut(strings.TrimSpace(part), "=")
		switch {
		case is && !slices.Contains(known, k):
			return fmt.Errorf("%s: unknown key %q; there are %s", n.flag, k, strings.Join(known, ", "))
		case is && values[k] != "":
			return fmt.Errorf("%s: %s= stands there twice", n.flag, k)
		case is:
			key, values[k] = k, v
		case key == "router" || key == "dns":
			values[key] += "," + k
		default:
			return fmt.Errorf("%s: %q is no key=value", n.flag, part)
		}
	}
	var errs []error
	check := func(err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", n.flag, err))
		}
	}
	n.iface = values["iface"]
	var err error
	if v, ok := values["addr"]; ok {
		n.addr, err = parseHost("addr=", v)
		check(err)
	}
	if v, ok := values["range"]; ok {
		n.first, n.last, err = parseRange("range=", v)
		check(err)
	}
	n.router, err = parseAddrs("router=", values["router"])
	check(err)
	n.dns, err = parseAddrs("dns=", values["dns"])
	check(err)
	if v, ok := values["mode"]; ok {
		if n.mode = modes()[v]; n.mode == 0 {
			check(fmt.Errorf("mode=%s: use full, proxy or bootserver", v))
		}
	}
	return errors.Join(errs...)
}

// reservation is one -reserve.
type reservation struct {
	hw   net.HardwareAddr
	addr netip.Addr
}

func parseReservation(s string) (r reservation, err error) {
	hw, addr, ok := strings.Cut(s, "=")
	r.hw, err = net.ParseMAC(hw)
	a, addrErr := netip.ParseAddr(addr)
	if !ok || err != nil || addrErr != nil || !a.Is4() {
		return r, fmt.Errorf("-reserve %q: write a hardware address and an IPv4 address, as 02:00:00:00:00:01=192.0.2.10", s)
	}
	r.addr = a
	return r, nil
}

// newNetworks returns what the flags say, with each reservation in the network that
// its address belongs to. All of them keep their leases in the store; nil is memory.
func (o *options) newNetworks(store dhcp.Store) ([]pxe.Network, error) {
	networks := make([]pxe.Network, len(o.networks))
	pools := make([]*dhcp.Pool, len(o.networks))
	for i, n := range o.networks {
		networks[i] = pxe.Network{
			Interface: n.iface, Addr: n.addr, Subnet: n.subnet, Mode: n.mode,
			Routers: n.router, DNS: n.dns,
		}
		if n.mode == dhcp.Full {
			pools[i] = &dhcp.Pool{First: n.first, Last: n.last, LeaseTime: o.leaseTime, Store: store}
			networks[i].Leases, networks[i].Domain = pools[i], o.domain
		}
	}
	var errs []error
	for _, r := range o.reservations {
		i := slices.IndexFunc(o.networks, func(n network) bool { return n.mode == dhcp.Full && n.has(r.addr) })
		if i < 0 && len(o.networks) == 1 && o.networks[0].mode == dhcp.Full && !o.networks[0].addr.IsValid() {
			i = 0 // its prefix is only known when it is served
		}
		if i < 0 {
			errs = append(errs, fmt.Errorf("-reserve %s=%s: the address is in none of the networks that give out addresses; a network says where it lies by addr=", r.hw, r.addr))
			continue
		}
		pools[i].Reservations = append(pools[i].Reservations, dhcp.Reservation{HardwareAddr: r.hw, Addr: r.addr})
	}
	return networks, errors.Join(errs...)
}

// has reports whether an address belongs to the network, as far as its flags say.
func (n *network) has(a netip.Addr) bool {
	return n.addr.IsValid() && n.addr.Contains(a) || n.subnet.IsValid() && n.subnet.Contains(a) ||
		n.first.IsValid() && !a.Less(n.first) && !n.last.Less(a)
}

// String says in the line at the start what a network is.
func (n *network) String() string {
	at := n.iface
	if n.subnet.IsValid() {
		at = n.subnet.String() + " behind a relay"
	}
	if n.mode != dhcp.Full {
		return fmt.Sprintf("%s on %s, beside the server that gives out addresses", n.mode, at)
	}
	return fmt.Sprintf("DHCP on %s, addresses %s-%s", at, n.first, n.last)
}
