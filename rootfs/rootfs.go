package rootfs

import (
	"context"
	"io/fs"
	"net"
	"net/netip"
	"net/url"

	"github.com/pxekit/pxe/internal/lifecycle"
)

// A Target is the machine that asks for its root file system, and where this
// server is from its point of view. The zero value of a field means that it is
// not known or not served.
type Target struct {
	// Server is our address as this machine reaches us.
	Server netip.Addr

	// HTTP, HTTPS and TFTP are the bases below which this machine finds files
	// by their names. They end in "/" and name the boot in their path where
	// the server wants that. Nil: this server does not serve that protocol to
	// this machine. Transports must not change what they point to.
	HTTP, HTTPS, TFTP *url.URL

	// NBD is where this machine reaches this server's NBD listener.
	NBD netip.AddrPort

	// Machine is the address of the machine.
	Machine netip.Addr

	// BootID names this boot of this machine, for transports that can carry a
	// name of their own, as NBD does in its export name.
	BootID string
}

// A RootFSTransport is a way to a root file system.
//
// RootURL returns the URL below which, or at which, the target finds it: the
// scheme tells the boot configuration which parameters to emit (http, https,
// tftp, nfs, nbd). The caller owns the URL that it gets. A target that cannot
// use the transport is told so by a [*TargetError].
//
// RootURL is called once for every boot and every rendering of a menu, by many
// goroutines at once, and must not block: it computes, it does not probe.
type RootFSTransport interface {
	RootURL(t Target) (*url.URL, error)
}

// A Mounter is a transport whose root file system is mounted with options.
// It is called like RootURL, after it and for the same target.
type Mounter interface {
	RootFSTransport
	MountOptions(t Target) (MountOptions, error)
}

// MountOptions are what a boot configuration adds for the transport's sake.
// The zero value asks for nothing.
type MountOptions struct {
	// NFS are options of an NFS mount, each "name" or "name=value", in the
	// words of klibc's nfsmount.
	NFS []string

	// Live leaves the root file system mounted over the network, instead of
	// copying it to memory first. The server must then stay up for as long as
	// the machine runs; so it must for a system that cannot copy, as those of
	// dracut, whatever this says.
	Live bool
}

// A ListenerTransport serves its protocol itself, on a listener of its own, as
// an NBD server does. Its methods follow net/http's Server: Serve owns l and
// always closes it, and always returns a non-nil error, which is
// [ErrServerClosed] after Shutdown or Close; all of its goroutines have ended
// then. Shutdown and Close are sticky, and safe before, during and after Serve
// and twice: a transport that was shut down serves no more.
//
// The composed server of this module opens its NBDAddr for it and calls it NBD in
// events and counters, so it is for NBD or what takes its place.
type ListenerTransport interface {
	RootFSTransport
	Serve(l net.Listener, site Site) error
	Shutdown(ctx context.Context) error
	Close() error
}

// A Site is what the program around a [ListenerTransport] gives it: files to
// serve, and ears for what its clients do. Any field may be nil. Its functions
// are called by many goroutines at once; all but Open must return quickly.
type Site struct {
	// Open opens files by slash-separated names as [fs.ValidPath] wants them.
	// Every file that it returns is also an [io.ReaderAt].
	Open func(ctx context.Context, name string) (fs.File, error)
	// Began is told that a client begins to use a root file system, Ended that
	// it does no more: each session that began ends once.
	Began, Ended func(Session)
	// Dropped is told of a connection that ended before it became a session, or
	// of something on one that was thrown away: the reason by a short fixed name,
	// the client, and more about it, or nil.
	Dropped func(reason string, client netip.AddrPort, err error)
}

// A Session is one client's use of a root file system that it mounts, as by an
// NBD connection. A machine may have several at once, one after the other, or
// one that lasts as long as it runs.
type Session struct {
	// Client is where the connection came from.
	Client netip.AddrPort
	// BootID is the [Target].BootID that the client's request carried, empty if
	// it carried none. It is a client's word: look it up before you trust it.
	BootID string
	// Name is what was asked for, as an NBD export's name without the boot's ID.
	// It names something that the transport has.
	Name string
	// Size is the size of that, in bytes, and Bytes how much of it was handed to
	// the connection, which may be more: clients read what they need as often as
	// they like. Bytes, Err and Aborted are set when the session has ended.
	Size, Bytes int64
	// Err is why it ended otherwise than by the client's orderly goodbye.
	Err error
	// Aborted says that Err is the client's doing, or its network's.
	Aborted bool
}

// ErrServerClosed is what Serve of a [ListenerTransport] returns after Shutdown
// or Close. It is the same error in every package of this module.
var ErrServerClosed = lifecycle.ErrServerClosed

// A Validator is a transport that can find errors in its own configuration. A
// server calls Validate once, before it opens any socket.
type Validator interface {
	Validate() error
}

// A TargetError says that a target cannot reach its root file system by a
// transport: the transport is configured well, but not for this machine. It is
// what [errors.As] finds in errors of RootURL and MountOptions.
type TargetError struct {
	Transport string // "http", "https", "tftp", "nfs", "nbd"
	Reason    string // what is missing, as half a sentence
	Remedy    string // what to do about it, as half a sentence
}

// Error is one sentence: transport, reason and remedy.
func (e *TargetError) Error() string {
	return "rootfs: no " + e.Transport + " root for this machine: " + e.Reason + "; " + e.Remedy
}
