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
	seen := make(map[string]bool)
	for i := range s.Networks {
		n := &s.Networks[i]
		switch {
		case n.Interface == "" && len(s.Networks) > 1:
			errs = append(errs, fmt.Errorf("dhcp: network %d of %d has no Interface; only a sole network may be on any", i+1, len(s.Networks)))
		case seen[n.Interface]:
			errs = append(errs, fmt.Errorf("dhcp: two networks on interface %q", n.Interface))
		}
		seen[n.Interface] = true
		for _, err := range n.validate() {
			errs = append(errs, fmt.Errorf("dhcp: network %q: %w", n.Interface, err))
		}
	}
	return errors.Join(errs...)
}

func (n *Network) validate() (errs []error) {
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if n.Mode != Full {
		fail("Mode is not set; say Full for a server that gives out addresses")
	}
	if n.Leases == nil {
		fail("Leases is not set; a Pool gives out a range of addresses")
	}
	if n.Addr != (netip.Prefix{}) {
		switch a := n.Addr.Addr(); {
		case !n.Addr.IsValid() || !a.Is4() || a.IsUnspecified() || a.IsMulticast() || n.Addr.Bits() < 1:
			fail("Addr %s is not an IPv4 address with a mask", n.Addr)
		case n.Addr.Bits() < 31 && (a == n.Addr.Masked().Addr() || a == broadcastOf(n.Addr)):
			fail("Addr %s is the network's own or broadcast address, not a host's", n.Addr)
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
		} else if p, ok := n.Leases.(*Pool); ok && len(errs) == 0 && n.Addr.IsValid() {
			errs = append(errs, p.fits(n.Addr)...)
		}
	}
	return errs
}
