package leasetest

import (
	"net/netip"

	"github.com/pxekit/pxe/dhcp"
)

// The rules of policies that give out some addresses to whoever comes first.

// unseen has a client come with an address that is free, but not from here: RFC
// 2131 section 4.3.2 wants silence about what another server may have given.
func (s *policySuite) unseen(st *stage) {
	a, ok := st.lease(s.clients[0])
	if !ok {
		return
	}
	st.release(s.clients[0], a)
	if o := st.reboot(s.clients[1], a); !o.silent() {
		st.r.add("a REQUEST (INIT-REBOOT) of a client that nobody has seen gets %s, not silence", o)
	}
}

// full leases all addresses, and reports whether that worked.
func (s *policySuite) full(st *stage) map[string]netip.Addr {
	all := s.leases(st)
	if len(all) != s.size {
		st.r.add("it leases %d of its %d addresses", len(all), s.size)
		return nil
	}
	return all
}

func (s *policySuite) exhausted(st *stage) {
	all := s.full(st)
	if all == nil {
		return
	}
	late := newcomer(s.size)
	if o := st.discover(late); !o.silent() {
		st.r.add("when all %d addresses are leased a DISCOVER gets %s", s.size, o)
	}
	for _, a := range all {
		if o := st.choose(late, a); o.ack() {
			st.r.add("when all addresses are leased a REQUEST for one of them gets %s", o)
		}
	}
	for hw, a := range all {
		st.keeps([]byte(hw), a, "when all addresses are leased")
	}
}

func (s *policySuite) freed(st *stage) {
	all := s.full(st)
	if all == nil {
		return
	}
	leaving := s.clients[s.size/2]
	a := all[string(leaving)]
	st.release(leaving, a)
	late := newcomer(s.size)
	if o := st.discover(late); !o.offer() || o.addr != a {
		st.r.add("the only free address is %s, which was released, and a DISCOVER gets %s", a, o)
		return
	}
	if o := st.choose(late, a); !o.ack() {
		st.r.add("a REQUEST for the released address %s, which was offered, gets %s", a, o)
		return
	}
	if o := st.renew(leaving, a); o.ack() {
		st.r.add("%s was released and leased to another, and its former client renews it", a)
	}
	st.keeps(late, a, "after its former client asked for it")
}

func (s *policySuite) quarantined(st *stage) {
	all := s.full(st)
	if all == nil {
		return
	}
	hw := s.clients[s.size/2]
	a := all[string(hw)]
	if o := st.decline(hw, a); o.reason != "" {
		st.r.add("DECLINE of the holder ends in %s", o)
		return
	}
	late := newcomer(s.size)
	if o := st.discover(late); !o.silent() {
		st.r.add("the only address that is not leased was declined, and a DISCOVER gets %s", o)
	}
	if o := st.choose(late, a); o.ack() {
		st.r.add("a REQUEST for a declined address gets %s", o)
	}
	if o := st.discover(hw); !o.silent() {
		st.r.add("the only address that is not leased was declined, and its client's DISCOVER gets %s", o)
	}
	if o := st.renew(hw, a); o.ack() {
		st.r.add("the client that declined %s renews it", a)
	}
}

// withdrawn offers all addresses, after which one client takes another server's
// offer: its own must be free for the next one.
func (s *policySuite) withdrawn(st *stage) {
	if _, ok := st.spy.policy.(dhcp.OfferWithdrawer); !ok {
		return
	}
	for _, hw := range s.clients {
		if o := st.discover(hw); !o.offer() {
			st.r.add("a DISCOVER gets %s, and not all addresses are offered", o)
			return
		}
	}
	st.elsewhere(s.clients[0], st.own.Next().Next())
	late := newcomer(s.size)
	if o := st.discover(late); !o.offer() {
		st.r.add("an offer was withdrawn, and the next DISCOVER gets %s", o)
	}
}
