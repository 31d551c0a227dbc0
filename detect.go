package pxe

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/internal/udp"
)

// Neighbour is another server that answers on one of the Server's networks.
type Neighbour struct {
	// Interface is where it answered.
	Interface string
	dhcp.Detected
	// Conflict says that it and this Server would both do the same there: give out
	// addresses, or boot files.
	Conflict bool
}

// String says it for people.
func (n Neighbour) String() string { return fmt.Sprintf("on %s %s", n.Interface, n.Detected) }

// ConflictError says that other servers do what this one is to do, see
// Server.DetectTime.
type ConflictError struct {
	// Neighbours are those servers, one at least.
	Neighbours []Neighbour
}

// Error names the servers and the remedies.
func (e *ConflictError) Error() string {
	texts := make([]string, len(e.Neighbours))
	for i, n := range e.Neighbours {
		texts[i] = n.String()
	}
	return "pxe: another server is in the way: " + strings.Join(texts, "; ") +
		" (stop it, or leave the addresses to it with mode Proxy, or set DetectTime to zero if both are meant)"
}

// Detect asks, as machines do, which other DHCP, proxyDHCP and boot servers answer
// on the interfaces of the Networks, and takes DetectTime for each interface, or
// five seconds if that is zero. It needs the port that DHCP clients listen on. What
// was found until then comes with an error. It may be called before Serve; while
// this Server serves, its own answers are left out.
func (s *Server) Detect(ctx context.Context) ([]Neighbour, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	var all []Neighbour
	for ifname, networks := range s.links() {
		found, err := s.detectOn(ctx, ifname, networks)
		all = append(all, found...)
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// links are the networks by the interface that their clients are on.
func (s *Server) links() map[string][]Network {
	links := make(map[string][]Network)
	for _, n := range s.Networks {
		if !n.Subnet.IsValid() { // those are behind relays
			links[n.Interface] = append(links[n.Interface], n)
		}
	}
	return links
}

func (s *Server) detectOn(ctx context.Context, ifname string, networks []Network) ([]Neighbour, error) {
	own, err := udp.InterfaceAddrs(ifname)
	if err != nil {
		return nil, fmt.Errorf("pxe: %w", err)
	}
	detection := dhcp.Detection{Interface: ifname, Duration: s.DetectTime, ServerPort: portIn(s.DHCPAddr)}
	for _, p := range own {
		detection.Own = append(detection.Own, p.Addr())
	}
	for _, n := range networks {
		for _, a := range []netip.Addr{n.Addr.Addr(), n.ServerAddr} {
			if a.IsValid() {
				detection.Own = append(detection.Own, a)
			}
		}
	}
	port := s.ClientPort
	if port == 0 {
		port = 68
	}
	conn, err := udp.Listen(ctx, fmt.Sprintf(":%d", port), false)
	if err != nil {
		return nil, fmt.Errorf("pxe: looking for other servers on %s: %w (a DHCP client of this host may have the port)", ifname, err)
	}
	defer conn.Close()
	detected, err := dhcp.Detect(ctx, conn, detection)
	found := make([]Neighbour, len(detected))
	for i, d := range detected {
		found[i] = Neighbour{Interface: ifname, Detected: d, Conflict: inTheWay(networks[0].Mode, d)}
	}
	if err != nil {
		return found, fmt.Errorf("pxe: looking for other servers on %s: %w", ifname, err)
	}
	return found, nil
}

// inTheWay reports whether a server does what one in this mode does. A boot server
// is told of to machines by another server's options.
func inTheWay(mode dhcp.Mode, d dhcp.Detected) bool {
	return mode != dhcp.BootServer && (d.PXE || d.HTTPBoot) || d.DHCP && mode == dhcp.Full
}

// refuse returns an error if another server is in the way, and warns where one is
// missing that this one relies on.
func (s *Server) refuse(ctx context.Context) error {
	if s.DetectTime == 0 {
		return nil
	}
	found, err := s.Detect(ctx)
	if err != nil {
		return err
	}
	var conflict ConflictError
	given := make(map[string]bool)
	for _, n := range found {
		given[n.Interface] = given[n.Interface] || n.DHCP
		if n.Conflict {
			conflict.Neighbours = append(conflict.Neighbours, n)
		}
	}
	if conflict.Neighbours != nil {
		return &conflict
	}
	for ifname, networks := range s.links() {
		if networks[0].Mode != dhcp.Full && !given[ifname] && s.Logger != nil {
			s.Logger.Warn("pxe: no server gives out addresses, and this one leaves it to another", "interface", ifname, "mode", networks[0].Mode)
		}
	}
	return nil
}

// portIn returns the port of "host:port", and 0, for the standard one, where there
// is none.
func portIn(address string) uint16 {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(n)
}
