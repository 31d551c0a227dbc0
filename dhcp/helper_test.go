package dhcp

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/internal/dhcplint"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// mac is the hardware address of the n-th machine.
func mac(n int) net.HardwareAddr {
	return net.HardwareAddr{2, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

const serverIP = "192.0.2.1"

// newServer is a server on eth1 with a pool of 192.0.2.100-199.
func newServer(edit ...func(*Server)) *Server {
	s := &Server{Networks: []Network{{
		Interface: "eth1", Addr: netip.MustParsePrefix("192.0.2.1/24"), Mode: Full,
		Leases: &Pool{First: addr("192.0.2.100"), Last: addr("192.0.2.199")},
	}}}
	for _, e := range edit {
		e(s)
	}
	return s
}

func withPool(p *Pool) func(*Server) { return func(s *Server) { s.Networks[0].Leases = p } }
func authoritative(s *Server)        { s.Networks[0].Authoritative = true }
func withBoot(name string) func(*Server) {
	return func(s *Server) {
		s.BootFile = func(context.Context, *Request) (*BootFile, error) { return &BootFile{Name: name}, nil }
	}
}

// message is a client's packet with the codec as an independent encoder.
func message(t dhcpv4.MessageType, hw net.HardwareAddr, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	p := &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootRequest, HWType: iana.HWTypeEthernet, ClientHWAddr: hw,
		TransactionID: dhcpv4.TransactionID{1, 2, 3, 4},
		ClientIPAddr:  net.IPv4zero, YourIPAddr: net.IPv4zero, ServerIPAddr: net.IPv4zero, GatewayIPAddr: net.IPv4zero,
		Options: dhcpv4.OptionsFromList(dhcpv4.OptMessageType(t)),
	}
	for _, m := range mods {
		m(p)
	}
	return p
}

func discover(hw net.HardwareAddr, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	return message(dhcpv4.MessageTypeDiscover, hw, mods...)
}

func request(hw net.HardwareAddr, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	return message(dhcpv4.MessageTypeRequest, hw, mods...)
}

func opt(code uint8, v ...byte) dhcpv4.Modifier {
	return func(p *dhcpv4.DHCPv4) { p.Options[code] = v }
}
func optText(code uint8, v string) dhcpv4.Modifier { return opt(code, []byte(v)...) }
func optAddr(code uint8, a string) dhcpv4.Modifier { return opt(code, addr(a).AsSlice()...) }
func ciaddr(a string) dhcpv4.Modifier {
	return func(p *dhcpv4.DHCPv4) { p.ClientIPAddr = addr(a).AsSlice() }
}
func giaddr(a string) dhcpv4.Modifier {
	return func(p *dhcpv4.DHCPv4) { p.GatewayIPAddr = addr(a).AsSlice() }
}
func broadcastFlag(p *dhcpv4.DHCPv4) { p.SetBroadcast() }
func xid(n uint32) dhcpv4.Modifier {
	return func(p *dhcpv4.DHCPv4) { binary.BigEndian.PutUint32(p.TransactionID[:], n) }
}

// selecting are the options of a REQUEST that takes an offer.
func selecting(a string) dhcpv4.Modifier {
	return func(p *dhcpv4.DHCPv4) { optAddr(54, serverIP)(p); optAddr(50, a)(p) }
}

// result is what became of one packet.
type result struct {
	raw    []byte
	reply  *dhcpv4.DHCPv4
	d      Delivery
	r      *Request
	reason DropReason
	err    error
}

func (x result) addr() string {
	if x.reply == nil {
		return ""
	}
	return addrOf(x.reply.YourIPAddr).String()
}

func (x result) kind() string {
	if x.reply == nil {
		return "silence"
	}
	return x.reply.MessageType().String()
}

// ask takes a packet all the way without a socket.
func ask(t testing.TB, s *Server, p *dhcpv4.DHCPv4) result { return askRaw(t, s, p.ToBytes()) }

func askRaw(t testing.TB, s *Server, raw []byte) result {
	t.Helper()
	return askFrom(t, s, raw, netip.MustParseAddrPort("0.0.0.0:68"), netip.Addr{}, "eth1", nil)
}

func askFrom(t testing.TB, s *Server, raw []byte, from netip.AddrPort, to netip.Addr, ifname string, lister AddrLister) result {
	t.Helper()
	return askRequest(t, s, raw, &Request{Interface: ifname, Source: from, Destination: to, Received: time.Now()}, lister)
}

// askPXE takes a packet to port 4011 of our address on eth1.
func askPXE(t testing.TB, s *Server, p *dhcpv4.DHCPv4, from string) result {
	t.Helper()
	r := &Request{Interface: "eth1", Source: netip.MustParseAddrPort(from), Destination: addr(serverIP), PXEPort: true, Received: time.Now()}
	return askRequest(t, s, p.ToBytes(), r, nil)
}

func askRequest(t testing.TB, s *Server, raw []byte, r *Request, lister AddrLister) (x result) {
	t.Helper()
	x.r = r
	if x.reason, x.err = s.read(r, raw, lister); x.reason != "" {
		return x
	}
	reply, reason, err := s.answer(context.Background(), x.r)
	x.reason, x.err = reason, err
	if reason != "" || reply == nil {
		return x
	}
	x.raw, x.err = encode(reply, x.r)
	if x.err != nil {
		x.reason = NoRoom
		return x
	}
	x.d = s.deliver(x.r, reply)
	lint(t, x, raw)
	x.reply, err = dhcpv4.FromBytes(x.raw)
	require.NoError(t, err)
	return x
}

// dora leases an address and requires that all is well.
func dora(t testing.TB, s *Server, hw net.HardwareAddr, mods ...dhcpv4.Modifier) string {
	t.Helper()
	offer := ask(t, s, discover(hw, mods...))
	require.Equal(t, "OFFER", offer.kind(), "%s %v", offer.reason, offer.err)
	ack := ask(t, s, request(hw, append(mods, selecting(offer.addr()))...))
	require.Equal(t, "ACK", ack.kind(), "%s %v", ack.reason, ack.err)
	require.Equal(t, offer.addr(), ack.addr())
	return ack.addr()
}

// lint judges a reply by the text of the RFCs: see package dhcplint.
func lint(t testing.TB, x result, request []byte) {
	t.Helper()
	rules := dhcplint.Rules{NUL: x.r.Client.Style&StyleNUL != 0}
	if findings := rules.Reply(x.raw, request); len(findings) > 0 {
		t.Fatalf("%s\nreply %x\nto %x", strings.Join(findings, "\n"), x.raw, request)
	}
}

// fakeConn is a socket in memory with all upgrades. What is sent on it in reply to
// what was read from it is judged like what ask returns.
type fakeConn struct {
	t        testing.TB
	watch    dhcplint.Watch
	unjudged bool // requests are of no client, so replies cannot be told apart
	in       chan fakePacket
	out      chan fakeSent
	closed   chan struct{}
	once     sync.Once

	mu       sync.Mutex
	deadline chan struct{} // closed: past
	errs     []error       // returned by the next reads
	wake     chan struct{}
	frameErr error
	writeErr error
	addrs    map[string][]netip.Prefix
}

type fakePacket struct {
	b      []byte
	from   netip.AddrPort
	to     netip.Addr
	ifname string
}

type fakeSent struct {
	b        []byte
	dst, src netip.AddrPort
	hw       net.HardwareAddr
	ifname   string
}

func newFakeConn(t testing.TB) *fakeConn {
	return &fakeConn{
		t:  t,
		in: make(chan fakePacket, 4096), out: make(chan fakeSent, 4096), closed: make(chan struct{}),
		deadline: make(chan struct{}), wake: make(chan struct{}, 4096),
		addrs: map[string][]netip.Prefix{"eth1": {netip.MustParsePrefix("192.0.2.1/24")}},
	}
}

// put delivers a broadcast packet on eth1.
func (c *fakeConn) put(p *dhcpv4.DHCPv4) {
	c.in <- fakePacket{p.ToBytes(), netip.MustParseAddrPort("0.0.0.0:68"), addr("255.255.255.255"), "eth1"}
}

func (c *fakeConn) fail(errs ...error) {
	c.mu.Lock()
	c.errs = append(c.errs, errs...)
	c.mu.Unlock()
	c.wake <- struct{}{}
}

func (c *fakeConn) ReadFromLocal(p []byte) (int, netip.AddrPort, netip.Addr, string, error) {
	c.mu.Lock()
	deadline := c.deadline
	if len(c.errs) > 0 {
		defer c.mu.Unlock()
		err := c.errs[0]
		c.errs = c.errs[1:]
		return 0, netip.AddrPort{}, netip.Addr{}, "", err
	}
	c.mu.Unlock()
	select {
	case <-c.closed:
		return 0, netip.AddrPort{}, netip.Addr{}, "", net.ErrClosed
	case <-deadline:
		return 0, netip.AddrPort{}, netip.Addr{}, "", os.ErrDeadlineExceeded
	case <-c.wake:
		return c.ReadFromLocal(p)
	case q := <-c.in:
		if !c.unjudged && len(q.b) > 0 && q.b[0] == 1 {
			c.watch.Datagram(q.from, netip.AddrPortFrom(q.to, 67), q.b)
		}
		return copy(p, q.b), q.from, q.to, q.ifname, nil
	}
}

func (c *fakeConn) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, _, _, err := c.ReadFromLocal(p)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

func (c *fakeConn) send(s fakeSent) (int, error) {
	c.mu.Lock()
	err := c.writeErr
	c.mu.Unlock()
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	default:
	}
	if err != nil {
		return 0, err
	}
	s.b = bytes.Clone(s.b)
	if len(s.b) > 0 && s.b[0] == 2 && !c.unjudged {
		for _, finding := range c.watch.Datagram(netip.AddrPortFrom(s.src.Addr(), 67), s.dst, s.b) {
			c.t.Errorf("%s\nreply %x", finding, s.b)
		}
	}
	c.out <- s
	return len(s.b), nil
}

