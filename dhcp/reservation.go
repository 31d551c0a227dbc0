package dhcp

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Reservation is an address, options or both for one client, which is named by
// one identity or several: each of those given is enough. While a client that is
// named has the address no other one that is named gets it: of a machine with
// two interfaces and one UUID, the interface that comes first.
//
// The stages of a boot send different identities, and the pool remembers them
// with the lease of their common hardware address. So what the firmware matched
// holds for the initramfs and the operating system too, for as long as the
// record of the lease exists; that of a reserved address outlives the lease,
// except when the client declines it. With [Pool.StrictIdentity] nothing is
// remembered from one stage to the next: each is matched by what it sends itself,
// and while one of them has the reserved address the others get none of it.
//
// Of several reservations that name one client, that of its hardware address
// counts, then that of its UUID, then that of the client identifier it sent
// first.
type Reservation struct {
	// HardwareAddr is of 1 to 16 bytes.
	HardwareAddr net.HardwareAddr
	// ClientID is option 61 as it is sent, with its type byte, of 2 to 255 bytes.
	ClientID []byte
	// UUID is the machine's (option 97), in the form of [Client.UUID]: lower
	// case, as the machine's firmware shows it.
	UUID string
	// Addr is the address. The zero Addr: one of the pool's range, as for
	// everybody.
	Addr netip.Addr
	// Options are sent with each of the client's leases, with what
	// [LeaseOptions] says of them.
	Options []dhcpv4.Option
}

// String names the client by the first of its identities.
func (r *Reservation) String() string {
	switch {
	case len(r.HardwareAddr) > 0:
		return r.HardwareAddr.String()
	case r.UUID != "":
		return "UUID " + r.UUID
	case len(r.ClientID) > 0:
		return "client identifier " + hex.EncodeToString(r.ClientID)
	}
	return "nobody"
}

// identities are the names that the client is looked up by.
func (r *Reservation) identities() (all []string) {
	if len(r.HardwareAddr) > 0 {
		all = append(all, "h"+string(r.HardwareAddr))
	}
	if r.UUID != "" {
		all = append(all, "u"+r.UUID)
	}
	if len(r.ClientID) > 0 {
		all = append(all, "i"+string(r.ClientID))
	}
	return all
}

// checkReservations reports what is wrong with the reservations of a pool.
func (p *Pool) checkReservations() (errs []error) {
	addrs, named := make(map[netip.Addr]bool), make(map[string]bool)
	for i := range p.Reservations {
		r := &p.Reservations[i]
		for _, err := range r.check() {
			errs = append(errs, fmt.Errorf("reservation %d (%s) %w", i+1, r, err))
		}
		if !r.Addr.IsValid() && !p.First.IsValid() {
			errs = append(errs, fmt.Errorf("reservation %d (%s) has no Addr, and the pool no range", i+1, r))
		}
		if r.Addr.IsValid() && addrs[r.Addr] {
			errs = append(errs, fmt.Errorf("%s is reserved twice", r.Addr))
		}
		addrs[r.Addr] = true
		for _, id := range r.identities() {
			if named[id] {
				errs = append(errs, fmt.Errorf("%s has two reservations, or one identity is in both", r))
			}
			named[id] = true
		}
	}
	return errs
}

// check reports what is wrong with one reservation.
func (r *Reservation) check() (errs []error) {
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(r.identities()) == 0 {
		fail("names no client: set HardwareAddr (hardware address), ClientID or UUID")
	}
	if len(r.HardwareAddr) > chaddrLen {
		fail("has a hardware address of %d bytes; one has 1 to %d", len(r.HardwareAddr), chaddrLen)
	}
	if n := len(r.ClientID); n == 1 || n > 255 {
		fail("has a ClientID of %d bytes; option 61 has 2 to 255", n)
	}
	if err := checkUUID(r.UUID); r.UUID != "" && err != nil {
		errs = append(errs, err)
	}
	switch {
	case r.Addr == netip.Addr{}:
		if len(r.Options) == 0 {
			fail("has neither Addr nor Options")
		}
	case !r.Addr.Is4() || r.Addr.IsUnspecified() || r.Addr.IsMulticast() || r.Addr == broadcastAddr():
		fail("has the Addr %s, which is none of an IPv4 host", r.Addr)
	}
	for _, o := range r.Options {
		if _, err := optionValue(o); err != nil {
			fail("has an option that cannot be sent: %w", err)
		}
	}
	return errs
}

// uuidForm is what uuidText returns.
var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func checkUUID(uuid string) error {
	switch {
	case !uuidForm.MatchString(uuid):
		return fmt.Errorf("has the UUID %q; write it in lower case and in the form 01234567-89ab-cdef-0123-456789abcdef", uuid)
	case uuid == "00000000-0000-0000-0000-000000000000", uuid == "ffffffff-ffff-ffff-ffff-ffffffffffff":
		return errors.New("has the UUID of firmware that was given none; it would be every such machine's")
	}
	return nil
}

// client is who sent a request, with what the pool remembers of it.
type client struct {
	key      string // see table.key
	machine  string // what a probe knows it by: the same but with Pool.StrictIdentity
	id       []byte // the client identifier to go by and to remember
	uuid     string
	reserved *Reservation // nil: none
}

// identify finds out who sent a request. What an earlier stage with the same
// hardware address sent counts too: a later UUID replaces an earlier one, but an
// identifier that has a reservation is not forgotten for another, or a machine
// with two would change its address from stage to stage.
func (t *table) identify(r *Request) client {
	c := client{key: t.key(r.HardwareAddr(), r.ClientID()), machine: r.key(), id: r.ClientID(), uuid: r.Client.UUID}
	before := t.moved[c.key]
	if own := t.owners[c.key]; own != nil {
		before = own.rec
	}
	if c.uuid == "" {
		c.uuid = before.UUID
	}
	if t.reserved["i"+string(before.ID)] != nil {
		c.id = before.ID
	}
	c.reserved = t.reservation(r.HardwareAddr(), c.uuid, c.id)
	return c
}

// reservation returns the first reservation that names one of the identities.
func (t *table) reservation(hw net.HardwareAddr, uuid string, id []byte) *Reservation {
	if len(t.reserved) == 0 {
		return nil
	}
	for _, name := range []string{"h" + string(hw), "u" + uuid, "i" + string(id)} {
		if r := t.reserved[name]; r != nil {
			return r
		}
	}
	return nil
}

// shared reports whether the last to have the client's reserved address was
// another client of the same reservation.
func (t *table) shared(c client) bool {
	s := t.slots[c.reserved.Addr]
	return s != nil && s.owner != "" && s.owner != c.key &&
		t.reservation(s.rec.HW, s.rec.UUID, s.rec.ID) == c.reserved
}

// reservedAddr is the client's reserved address, the zero Addr if it has none.
func (c client) reservedAddr() netip.Addr {
	if c.reserved == nil {
		return netip.Addr{}
	}
	return c.reserved.Addr
}

// lease is a binding with the client's options.
func (c client) lease(b Binding) Lease {
	if c.reserved == nil || len(c.reserved.Options) == 0 {
		return b
	}
	return optionLease{b, c.reserved.Options}
}

// optionLease implements LeaseOptions.
type optionLease struct {
	Binding
	options []dhcpv4.Option
}

// LeaseOptions implements [LeaseOptions].
func (l optionLease) LeaseOptions() []dhcpv4.Option { return l.options }
