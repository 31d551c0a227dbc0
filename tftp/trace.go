package tftp

import "net/netip"

// DropReason names why a datagram got no transfer, or lost it. Values are constants of this
// package, fit for metric labels.
type DropReason string

const (
	// DropMalformed is a request that cannot be read: answered by ERROR 4; or
	// a packet within a transfer that has no meaning there: ignored.
	DropMalformed DropReason = "malformed"
	// DropMode is a request in a mode other than octet and netascii: ERROR 4.
	DropMode DropReason = "unsupported-mode"
	// DropName is a request whose name was refused (see [Request].Name): ERROR 2.
	DropName DropReason = "bad-name"
	// DropWrite is a write request: ERROR 2, nothing is ever written.
	DropWrite DropReason = "write-request"
	// DropNotForUs is a datagram that must not be answered at all: sent to a
	// broadcast or multicast address, from an address that cannot be answered,
	// or no request.
	DropNotForUs DropReason = "not-for-us"
	// DropDuplicate is a request repeated by a client whose transfer runs. One
	// that is repeated when its established transfer has been silent for 2
	// seconds is no duplicate: the machine was reset, see [DropSuperseded].
	DropDuplicate DropReason = "duplicate"
	// DropLimit is a request beyond MaxTransfers or MaxTransfersPerClient. It
	// is not answered: clients ask again and may find room, while an ERROR
	// would end their boot.
	DropLimit DropReason = "limit-exceeded"
	// DropSuperseded is a request whose transfer had begun and was cut off for
	// another one, with [ErrSuperseded]: by a new client when MaxTransfers were
	// in work and this one's had never answered, or by its own client, which
	// was reset and asks again. It is told nothing.
	DropSuperseded DropReason = "superseded"
	// DropResources is a request for which the system had no file descriptor or
	// memory left when its file or its socket was to be opened. It is not
	// answered, for the reason of DropLimit.
	DropResources DropReason = "out-of-resources"
	// DropStranger is a packet sent to a transfer by someone other than its
	// client: ERROR 5 to the sender, the transfer goes on.
	DropStranger DropReason = "unknown-tid"
)

// Trace is told what a [Server] does. Each function may be nil. They are called
// concurrently, by the goroutines that serve, and must not block.
type Trace struct {
	// Start is called when a request was admitted, before its handler.
	Start func(*Request)
	// Done is called when the transfer has ended, once for each Start.
	Done func(*Request, Result)
	// Dropped is called for each datagram dropped, with its source.
	Dropped func(DropReason, netip.AddrPort)
}

// Result tells how a transfer ended.
type Result struct {
	// Bytes is the number of bytes of data that the client has acknowledged,
	// each counted once; in netascii, of the translation.
	Bytes int64
	// Size is the size of the file, or -1 if it was not known.
	Size int64
	// Retransmits counts the packets sent more than once.
	Retransmits int
	// Err is nil for a file delivered and for one that the client aborted;
	// otherwise the handler's error, a [*ClientError] if the client reported
	// one, [ErrNoAnswer], [ErrSuperseded], or [ErrServerClosed].
	//
	// A file counts as delivered when its last block was sent for 30 seconds
	// without an answer and the client had answered before: it has its data and
	// is gone.
	Err error
	// Aborted says that the client ended the transfer on purpose: by ERROR 0
	// or 8 at any time, or by any ERROR in answer to the options. Firmware does
	// so to learn a file's size, PXELINUX when it closes a file early.
	Aborted bool
}

func (t *Trace) start(r *Request) {
	if t != nil && t.Start != nil {
		t.Start(r)
	}
}

func (t *Trace) done(r *Request, result Result) {
	if t != nil && t.Done != nil {
		t.Done(r, result)
	}
}

func (t *Trace) dropped(reason DropReason, from netip.AddrPort) {
	if t != nil && t.Dropped != nil {
		t.Dropped(reason, from)
	}
}