func (c *fakeConn) WriteTo(p []byte, to net.Addr) (int, error) {
	return c.send(fakeSent{b: p, dst: to.(*net.UDPAddr).AddrPort()})
}

func (c *fakeConn) WriteToLocal(p []byte, dst netip.AddrPort, from netip.Addr, ifname string) (int, error) {
	return c.send(fakeSent{b: p, dst: dst, src: netip.AddrPortFrom(from, 67), ifname: ifname})
}

func (c *fakeConn) WriteFrame(p []byte, src, dst netip.AddrPort, hw net.HardwareAddr, ifname string) (int, error) {
	c.mu.Lock()
	err := c.frameErr
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return c.send(fakeSent{b: p, dst: dst, src: src, hw: hw, ifname: ifname})
}

func (c *fakeConn) InterfaceAddrs(ifname string) ([]netip.Prefix, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.addrs[ifname]
	if !ok {
		return nil, fmt.Errorf("no interface %q", ifname)
	}
	return p, nil
}

func (c *fakeConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.deadline:
		c.deadline = make(chan struct{})
	default:
	}
	if !t.IsZero() && time.Until(t) <= 0 {
		close(c.deadline)
	}
	return nil
}

func (c *fakeConn) Close() error                       { c.once.Do(func() { close(c.closed) }); return nil }
func (c *fakeConn) LocalAddr() net.Addr                { return &net.UDPAddr{IP: net.IPv4zero, Port: 67} }
func (c *fakeConn) SetDeadline(t time.Time) error      { return c.SetReadDeadline(t) }
func (c *fakeConn) SetWriteDeadline(t time.Time) error { return nil }

