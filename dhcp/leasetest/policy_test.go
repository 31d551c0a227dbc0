package leasetest_test

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/dhcp/leasetest"
)

func at(s string) netip.Addr { return netip.MustParseAddr(s) }

func machine(n byte) net.HardwareAddr { return net.HardwareAddr{0x02, 0, 0, 0, 3, n} }

func TestGoodPolicies(t *testing.T) {
	reserved := func(first, last byte) (all []dhcp.Reservation) {
		for n := first; n <= last; n++ {
			all = append(all, dhcp.Reservation{HardwareAddr: machine(n), Addr: netip.AddrFrom4([4]byte{192, 0, 2, n})})
		}
		return all
	}
	inventory := []net.HardwareAddr{machine(10), machine(11), machine(12), machine(13)}
	others := leasetest.Unknown(machine(200), machine(201))
	onDisk := &files{t: t, paths: map[dhcp.Store]string{}}
	tests := map[string]struct {
		create  func() dhcp.LeasePolicy
		options []leasetest.Option
	}{
		"toy": {func() dhcp.LeasePolicy { return newToy("") }, []leasetest.Option{leasetest.Size(toySize)}},
		"Pool": {func() dhcp.LeasePolicy {
			return &dhcp.Pool{First: at("192.0.2.100"), Last: at("192.0.2.119")}
		}, []leasetest.Option{leasetest.Size(20)}},
		"large Pool, of which nothing is said": {func() dhcp.LeasePolicy {
			return &dhcp.Pool{First: at("198.51.0.100"), Last: at("198.51.200.119")}
		}, []leasetest.Option{leasetest.On(netip.MustParsePrefix("198.51.0.1/16"))}},
		"Pool of reservations": {func() dhcp.LeasePolicy {
			return &dhcp.Pool{Reservations: reserved(10, 13)}
		}, []leasetest.Option{leasetest.Clients(inventory...)}},
		"Chain": {func() dhcp.LeasePolicy {
			return dhcp.Chain{
				&dhcp.Pool{Reservations: reserved(10, 13)},
				&dhcp.Pool{First: at("192.0.2.50"), Last: at("192.0.2.53")},
				&dhcp.Pool{First: at("192.0.2.100"), Last: at("192.0.2.105")},
			}
		}, []leasetest.Option{leasetest.Size(10)}},
		"Chain, its inventory": {func() dhcp.LeasePolicy {
			return dhcp.Chain{&dhcp.Pool{Reservations: reserved(10, 13)}, &dhcp.Pool{First: at("192.0.2.50"), Last: at("192.0.2.53")}}
		}, []leasetest.Option{leasetest.Clients(inventory...)}},
		"Pool on a LeaseFile": {func() dhcp.LeasePolicy {
			return &dhcp.Pool{First: at("192.0.2.100"), Last: at("192.0.2.119"), Store: onDisk.create()}
		}, []leasetest.Option{leasetest.Size(20)}},
		"Pool of reservations on a LeaseFile": {func() dhcp.LeasePolicy {
			return &dhcp.Pool{Reservations: reserved(10, 13), Store: onDisk.create()}
		}, []leasetest.Option{leasetest.Clients(inventory...)}},
		"Chain on one LeaseFile": {func() dhcp.LeasePolicy {
			store := onDisk.create()
			return dhcp.Chain{
				&dhcp.Pool{Reservations: reserved(10, 13), Store: store},
				&dhcp.Pool{First: at("192.0.2.50"), Last: at("192.0.2.53"), Store: store},
				&dhcp.Pool{First: at("192.0.2.100"), Last: at("192.0.2.105"), Store: store},
			}
		}, []leasetest.Option{leasetest.Size(10)}},
		"inventory": {func() dhcp.LeasePolicy { return newInventory(inventory) }, []leasetest.Option{leasetest.Clients(inventory...), others}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			leasetest.TestPolicy(t, test.create, test.options...)
		})
	}
}

// inventory is a policy of a provisioning tool: each machine has its address.
type inventory struct{ addrs map[string]netip.Addr }

func newInventory(machines []net.HardwareAddr) inventory {
	addrs := make(map[string]netip.Addr)
	for i, hw := range machines {
		addrs[hw.String()] = netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)})
	}
	return inventory{addrs}
}

func (i inventory) Discover(_ context.Context, r *dhcp.Request) (dhcp.Lease, error) {
	a, ok := i.addrs[r.HardwareAddr().String()]
	if !ok {
		return nil, nil
	}
	return dhcp.Binding{HW: r.HardwareAddr(), Addr: netip.PrefixFrom(a, 32)}, nil
}

func (i inventory) Request(ctx context.Context, r *dhcp.Request) (dhcp.Lease, error) {
	return i.Discover(ctx, r)
}
func (inventory) Release(context.Context, *dhcp.Request) error { return nil }
func (inventory) Decline(context.Context, *dhcp.Request) error { return nil }

