package dhcp

import (
	"context"
	"errors"
	"iter"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var _ = []LeaseFinder{(*Pool)(nil), Chain(nil)}

// findIn returns who has an address, and "" if nobody.
func findIn(t *testing.T, f LeaseFinder, addr string) string {
	t.Helper()
	lease, err := f.LeaseAt(t.Context(), netip.MustParseAddr(addr))
	require.NoError(t, err)
	if lease == nil {
		return ""
	}
	require.Equal(t, addr, lease.Prefix().Addr().String())
	return lease.HardwareAddr().String()
}

func TestWhoHasAnAddress(t *testing.T) {
	store := new(MemoryStore)
	claim := func(n int, addr string, state BindingState, until time.Time) {
		_, err := store.Claim(t.Context(), Binding{HW: mac(n), Addr: netip.PrefixFrom(netip.MustParseAddr(addr), 32), State: state, Until: until})
		require.NoError(t, err)
	}
	later, before := time.Now().Add(time.Hour), time.Now().Add(-time.Second)
	claim(1, "192.0.2.101", Bound, later)
	claim(2, "192.0.2.102", Bound, time.Time{})
	claim(3, "192.0.2.103", Bound, before)
	claim(4, "192.0.2.104", Released, later)
	claim(5, "192.0.2.105", Declined, later)
	claim(6, "198.51.100.6", Bound, later)
	p := &Pool{First: netip.MustParseAddr("192.0.2.100"), Last: netip.MustParseAddr("192.0.2.109"), Store: store}
	other := &Pool{First: netip.MustParseAddr("198.51.100.1"), Last: netip.MustParseAddr("198.51.100.9"), Store: store}
	require.Equal(t, mac(1).String(), findIn(t, p, "192.0.2.101"))
	require.Equal(t, mac(2).String(), findIn(t, p, "192.0.2.102"), "for ever")
	for _, addr := range []string{"192.0.2.100", "192.0.2.103", "192.0.2.104", "192.0.2.105", "2001:db8::1"} {
		require.Empty(t, findIn(t, p, addr), addr)
	}
	require.Empty(t, findIn(t, p, "198.51.100.6"), "the other pool's")
	require.Equal(t, mac(6).String(), findIn(t, Chain{p, other}, "198.51.100.6"))
	require.Empty(t, findIn(t, Chain{p, other}, "198.51.100.7"))

	claim(7, "192.0.2.107", Bound, later)
	require.Equal(t, mac(7).String(), findIn(t, p, "192.0.2.107"), "given away by a server that shares the store")
}

// brokenStore has nothing to load, and fails to look up.
type brokenStore struct{ Store }

func (brokenStore) Load(context.Context) iter.Seq2[Binding, error] {
	return func(func(Binding, error) bool) {}
}

var errBroken = errors.New("broken")

func (brokenStore) ByAddr(context.Context, netip.Addr) (Binding, error) { return Binding{}, errBroken }

func TestAStoreThatFailsIsNoStranger(t *testing.T) {
	p := &Pool{First: netip.MustParseAddr("192.0.2.100"), Last: netip.MustParseAddr("192.0.2.109"), Store: brokenStore{}}
	_, err := Chain{p}.LeaseAt(t.Context(), p.First)
	require.ErrorIs(t, err, errBroken)
	require.ErrorContains(t, err, "192.0.2.100")
}

// The pools of all networks of a server may keep their leases in one file.
func TestPoolsOfSeveralNetworksShareALeaseFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	open := func() (*LeaseFile, []*Pool) {
		file, err := OpenLeaseFile(path)
		require.NoError(t, err)
		return file, []*Pool{
			{First: netip.MustParseAddr("192.0.2.100"), Last: netip.MustParseAddr("192.0.2.109"), Store: file},
			{First: netip.MustParseAddr("198.51.100.100"), Last: netip.MustParseAddr("198.51.100.109"), Store: file},
			// One that a client of the others has a reservation in.
			{Store: file, Reservations: []Reservation{{HardwareAddr: mac(1), Addr: netip.MustParseAddr("203.0.113.9")}}},
		}
	}
	want := []string{"192.0.2.105", "198.51.100.105", "203.0.113.9"}
	file, pools := open()
	for i, p := range pools {
		lease, err := p.Request(t.Context(), &Request{Packet: request(mac(1), selecting(want[i]))})
		require.NoError(t, err)
		require.NotNil(t, lease)
	}
	require.NoError(t, file.Close())

	file, pools = open()
	for i, p := range pools {
		for j, addr := range want {
			who := ""
			if i == j {
				who = mac(1).String()
			}
			require.Equal(t, who, findIn(t, p, addr), "pool %d, %s", i, addr)
		}
		// It renews each, and none moves it to the address that another pool has for it.
		lease, err := p.Request(t.Context(), &Request{Packet: request(mac(1), ciaddr(want[i]))})
		require.NoError(t, err)
		require.NotNil(t, lease)
		require.Equal(t, want[i], lease.Prefix().Addr().String())
	}
	require.NoError(t, file.Close())
}

// Nor is an address given twice by two that may both give it out, as on two links
// that were numbered alike by mistake.
func TestPoolsThatOverlapInAStoreGiveNoAddressTwice(t *testing.T) {
	store := new(MemoryStore)
	overlap := func() *Pool {
		return &Pool{First: netip.MustParseAddr("192.0.2.100"), Last: netip.MustParseAddr("192.0.2.101"), Store: store}
	}
	p, q := overlap(), overlap()
	const contested = "192.0.2.100"
	for _, pool := range []*Pool{p, q} { // both have read the store
		require.Empty(t, findIn(t, pool, contested))
	}
	lease, err := p.Request(t.Context(), &Request{Packet: request(mac(1), selecting(contested))})
	require.NoError(t, err)
	require.Equal(t, contested, lease.Prefix().Addr().String())
	_, err = q.Request(t.Context(), &Request{Packet: request(mac(2), selecting(contested))})
	require.ErrorIs(t, err, ErrNAK)
	lease, err = q.Discover(t.Context(), &Request{Packet: discover(mac(2))})
	require.NoError(t, err)
	require.Equal(t, "192.0.2.101", lease.Prefix().Addr().String())
}