func (c *fakeConn) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

// serve runs s on a fakeConn until the test ends.
func serve(t *testing.T, s *Server) *fakeConn {
	t.Helper()
	c := newFakeConn(t)
	done := make(chan error, 1)
	go func() { done <- s.Serve(c) }()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		<-done
	})
	return c
}

// next is the next reply.
func (c *fakeConn) next(t testing.TB) (*dhcpv4.DHCPv4, fakeSent) {
	t.Helper()
	select {
	case s := <-c.out:
		p, err := dhcpv4.FromBytes(s.b)
		require.NoError(t, err)
		return p, s
	case <-time.After(10 * time.Second):
		t.Fatal("no reply")
		return nil, fakeSent{}
	}
}

// nextFor is the next reply to one client; those to others are thrown away.
func (c *fakeConn) nextFor(t testing.TB, hw net.HardwareAddr) *dhcpv4.DHCPv4 {
	t.Helper()
	for {
		if p, _ := c.next(t); bytes.Equal(p.ClientHWAddr, hw) {
			return p
		}
	}
}

// doraOn leases an address over the socket.
func doraOn(t testing.TB, c *fakeConn, hw net.HardwareAddr) string {
	t.Helper()
	c.put(discover(hw))
	offer := c.nextFor(t, hw)
	require.Equal(t, dhcpv4.MessageTypeOffer, offer.MessageType())
	c.put(request(hw, selecting(offer.YourIPAddr.String())))
	ack := c.nextFor(t, hw)
	require.Equal(t, dhcpv4.MessageTypeAck, ack.MessageType())
	require.Equal(t, offer.YourIPAddr.String(), ack.YourIPAddr.String())
	return ack.YourIPAddr.String()
}
