package dhcp

import (
	"net"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Trace are hooks that tell what a server does, as net/http/httptrace's do. All
// are optional. They are called on the goroutines that serve, concurrently for
// different clients, and should return at once.
type Trace struct {
	// Received is called for each packet that is about to be answered or acted
	// upon, and for each REQUEST at port 67 where another server gives out the
	// addresses: it has no answer of ours and is no drop, but tells what address
	// the client takes. What is thrown away before shows up in Dropped only.
	Received func(*Request)
	// Sending is called when a reply is about to be written: what must be known
	// before the client acts on its lease is noted here.
	Sending func(r *Request, reply *dhcpv4.DHCPv4)
	// Sent is called when a reply has been written. The reply is as sent:
	// options for which there was no room are not in it.
	Sent func(r *Request, reply *dhcpv4.DHCPv4, d Delivery)
	// Dropped is called for each packet that gets no reply though it might have
	// expected one, and for each that is thrown away.
	Dropped func(Drop)
	// Conflict is called for each address of a [Pool] that was found in use by a
	// machine which did not get it from there. See [Pool.NoProbe].
	Conflict func(Conflict)
}

// Conflict is an address that is in use without a lease. For the time of
// [Pool.Quarantine] nobody gets it but who uses it.
type Conflict struct {
	Addr netip.Addr
	// HardwareAddr is that of who uses it, nil if that cannot be told.
	HardwareAddr net.HardwareAddr
	// Interface is the network's.
	Interface string
	// Ignored says that others may get the address all the same, since not
	// everything is believed: one machine answers for more than 16 addresses, as
	// routers with proxy ARP do, or more than half of the range answers, or 256
	// addresses of it, as when somebody attacks the pool. In the latter case
	// addresses that answer are offered when no others are left.
	Ignored bool
}

// Delivery says how a reply was sent.
type Delivery struct {
	Route Route
	// To is the destination in the IP header.
	To netip.AddrPort
	// HardwareAddr is the destination of the frame for ByFrame, else nil.
	HardwareAddr net.HardwareAddr
	// Interface and From are what the conn was told; a conn that is no
	// [LocalWriter] chooses itself.
	Interface string
	From      netip.Addr
	// Err is why a reply that should have gone by frame was broadcast: the
	// conn's error. It is nil when the conn is no [FrameWriter].
	Err error
}

// Route is the way a reply takes (RFC 2131 section 4.1).
type Route string

// The ways that a reply can take.
const (
	ByRelay     Route = "relay"     // to the relay that forwarded the request
	ByUnicast   Route = "unicast"   // to the address that the client has
	ByFrame     Route = "frame"     // to the hardware address of a client without address
	ByBroadcast Route = "broadcast" // to 255.255.255.255
)

// Drop is a packet without a reply.
type Drop struct {
	Reason DropReason
	// Interface and Source are where the packet came from.
	Interface string
	Source    netip.AddrPort
	// HardwareAddr is the client's, nil if the packet could not be read.
	HardwareAddr net.HardwareAddr
	// Err tells more where there is more to tell.
	Err error
}

// DropReason names why a packet got no reply.
type DropReason string

// The reasons. They are stable: metrics may be keyed by them.
const (
	// Malformed: too short, too long, no magic cookie, an option that runs past
	// the end, or a length that an option of this code cannot have.
	Malformed DropReason = "malformed"
	// NotForUs: came in on an interface that is not configured, or is meant
	// for another server, as is what clients that do not boot over the network
	// send where we give no address.
	NotForUs DropReason = "not-for-us"
	// RFCViolation: a packet that no client may send. Two violations are
	// counted here and answered all the same: a missing END option, and option
	// 50 together with ciaddr.
	RFCViolation DropReason = "rfc-violation"
	// Duplicate: a retransmission of a packet whose answer is being worked on.
	Duplicate DropReason = "duplicate"
	// QueueFull: MaxClients clients are in work; for a DISCOVER three quarters of
	// that.
	QueueFull DropReason = "queue-full"
	// LimitExceeded: this one client has too many packets waiting, or has
	// declined too many addresses.
	LimitExceeded DropReason = "limit-exceeded"
	// Policy: the lease policy, or the lack of a lease, says no; or, where we
	// give no address, the client boots nothing from here.
	Policy DropReason = "policy"
	// NoAddress: the lease policy has no address left.
	NoAddress DropReason = "no-address"
	// NoNetwork: relayed from, or sent by a client on, a network that we do
	// not serve.
	NoNetwork DropReason = "no-network"
	// NoServerAddr: no address of ours is known on the client's network.
	NoServerAddr DropReason = "no-server-addr"
	// NoRoom: a reply left without the relay's option 82, or not at all,
	// because the client accepts too small a message.
	NoRoom DropReason = "no-room"
	// Error: the policy, the boot file hook or the socket failed.
	Error DropReason = "error"
)
