package leasetest

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/pxekit/pxe/dhcp"
)

// stage is a policy in a server, and clients that talk to it.
type stage struct {
	ctx    context.Context
	r      *report
	spy    *spy
	server *dhcp.Server
	conn   *wire
	served chan error
	own    netip.Addr // the server's address
	xid    atomic.Uint32

	mu    sync.Mutex
	boxes map[string]chan outcome // by client
}

// outcome is what became of a packet.
type outcome struct {
	kind   dhcpv4.MessageType // of the reply; none: silence
	addr   netip.Addr         // that the reply gives
	reason dhcp.DropReason    // of the silence; "": RELEASE or DECLINE was heeded
	err    error
}

func (o outcome) String() string {
	switch {
	case o.kind == dhcpv4.MessageTypeNak:
		return "NAK"
	case o.kind != dhcpv4.MessageTypeNone:
		return fmt.Sprintf("%s of %s", o.kind, o.addr)
	}
	return fmt.Sprintf("silence (%s, %v)", o.reason, o.err)
}

func (o outcome) offer() bool { return o.kind == dhcpv4.MessageTypeOffer }
func (o outcome) ack() bool   { return o.kind == dhcpv4.MessageTypeAck }
func (o outcome) silent() bool {
	return o.kind == dhcpv4.MessageTypeNone && (o.reason == dhcp.Policy || o.reason == dhcp.NoAddress)
}

func newStage(ctx context.Context, r *report, policy dhcp.LeasePolicy, addr netip.Prefix) *stage {
	st := &stage{
		ctx: ctx, r: r, own: addr.Addr(), served: make(chan error, 1),
		conn: &wire{in: make(chan []byte, 1024), closed: make(chan struct{})}, boxes: make(map[string]chan outcome),
	}
	st.spy = &spy{policy: policy, r: r, stage: st, hooks: make(map[string]func(context.Context, *dhcp.Request))}
	st.server = &dhcp.Server{
		Networks: []dhcp.Network{{Addr: addr, Mode: dhcp.Full, Leases: st.spy}},
		Trace: &dhcp.Trace{
			Sent: func(q *dhcp.Request, reply *dhcpv4.DHCPv4, _ dhcp.Delivery) {
				a, _ := netip.AddrFromSlice(reply.YourIPAddr.To4())
				st.tell(q.HardwareAddr(), outcome{kind: reply.MessageType(), addr: a})
			},
			Dropped: func(d dhcp.Drop) { st.tell(d.HardwareAddr, outcome{reason: d.Reason, err: d.Err}) },
		},
	}
	go func() { st.served <- st.server.Serve(st.conn) }()
	return st
}

func (st *stage) close() {
	_ = st.server.Close()
	<-st.served
}

func (st *stage) box(hw net.HardwareAddr) chan outcome {
	st.mu.Lock()
	defer st.mu.Unlock()
	b, ok := st.boxes[string(hw)]
	if !ok {
		b = make(chan outcome, 16)
		st.boxes[string(hw)] = b
	}
	return b
}

func (st *stage) tell(hw net.HardwareAddr, o outcome) {
	select {
	case st.box(hw) <- o:
	default: // nobody waits for so many
	}
}

// send sends a packet of a client, and waits for what becomes of it. One client
// sends one at a time.
func (st *stage) send(t dhcpv4.MessageType, hw net.HardwareAddr, ciaddr, requested, server netip.Addr) outcome {
	zero := net.IPv4zero
	p := &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootRequest, HWType: iana.HWTypeEthernet, ClientHWAddr: hw,
		ClientIPAddr: zero, YourIPAddr: zero, ServerIPAddr: zero, GatewayIPAddr: zero,
		Options: dhcpv4.OptionsFromList(dhcpv4.OptMessageType(t)),
	}
	binary.BigEndian.PutUint32(p.TransactionID[:], st.xid.Add(1))
	if ciaddr.IsValid() {
		p.ClientIPAddr = ciaddr.AsSlice()
	}
	if requested.IsValid() {
		p.UpdateOption(dhcpv4.OptRequestedIPAddress(requested.AsSlice()))
	}
	if server.IsValid() {
		p.UpdateOption(dhcpv4.OptServerIdentifier(server.AsSlice()))
	}
	select {
	case st.conn.in <- p.ToBytes():
	case <-st.ctx.Done():
		return outcome{err: st.ctx.Err()}
	}
	select {
	case o := <-st.box(hw):
		return o
	case <-st.ctx.Done():
		return outcome{err: st.ctx.Err()}
	}
}

