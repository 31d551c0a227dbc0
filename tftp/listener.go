package tftp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// listener is the loop over one socket that requests come to.
type listener struct {
	server    *Server
	conn      packetConn
	local     netip.Addr // what the conn is bound to, for conns that are no LocalReader
	reader    LocalReader
	writer    LocalWriter
	lister    AddrLister
	transfers sync.WaitGroup
	reply     []byte
}

func newListener(s *Server, conn net.PacketConn) *listener {
	l := &listener{server: s, conn: newPacketConn(conn)}
	l.local = l.conn.localAddr()
	l.reader, _ = conn.(LocalReader)
	l.writer, _ = conn.(LocalWriter)
	l.lister, _ = conn.(AddrLister)
	return l
}

// datagram is where a packet came from and went to.
type datagram struct {
	from   netip.AddrPort
	to     netip.Addr
	ifname string
}

// listen admits requests until draining, or until the socket fails.
func (l *listener) listen(ctx context.Context, draining <-chan struct{}) error {
	// One byte more than a request may have, to see that one is too long.
	buf := make([]byte, maxRequest+1)
	failures := 0
	for {
		n, d, err := l.read(buf)
		if err == nil {
			failures = 0
			l.admit(ctx, buf[:n], d)
			continue
		}
		select {
		case <-draining:
			return ErrServerClosed
		default:
		}
		if !passing(err) {
			return fmt.Errorf("tftp: the socket for requests on %s failed: %w", l.conn.LocalAddr(), err)
		}
		// A few of these are the normal life of a socket. An endless row of
		// them must not take a processor.
		if failures++; failures > 16 {
			select {
			case <-draining:
				return ErrServerClosed
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

func (l *listener) read(buf []byte) (int, datagram, error) {
	if l.reader == nil {
		n, from, err := l.conn.read(buf)
		return n, datagram{from: from, to: l.local}, err
	}
	n, from, to, ifname, err := l.reader.ReadFromLocal(buf)
	d := datagram{unmap(from), to.Unmap(), ifname}
	if !d.to.IsValid() {
		d.to = l.local
	}
	return n, d, err
}

// admit starts a transfer for a datagram, or drops it.
func (l *listener) admit(ctx context.Context, p []byte, d datagram) {
	s := l.server
	if !l.answerable(d) {
		s.drop(DropNotForUs, d.from)
		return
	}
	r, why, ok := parseRequest(p)
	if !ok {
		s.drop(why.reason, d.from)
		if !why.silent {
			l.refuse(why.code, d)
		}
		return
	}
	r.Remote, r.Local, r.Interface = d.from, d.to, d.ifname
	place, evicted, reason := s.sessions.enter(ctx, session{d.from, r.raw},
		orDefault(s.MaxTransfers, defaultTransfers),
		orDefault(s.MaxTransfersPerClient, defaultTransfersPerClient))
	if evicted != nil {
		evicted.cancel(ErrSuperseded)
		s.drop(DropSuperseded, evicted.remote)
	}
	if place == nil {
		s.drop(reason, d.from)
		return
	}
	l.transfers.Go(func() {
		s.Trace.start(r)
		result := s.transfer(place, r)
		s.sessions.leave(place)
		s.Trace.done(r, result)
	})
}

// answerable reports whether a datagram comes from an address that can be
// answered and was sent to us alone: RFC 1123 section 4.2.3.5.
func (l *listener) answerable(d datagram) bool {
	limited := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	from := d.from.Addr()
	switch {
	case !from.IsValid(), from.IsUnspecified(), from.IsMulticast(), from == limited, d.from.Port() == 0:
		return false
	case d.to.IsMulticast(), d.to == limited:
		return false
	case l.lister == nil || !d.to.Is4():
		return true
	}
	prefixes, err := l.lister.InterfaceAddrs(d.ifname)
	if err != nil {
		return true // the interface has just gone; the transfer will find out
	}
	for _, p := range prefixes {
		if b := broadcast(p); b == d.to || b == from {
			return false
		}
	}
	return true
}

// broadcast returns the broadcast address of an IPv4 subnet, and the zero Addr
// if it has none.
func broadcast(p netip.Prefix) netip.Addr {
	if !p.Addr().Is4() || p.Bits() > 30 {
		return netip.Addr{}
	}
	a := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		a[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(a)
}

// refuse answers a request that becomes no transfer, once and from the socket
// it came to: the client has not learnt another port yet.
func (l *listener) refuse(code ErrorCode, d datagram) {
	l.reply = appendError(l.reply[:0], code, code.String())
	// An answer that cannot be sent is a lost packet.
	if l.writer != nil {
		_, _ = l.writer.WriteToLocal(l.reply, d.from, d.to, d.ifname)
		return
	}
	_ = l.conn.write(l.reply, d.from)
}
