package nbd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pxekit/pxe/internal/drop"
	"github.com/pxekit/pxe/internal/lifecycle"
)

const (
	defaultConnections          = 1024
	defaultConnectionsPerClient = 128

	// handshakeTime is what a negotiation may take in all, TLS and the opening
	// of the export included.
	handshakeTime = 10 * time.Second

	// outage is how long the network, or a client, may be away in a session
	// before it is given up, however much was under way. A machine that
	// lives on an export loses its disk with the session, so a switch that
	// restarts must not end it: this is what TCP itself gives data that nobody
	// acknowledges (tcp(7), tcp_retries2: 924 seconds at least), applied to the
	// two cases that it leaves open. One is a connection on which nothing is
	// under way: probes. The other is a client that is there and reads nothing, or
	// too little: stallTime.
	//
	// It costs little: what a client holds is bounded by the number of
	// connections and not by time, and one that wants to hold it need only
	// connect again.
	outage = 15 * time.Minute
	// stallTime is what a client may take for the next 256 KiB of its replies.
	stallTime = outage

	// The first of the probes is sent on a connection that was silent for
	// probeAfter; when none was answered, it ends after 17 minutes of silence.
	probeAfter = 2 * time.Minute
	probeEach  = time.Minute
	probes     = int(outage / probeEach)
)

// Server serves exports to read. Set its fields before the first call of Serve
// and do not change them afterwards. Its methods may be called concurrently.
type Server struct {
	// Exports are what the server lists, and serves by name. Their names must
	// differ.
	Exports []Export
	// Find is asked for names that Exports does not have; nil: there are none.
	// The name is UTF-8 without NUL, of at most 4096 bytes. fs.ErrNotExist, or
	// no export, means that there is none; fs.ErrPermission, that this client is
	// told of a policy; any other error is kept from the client, who is told as
	// if there were none. ctx ends with the connection, and when the
	// negotiation has taken 10 seconds. It is called concurrently.
	Find func(ctx context.Context, name string) (*Export, error)
	// TLS lets clients upgrade to TLS (NBD_OPT_STARTTLS); nil offers none.
	TLS *tls.Config
	// RequireTLS serves nothing, and lists nothing, without TLS.
	RequireTLS bool
	// MaxConnections bounds the connections; zero is 1024. An idle one takes
	// some 10 KiB of memory, one that reads up to 256 KiB. When all are taken, a
	// new one takes the place of the oldest that has not chosen its export yet,
	// see [DropSuperseded], so that clients that never do lock nobody out; if
	// all have, it is closed, see [DropLimit]: a session is never ended for
	// another's sake, since it may be the disk that a machine runs from. So
	// clients at 8 addresses that open sessions and stay can take all places;
	// where such are about, let a firewall say who may connect.
	MaxConnections int
	// MaxConnectionsPerClient bounds the connections of one client, likewise;
	// zero is 128. A client is an IPv4 address, or a /64 of IPv6; in the IPv6
	// network that the server is in, an address. A machine has one connection, or
	// up to 16 where it spreads its reads. Raise it where many share an address or,
	// behind a router, an IPv6 network.
	MaxConnectionsPerClient int
	// Trace is told what happens; nil tells nobody.
	Trace *Trace

	state   lifecycle.State
	table   table
	buffers sync.Pool    // of *[bufferSpace]byte; idle connections hold none
	helpers atomic.Int64 // of all connections
	drops   drop.Counts[DropReason]
}