func (st *stage) discover(hw net.HardwareAddr) outcome {
	return st.send(dhcpv4.MessageTypeDiscover, hw, netip.Addr{}, netip.Addr{}, netip.Addr{})
}

// choose takes an offer of ours (SELECTING).
func (st *stage) choose(hw net.HardwareAddr, a netip.Addr) outcome {
	return st.send(dhcpv4.MessageTypeRequest, hw, netip.Addr{}, a, st.own)
}

// reboot asks for an address that the client remembers (INIT-REBOOT).
func (st *stage) reboot(hw net.HardwareAddr, a netip.Addr) outcome {
	return st.send(dhcpv4.MessageTypeRequest, hw, netip.Addr{}, a, netip.Addr{})
}

func (st *stage) renew(hw net.HardwareAddr, a netip.Addr) outcome {
	return st.send(dhcpv4.MessageTypeRequest, hw, a, netip.Addr{}, netip.Addr{})
}

// elsewhere takes the offer of another server, the neighbour of ours.
func (st *stage) elsewhere(hw net.HardwareAddr, a netip.Addr) outcome {
	return st.send(dhcpv4.MessageTypeRequest, hw, netip.Addr{}, a, st.own.Next())
}

func (st *stage) release(hw net.HardwareAddr, a netip.Addr) outcome {
	return st.send(dhcpv4.MessageTypeRelease, hw, a, netip.Addr{}, st.own)
}

func (st *stage) decline(hw net.HardwareAddr, a netip.Addr) outcome {
	return st.send(dhcpv4.MessageTypeDecline, hw, netip.Addr{}, a, st.own)
}

// lease has a client get a lease, as clients do: it starts over when it is refused.
func (st *stage) lease(hw net.HardwareAddr) (netip.Addr, bool) {
	var last outcome
	for range 5 {
		if last = st.discover(hw); !last.offer() {
			break
		}
		a := last.addr
		if last = st.choose(hw, a); last.ack() {
			return a, true
		}
	}
	st.r.add("client %s gets no lease: %s", hw, last)
	return netip.Addr{}, false
}

// keeps reports a problem unless the client can renew its lease.
func (st *stage) keeps(hw net.HardwareAddr, a netip.Addr, when string) {
	if o := st.renew(hw, a); !o.ack() {
		st.r.add("%s: a client that renews its lease of %s gets %s", when, a, o)
	}
}

// ask calls f with a request of the client that changes nothing.
func (st *stage) ask(hw net.HardwareAddr, f func(context.Context, *dhcp.Request)) {
	st.spy.mu.Lock()
	st.spy.hooks[string(hw)] = f
	st.spy.mu.Unlock()
	st.release(hw, st.own.Next())
}

// wire is a socket from which a server reads what the clients send. Its replies
// are not looked at: the server tells of them.
type wire struct {
	in     chan []byte
	once   sync.Once
	closed chan struct{}
}

func (w *wire) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case <-w.closed:
		return 0, nil, os.ErrDeadlineExceeded
	case b := <-w.in:
		return copy(p, b), &net.UDPAddr{IP: net.IPv4zero, Port: 68}, nil
	}
}

// SetReadDeadline ends reading for good: the server sets none but to be stopped.
func (w *wire) SetReadDeadline(t time.Time) error {
	if !t.IsZero() {
		w.once.Do(func() { close(w.closed) })
	}
	return nil
}

func (w *wire) Close() error                              { return w.SetReadDeadline(time.Unix(1, 0)) }
func (w *wire) WriteTo(p []byte, _ net.Addr) (int, error) { return len(p), nil }
func (w *wire) LocalAddr() net.Addr                       { return &net.UDPAddr{IP: net.IPv4zero, Port: 67} }
func (w *wire) SetDeadline(t time.Time) error             { return w.SetReadDeadline(t) }
func (w *wire) SetWriteDeadline(time.Time) error          { return nil }
