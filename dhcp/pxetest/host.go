package pxetest

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
)

// Host is a computer with an interface on one or several segments. Its sockets
// are in memory.
//
// All methods are safe for concurrent use.
type Host struct {
	t TB

	mu        sync.Mutex
	nics      []*nic
	udp       map[netip.AddrPort]*PacketConn
	tcp       map[netip.AddrPort]*listener
	streams   map[*stream]struct{}
	ephemeral uint16
	closed    bool
	// routers are a machine's way to other networks, as DHCP told it.
	routers []netip.Addr
	machine bool // it has no other way than these
	router  bool // it forwards what is not for it
}

// nic is an interface of a host. Its prefixes are guarded by host.mu.
type nic struct {
	host     *Host
	segment  *Segment
	name     string
	hw       hwAddr
	prefixes []netip.Prefix
}

// Ephemeral ports are those that IANA leaves for it (RFC 6335 section 6).
const firstEphemeral = 49152

// Host puts a computer on the segment, with an interface of that name. prefix is
// its address and mask ("192.0.2.1/24"); with "" it has no address yet.
func (s *Segment) Host(ifname, prefix string) *Host {
	s.t.Helper()
	h := newHost(s.t)
	h.Attach(s, ifname, prefix)
	return h
}

func newHost(t TB) *Host {
	return &Host{
		t:         t,
		udp:       make(map[netip.AddrPort]*PacketConn),
		tcp:       make(map[netip.AddrPort]*listener),
		streams:   make(map[*stream]struct{}),
		ephemeral: firstEphemeral,
	}
}

// Attach gives the host one more interface, on s, and returns the host: a server
// on several networks hears all of them with one socket per port, and learns from
// ReadFromLocal by which interface a datagram came in.
func (h *Host) Attach(s *Segment, ifname, prefix string) *Host {
	h.t.Helper()
	var prefixes []netip.Prefix
	if prefix != "" {
		p, err := netip.ParsePrefix(prefix)
		if err != nil || !p.Addr().Is4() {
			h.t.Fatalf("pxetest: %q is not an IPv4 address with a mask, such as 192.0.2.1/24", prefix)
			return h
		}
		prefixes = append(prefixes, p)
	}
	h.attach(s, ifname, nil, prefixes)
	return h
}

func (h *Host) attach(s *Segment, ifname string, hw net.HardwareAddr, prefixes []netip.Prefix) {
	n := s.attach(h, ifname, hw)
	h.mu.Lock()
	defer h.mu.Unlock()
	n.prefixes = prefixes
	h.nics = append(h.nics, n)
}

// setPrefix replaces all addresses of the host's first interface; the zero prefix
// leaves it without one.
func (h *Host) setPrefix(p netip.Prefix, routers []netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.nics[0].prefixes, h.routers, h.machine = nil, routers, true
	if p.IsValid() {
		h.nics[0].prefixes = []netip.Prefix{p}
	}
}

// Close switches the host off: its sockets are closed and it leaves its segments.
func (h *Host) Close() error {
	h.mu.Lock()
	h.closed = true
	nics := h.nics
	var closers []interface{ Close() error }
	for _, c := range h.udp {
		closers = append(closers, c)
	}
	for _, l := range h.tcp {
		closers = append(closers, l)
	}
	for c := range h.streams {
		closers = append(closers, c)
	}
	h.mu.Unlock()
	for _, c := range closers {
		c.Close()
	}
	for _, n := range nics {
		n.segment.detach(h)
	}
	return nil
}

func (n *nic) answersFor(addr netip.Addr) bool {
	n.host.mu.Lock()
	defer n.host.mu.Unlock()
	return n.has(addr)
}

// has, and the methods below, want host.mu held.
func (n *nic) has(addr netip.Addr) bool {
	return slices.ContainsFunc(n.prefixes, func(p netip.Prefix) bool { return p.Addr() == addr })
}

func (n *nic) isBroadcast(addr netip.Addr) bool {
	return addr == broadcastAddr() ||
		slices.ContainsFunc(n.prefixes, func(p netip.Prefix) bool { return p.Bits() < 31 && lastAddr(p) == addr })
}

func (n *nic) onLink(addr netip.Addr) bool {
	return slices.ContainsFunc(n.prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

func (h *Host) hasAddr(addr netip.Addr) bool {
	return slices.ContainsFunc(h.nics, func(n *nic) bool { return n.has(addr) })
}

// route finds the interface towards dst: the one that was named; else the one
// that has the source address, for a broadcast; else the one whose network holds
// dst; else one with a router, via.
func (h *Host) route(dst, from netip.Addr, ifname string) (n *nic, via netip.Addr, err error) {
	if ifname != "" {
		for _, n := range h.nics {
			if n.name == ifname {
				return n, n.via(dst), nil
			}
		}
		return nil, via, syscall.ENODEV
	}
	if dst == broadcastAddr() {
		for _, n := range h.nics {
			if !from.IsValid() || from.IsUnspecified() || n.has(from) {
				return n, via, nil
			}
		}
		return nil, via, syscall.ENETUNREACH
	}
	for _, n := range h.nics {
		if n.onLink(dst) {
			return n, via, nil
		}
	}
	for _, n := range h.nics {
		if via := n.via(dst); via.IsValid() {
			return n, via, nil
		}
	}
	return nil, via, syscall.ENETUNREACH
}

// freePort picks an ephemeral port for which taken says no.
func (h *Host) freePort(taken func(uint16) bool) (uint16, error) {
	for range 1<<16 - firstEphemeral {
		port := h.ephemeral
		h.ephemeral++
		if h.ephemeral == 0 {
			h.ephemeral = firstEphemeral
		}
		if !taken(port) {
			return port, nil
		}
	}
	return 0, syscall.EADDRINUSE
}

// conflict says whether a socket bound to want would share its port with one of
// bound: a wildcard meets every address.
func conflict[S any](bound map[netip.AddrPort]S, want netip.AddrPort) bool {
	for b := range bound {
		if b.Port() == want.Port() &&
			(b.Addr() == want.Addr() || b.Addr().IsUnspecified() || want.Addr().IsUnspecified()) {
			return true
		}
	}
	return false
}

// boundTo finds the socket for a destination: that of the address, else the wildcard.
func boundTo[S any](bound map[netip.AddrPort]S, dst netip.AddrPort) (S, bool) {
	if s, ok := bound[dst]; ok {
		return s, true
	}
	s, ok := bound[netip.AddrPortFrom(netip.IPv4Unspecified(), dst.Port())]
	return s, ok
}

// receive takes a datagram from the wire.
func (h *Host) receive(n *nic, src, dst netip.AddrPort, p []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := dst
	bare := len(n.prefixes) == 0
	if !h.hasAddr(dst.Addr()) {
		if !n.isBroadcast(dst.Addr()) && !bare {
			return
		}
		key = netip.AddrPortFrom(netip.IPv4Unspecified(), dst.Port())
	}
	c, ok := boundTo(h.udp, key)
	if !ok {
		return
	}
	// Without an address yet only a DHCP client hears what is not broadcast: it
	// reads frames, not datagrams.
	if bare && !n.isBroadcast(dst.Addr()) && !c.frames {
		return
	}
	c.enqueue(datagram{payload: slices.Clone(p), from: src, to: dst.Addr(), ifname: n.name})
}

func lastAddr(p netip.Prefix) netip.Addr {
	a := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		a[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(a)
}
