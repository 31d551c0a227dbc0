package leasetest

import (
	"context"
	"net"
	"net/netip"

	"github.com/pxekit/pxe/dhcp"
)

// On is the network that [TestPolicy] puts the policy on: our own address there,
// with its mask. Without it 192.0.2.1/24.
func On(addr netip.Prefix) Option { return func(c *config) { c.addr = addr } }

// Clients are clients for [TestPolicy] that the policy must have an address for,
// each of them at the same time; four at least. Without it they are twelve that
// nobody has seen before, which is for policies that give an address to everybody.
func Clients(hw ...net.HardwareAddr) Option { return func(c *config) { c.clients = hw } }

// Unknown are clients of whom the policy of [TestPolicy] knows nothing, and which
// it leaves to other servers.
func Unknown(hw ...net.HardwareAddr) Option { return func(c *config) { c.unknown = hw } }

// Size says that the policy of [TestPolicy] gives out exactly n addresses, 4 to
// 200, to whoever comes first. Then the test shows what becomes of the last one:
// that nobody gets one when all are taken, that a released one is free again, and
// that a declined one is not. Clients are then as many as it takes, and nobody
// that the policy has seen before.
func Size(n int) Option { return func(c *config) { c.size = n } }

// TestPolicy checks policies made by create, each of which is new and gives out no
// address of another network. It is driven through a [dhcp.Server] without
// sockets, so it sees what clients would see, and besides what the policy tells
// the server. Leases must last for some minutes. It calls create many times.
func TestPolicy(t TB, create func() dhcp.LeasePolicy, options ...Option) {
	t.Helper()
	c := configure(options)
	s := &policySuite{config: c, create: create}
	if c.size > 0 {
		c.clients = nil
		for i := range c.size {
			c.clients = append(c.clients, newcomer(i))
		}
	}
	if len(c.clients) < 4 || c.size > 200 {
		t.Errorf("leasetest: LeasePolicy: %d clients and Size %d; Clients takes four at least, Size 4 to 200", len(c.clients), c.size)
		return
	}
	type stagedRule struct {
		name  string
		check func(*stage)
	}
	rules := []stagedRule{
		{"its configuration", s.valid},
		{"one address for each client", s.distinct},
		{"one client, one address", s.steady},
		{"the address of another", s.foreign},
		{"RELEASE", s.release},
		{"DECLINE", s.decline},
		{"many clients at once", s.atOnce},
		{"many clients for one address", s.contended},
		{"a context that has ended", s.cancelled},
		{"Member", s.member},
		{"OfferWithdrawer", s.withdraw},
	}
	if len(c.unknown) > 0 {
		rules = append(rules, stagedRule{"clients that it does not know", s.strangers})
	}
	if c.size > 0 {
		rules = append(rules,
			stagedRule{"a client that nobody has seen", s.unseen},
			stagedRule{"the last address", s.exhausted},
			stagedRule{"a released address", s.freed},
			stagedRule{"a declined address", s.quarantined},
			stagedRule{"a withdrawn offer", s.withdrawn},
		)
	}
	var staged []rule
	for _, r := range rules {
		staged = append(staged, rule{r.name, s.staged(r.check)})
	}
	c.run(t, "LeasePolicy", staged)
}

// newcomer is the n-th client that asks where everybody gets an address.
func newcomer(n int) net.HardwareAddr {
	return net.HardwareAddr{0x02, 0, 0, 0x5e, byte(n >> 8), byte(n)}
}

type policySuite struct {
	*config
	create func() dhcp.LeasePolicy
}

// staged gives a rule a server of its own with a new policy.
func (s *policySuite) staged(check func(*stage)) func(context.Context, *report) {
	return func(ctx context.Context, r *report) {
		st := newStage(ctx, r, s.create(), s.addr)
		defer st.close()
		check(st)
	}
}

func (s *policySuite) valid(st *stage) {
	if v, ok := st.spy.policy.(interface{ Validate() error }); ok {
		st.r.err(v.Validate(), "Validate")
	}
}
