package dhcp

import (
	"errors"
	"fmt"
	"net/netip"
)

// Validate reports everything that is wrong with the configuration, joined.
// Serve calls it first.
func (s *Server) Validate() error {
	var errs []error
	if len(s.Networks) == 0 {
		errs = append(errs, errors.New("dhcp: no network to serve; fill in Server.Networks"))
	}
	if s.MaxClients < 0 {
		errs = append(errs, fmt.Errorf("dhcp: MaxClients is %d; use 0 for the default", s.MaxClients))
	}
	for i := range s.Networks {
		n := &s.Networks[i]
		if (n.Mode == Proxy || n.Mode == BootServer) && s.BootFile == nil {
			errs = append(errs, fmt.Errorf("dhcp: network %q: BootFile is not set, and mode %s tells nothing else", n.name(), n.Mode))
		}
		for _, err := range n.validate() {
			errs = append(errs, fmt.Errorf("dhcp: network %q: %w", n.name(), err))
		}
	}
	return errors.Join(append(errs, s.validateTogether()...)...)
}

// validateTogether reports what is wrong with networks beside each other.
func (s *Server) validateTogether() (errs []error) {
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf("dhcp: "+format, args...)) }
	onLink := 0
	for i := range s.Networks {
		if s.Networks[i].onLink() {
			onLink++
		}
	}
	for i := range s.Networks {
		n := &s.Networks[i]
		if onLink > 1 && n.onLink() && n.Interface == "" {
			fail("network %d of %d has no Interface; only a sole network may be on any", i+1, len(s.Networks))
			continue
		}
		for j := range i {
			m := &s.Networks[j]
			together := n.onLink() && m.onLink() && n.Interface == m.Interface
			if together && !(n.Addr.IsValid() && m.Addr.IsValid()) {
				fail("two networks on interface %q; set Addr of both, so that they can be told apart", n.Interface)
			}
			if together && n.Link != m.Link {
				fail("the networks on interface %q have Link %q and %q; it is one link", n.Interface, m.Link, n.Link)
			}
			if n.shares(m) && n.Mode != m.Mode {
				fail("networks %q and %q share a link and are served in mode %s and %s; a link has one mode", m.name(), n.name(), m.Mode, n.Mode)
			}
			a, b := m.subnet(), n.subnet()
			if (n.shares(m) || !n.onLink() || !m.onLink()) && a.IsValid() && b.IsValid() && a.Overlaps(b) {
				fail("networks %q and %q overlap: %s and %s", m.name(), n.name(), a, b)
			}
		}
	}
	return errs
}

// subnet is what can be told of the network's subnet before it is served; it may
// be invalid.
func (n *Network) subnet() netip.Prefix {
	if n.onLink() {
		return n.Addr.Masked()
	}
	return n.Subnet
}

func (n *Network) validate() (errs []error) {
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	errs = append(errs, n.validateMode()...)
	if n.Addr != (netip.Prefix{}) {
		switch a := n.Addr.Addr(); {
		case !n.Addr.IsValid() || !a.Is4() || a.IsUnspecified() || a.IsMulticast() || n.Addr.Bits() < 1:
			fail("Addr %s is not an IPv4 address with a mask", n.Addr)
		case n.Addr.Bits() < 31 && (a == n.Addr.Masked().Addr() || a == broadcastOf(n.Addr)):
			fail("Addr %s is the network's own or broadcast address, not a host's", n.Addr)
		}
	}
	if p := n.Subnet; !n.onLink() {
		switch {
		case !p.IsValid() || !p.Addr().Is4() || p.Addr().IsUnspecified() || p.Addr().IsMulticast() || p.Bits() < 1:
			fail("Subnet %s is not an IPv4 subnet", p)
		case p != p.Masked():
			fail("Subnet %s is an address; the subnet is %s", p, p.Masked())
		}
		if n.Addr != (netip.Prefix{}) {
			fail("Subnet %s and Addr %s are both set; a network of relays has no address of ours", p, n.Addr)
		}
	}
	for _, list := range []struct {
		name  string
		addrs []netip.Addr
	}{{"Routers", n.Routers}, {"DNS", n.DNS}} {
		if len(list.addrs) > 63 {
			fail("%s has %d addresses; an option holds 63", list.name, len(list.addrs))
		}
		for _, a := range list.addrs {
			if !a.Is4() || a.IsUnspecified() {
				fail("%s: %s is not an IPv4 address", list.name, a)
			}
		}
	}
	for _, relay := range n.Relays {
		if !relay.IsValid() || !relay.Addr().Is4() {
			fail("Relays: %s is not a prefix of IPv4 addresses", relay)
		}
	}
	if n.ServerAddr.IsValid() && (!n.ServerAddr.Is4() || n.ServerAddr.IsUnspecified()) {
		fail("ServerAddr %s is not an IPv4 address", n.ServerAddr)
	}
	if n.Domain != "" {
		if err := checkDomain(n.Domain); err != nil {
			fail("Domain: %w", err)
		}
	}
	for _, o := range n.Options {
		if _, err := optionValue(o); err != nil {
			fail("Options: %w", err)
		}
	}
	if v, ok := n.Leases.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			errs = append(errs, err)
		} else if p, ok := n.Leases.(interface{ fits(netip.Prefix) []error }); ok && len(errs) == 0 && n.subnet().IsValid() {
			errs = append(errs, p.fits(n.subnet())...)
		}
	}
	return errs
}

// validateMode refuses what the network's mode has no use for: who sets it
// expects something of us that another server will do, or nobody.
func (n *Network) validateMode() (errs []error) {
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch n.Mode {
	case Full:
		if n.Leases == nil {
			fail("Leases is not set; a Pool gives out a range of addresses")
		}
		return errs
	case Proxy, BootServer:
	case 0:
		fail("Mode is not set; say Full for a server that gives out addresses, Proxy for one beside it")
		return errs
	default:
		fail("Mode is %d, which does not exist; say Full, Proxy or BootServer", int(n.Mode))
		return errs
	}
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"Leases", n.Leases != nil}, {"Authoritative", n.Authoritative},
		{"Routers", len(n.Routers) > 0}, {"DNS", len(n.DNS) > 0}, {"Domain", n.Domain != ""},
	} {
		if f.set {
			fail("%s is set, but in mode %s another server gives out addresses and all that belongs to them; say Full, or leave it out", f.name, n.Mode)
		}
	}
	if len(n.Options) > 0 {
		fail("Options are set, but mode %s sends only what belongs to a boot file; put them into BootFile.Options", n.Mode)
	}
	return errs
}
