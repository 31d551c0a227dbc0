package dhcp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// place is a network as one client sees it.
type place struct {
	network *Network
	prefix  netip.Prefix // [Request.Prefix]
	server  netip.Addr   // [Request.ServerID]
}

// enter takes a place for the one where the client is.
func (r *Request) enter(p place) {
	r.Network, r.Prefix, r.ServerID, r.ServerAddr = p.network, p.prefix, p.server, p.server
	if p.network.ServerAddr.IsValid() {
		r.ServerAddr = p.network.ServerAddr
	}
}

// placeWith is the index of the place whose subnet has the address, -1 if none.
func (r *Request) placeWith(a netip.Addr) int {
	return slices.IndexFunc(r.places, func(p place) bool { return p.prefix.Contains(a) })
}

// placeOf is the place of a network. near is an address of ours or of the
// client's subnet that decides between several addresses of ours.
func placeOf(r *Request, n *Network, near netip.Addr) (place, error) {
	if !n.onLink() {
		server, err := ownAddr(r)
		return place{n, n.Subnet, server}, err
	}
	ifname := n.Interface
	if ifname == "" {
		ifname = r.Interface
	}
	prefix, err := prefixOf(n, ifname, near, r.lister)
	if err != nil {
		return place{}, err
	}
	p := place{n, prefix, prefix.Addr()}
	if isHost(r.Destination) && !isBroadcastOf(r.Destination, prefix) {
		p.server = r.Destination
	}
	return p, nil
}

// prefixOf is the network's subnet with our address in it. Of several addresses
// on an interface it is the one with the pool's range around it, else the one
// that near belongs to, else the first.
func prefixOf(n *Network, ifname string, near netip.Addr, lister AddrLister) (netip.Prefix, error) {
	if n.Addr.IsValid() {
		return n.Addr, nil
	}
	prefixes, err := ownPrefixes(lister, ifname)
	if err != nil {
		return netip.Prefix{}, err
	}
	pool, _ := n.Leases.(*Pool)
	best, score := netip.Prefix{}, 0
	for _, p := range prefixes {
		points := 1
		if near.IsValid() && p.Contains(near) {
			points++
		}
		if pool != nil && p.Contains(pool.First) {
			points += 2
		}
		if points > score {
			best, score = p, points
		}
	}
	return best, nil
}

// ownAddr is our address for clients behind a relay: the one that the packet was
// sent to, else the one of its interface that its sender is next to, else the
// first there.
func ownAddr(r *Request) (netip.Addr, error) {
	prefixes, err := ownPrefixes(r.lister, r.Interface)
	if isHost(r.Destination) && !slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return isBroadcastOf(r.Destination, p) }) {
		return r.Destination, nil
	}
	if err != nil {
		return netip.Addr{}, err
	}
	next := slices.IndexFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(r.Source.Addr()) })
	return prefixes[max(0, next)].Addr(), nil
}

// ownPrefixes are our IPv4 addresses on an interface, one at least.
func ownPrefixes(lister AddrLister, ifname string) ([]netip.Prefix, error) {
	if lister == nil {
		return nil, errors.New("dhcp: the socket cannot tell our addresses; set Network.Addr")
	}
	all, err := lister.InterfaceAddrs(ifname)
	if err != nil {
		return nil, fmt.Errorf("dhcp: addresses of interface %q: %w", ifname, err)
	}
	prefixes := make([]netip.Prefix, 0, len(all))
	for _, p := range all {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits())
		if p.IsValid() && p.Addr().Is4() && !p.Addr().IsUnspecified() {
			prefixes = append(prefixes, p)
		}
	}
	if len(prefixes) == 0 {
		return nil, fmt.Errorf("dhcp: interface %q has no IPv4 address; give it one, or set Network.Addr", ifname)
	}
	return prefixes, nil
}

// isHost reports whether a may be the address of one host.
func isHost(a netip.Addr) bool {
	return a.Is4() && !a.IsUnspecified() && !a.IsMulticast() && a != broadcastAddr()
}

// isBroadcastOf reports whether a is the broadcast address of a subnet.
func isBroadcastOf(a netip.Addr, p netip.Prefix) bool { return p.Bits() <= 30 && a == broadcastOf(p) }