// Validate reports what is wrong with the fields, all of it. Serve calls it, too.
func (s *Server) Validate() error {
	var errs []error
	if len(s.Exports) == 0 && s.Find == nil {
		errs = append(errs, errors.New("nbd: Server.Exports is empty and Server.Find is nil: there is nothing to serve, set one of them"))
	}
	seen := make(map[string]bool)
	for i := range s.Exports {
		e := &s.Exports[i]
		if err := checkString(e.Name); err != nil {
			errs = append(errs, fmt.Errorf("nbd: Server.Exports[%d].Name %w", i, err))
		}
		if err := checkString(e.Description); err != nil {
			errs = append(errs, fmt.Errorf("nbd: Server.Exports[%d].Description %w", i, err))
		}
		if e.Open == nil {
			errs = append(errs, fmt.Errorf("nbd: Server.Exports[%d].Open is nil: set it to what opens the export", i))
		}
		if seen[e.Name] {
			errs = append(errs, fmt.Errorf("nbd: Server.Exports[%d].Name is %.64q, as is that of another export: names must differ", i, e.Name))
		}
		seen[e.Name] = true
	}
	if s.RequireTLS && s.TLS == nil {
		errs = append(errs, errors.New("nbd: Server.RequireTLS is set and Server.TLS is nil: set TLS to a configuration with a certificate"))
	}
	if c := s.TLS; c != nil && len(c.Certificates) == 0 && c.GetCertificate == nil && c.GetConfigForClient == nil {
		errs = append(errs, errors.New("nbd: Server.TLS has no certificate: set Certificates or GetCertificate"))
	}
	for _, field := range []struct {
		name  string
		value int
	}{
		{"MaxConnections", s.MaxConnections},
		{"MaxConnectionsPerClient", s.MaxConnectionsPerClient},
	} {
		if field.value < 0 {
			errs = append(errs, fmt.Errorf("nbd: Server.%s is %d: use 0 for the default or a positive number", field.name, field.value))
		}
	}
	return errors.Join(errs...)
}

// Serve answers clients that connect to l until Shutdown or Close is called,
// and returns [ErrServerClosed] then, or until l fails, and returns an error
// that says so. It always closes l, always returns an error, and leaves no
// goroutine behind: after a Shutdown it returns when the last client has
// disconnected; when l fails, running sessions are cut off.
//
// One server may serve several listeners at once; its limits are over all of
// them. Listeners that give a *net.TCPConn or *net.UnixConn are served by
// sendfile where the system and the export allow it.
func (s *Server) Serve(l net.Listener) error {
	if l == nil {
		return errors.New("nbd: Serve needs a listener: l is nil")
	}
	closeListener := sync.OnceFunc(func() { l.Close() })
	defer closeListener()
	if err := s.Validate(); err != nil {
		return err
	}
	// Connections end with the run's context, which Close cancels.
	run, err := s.state.Begin(closeListener, closeListener)
	if err != nil {
		return err
	}
	defer run.End()
	ctx, cancel := context.WithCancel(run.Context())
	defer cancel()

	var conns sync.WaitGroup
	err = s.accept(ctx, l, run.Draining(), &conns)
	closeListener()
	if !errors.Is(err, ErrServerClosed) {
		cancel()
	}
	conns.Wait()
	return err
}

// Shutdown takes no new connections, answers what is asked for in a negotiation
// by NBD_REP_ERR_SHUTDOWN, and waits until the clients of the sessions have
// disconnected. Sessions are served on until then, so that a machine that
// copies an export finishes its copy. When ctx is done first, Shutdown returns
// ctx's error; the sessions then stay until their clients disconnect or Close is
// called. It may be called before Serve, which then returns at once, and more
// than once. Do not call it from a function of Trace.
//
// A machine that lives on an export does not disconnect: end its session by
// Close. Clients that reconnect then wait for a server and ask again, while
// NBD_ESHUTDOWN, which the protocol has for this, is a disk that fails to Linux
// and is not sent.
func (s *Server) Shutdown(ctx context.Context) error { return s.state.Shutdown(ctx) }

// Close cuts off all connections, cancels the contexts of what was opened for
// them and waits until Serve has returned. It may be called at any time, and
// more than once. Do not call it from a function of Trace.
func (s *Server) Close() error { return s.state.Close() }

// Drops returns how many connections were dropped and names refused, by reason;
// reasons that never occurred are absent.
func (s *Server) Drops() map[DropReason]uint64 { return s.drops.Snapshot() }

func (s *Server) drop(reason DropReason, client netip.AddrPort, err error) {
	s.drops.Add(reason)
	s.Trace.dropped(reason, client, err)
}

func (s *Server) buffer() *[bufferSpace]byte {
	if b, ok := s.buffers.Get().(*[bufferSpace]byte); ok {
		return b
	}
	return new([bufferSpace]byte)
}

func orDefault(n, def int) int {
	if n == 0 {
		return def
	}
	return n
}
