package dhcp

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// benchmarkRequests measures decode, policy and encode of one packet, sent in
// turn by 1,000 clients.
func benchmarkRequests(b *testing.B, s *Server, packets [][]byte, want dhcpv4.MessageType) {
	b.ReportAllocs()
	from := netip.MustParseAddrPort("0.0.0.0:68")
	i := 0
	for b.Loop() {
		r := &Request{Interface: "eth1", Source: from, Received: time.Now()}
		reason, err := s.read(r, packets[i%len(packets)], nil)
		if reason != "" {
			b.Fatal(reason, err)
		}
		reply, reason, err := s.answer(context.Background(), r)
		if reason != "" || reply.MessageType() != want {
			b.Fatal(reason, err)
		}
		if _, err := encode(reply, r); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func benchmarkServer() *Server {
	return newServer(rich, withBoot("lpxelinux.0"), withPool(&Pool{First: addr("192.0.2.2"), Last: addr("192.0.255.254")}),
		func(s *Server) { s.Networks[0].Addr = netip.MustParsePrefix("192.0.2.1/16") })
}

func pxeClient(i int) []dhcpv4.Modifier {
	return []dhcpv4.Modifier{optText(60, "PXEClient:Arch:00000:UNDI:002001"), opt(93, 0, 0), opt(97, make([]byte, 17)...),
		opt(55, 1, 3, 6, 15, 43, 60, 66, 67, 97), opt(57, 5, 0xc0), xid(uint32(i))}
}

func BenchmarkDiscover(b *testing.B) {
	var packets [][]byte
	for i := range 1000 {
		packets = append(packets, discover(mac(i), pxeClient(i)...).ToBytes())
	}
	benchmarkRequests(b, benchmarkServer(), packets, dhcpv4.MessageTypeOffer)
}

func BenchmarkRequest(b *testing.B) {
	s := benchmarkServer()
	var packets [][]byte
	for i := range 1000 {
		a := addr4(binary.BigEndian.Uint32([]byte{192, 0, 3, 0}) + uint32(i)).String()
		packets = append(packets, request(mac(i), append(pxeClient(i), optAddr(54, serverIP), optAddr(50, a))...).ToBytes())
	}
	benchmarkRequests(b, s, packets, dhcpv4.MessageTypeAck)
}

func BenchmarkDiscoverOfAFullPool(b *testing.B) {
	s := newServer(withPool(&Pool{First: addr("10.0.0.2"), Last: addr("10.15.255.254")}), func(s *Server) {
		s.Networks[0].Addr = netip.MustParsePrefix("10.0.0.1/8")
	})
	p := s.Networks[0].Leases.(*Pool)
	if _, err := p.lock(context.Background()); err != nil {
		b.Fatal(err)
	}
	for i := range p.table.used {
		p.table.used[i] = ^uint64(0)
	}
	p.mu.Unlock()
	packet := discover(mac(1)).ToBytes()
	b.ReportAllocs()
	for b.Loop() {
		r := &Request{Interface: "eth1", Received: time.Now()}
		_, _ = s.read(r, packet, nil)
		if _, reason, _ := s.answer(context.Background(), r); reason != NoAddress {
			b.Fatal(reason)
		}
	}
}

// benchmarkConn is a conn on which 64 clients at a time wait for an answer, until
// total of them have asked.
type benchmarkConn struct {
	net.PacketConn
	packets      [][]byte
	total, asked int
	waiting      chan struct{}
	answers      atomic.Int64
	done         chan struct{} // closed after the last answer
	closed       chan struct{}
	once         sync.Once
}

func (c *benchmarkConn) LocalAddr() net.Addr             { return &net.UDPAddr{} }
func (c *benchmarkConn) SetReadDeadline(time.Time) error { return c.Close() }

func (c *benchmarkConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *benchmarkConn) ReadFrom(p []byte) (int, net.Addr, error) {
	if c.asked == c.total {
		<-c.closed
		return 0, nil, net.ErrClosed
	}
	c.asked++
	c.waiting <- struct{}{}
	return copy(p, c.packets[c.asked%len(c.packets)]), nil, nil
}

func (c *benchmarkConn) WriteTo(p []byte, _ net.Addr) (int, error) {
	c.answered()
	return len(p), nil
}

func (c *benchmarkConn) answered() {
	<-c.waiting
	if c.answers.Add(1) == int64(c.total) {
		close(c.done)
	}
}

// BenchmarkServe measures a packet's way through the whole server but for the
// system's calls.
func BenchmarkServe(b *testing.B) {
	s := benchmarkServer()
	conn := &benchmarkConn{total: b.N, waiting: make(chan struct{}, 64), done: make(chan struct{}), closed: make(chan struct{})}
	for i := range 1000 {
		conn.packets = append(conn.packets, discover(mac(i), pxeClient(i)...).ToBytes())
	}
	s.Trace = &Trace{Dropped: func(Drop) { conn.answered() }}
	b.ReportAllocs()
	go func() { _ = s.Serve(conn) }()
	<-conn.done
	b.StopTimer()
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkDiscoverOfAStranger is BenchmarkDiscover for a client that is new each
// time: without probing, with a stock of probed addresses and with an empty one.
func BenchmarkDiscoverOfAStranger(b *testing.B) {
	for _, c := range []struct {
		name    string
		probing bool
		stock   int
	}{{"NoProbe", false, 0}, {"stock", true, maxStock}, {"empty stock", true, 0}} {
		b.Run(c.name, func(b *testing.B) {
			s := benchmarkServer()
			p := s.Networks[0].Leases.(*Pool)
			t, err := p.lock(context.Background())
			if err != nil {
				b.Fatal(err)
			}
			if c.probing {
				t.stock.wake = make(chan struct{}, 1)
			}
			for range c.stock {
				t.freeToProbe(time.Now(), func(netip.Addr) bool { return true })
			}
			for i := range t.stock.proofs {
				t.stock.proofs[i].until = time.Now().Add(time.Hour)
			}
			p.mu.Unlock()
			packet := discover(mac(1), pxeClient(1)...).ToBytes()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				binary.BigEndian.PutUint32(packet[offsetChaddr+2:], uint32(i))
				r := &Request{Interface: "eth1", Received: time.Now()}
				if reason, err := s.read(r, packet, nil); reason != "" {
					b.Fatal(reason, err)
				}
				reply, reason, err := s.answer(context.Background(), r)
				if reason != "" {
					b.Fatal(reason, err)
				}
				if _, err := encode(reply, r); err != nil {
					b.Fatal(err)
				}
				p.mu.Lock()
				t.unhold(t.holders[r.key()])
				t.stock.unproved = t.stock.unproved[:0]
				if c.stock > 0 {
					place, _ := t.offset(r.YourAddr)
					t.stock.begin(place)
					i, _ := t.stock.find(place)
					t.stock.proofs[i].until = r.Received.Add(time.Hour)
				}
				p.mu.Unlock()
			}
			if unprobed := p.Probes().Unprobed; c.stock > 0 && unprobed > 0 {
				b.Fatal(unprobed, "were not in the stock")
			}
		})
	}
}
