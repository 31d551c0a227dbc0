package dhcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pxekit/pxe/internal/drop"
	"github.com/pxekit/pxe/internal/lifecycle"
)

// ErrServerClosed is returned by [Server.Serve] after Shutdown or Close.
var ErrServerClosed = lifecycle.ErrServerClosed

// defaultMaxClients lets a rack of a thousand machines that power up at once be
// served while each policy call waits for a disk: three quarters are for their
// DISCOVERs.
const defaultMaxClients = 2048

// Server is a DHCPv4 server. Its fields must not change once it serves. Two
// servers in one process know nothing of each other.
type Server struct {
	// Networks are the networks to serve, at least one.
	Networks []Network
	// BootFile is asked what a machine boots, for each packet of a client whose
	// Kind is not Plain that is to be answered: on a network of mode Full one
	// that gets a lease, on others each DISCOVER, and each packet at port 4011.
	// A nil result means nothing: the client gets its address all the same, and
	// no reply where we give no address. An error means that the client gets no
	// reply and tries again. It is called concurrently for different clients,
	// and should answer within a second: iPXE waits for two. The modes Proxy and
	// BootServer need it.
	BootFile func(ctx context.Context, r *Request) (*BootFile, error)
	// Quirks are rows that come before those of [QuirkTable].
	Quirks []Quirk
	// Classify, if set, may correct what a client was taken for, before quirks are
	// looked up and anybody is asked about it. It must not keep r, whose Client is
	// not set yet, and answers at once.
	Classify func(r *Request, c Client) Client
	// PXE says that ServePXE is called too, so that machines may be sent to port
	// 4011. Without it a machine that would have to ask there gets an error in
	// place of an OFFER.
	PXE bool
	// ServerPort is the port that replies come from when they are sent as
	// frames, ClientPort the one that clients listen on and RelayPort the one
	// that relays listen on. Zero: 67, 68 and 67.
	ServerPort, ClientPort, RelayPort uint16
	// MaxClients is how many clients may be in work at once; what comes beyond
	// is dropped as QueueFull. A quarter of them is not for DISCOVERs, so that a
	// server with too much to do completes what it has offered. Zero: 2048.
	MaxClients int
	// Trace is told what happens; nil: nobody is.
	Trace *Trace
	// Logger gets warnings and errors; nil: none.
	Logger *slog.Logger

	state    lifecycle.State
	drops    drop.Counts[DropReason]
	dispatch dispatcher
	quirks   quirks
	probers  turns
}

// serving is one call of Serve.
type serving struct {
	server *Server
	conn   *upgraded
	ctx    context.Context
	pxe    bool // conn is on port 4011
	work   sync.WaitGroup

	workers workers
}

// Serve answers what comes in on conn until Shutdown or Close is called, and
// then returns [ErrServerClosed]; or until conn fails for good, and then returns
// an error that names the socket. Failures that pass, such as an interface that
// is down, do not end it. Serve closes conn in any case.
//
// conn may have the upgrades [LocalReader], [LocalWriter], [FrameWriter],
// [AddrLister] and [AddrProber]. Serve may be called for several conns at once;
// the packets of one client are still handled one after the other.
//
// Policies and hooks must not call Shutdown or Close and wait for them: both
// wait for the work that such a call is part of.
//
// A panic in a policy or a hook is not recovered: a lease policy that has
// broken half-way may give an address twice, which is worse than a server that
// stops and is started again.
func (s *Server) Serve(conn net.PacketConn) error { return s.serve(conn, false) }

func (s *Server) serve(conn net.PacketConn, pxe bool) error {
	defer func() { _ = conn.Close() }() // again after kill, and then useless
	c := upgrade(conn)
	if err := s.validateFor(c); err != nil {
		return err
	}
	run, err := s.state.Begin(
		func() {
			if conn.SetReadDeadline(time.Unix(1, 0)) != nil {
				_ = conn.Close()
			}
		},
		func() { _ = conn.Close() },
	)
	if err != nil {
		return err
	}
	defer run.End()
	ctx, cancel := context.WithCancel(run.Context())
	defer cancel()
	on := &serving{server: s, conn: c, ctx: ctx, pxe: pxe, workers: newWorkers()}
	stopProbing := on.probe()
	err = on.loop(run.Draining())
	if !errors.Is(err, ErrServerClosed) {
		cancel() // the socket is gone: nothing that a policy still does can be told
	}
	stopProbing() // may wait for a policy that reads the leases
	close(on.workers.over)
	on.work.Wait()
	_ = conn.Close()
	return err
}

// loop reads until the server is stopped or the socket is broken.
func (on *serving) loop(stopped <-chan struct{}) error {
	buf := make([]byte, maxPacket+1)
	var delay time.Duration
	for {
		n, from, to, ifname, err := on.conn.read(buf)
		select {
		case <-stopped:
			return ErrServerClosed
		default:
		}
		if err == nil {
			delay = 0
			on.receive(buf[:n], from, to, ifname)
			continue
		}
		if !transient(err) {
			return fmt.Errorf("dhcp: reading from socket %s: %w", on.conn.LocalAddr(), err)
		}
		delay = min(max(2*delay, 5*time.Millisecond), time.Second)
		on.server.log().Warn("dhcp: reading", "socket", on.conn.LocalAddr().String(), "err", err, "again in", delay)
		select {
		case <-stopped:
			return ErrServerClosed
		case <-time.After(delay):
		}
	}
}

