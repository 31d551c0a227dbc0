package tftp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/pxekit/pxe/internal/drop"
	"github.com/pxekit/pxe/internal/lifecycle"
)

const (
	// Blocks that leave in one Ethernet frame: 1500 bytes less the headers of
	// IP, UDP and TFTP. Boot ROMs that cannot put fragments together are common.
	defaultBlockLimit4 = 1500 - 20 - 8 - headerSize
	defaultBlockLimit6 = 1500 - 40 - 8 - headerSize

	defaultTransfers          = 1024
	defaultTransfersPerClient = 16
	defaultRetries            = 5
)

// Server serves files to read by TFTP. Set its fields before the first call of
// Serve and do not change them afterwards. Its methods may be called
// concurrently.
type Server struct {
	// Handler answers the requests; it must be set. It is called on a
	// goroutine of its own for each transfer.
	Handler Handler
	// OpenTransfer opens the socket of one transfer: bound to local, the
	// address that the client sent its request to (the zero Addr if unknown),
	// and to a port of its own (RFC 1350 section 4). It must not be connected,
	// or packets of strangers cannot be answered (RFC 1350: ERROR 5). The
	// server closes it. ctx ends at Close, or when the transfer is superseded. It
	// is called concurrently.
	// Nil opens a UDP socket with a port chosen by the system.
	OpenTransfer func(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.PacketConn, error)
	// MaxBlockSize is the largest block agreed to, in bytes of data, 512 to
	// 65464. Zero is what fits an Ethernet frame without fragments: 1468 over
	// IPv4, 1448 over IPv6. Raise it where frames are larger; smaller paths,
	// such as tunnels, need a lower one. A client that asks for no block size
	// gets the 512 of RFC 1350 whatever is set here.
	MaxBlockSize int
	// MaxTransfers bounds the transfers in work at once; zero is 1024. Each
	// takes a socket, a goroutine and two blocks of memory. When all are taken,
	// a new request takes the place of the oldest transfer whose client has
	// never answered, see [DropSuperseded], so that forged and dead clients
	// lock nobody out; if all have answered it is dropped, see [DropLimit].
	MaxTransfers int
	// MaxTransfersPerClient bounds the transfers in work for one client
	// address; zero is 16. Half of them, rounded up, may be waiting for their
	// first answer. That is also what a forged source address can be made to
	// suffer: so many packets, each sent 1 + Retries times. Raise it where many
	// machines share an address.
	MaxTransfersPerClient int
	// Retries is how often the first packet is sent again to a client that has
	// not answered yet, before the transfer is given up; zero is 5, which takes
	// 19 seconds. A client that has answered is given up when it has been silent
	// for 90 seconds, or 30 after it was sent the last block; its packet is sent
	// again at growing intervals of up to 4 seconds until then. A client that
	// has set the interval itself by the timeout option is given the time for
	// three packets if that is longer.
	Retries int
	// Trace is told what happens; nil tells nobody.
	Trace *Trace

	state    lifecycle.State
	sessions admission
	drops    drop.Counts[DropReason]
}

// Validate reports what is wrong with the fields, all of it. Serve calls it, too.
func (s *Server) Validate() error {
	var errs []error
	if s.Handler == nil {
		errs = append(errs, errors.New("tftp: Server.Handler is nil: set it, for example to a FileHandler"))
	}
	if s.MaxBlockSize != 0 && (s.MaxBlockSize < defaultBlockSize || s.MaxBlockSize > maxBlockSize) {
		errs = append(errs, fmt.Errorf("tftp: Server.MaxBlockSize is %d: use 0 for the default or %d to %d",
			s.MaxBlockSize, defaultBlockSize, maxBlockSize))
	}
	for _, field := range []struct {
		name  string
		value int
	}{
		{"MaxTransfers", s.MaxTransfers},
		{"MaxTransfersPerClient", s.MaxTransfersPerClient},
		{"Retries", s.Retries},
	} {
		if field.value < 0 {
			errs = append(errs, fmt.Errorf("tftp: Server.%s is %d: use 0 for the default or a positive number",
				field.name, field.value))
		}
	}
	return errors.Join(errs...)
}

// Serve answers requests that come to conn until Shutdown or Close is called,
// and returns [ErrServerClosed] then, or until conn fails, and returns an error
// that says so. It always closes conn, always returns an error, and leaves no
// goroutine behind: after a Shutdown it returns when the last transfer has
// ended; when conn fails, running transfers are cut off.
//
// conn may implement [LocalReader], [LocalWriter] and [AddrLister]. One server
// may serve several conns at once; its limits are over all of them.
func (s *Server) Serve(conn net.PacketConn) error {
	if conn == nil {
		return errors.New("tftp: Serve needs a socket: conn is nil")
	}
	closeConn := sync.OnceFunc(func() { conn.Close() })
	defer closeConn()
	if err := s.Validate(); err != nil {
		return err
	}
	// Transfers have sockets of their own, so to drain is to close this one.
	run, err := s.state.Begin(closeConn, closeConn)
	if err != nil {
		return err
	}
	defer run.End()
	ctx, cancel := context.WithCancel(run.Context())
	defer cancel()

	l := newListener(s, conn)
	err = l.listen(ctx, run.Draining())
	closeConn()
	if !errors.Is(err, ErrServerClosed) {
		cancel()
	}
	l.transfers.Wait()
	return err
}

// Shutdown takes no new requests, lets running transfers end and waits for
// them, for silent clients until they are given up. When ctx is done first it
// returns ctx's error; the transfers then go on until they end or Close is
// called. It may be called before Serve, which then returns at once, and more
// than once. Do not call it from a handler.
func (s *Server) Shutdown(ctx context.Context) error { return s.state.Shutdown(ctx) }

// Close cuts off all transfers, those that wait for a silent client included,
// cancels their handlers' contexts and waits until Serve has returned. It may
// be called at any time, and more than once. Do not call it from a handler.
func (s *Server) Close() error { return s.state.Close() }

// Drops returns how many datagrams were dropped, by reason; reasons that never
// occurred are absent.
func (s *Server) Drops() map[DropReason]uint64 { return s.drops.Snapshot() }

func (s *Server) drop(reason DropReason, from netip.AddrPort) {
	s.drops.Add(reason)
	s.Trace.dropped(reason, from)
}

// blockLimit is the largest block for a client. It is where the MTU of the
// path would come in.
func (s *Server) blockLimit(remote netip.Addr) int {
	switch {
	case s.MaxBlockSize != 0:
		return s.MaxBlockSize
	case remote.Is6():
		return defaultBlockLimit6
	default:
		return defaultBlockLimit4
	}
}

func (s *Server) retries() int { return orDefault(s.Retries, defaultRetries) }

func (s *Server) open(ctx context.Context, r *Request) (net.PacketConn, error) {
	if s.OpenTransfer != nil {
		return s.OpenTransfer(ctx, r.Local, r.Remote)
	}
	return openUDP(r.Local, r.Remote)
}

func orDefault(n, def int) int {
	if n == 0 {
		return def
	}
	return n
}
