package dhcp

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/stretchr/testify/require"
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
	lint(t, x.raw, raw)
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

// lint checks what holds for every reply, with a parser that has nothing in
// common with the encoder.
func lint(t testing.TB, reply, request []byte) {
	t.Helper()
	fail := func(format string, args ...any) {
		t.Helper()
		t.Fatalf("%s\nreply %x\nto %x", fmt.Sprintf(format, args...), reply, request)
	}
	if len(reply) < 300 || len(reply) > 1472 {
		fail("%d bytes", len(reply))
	}
	if reply[0] != 2 || reply[1] != request[1] || reply[2] != request[2] || reply[3] != 0 {
		fail("op, htype, hlen, hops")
	}
	if !bytes.Equal(reply[4:8], request[4:8]) || !bytes.Equal(reply[24:44], request[24:44]) {
		fail("xid, giaddr or chaddr not copied")
	}
	if reply[8] != 0 || reply[9] != 0 {
		fail("secs")
	}
	if reply[107] != 0 || reply[235] != 0 {
		fail("sname or file not terminated")
	}
	var codes []byte
	values := map[byte][]byte{}
	b := reply[240:]
	ended := false
	for len(b) > 0 && !ended {
		switch {
		case b[0] == 0:
			b = b[1:]
		case b[0] == 255:
			ended = true
			b = b[1:]
		case len(b) < 2 || len(b) < 2+int(b[1]):
			fail("option %d runs past the end", b[0])
		default:
			if len(codes) == 0 || codes[len(codes)-1] != b[0] {
				if _, again := values[b[0]]; again {
					fail("option %d in two places", b[0])
				}
				codes = append(codes, b[0])
			} else if b[0] == 43 || b[0] == 60 || b[0] == 67 {
				fail("option %d split", b[0])
			}
			values[b[0]] = append(values[b[0]], b[2:2+int(b[1])]...)
			b = b[2+int(b[1]):]
		}
	}
	if !ended {
		fail("no END")
	}
	if len(bytes.Trim(b, "\x00")) != 0 {
		fail("bytes after END")
	}
	if codes[0] != 53 || len(values[53]) != 1 || codes[1] != 54 || len(values[54]) != 4 {
		fail("does not begin with 53, 54")
	}
	for code, n := range map[byte]int{1: 4, 28: 4, 51: 4, 58: 4, 59: 4, 97: 17} {
		if v, ok := values[code]; ok && len(v) != n {
			fail("option %d has %d bytes", code, len(v))
		}
	}
	for _, code := range []byte{50, 55, 57} {
		if _, ok := values[code]; ok {
			fail("option %d in a reply", code)
		}
	}
	if i := bytes.IndexByte(codes, 3); i >= 0 && bytes.IndexByte(codes[:i], 1) < 0 {
		fail("router before mask")
	}
	if i := bytes.IndexByte(codes, 82); i >= 0 && i != len(codes)-1 {
		fail("option 82 is not last")
	}
	if v, ok := values[43]; ok && v[len(v)-1] != 255 {
		fail("option 43 without its end")
	}
	switch values[53][0] {
	case 6:
		for _, code := range codes {
			if !bytes.Contains([]byte{53, 54, 56, 61, 82}, []byte{code}) {
				fail("option %d in a NAK", code)
			}
		}
		if !bytes.Equal(reply[12:24], make([]byte, 12)) {
			fail("address in a NAK")
		}
	case 2:
		if binary.BigEndian.Uint32(reply[12:]) != 0 {
			fail("ciaddr in an OFFER")
		}
	}
}

// fakeConn is a socket in memory with all upgrades.
type fakeConn struct {
	in     chan fakePacket
	out    chan fakeSent
	closed chan struct{}
	once   sync.Once

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

func newFakeConn() *fakeConn {
	return &fakeConn{
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
	c := newFakeConn()
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
