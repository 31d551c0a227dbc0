package dhcp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// onLink reports whether clients of the network are on a link of ours. Those of
// the others are behind relays.
func (n *Network) onLink() bool { return n.Subnet == netip.Prefix{} }

// on reports whether the network is served on an interface.
func (n *Network) on(ifname string) bool { return n.Interface == ifname || n.Interface == "" }

// name is how errors call the network.
func (n *Network) name() string {
	if n.onLink() {
		return n.Interface
	}
	return n.Subnet.String()
}

// locate finds where a packet's client may be, the likely place first, and
// enters it. The reason is why the packet must be dropped.
func (s *Server) locate(r *Request, lister AddrLister) (reason DropReason, err error) {
	r.lister = lister
	if r.Interface == "" {
		r.Interface, _ = s.soleInterface()
	}
	if relay := r.RelayAddr(); relay.IsValid() {
		reason, err = s.locateRelayed(r, relay)
	} else {
		reason, err = s.locateDirect(r)
	}
	if reason == "" {
		r.settle()
	}
	return reason, err
}

// soleInterface returns the interface that all networks are on, for a conn that
// cannot tell where a packet came in, and whether there is such a one.
func (s *Server) soleInterface() (name string, ok bool) {
	seen := false
	for i := range s.Networks {
		n := &s.Networks[i]
		if !n.onLink() && n.Interface == "" {
			continue
		}
		if seen && n.Interface != name {
			return "", false
		}
		seen, name = true, n.Interface
	}
	return name, true
}

// admits reports whether packets that come in on an interface may be for the
// network. A relay may ask on any interface where we serve for any network that
// is on one.
func (s *Server) admits(n *Network, ifname string) bool {
	if !n.onLink() {
		return n.on(ifname) && s.hears(ifname)
	}
	return slices.ContainsFunc(s.Networks, func(m Network) bool { return m.onLink() && m.on(ifname) })
}

// hears reports whether packets that come in on an interface are heard at all:
// where any network names its interface, those of other interfaces are not.
func (s *Server) hears(ifname string) bool {
	named := false
	for i := range s.Networks {
		n := &s.Networks[i]
		if n.Interface == ifname || n.Interface == "" && n.onLink() {
			return true
		}
		named = named || n.Interface != ""
	}
	return !named
}

// locateRelayed finds the network by the link that the relay selects (RFC 3527),
// else by the subnet that the client selects (RFC 3011), else by the relay's
// address. What a relay selects is not replaced by a guess when it is not
// served; what a client selects is a wish.
func (s *Server) locateRelayed(r *Request, relay netip.Addr) (DropReason, error) {
	if !slices.ContainsFunc(s.Networks, func(n Network) bool { return n.on(r.Interface) }) || !s.hears(r.Interface) {
		return NotForUs, nil
	}
	a, first := r.linkSelected(), place{}
	var err error
	if !a.IsValid() {
		if wish := r.subnetSelected(); wish.IsValid() {
			first, _ = s.find(r, wish)
			r.subnetHeeded = first.network != nil
		}
		a = relay
	}
	if first.network == nil {
		if first, err = s.find(r, a); err != nil {
			return NoServerAddr, err
		}
	}
	if first.network == nil {
		return NoNetwork, fmt.Errorf("dhcp: %s, selected by relay %s, is in none of the networks served", a, relay)
	}
	if !s.trusts(r, relay, first) {
		return NoNetwork, fmt.Errorf("dhcp: relay %s selects %s and is itself in none of the networks served; name it in Relays of that network", relay, first.network.name())
	}
	r.places = append(r.places, first)
	for i := range s.Networks {
		n := &s.Networks[i]
		if n == first.network || !n.shares(first.network) || !s.admits(n, r.Interface) {
			continue
		}
		if p, err := placeOf(r, n, netip.Addr{}); err == nil {
			r.places = append(r.places, p)
		}
	}
	return "", nil
}

// trusts reports whether a relay may select a network. Our reply goes to its
// address, so that one from anywhere could have replies sent to anybody.
func (s *Server) trusts(r *Request, relay netip.Addr, p place) bool {
	if p.prefix.Contains(relay) || slices.ContainsFunc(p.network.Relays, func(trusted netip.Prefix) bool { return trusted.Contains(relay) }) {
		return true
	}
	own, _ := s.find(r, relay)
	return own.network != nil
}

// find returns the place of the network that a lies in; of several the one on
// the interface that the packet came in on. It may be none. An error says that
// there is one where we have no address.
func (s *Server) find(r *Request, a netip.Addr) (found place, err error) {
	for i := range s.Networks {
		n := &s.Networks[i]
		if !n.onLink() && !n.Subnet.Contains(a) || !s.admits(n, r.Interface) ||
			found.network != nil && n.Interface != r.Interface {
			continue
		}
		p, failed := placeOf(r, n, a)
		switch {
		case failed == nil && p.prefix.Contains(a):
			found, err = p, nil
		case failed != nil && !n.onLink():
			err = failed
		}
	}
	return found, err
}

// locateDirect finds the networks of the link that a packet came in on. But a
// client behind a relay renews its lease without it: with a packet to our
// address, from one of its own that is of no link of ours.
func (s *Server) locateDirect(r *Request) (DropReason, error) {
	here := slices.IndexFunc(s.Networks, func(n Network) bool { return n.onLink() && n.on(r.Interface) })
	var err error
	if here >= 0 {
		err = s.onSameLink(r, &s.Networks[here])
	}
	if a := addrOf(r.Packet.ClientIPAddr); a.IsValid() && isHost(r.Destination) && r.placeWith(a) < 0 {
		if p, _ := s.find(r, a); p.network != nil && !p.network.onLink() {
			r.places = []place{p}
			return "", nil
		}
	}
	switch {
	case here < 0:
		return NotForUs, nil
	case len(r.places) == 0:
		return NoServerAddr, err
	}
	if a := r.subnetSelected(); a.IsValid() {
		if i := r.placeWith(a); i >= 0 {
			selected := r.places[i]
			r.places = slices.Insert(slices.Delete(r.places, i, i+1), 0, selected)
			r.subnetHeeded = true
		}
	}
	return "", nil
}

// onSameLink adds the places of the networks that share a link of ours with n,
// itself among them. The error says why there is none of one of them.
func (s *Server) onSameLink(r *Request, n *Network) (err error) {
	for i := range s.Networks {
		m := &s.Networks[i]
		if !m.onLink() || !m.shares(n) {
			continue
		}
		p, failed := placeOf(r, m, r.Destination)
		if failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		r.places = append(r.places, p)
	}
	return err
}
