package pxetest

import (
	"net"
	"net/netip"
	"slices"
	"sync"
)

// TB is the part of testing.TB that this package needs. *testing.T is one; so is
// any type of a program that is not a test: Fatalf must not return then.
type TB interface {
	// Helper, Cleanup and Fatalf do what those of testing.TB do.
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Segment is an Ethernet-like network segment in memory: every host on it hears
// broadcasts, and a unicast datagram reaches the host that answers for its
// address. There are no real sockets and there is no real time in it: all waiting
// is on channels and timers, so it works in a testing/synctest bubble as well as
// outside of one. (Make it inside the bubble if it shall work inside.)
//
// All methods are safe for concurrent use.
type Segment struct {
	t TB

	mu    sync.Mutex
	nics  []*nic
	hosts []*Host
	tap   func(Frame) bool

	// ways lead to other segments. They have a lock of their own, as they are looked
	// at while a host is locked.
	waysMu sync.Mutex
	ways   []way
	next   uint16
}

// Frame is a UDP datagram on its way over a segment.
type Frame struct {
	From, To            net.HardwareAddr // To is ff:ff:ff:ff:ff:ff for a broadcast
	Source, Destination netip.AddrPort
	Payload             []byte // read only, valid during the call
}

type hwAddr [6]byte

var broadcastHW = hwAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// broadcastAddr is the limited broadcast address, 255.255.255.255.
func broadcastAddr() netip.Addr { return netip.AddrFrom4([4]byte{255, 255, 255, 255}) }

// NewSegment makes an empty segment. When the test ends everything on it is
// closed: sockets, listeners and connections, so that servers return.
func NewSegment(t TB) *Segment {
	t.Helper()
	s := &Segment{t: t}
	t.Cleanup(s.close)
	return s
}

// Tap sets a function that is shown every datagram before it is delivered and may
// drop it by returning false: a packet capture, or a bad cable. It is called on
// the sender's goroutine, several at once. nil takes it away.
func (s *Segment) Tap(f func(Frame) (deliver bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tap = f
}

func (s *Segment) close() {
	s.mu.Lock()
	hosts := slices.Clone(s.hosts)
	s.mu.Unlock()
	for _, h := range hosts {
		h.Close()
	}
}

// attach plugs a new interface in; hw nil makes an address up.
func (s *Segment) attach(h *Host, name string, hw net.HardwareAddr) *nic {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := &nic{host: h, segment: s, name: name}
	if len(hw) == len(n.hw) {
		copy(n.hw[:], hw)
	} else {
		s.next++
		n.hw = hwAddr{0x02, 0xff, 0, 0, byte(s.next >> 8), byte(s.next)}
	}
	s.nics = append(s.nics, n)
	if !slices.Contains(s.hosts, h) {
		s.hosts = append(s.hosts, h)
	}
	return n
}

func (s *Segment) detach(h *Host) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nics = slices.DeleteFunc(s.nics, func(n *nic) bool { return n.host == h })
	s.hosts = slices.DeleteFunc(s.hosts, func(other *Host) bool { return other == h })
}

// resolve is ARP: the interface that answers for an address, or nil.
func (s *Segment) resolve(addr netip.Addr) *nic {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.nics {
		if n.answersFor(addr) {
			return n
		}
	}
	return nil
}

// send puts a datagram on the wire; the receivers get their own copy. Nobody
// there, or a full queue, is not an error, as on a real wire.
//
// It says whether the tap let it pass.
func (s *Segment) send(from *nic, to hwAddr, src, dst netip.AddrPort, p []byte) bool {
	s.mu.Lock()
	tap := s.tap
	s.mu.Unlock()
	if tap != nil && !tap(Frame{From: from.hw[:], To: to[:], Source: src, Destination: dst, Payload: p}) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.nics {
		if n != from && (to == broadcastHW || to == n.hw) {
			n.host.receive(n, src, dst, p)
		}
	}
	return true
}
