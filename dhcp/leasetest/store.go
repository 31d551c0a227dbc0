package leasetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/pxekit/pxe/dhcp"
)

// Reopen tells [TestStore] how to close a store and open it again, as a server
// does that is started anew: with it, the test shows that what the store has
// acknowledged outlives it. reopen returns the store to go on with, and ends the
// test by itself if it cannot.
func Reopen(reopen func(dhcp.Store) dhcp.Store) Option { return func(c *config) { c.reopen = reopen } }

// TestStore checks stores made by create, each of which is new, empty, and
// independent of the others. It calls create many times; what has to be closed is
// the caller's to close.
func TestStore(t TB, create func() dhcp.Store, options ...Option) {
	t.Helper()
	c := configure(options)
	s := &storeSuite{config: c, create: create}
	rules := []rule{
		{"a new store", s.empty},
		{"Claim and ByAddr", s.claim},
		{"Claim with another version", s.conflict},
		{"Remove", s.remove},
		{"fields", s.fields},
		{"Load", s.load},
		{"Load that is not finished", s.loadStopped},
		{"a context that has ended", s.cancelled},
		{"many claims of one address", s.oneWinner},
		{"many claims of many addresses", s.manyAddresses},
		{"compare and set", s.noLostUpdate},
		{"Claim against Remove", s.claimOrRemove},
		{"Load while others claim", s.loadMeanwhile},
	}
	if c.reopen != nil {
		rules = append(rules,
			rule{"opened again", s.reopened},
			rule{"opened again after many claims at once", s.reopenedAfterMany},
		)
	}
	c.run(t, "Store", rules)
}

type storeSuite struct {
	*config
	create func() dhcp.Store
}

// addrOf is the n-th address of the tests.
func addrOf(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(n >> 8), byte(n)}), 32)
}

// bindingOf is a binding of the n-th address that no other test makes.
func bindingOf(n int) dhcp.Binding {
	return dhcp.Binding{
		HW: net.HardwareAddr{2, 0, 0, byte(n >> 16), byte(n >> 8), byte(n)}, ID: []byte{1, byte(n)},
		Addr: addrOf(n), Until: time.Unix(4_000_000_000+int64(n), 0), State: dhcp.Bound,
	}
}

// same says in what two bindings differ, their versions included; "": in nothing.
func same(got, want dhcp.Binding) string {
	var wrong []string
	differ := func(name string, got, want any) {
		wrong = append(wrong, fmt.Sprintf("%s is %v, not %v", name, got, want))
	}
	if !bytes.Equal(got.HW, want.HW) {
		differ("HW", got.HW, want.HW)
	}
	if !bytes.Equal(got.ID, want.ID) {
		differ("ID", shorten(got.ID), shorten(want.ID))
	}
	if got.UUID != want.UUID {
		differ("UUID", got.UUID, want.UUID)
	}
	if got.Addr != want.Addr {
		differ("Addr", got.Addr, want.Addr)
	}
	if got.Until.IsZero() != want.Until.IsZero() || !got.Until.Equal(want.Until) {
		differ("Until", got.Until, want.Until)
	}
	if got.State != want.State {
		differ("State", got.State, want.State)
	}
	if got.Version != want.Version {
		differ("Version", got.Version, want.Version)
	}
	return strings.Join(wrong, ", ")
}

func shorten(b []byte) string {
	if len(b) > 20 {
		return fmt.Sprintf("%x… (%d bytes)", b[:20], len(b))
	}
	return fmt.Sprintf("%x", b)
}

// holds reports a problem unless the store has exactly b for its address.
func holds(ctx context.Context, r *report, s dhcp.Store, b dhcp.Binding, when string) {
	got, err := s.ByAddr(ctx, b.Addr.Addr())
	if r.err(err, "ByAddr %s", when) {
		return
	}
	if d := same(got, b); d != "" {
		r.add("ByAddr %s: %s", when, d)
	}
}

// lacks reports a problem unless the store has no binding of an address.
func lacks(ctx context.Context, r *report, s dhcp.Store, a netip.Addr, when string) {
	if b, err := s.ByAddr(ctx, a); !errors.Is(err, dhcp.ErrNoBinding) {
		r.add("ByAddr %s returns %v, %v instead of ErrNoBinding", when, b, err)
	}
}

// claimed claims, and reports a problem unless the store takes it and returns it
// with a new version.
func claimed(ctx context.Context, r *report, s dhcp.Store, b dhcp.Binding, when string) (dhcp.Binding, bool) {
	got, err := s.Claim(ctx, b)
	if r.err(err, "Claim %s", when) {
		return b, false
	}
	if got.Version == b.Version || got.Version == 0 {
		r.add("Claim %s returns the version %d, which is not new", when, got.Version)
	}
	want := b
	want.Version = got.Version
	if d := same(got, want); d != "" {
		r.add("Claim %s returns another binding: %s", when, d)
	}
	return want, true
}

// refused reports a problem unless err is a conflict.
func refused(r *report, err error, what string) {
	if !errors.Is(err, dhcp.ErrConflict) {
		r.add("%s returns %v instead of ErrConflict", what, err)
	}
}

// content loads the store; by address.
func content(ctx context.Context, r *report, s dhcp.Store, when string) map[netip.Addr]dhcp.Binding {
	all := make(map[netip.Addr]dhcp.Binding)
	for b, err := range s.Load(ctx) {
		if r.err(err, "Load %s", when) {
			return all
		}
		if _, twice := all[b.Addr.Addr()]; twice {
			r.add("Load %s yields %s twice", when, b.Addr.Addr())
		}
		all[b.Addr.Addr()] = b
	}
	return all
}

// contains reports a problem unless the store has exactly the bindings of want.
func contains(ctx context.Context, r *report, s dhcp.Store, want map[netip.Addr]dhcp.Binding, when string) {
	all := content(ctx, r, s, when)
	for a, b := range want {
		got, ok := all[a]
		if !ok {
			r.add("Load %s lacks %s", when, a)
		} else if d := same(got, b); d != "" {
			r.add("Load %s yields %s wrongly: %s", when, a, d)
		}
	}
	for a := range all {
		if _, ok := want[a]; !ok {
			r.add("Load %s yields %s, which is not there", when, a)
		}
	}
}
