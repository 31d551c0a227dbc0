package dhcp

import (
	"fmt"
	"net"
	"net/netip"
	"time"
)

// BindingState is what a [Binding] says about its address.
type BindingState int

const (
	// Bound: the client has the address until the binding's time.
	Bound BindingState = iota + 1
	// Released: the client gave the address back at the binding's time. The
	// record stays so that it gets the same one again while nobody needs it.
	Released
	// Declined: the client found the address in use by another machine. Nobody
	// gets it until the binding's time.
	Declined
)

// String returns "bound", "released" or "declined".
func (s BindingState) String() string {
	switch s {
	case Bound:
		return "bound"
	case Released:
		return "released"
	case Declined:
		return "declined"
	}
	return fmt.Sprintf("state %d", int(s))
}

// Binding is the record of one address in a [Store], and the [Lease] that a
// [Pool] gives out to clients without options of their own. It is a value:
// nothing changes what HW and ID point to.
type Binding struct {
	// HW and ID are the client's hardware address and option 61. The client is
	// known by HW, and by ID only if HW is empty; with [Pool.StrictIdentity] by
	// ID, and by HW only if ID is empty. Of several that it sent, ID is the one
	// that has a [Reservation], else the last. HW has 16 bytes at most, ID 255.
	HW net.HardwareAddr
	ID []byte
	// UUID is the machine's, see [Client.UUID]. Only firmware and loaders send
	// it: the records of their successors, the initramfs and the operating
	// system, repeat it, and so does the store, for the sake of a [Reservation]
	// by UUID.
	UUID string
	// Addr is the address, with 32 bits of mask where the network's mask goes.
	Addr netip.Prefix
	// Until is what State says; the zero Time with Bound means for ever.
	Until time.Time
	State BindingState
	// Version is the store's: it changes with each claim of the address, and is
	// never 0 for a stored record.
	Version uint64
}

// HardwareAddr implements [Lease].
func (b Binding) HardwareAddr() net.HardwareAddr { return b.HW }

// ClientID implements [Lease].
func (b Binding) ClientID() []byte { return b.ID }

// Prefix implements [Lease].
func (b Binding) Prefix() netip.Prefix { return b.Addr }

// Expiry implements [Lease].
func (b Binding) Expiry() time.Time { return b.Until }

// active reports whether nobody but the client may have the address now.
func (b Binding) active(now time.Time) bool {
	switch b.State {
	case Bound:
		return b.Until.IsZero() || b.Until.After(now)
	case Declined:
		return b.Until.After(now)
	}
	return false
}
