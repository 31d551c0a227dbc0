package nbd

import (
	"errors"
	"net/netip"

	"github.com/pxekit/pxe/internal/lifecycle"
)

// ErrServerClosed is returned by [Server.Serve] after Shutdown or Close, and is
// the error of sessions that Close cut off.
var ErrServerClosed = lifecycle.ErrServerClosed

// ErrStalled is the error of a session whose client took less than 256 KiB of a
// reply in 12 to 15 minutes.
var ErrStalled = errors.New("nbd: the client does not take its replies")

// errGone is the error of a session whose client closed its connection.
var errGone = errors.New("nbd: the client closed the connection without NBD_CMD_DISC")

// DropReason names why a connection did not come to its session, or why an
// export was refused to it. Values are constants of this package, fit for metric
// labels.
type DropReason string

const (
	// DropLimit is a connection beyond MaxConnections or
	// MaxConnectionsPerClient. It is closed without a word.
	DropLimit DropReason = "limit-exceeded"
	// DropSuperseded is a connection that was still negotiating when
	// MaxConnections were open, or MaxConnectionsPerClient of its client, and
	// made room for a new one.
	DropSuperseded DropReason = "superseded"
	// DropTimeout is a connection whose negotiation took longer than 10 seconds.
	DropTimeout DropReason = "timeout"
	// DropMalformed is a connection whose negotiation broke the protocol in a
	// way that leaves nothing to answer, or went on for too many options.
	DropMalformed DropReason = "malformed"
	// DropDisconnected is a connection that its client closed in the middle of
	// the negotiation. One that ends with NBD_OPT_ABORT, as clients do that ask
	// for a list, is no drop.
	DropDisconnected DropReason = "disconnected"
	// DropTLS is a connection whose TLS handshake failed.
	DropTLS DropReason = "tls-failed"
	// DropTLSRequired is a name asked for without TLS where RequireTLS is set.
	// The client is told so and may go on, but for one that uses
	// NBD_OPT_EXPORT_NAME.
	DropTLSRequired DropReason = "tls-required"
	// DropUnknownExport is a name that no export has. The client is told so and
	// may ask for another, but for one that uses NBD_OPT_EXPORT_NAME.
	DropUnknownExport DropReason = "unknown-export"
	// DropUnavailable is an export that could not be opened. The client is told
	// as if there were none.
	DropUnavailable DropReason = "unavailable"
	// DropAccept is a connection that could not be accepted, or none for now, for
	// want of descriptors for example. The error says which.
	DropAccept DropReason = "accept-failed"
	// DropShutdown is a connection that had not come to its session when
	// Shutdown or Close was called.
	DropShutdown DropReason = "shutdown"
	// DropPanic is a connection in whose negotiation a function of the embedder
	// has panicked.
	DropPanic DropReason = "panic"
)

// Trace is told what a [Server] does. Each function may be nil. They are called
// concurrently, by the goroutines that serve, and must not block.
type Trace struct {
	// Start is called when a session begins: the client has chosen its export.
	Start func(Session)
	// Done is called when the session has ended, once for each Start.
	Done func(Session, Result)
	// Dropped is called for each connection dropped and each name refused, with
	// the address of the client and an error that says more, or nil.
	Dropped func(DropReason, netip.AddrPort, error)
}

// Session is a connection whose client reads from an export.
type Session struct {
	// Client and Local are the addresses of the connection; zero if it has none,
	// as over a Unix socket.
	Client, Local netip.AddrPort
	// Export is the name as the client asked for it.
	Export string
	// Size of the export, in bytes.
	Size int64
}

// Result tells how a session ended.
type Result struct {
	// Bytes counts the data of the replies that were handed to the connection.
	// The last of it, a send buffer full, may not have reached the client.
	Bytes int64
	// Err is nil when the client ended the session as the protocol wants it and
	// all it asked for could be read; otherwise why it ended ([ErrStalled],
	// [ErrServerClosed], an error of the export, or of the connection), or the
	// first error of the export that a client was told of as NBD_EIO.
	Err error
	// Aborted says that Err is the client's doing and no fault of the server.
	Aborted bool
}

func (t *Trace) start(s Session) {
	if t != nil && t.Start != nil {
		t.Start(s)
	}
}

func (t *Trace) done(s Session, r Result) {
	if t != nil && t.Done != nil {
		t.Done(s, r)
	}
}

func (t *Trace) dropped(reason DropReason, client netip.AddrPort, err error) {
	if t != nil && t.Dropped != nil {
		t.Dropped(reason, client, err)
	}
}

// dropped is an error that ends a negotiation.
type dropped struct {
	reason DropReason
	err    error
}

func (d *dropped) Error() string { return d.err.Error() }

func (d *dropped) Unwrap() error { return d.err }

func malformed(text string) error { return &dropped{DropMalformed, errors.New("nbd: " + text)} }
