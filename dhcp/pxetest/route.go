package pxetest

import (
	"net/netip"
	"slices"
)

// way says that a router on the segment, at via, leads to another segment. Hosts
// know all ways, as if a routing protocol told them; machines know the routers
// that DHCP gave them.
type way struct {
	via netip.Addr
	to  netip.Prefix
}

// maxHops ends what goes round in circles.
const maxHops = 16

func (s *Segment) addWay(w way) {
	s.waysMu.Lock()
	defer s.waysMu.Unlock()
	s.ways = append(s.ways, w)
}

// via is the router towards dst by this interface: the zero Addr for a neighbour,
// and where there is none. It wants host.mu held.
func (n *nic) via(dst netip.Addr) netip.Addr {
	if n.onLink(dst) {
		return netip.Addr{}
	}
	if n.host.machine {
		if i := slices.IndexFunc(n.host.routers, n.onLink); i >= 0 {
			return n.host.routers[i]
		}
		return netip.Addr{}
	}
	n.segment.waysMu.Lock()
	defer n.segment.waysMu.Unlock()
	for _, w := range n.segment.ways {
		if w.to.Contains(dst) && !n.host.hasAddr(w.via) {
			return w.via
		}
	}
	return netip.Addr{}
}

// unicast sends a datagram to the host that has dst, from router to router.
func (n *nic) unicast(via netip.Addr, src, dst netip.AddrPort, p []byte) {
	n.reach(via, dst.Addr(), func(n *nic, to hwAddr) bool { return n.segment.send(n, to, src, dst, p) })
}

// reach finds the host that has dst. hop, unless nil, is called for each segment on
// the way and may end it. Nobody there is nil.
func (n *nic) reach(via, dst netip.Addr, hop func(from *nic, to hwAddr) bool) *Host {
	for range maxHops {
		next := dst
		if via.IsValid() {
			next = via
		}
		to := n.segment.resolve(next)
		if to == nil || hop != nil && !hop(n, to.hw) {
			return nil
		}
		h := to.host
		h.mu.Lock()
		arrived := h.hasAddr(dst)
		out, onward, err := h.route(dst, netip.Addr{}, "")
		forwards := len(h.nics) > 1 && h.router
		h.mu.Unlock()
		switch {
		case arrived:
			return h
		case err != nil || !forwards:
			return nil
		}
		n, via = out, onward
	}
	return nil
}

// knows says whether the host has a way to dst.
func (h *Host) knows(dst netip.Addr) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, _, err := h.route(dst, netip.Addr{}, "")
	return err == nil
}
