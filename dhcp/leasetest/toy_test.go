package leasetest_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pxekit/pxe/dhcp"
)

// toy is the smallest policy that keeps all rules: it gives out some addresses to
// whoever comes first, for an hour that it does not watch. Its fault is the rule
// that it breaks.
type toy struct {
	fault string

	mu       sync.Mutex
	leases   map[string]netip.Addr // by client
	offers   map[string]netip.Addr
	declined map[netip.Addr]bool
	former   map[string]bool // clients that had a lease
	count    byte
}

const toySize = 6

func newToy(fault string) *toy {
	return &toy{
		fault: fault, leases: make(map[string]netip.Addr), offers: make(map[string]netip.Addr),
		declined: make(map[netip.Addr]bool), former: make(map[string]bool),
	}
}

func toyAddr(n byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, 100 + n}) }

// free says whether a client may have an address; t.mu is held.
func (t *toy) free(client string, a netip.Addr) bool {
	if !t.covers(a) || t.declined[a] && t.fault != "gives out what was declined" {
		return false
	}
	for _, taken := range []map[string]netip.Addr{t.leases, t.offers} {
		for other, b := range taken {
			if a == b && other != client {
				return false
			}
		}
	}
	return true
}

func (t *toy) lease(r *dhcp.Request, a netip.Addr) dhcp.Lease {
	b := dhcp.Binding{HW: r.HardwareAddr(), Addr: netip.PrefixFrom(a, 32), Until: time.Now().Add(time.Hour)}
	switch t.fault {
	case "names no client":
		b.HW = nil
	case "names another client":
		b.HW = net.HardwareAddr{2, 0, 0, 0, 0, 9}
	case "leases the past":
		b.Until = time.Now().Add(-time.Second)
	case "leases no address":
		b.Addr = netip.Prefix{}
	case "changes its mind":
		return &fickle{Binding: b}
	}
	return b
}

// fickle is a lease that ends at another time each time.
type fickle struct {
	dhcp.Binding
	n int
}

func (f *fickle) Expiry() time.Time { f.n++; return f.Until.Add(time.Duration(f.n) * time.Minute) }

func (t *toy) Discover(ctx context.Context, r *dhcp.Request) (dhcp.Lease, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	client := string(r.HardwareAddr())
	if ctx.Err() != nil && t.fault == "keeps its lock when its context has ended" {
		t.mu.Lock()
	}
	switch t.fault {
	case "panics":
		panic("toy")
	case "knows one address":
		return t.lease(r, toyAddr(0)), nil
	case "offers another address each time":
		t.count = (t.count + 1) % toySize
		return t.lease(r, toyAddr(t.count)), nil
	case "returns a lease and an error":
		return t.lease(r, toyAddr(0)), dhcp.ErrNoAddress
	}
	if a, ok := t.leases[client]; ok && t.fault != "forgets its client at a DISCOVER" {
		return t.lease(r, a), nil
	}
	if a, ok := t.offers[client]; ok {
		return t.lease(r, a), nil
	}
	for n := range byte(toySize) {
		a := toyAddr(n)
		if !t.free(client, a) {
			continue
		}
		if t.fault == "forgets its client at a DISCOVER" {
			delete(t.leases, client)
		} else {
			t.offers[client] = a
		}
		return t.lease(r, a), nil
	}
	switch t.fault {
	case "gives out the first again":
		return t.lease(r, toyAddr(0)), nil
	case "refuses in DISCOVER":
		return nil, dhcp.ErrNAK
	case "has an error of its own":
		return nil, errors.New("toy: full")
	case "returns a nil of its own":
		return (*fickle)(nil), nil
	}
	return nil, dhcp.ErrNoAddress
}

func (t *toy) Request(_ context.Context, r *dhcp.Request) (dhcp.Lease, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	client, want := string(r.HardwareAddr()), r.RequestedAddr()
	_, chosen := r.Packet.Options[54]
	own, has := t.leases[client]
	offered, held := t.offers[client]
	switch {
	case t.fault == "grants what is asked for":
		return t.lease(r, want), nil
	case t.fault == "renews nothing" && r.Packet.ClientIPAddr.To4()[0] != 0:
		return nil, nil
	case t.fault == "knows no INIT-REBOOT" && !chosen && r.Packet.ClientIPAddr.To4()[0] == 0:
		return nil, dhcp.ErrNAK
	case t.fault == "says that it is no holder" && has && own != want:
		return nil, dhcp.ErrNotHolder
	case has && own == want:
		return t.lease(r, want), nil
	case !has && !held && !chosen:
		if t.fault == "refuses strangers" {
			return nil, dhcp.ErrNAK
		}
		if !t.former[client] && t.fault == "takes in strangers" && t.free(client, want) {
			break
		}
		return nil, nil
	case has || held && offered != want || !t.free(client, want):
		return nil, dhcp.ErrNAK
	}
	if t.fault == "looks first and writes then" {
		t.mu.Unlock()
		time.Sleep(100 * time.Millisecond) // for others to look, on a machine that is busy
		t.mu.Lock()
	}
	delete(t.offers, client)
	t.leases[client], t.former[client] = want, true
	return t.lease(r, want), nil
}

func (t *toy) end(r *dhcp.Request, anybody bool) error {
	client := string(r.HardwareAddr())
	if anybody {
		for holder, a := range t.leases {
			if a == r.RequestedAddr() {
				client = holder
			}
		}
	}
	if a, ok := t.leases[client]; !ok || a != r.RequestedAddr() {
		if t.fault == "calls a stranger's RELEASE a failure" {
			return errors.New("toy: not yours")
		}
		return dhcp.ErrNotHolder
	}
	delete(t.leases, client)
	return nil
}

func (t *toy) Release(_ context.Context, r *dhcp.Request) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fault == "frees nothing" {
		return nil
	}
	if t.fault == "denies its holder" {
		return dhcp.ErrNotHolder
	}
	return t.end(r, t.fault == "releases for anybody")
}

func (t *toy) Decline(_ context.Context, r *dhcp.Request) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.end(r, t.fault == "declines for anybody"); err != nil {
		return err
	}
	t.declined[r.RequestedAddr()] = true
	return nil
}

func (t *toy) WithdrawOffer(_ context.Context, r *dhcp.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fault != "keeps what is withdrawn" {
		delete(t.offers, string(r.HardwareAddr()))
	}
	if t.fault == "panics when an offer is withdrawn" {
		panic("toy")
	}
}

func (t *toy) Knows(_ context.Context, r *dhcp.Request) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.leases[string(r.HardwareAddr())].IsValid() || t.offers[string(r.HardwareAddr())].IsValid()
	return t.fault == "knows everybody" || t.fault != "knows nobody" && known
}

func (t *toy) Covers(a netip.Addr) bool {
	return t.fault == "covers everything" || t.fault != "covers nothing" && t.covers(a)
}

func (t *toy) covers(a netip.Addr) bool {
	return a.Is4() && !a.Less(toyAddr(0)) && a.Less(toyAddr(toySize))
}

func (t *toy) Validate() error {
	if t.fault == "is not valid" {
		return errors.New("toy: broken")
	}
	return nil
}
