package leasetest

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"

	"github.com/pxekit/pxe/dhcp"
)

// leases has all clients get a lease, and reports an address given twice.
func (s *policySuite) leases(st *stage) map[string]netip.Addr {
	all, holder := make(map[string]netip.Addr), make(map[netip.Addr]net.HardwareAddr)
	for _, hw := range s.clients {
		a, ok := st.lease(hw)
		if !ok {
			continue
		}
		if other := holder[a]; other != nil {
			st.r.add("%s is leased to two clients", a)
		}
		holder[a], all[string(hw)] = hw, a
	}
	return all
}

func (s *policySuite) distinct(st *stage) {
	all := s.leases(st)
	for _, hw := range s.clients {
		if a, ok := all[string(hw)]; ok {
			st.keeps(hw, a, "after all clients had a lease")
		}
	}
}

func (s *policySuite) steady(st *stage) {
	hw := s.clients[0]
	first, second := st.discover(hw), st.discover(hw)
	if !first.offer() || first.addr != second.addr {
		st.r.add("two DISCOVERs of one client get %s and %s", first, second)
	}
	a, ok := st.lease(hw)
	if !ok {
		return
	}
	for _, other := range s.clients[1:3] { // who come meanwhile
		st.lease(other)
	}
	if o := st.choose(hw, a); !o.ack() || o.addr != a {
		st.r.add("the REQUEST that was acknowledged with %s gets %s when it is repeated", a, o)
	}
	st.keeps(hw, a, "after its REQUEST was repeated")
	if o := st.reboot(hw, a); !o.ack() {
		st.r.add("a client that starts again (INIT-REBOOT) with its lease of %s gets %s", a, o)
	}
	if o := st.discover(hw); !o.offer() || o.addr != a {
		st.r.add("a DISCOVER of the client that has %s gets %s", a, o)
	}
	st.keeps(hw, a, "after a DISCOVER of the client that has it")
}

// foreign has a client ask for the address of another, in all states, before and
// after it has one of its own.
func (s *policySuite) foreign(st *stage) {
	holder, thief := s.clients[0], s.clients[1]
	a, ok := st.lease(holder)
	if !ok {
		return
	}
	for _, when := range []string{"of a client without a lease", "of a client with a lease of its own"} {
		for what, ask := range map[string]func(net.HardwareAddr, netip.Addr) outcome{
			"REQUEST (SELECTING)": st.choose, "REQUEST (INIT-REBOOT)": st.reboot, "REQUEST (RENEWING)": st.renew,
		} {
			if o := ask(thief, a); o.ack() {
				st.r.add("%s %s for the address of another gets %s", what, when, o)
			}
		}
		st.keeps(holder, a, "after others asked for it")
		b, ok := st.lease(thief)
		if ok && b == a {
			st.r.add("%s is leased to two clients", a)
		}
	}
}

func (s *policySuite) release(st *stage) {
	holder, other := s.clients[0], s.clients[1]
	a, ok := st.lease(holder)
	b, also := st.lease(other)
	if !ok || !also {
		return
	}
	if o := st.release(other, a); o.reason != "" && !errors.Is(o.err, dhcp.ErrNotHolder) {
		st.r.add("RELEASE of another's address ends in %s instead of ErrNotHolder", o)
	}
	st.keeps(holder, a, "after another client released it")
	st.keeps(other, b, "after it released another's")
	if o := st.release(holder, a); o.reason != "" {
		st.r.add("RELEASE of the holder ends in %s", o)
	}
	st.lease(holder)
	st.keeps(other, b, "after another lease was released")
}

func (s *policySuite) decline(st *stage) {
	holder, other := s.clients[0], s.clients[1]
	a, ok := st.lease(holder)
	b, also := st.lease(other)
	if !ok || !also {
		return
	}
	if o := st.decline(other, a); o.reason != "" && !errors.Is(o.err, dhcp.ErrNotHolder) {
		st.r.add("DECLINE of another's address ends in %s instead of ErrNotHolder", o)
	}
	st.keeps(holder, a, "after another client declined it")
	st.keeps(other, b, "after it declined another's")
	if o := st.decline(holder, a); o.reason != "" && !errors.Is(o.err, dhcp.ErrLimit) {
		st.r.add("DECLINE of the holder ends in %s", o)
	}
	st.keeps(other, b, "after another lease was declined")
}