// receive decodes and classifies a packet, and hands it on.
func (on *serving) receive(p []byte, from netip.AddrPort, to netip.Addr, ifname string) {
	s := on.server
	r := &Request{Interface: ifname, Source: from, Destination: to, PXEPort: on.pxe, Received: time.Now()}
	reason, err := s.read(r, p, on.conn.lister)
	if reason == "" {
		reason = s.dispatch.submit(r, on, s.maxClients())
	}
	if reason != "" {
		s.dropped(reason, r, err)
	}
}

// read decodes a packet, and fills r, which has what the conn told. With a reason
// to drop it, only those fields are set that were reached.
func (s *Server) read(r *Request, p []byte, lister AddrLister) (DropReason, error) {
	d, reason, err := decode(p)
	if reason != "" {
		return reason, err
	}
	if d.tolerated {
		s.drops.Add(RFCViolation)
	}
	r.Packet, r.chaddr = d.packet, d.chaddr
	locate := s.locate
	if r.PXEPort {
		locate = s.locatePXE
	}
	if reason, err := locate(r, lister); reason != "" {
		return reason, err
	}
	r.Client = s.client(r)
	return unwanted(r), nil
}

// client says what kind of client sent r, and how it is to be treated.
func (s *Server) client(r *Request) Client {
	c := classify(r.Packet)
	if s.Classify != nil {
		c = s.Classify(r, c)
	}
	if c.Kind != PXE {
		return c
	}
	q := s.quirks.of(s.Quirks, c, r.HardwareAddr())
	c.Style = q.Style
	if q.As != nil {
		c.Arch, c.HasArch = *q.As, true
	}
	return c
}

// handle answers one request. The dispatcher calls it.
func (on *serving) handle(r *Request) {
	s := on.server
	if s.Trace != nil && s.Trace.Received != nil {
		s.Trace.Received(r)
	}
	reply, reason, err := s.answer(on.ctx, r)
	if reason != "" {
		s.dropped(reason, r, err)
		return
	}
	if reply == nil {
		return
	}
	_, relayed := reply.Options[82]
	b, err := encode(reply, r)
	if err != nil {
		s.dropped(NoRoom, r, err)
		return
	}
	if _, kept := reply.Options[82]; relayed && !kept {
		s.drops.Add(NoRoom)
	}
	if s.Trace != nil && s.Trace.Sending != nil {
		s.Trace.Sending(r, reply)
	}
	d, err := on.conn.send(b, s.deliver(r, reply), portOr(s.ServerPort, defaultServerPort))
	if err != nil {
		s.dropped(Error, r, err)
		return
	}
	if s.Trace != nil && s.Trace.Sent != nil {
		s.Trace.Sent(r, reply, d)
	}
}

// dropped counts and reports a packet without a reply.
func (s *Server) dropped(reason DropReason, r *Request, err error) {
	s.drops.Add(reason)
	d := Drop{Reason: reason, Interface: r.Interface, Source: r.Source, Err: err}
	if r.Packet != nil {
		d.HardwareAddr = r.HardwareAddr()
	}
	if s.Trace != nil && s.Trace.Dropped != nil {
		s.Trace.Dropped(d)
	}
	if reason == Error || reason == NoServerAddr {
		s.log().Error("dhcp: no reply", "client", d.HardwareAddr.String(), "interface", d.Interface, "err", err)
	}
}

// Drops returns how many packets got no reply, by reason.
func (s *Server) Drops() map[DropReason]uint64 { return s.drops.Snapshot() }

// Shutdown stops reading, lets the clients in work get their replies and waits
// for Serve to return, or for ctx to end. It may be called before Serve, which
// then refuses to start, and more than once.
func (s *Server) Shutdown(ctx context.Context) error { return s.state.Shutdown(ctx) }

// Close stops at once: the context of policies and hooks ends, replies are not
// sent. It waits for Serve to return, and so for policies that do not heed their
// context.
func (s *Server) Close() error { return s.state.Close() }

func (s *Server) maxClients() int {
	if s.MaxClients == 0 {
		return defaultMaxClients
	}
	return s.MaxClients
}

func (s *Server) log() *slog.Logger {
	if s.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Logger
}

// validateFor is Validate, and what it takes to serve on this conn.
func (s *Server) validateFor(c *upgraded) error {
	err := s.Validate()
	for i := range s.Networks {
		n := &s.Networks[i]
		switch {
		case c.lister != nil || n.Addr.IsValid():
		case n.onLink():
			err = errors.Join(err, fmt.Errorf("dhcp: network %q has no Addr, and the socket %s cannot tell it", n.Interface, c.LocalAddr()))
		default:
			err = errors.Join(err, fmt.Errorf("dhcp: network %q needs a socket that tells our addresses (AddrLister); %s does not", n.name(), c.LocalAddr()))
		}
	}
	if _, sole := s.soleInterface(); !sole && c.reader == nil {
		err = errors.Join(err, fmt.Errorf("dhcp: %d networks need a socket that tells the ingress interface (LocalReader); %s does not", len(s.Networks), c.LocalAddr()))
	}
	return err
}