// Each row is a fault of the toy and the rule that it breaks.
func TestBrokenPolicies(t *testing.T) {
	tests := map[string]string{
		"is not valid":                              "its configuration: Validate: toy: broken",
		"panics":                                    "it panics: toy",
		"panics when an offer is withdrawn":         "OfferWithdrawer: it panics",
		"knows one address":                         "gets no lease",
		"offers another address each time":          "two DISCOVERs of one client get",
		"returns a lease and an error":              "Discover returns both a lease of 192.0.2.100/32 and the error",
		"returns a nil of its own":                  "Discover returns a Lease that holds a nil *leasetest_test.fickle",
		"names no client":                           "whose HardwareAddr is ",
		"names another client":                      "whose HardwareAddr is 02:00:00:00:00:09",
		"leases the past":                           "returns a lease that has ended",
		"leases no address":                         "which is no IPv4 address with a mask",
		"changes its mind":                          "another value each time",
		"refuses in DISCOVER":                       "Discover returns",
		"says that it is no holder":                 "Request returns",
		"has an error of its own":                   "Discover fails: toy: full",
		"keeps its lock when its context has ended": "a context that has ended: it does not return",
		"forgets its client at a DISCOVER":          "after a DISCOVER of the client that has it: a client that renews",
		"grants what is asked for":                  "the address of another: REQUEST (SELECTING) of a client without a lease",
		"renews nothing":                            "a client that renews its lease of 192.0.2.100 gets silence",
		"knows no INIT-REBOOT":                      "starts again (INIT-REBOOT)",
		"refuses strangers":                         "a client that nobody has seen: a REQUEST (INIT-REBOOT) of a client that nobody has seen gets NAK",
		"takes in strangers":                        "gets ACK of 192.0.2.100, not silence",
		"releases for anybody":                      "RELEASE: after another client released it",
		"declines for anybody":                      "DECLINE: after another client declined it",
		"denies its holder":                         "RELEASE of the holder ends in silence",
		"calls a stranger's RELEASE a failure":      "RELEASE of another's address ends in silence (error, toy: not yours)",
		"frees nothing":                             "the only free address is",
		"gives out what was declined":               "a declined address: the only address that is not leased was declined",
		"gives out the first again":                 "when all 6 addresses are leased a DISCOVER gets OFFER of 192.0.2.100",
		"looks first and writes then":               "clients that choose one free address at once",
		"keeps what is withdrawn":                   "a withdrawn offer: an offer was withdrawn",
		"knows everybody":                           "Knows is true of a client that nobody has seen",
		"knows nobody":                              "Knows is false of a client that has a lease",
		"covers everything":                         "Covers(invalid IP) is true",
		"covers nothing":                            "Covers(192.0.2.100) is false",
	}
	for fault, want := range tests {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			var j judge
			leasetest.TestPolicy(&j, func() dhcp.LeasePolicy { return newToy(fault) }, leasetest.Size(toySize), patience(want))
			j.caught(t, want)
		})
	}
}

// hoarder answers clients that are none of its own.
type hoarder struct {
	inventory
	refuses bool
}

func (h hoarder) Discover(ctx context.Context, r *dhcp.Request) (dhcp.Lease, error) {
	if lease, err := h.inventory.Discover(ctx, r); lease != nil || h.refuses {
		return lease, err
	}
	return dhcp.Binding{HW: r.HardwareAddr(), Addr: netip.PrefixFrom(at("192.0.2.99"), 32)}, nil
}

func (h hoarder) Request(ctx context.Context, r *dhcp.Request) (dhcp.Lease, error) {
	lease, err := h.Discover(ctx, r)
	if lease == nil {
		return nil, dhcp.ErrNAK
	}
	return lease, err
}

func TestPoliciesThatAnswerStrangers(t *testing.T) {
	machines := []net.HardwareAddr{machine(10), machine(11), machine(12), machine(13)}
	for want, refuses := range map[string]bool{
		"a DISCOVER of a client that it does not know gets OFFER of 192.0.2.99, not silence":  false,
		"a REQUEST (INIT-REBOOT) of a client that it does not know gets NAK, not silence":     true,
		"a REQUEST (RENEWING) of a client that it does not know gets NAK, not silence":        true,
		"clients that it does not know: a REQUEST (INIT-REBOOT) of a client that it does not": false,
	} {
		var j judge
		leasetest.TestPolicy(&j, func() dhcp.LeasePolicy { return hoarder{newInventory(machines), refuses} },
			leasetest.Clients(machines...), leasetest.Unknown(machine(200)))
		j.caught(t, want)
	}
}

// Two pools with one range, as two servers without a common store.
func TestAPolicyThatGivesAnAddressTwice(t *testing.T) {
	pool := func() dhcp.LeasePolicy { return &dhcp.Pool{First: at("192.0.2.100"), Last: at("192.0.2.105")} }
	var j judge
	leasetest.TestPolicy(&j, func() dhcp.LeasePolicy { return &alternating{pool(), pool()} }, leasetest.Size(6))
	j.caught(t, "is leased to two clients")
}

// alternating sends clients with odd hardware addresses to one policy and the
// others to another.
type alternating struct{ odd, even dhcp.LeasePolicy }

func (a *alternating) of(r *dhcp.Request) dhcp.LeasePolicy {
	if r.HardwareAddr()[5]%2 == 1 {
		return a.odd
	}
	return a.even
}

func (a *alternating) Discover(ctx context.Context, r *dhcp.Request) (dhcp.Lease, error) {
	return a.of(r).Discover(ctx, r)
}

func (a *alternating) Request(ctx context.Context, r *dhcp.Request) (dhcp.Lease, error) {
	return a.of(r).Request(ctx, r)
}

func (a *alternating) Release(ctx context.Context, r *dhcp.Request) error {
	return a.of(r).Release(ctx, r)
}

func (a *alternating) Decline(ctx context.Context, r *dhcp.Request) error {
	return a.of(r).Decline(ctx, r)
}

func TestOptionsThatCannotBe(t *testing.T) {
	for _, option := range []leasetest.Option{leasetest.Clients(machine(1), machine(2), machine(3)), leasetest.Size(3), leasetest.Size(201)} {
		var j judge
		leasetest.TestPolicy(&j, func() dhcp.LeasePolicy { return newToy("") }, option)
		require.Len(t, j.errors, 1)
		require.Contains(t, j.errors[0], "Size 4 to 200")
	}
}