func (s *policySuite) atOnce(st *stage) {
	var mu sync.Mutex
	holders := make(map[netip.Addr]int)
	atOnce(st.r, len(s.clients), func(i int) {
		hw := s.clients[i]
		a, ok := st.lease(hw)
		for range 5 {
			if !ok {
				return
			}
			st.discover(hw)
			st.keeps(hw, a, "while others come and go")
			if i%2 == 0 {
				st.release(hw, a)
				a, ok = st.lease(hw)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if holders[a]++; ok && holders[a] > 1 {
			st.r.add("%s is leased to two clients", a)
		}
	})
}

// contended has all clients but one choose the address that that one gave back.
func (s *policySuite) contended(st *stage) {
	a, ok := st.lease(s.clients[0])
	if !ok {
		return
	}
	st.release(s.clients[0], a)
	var mu sync.Mutex
	winners := 0
	atOnce(st.r, len(s.clients)-1, func(i int) {
		if st.choose(s.clients[i+1], a).ack() {
			mu.Lock()
			defer mu.Unlock()
			winners++
		}
	})
	if winners > 1 {
		st.r.add("of %d clients that choose one free address at once, %d get it", len(s.clients)-1, winners)
	}
}

// cancelled has each question asked first with a context that has ended.
func (s *policySuite) cancelled(st *stage) {
	st.spy.mu.Lock()
	st.spy.ended = true
	st.spy.mu.Unlock()
	s.distinct(st)
}

func (s *policySuite) member(st *stage) {
	m, ok := st.spy.policy.(dhcp.Member)
	if !ok {
		return
	}
	for _, a := range []netip.Addr{{}, netip.IPv6LinkLocalAllNodes(), netip.IPv4Unspecified()} {
		if m.Covers(a) {
			st.r.add("Covers(%s) is true", a)
		}
	}
	knows := func(hw net.HardwareAddr) (known bool) {
		st.ask(hw, func(ctx context.Context, q *dhcp.Request) { known = m.Knows(ctx, q) })
		return known
	}
	for _, hw := range s.unknown {
		if knows(hw) {
			st.r.add("Knows is true of client %s, which it does not know", hw)
		}
	}
	hw := s.clients[0]
	if s.size > 0 && knows(hw) {
		st.r.add("Knows is true of a client that nobody has seen: in a Chain it would be taken from its own policy")
	}
	a, ok := st.lease(hw)
	if !ok {
		return
	}
	if !m.Covers(a) {
		st.r.add("Covers(%s) is false, and it was just leased", a)
	}
	if !knows(hw) {
		st.r.add("Knows is false of a client that has a lease")
	}
	st.keeps(hw, a, "after questions about its client")
}

// withdraw has a client take another server's offer, and come back.
func (s *policySuite) withdraw(st *stage) {
	hw := s.clients[0]
	if o := st.discover(hw); !o.offer() {
		st.r.add("a DISCOVER gets %s", o)
	}
	st.elsewhere(hw, st.own.Next().Next())
	st.elsewhere(hw, st.own.Next().Next()) // without an offer
	st.elsewhere(s.clients[1], st.own.Next().Next())
	st.lease(hw)
}

// strangers are left to other servers.
func (s *policySuite) strangers(st *stage) {
	a, ok := st.lease(s.clients[0])
	if !ok {
		return
	}
	for _, hw := range s.unknown {
		if o := st.discover(hw); !o.silent() {
			st.r.add("a DISCOVER of a client that it does not know gets %s, not silence", o)
		}
		// It may have the address from another server: that is not ours to refuse.
		if o := st.reboot(hw, a); !o.silent() {
			st.r.add("a REQUEST (INIT-REBOOT) of a client that it does not know gets %s, not silence", o)
		}
		if o := st.renew(hw, a); !o.silent() {
			st.r.add("a REQUEST (RENEWING) of a client that it does not know gets %s, not silence", o)
		}
	}
	st.keeps(s.clients[0], a, "after clients asked that it does not know")
}
