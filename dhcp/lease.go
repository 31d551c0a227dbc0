package dhcp

import (
	"context"
	"errors"
	"math"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Lease is an address that a client may use for a time. A policy may return
// its own type; [Binding] is one. The methods must return the same values while
// the reply is made.
type Lease interface {
	// HardwareAddr is the hardware address of the client.
	HardwareAddr() net.HardwareAddr
	// ClientID is the client's option 61, nil if it sent none. It is not
	// checked against the request: the stages of one boot differ in it.
	ClientID() []byte
	// Prefix is the leased address with its mask; with 32 bits of mask the
	// client gets the mask of the network it is on, which must contain the
	// address.
	Prefix() netip.Prefix
	// Expiry is when the lease ends; the zero Time means never.
	Expiry() time.Time
}

// LeaseOptions is an optional upgrade of [Lease].
type LeaseOptions interface {
	// LeaseOptions returns options for this client, which replace those of its
	// network of the same code; those of its boot file replace both. A client
	// that sends a list of what it wants (option 55) gets those on the list, one
	// that sends none gets all but 108 and 114 (RFC 8925, RFC 8910). Options
	// that the server makes itself (mask, lease time, server identifier and the
	// like) are refused: then no reply leaves, and the drop names the option.
	LeaseOptions() []dhcpv4.Option
}

// LeasePolicy decides who gets which address. [Pool] is one; a provisioning
// tool implements it on its own inventory. [Chain] joins several. Optional upgrades
// are [Member], [OfferWithdrawer] and [LeaseFinder]; without the last a server that
// was restarted does not know machines in the middle of a boot.
//
// Calls for one client, as told by its hardware address, come one after the
// other and in the order of its packets; calls for different clients are
// concurrent. A call may block: then that client waits, others do not, up to
// [Server.MaxClients] (in a pxe.Server the default). ctx ends when the server is closed, not when it is shut
// down. The server does not recover a panic.
//
// The server has done these things before, so that no policy needs to: a
// REQUEST that chooses another server never arrives in Request, a RELEASE or
// DECLINE for another server never in Release or Decline, and DHCPINFORM, which
// concerns no lease, nowhere. And these it does after: when the address of the
// Lease that Request returned is not the one that the client asked for, the
// client is told so (DHCPNAK). So a policy may simply return what the client
// ought to have.
type LeasePolicy interface {
	// Discover returns the lease to offer. It must not commit anything for
	// long: most offers are never taken up. A nil Lease means no offer from this
	// network; after it, or ErrNoAddress, the next network of the link is asked.
	Discover(ctx context.Context, r *Request) (Lease, error)
	// Request returns the lease that the client now has, for certain: what must
	// survive a crash is on disk when it returns. A nil Lease says that the
	// policy knows nothing of this client; the server is silent then, except
	// where [Network.Authoritative] lets it speak.
	Request(ctx context.Context, r *Request) (Lease, error)
	// Release ends the client's lease of r.RequestedAddr, if it has it.
	Release(ctx context.Context, r *Request) error
	// Decline hears that r.RequestedAddr, which the client was just given, is
	// used by another machine.
	Decline(ctx context.Context, r *Request) error
}

// Member is an optional upgrade of [LeasePolicy] for policies that share a
// network with others, in a [Chain] or as networks of one [Network.Link].
type Member interface {
	LeasePolicy
	// Knows reports whether the policy has a lease, a hold or a reservation for
	// this client. A lease that has ended counts while it is remembered, so that
	// its client gets the same address again. It promises nothing: Discover may
	// return no lease all the same.
	Knows(ctx context.Context, r *Request) bool
	// Covers reports whether the policy could ever give out a, to whomever. The
	// answer does not change.
	Covers(a netip.Addr) bool
}

// OfferWithdrawer is an optional upgrade of [LeasePolicy].
type OfferWithdrawer interface {
	// WithdrawOffer hears that the client took another server's offer.
	WithdrawOffer(ctx context.Context, r *Request)
}

// Decisions that a [LeasePolicy] returns as errors. Any other error means that
// the policy failed: no reply leaves and the drop is counted as an error.
var (
	// ErrNAK, from Request: the client must not use the address. It is sent
	// DHCPNAK and starts over.
	ErrNAK = errors.New("dhcp: the client may not use this address")
	// ErrNoAddress, from Discover or Request: there is no address left. The
	// client hears nothing and tries again; the drop has its own reason.
	ErrNoAddress = errors.New("dhcp: no free address; widen the range of the pool or shorten its lease time")
	// ErrNotHolder, from Release or Decline: the address is not this client's.
	// The message is ignored.
	ErrNotHolder = errors.New("dhcp: the address is not leased to this client")
	// ErrLimit: the client has had its share. The message is ignored.
	ErrLimit = errors.New("dhcp: limit of this client exceeded")
)

// Infinite as a lease time means a lease that does not end.
const Infinite time.Duration = math.MaxInt64
