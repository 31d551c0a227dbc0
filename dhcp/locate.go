package dhcp

import (
	"errors"
	"fmt"
	"net/netip"
)

// locate finds the network that a packet belongs to and our address on it, and
// fills them into r. The reason is why it must be dropped.
func (s *Server) locate(r *Request, lister AddrLister) (DropReason, error) {
	ingress := s.networkOf(r.Interface)
	if ingress == nil {
		return NotForUs, nil
	}
	if r.Interface == "" {
		r.Interface = ingress.Interface
	}
	r.lister = lister
	var err error
	if relay := r.RelayAddr(); relay.IsValid() {
		r.Network, r.Prefix, err = s.relayed(relay, r.Interface, lister)
		if err != nil {
			return NoNetwork, err
		}
	} else {
		r.Network = ingress
		r.Prefix, err = prefixOf(ingress, r.Interface, r.Destination, lister)
		if err != nil {
			return NoServerAddr, err
		}
	}
	r.ServerID = r.Prefix.Addr()
	if unicast(r.Destination, r.Prefix) {
		r.ServerID = r.Destination
	}
	r.ServerAddr = r.ServerID
	if r.Network.ServerAddr.IsValid() {
		r.ServerAddr = r.Network.ServerAddr
	}
	return "", nil
}

// networkOf returns the network of an ingress interface, nil if it is not
// served. A conn that cannot tell the interface serves a sole network.
func (s *Server) networkOf(ifname string) *Network {
	for i := range s.Networks {
		n := &s.Networks[i]
		if n.Interface == ifname || n.Interface == "" || ifname == "" && len(s.Networks) == 1 {
			return n
		}
	}
	return nil
}

// relayed returns the network that a relay's address lies in.
func (s *Server) relayed(relay netip.Addr, ifname string, lister AddrLister) (*Network, netip.Prefix, error) {
	for i := range s.Networks {
		n := &s.Networks[i]
		at := n.Interface
		if at == "" {
			at = ifname
		}
		prefix, err := prefixOf(n, at, relay, lister)
		if err == nil && prefix.Contains(relay) {
			return n, prefix, nil
		}
	}
	return nil, netip.Prefix{}, fmt.Errorf("dhcp: relayed by %s, which is in none of the networks served", relay)
}

// prefixOf is the network's subnet with our address in it. Of several addresses
// on an interface it is the one that near, an address of ours or of a relay,
// belongs to, else the one with the pool's range around it, else the first.
func prefixOf(n *Network, ifname string, near netip.Addr, lister AddrLister) (netip.Prefix, error) {
	if n.Addr.IsValid() {
		return n.Addr, nil
	}
	if lister == nil {
		return netip.Prefix{}, errors.New("dhcp: the socket cannot tell our addresses; set Network.Addr")
	}
	prefixes, err := lister.InterfaceAddrs(ifname)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("dhcp: addresses of interface %q: %w", ifname, err)
	}
	pool, _ := n.Leases.(*Pool)
	best, score := netip.Prefix{}, 0
	for _, p := range prefixes {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits())
		if !p.IsValid() || !p.Addr().Is4() || p.Addr().IsUnspecified() {
			continue
		}
		points := 1
		if pool != nil && p.Contains(pool.First) {
			points = 2
		}
		if near.IsValid() && p.Contains(near) {
			points = 3
		}
		if points > score {
			best, score = p, points
		}
	}
	if score == 0 {
		return netip.Prefix{}, fmt.Errorf("dhcp: interface %q has no IPv4 address; give it one, or set Network.Addr", ifname)
	}
	return best, nil
}

// unicast reports whether to is an address of one host, on a network where we
// have the address in p.
func unicast(to netip.Addr, p netip.Prefix) bool {
	return to.Is4() && !to.IsUnspecified() && !to.IsMulticast() && to != broadcastAddr() &&
		(p.Bits() > 30 || to != broadcastOf(p))
}
