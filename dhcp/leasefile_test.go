package dhcp

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// openLeases opens a lease file that is closed with the test.
func openLeases(t testing.TB, path string) *LeaseFile {
	t.Helper()
	f, err := OpenLeaseFile(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() }) // many tests have closed it
	return f
}

// boundTo is a lease of the n-th address of 10.0.0.0/8 for the n-th machine.
func boundTo(n int) Binding {
	return Binding{
		HW: mac(n), ID: append([]byte{1}, mac(n)...), UUID: "01234567-89ab-cdef-0123-456789abcdef",
		Addr: netip.PrefixFrom(addr4(10<<24+uint32(n)), 32), Until: time.Unix(1_800_000_000, 5).UTC(), State: Bound,
	}
}

func claimed(t testing.TB, f *LeaseFile, b Binding) Binding {
	t.Helper()
	got, err := f.Claim(t.Context(), b)
	require.NoError(t, err)
	return got
}

func TestLeaseFile(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "leases")
	f := openLeases(t, path)
	require.Zero(t, f.Discarded())
	b := boundTo(1)
	_, err := f.ByAddr(ctx, b.Addr.Addr())
	require.ErrorIs(t, err, ErrNoBinding)
	require.NoError(t, f.Remove(ctx, b), "nothing to remove")
	one := claimed(t, f, b)
	require.NotZero(t, one.Version)
	_, err = f.Claim(ctx, b)
	require.ErrorIs(t, err, ErrConflict)
	require.ErrorIs(t, f.Remove(ctx, b), ErrConflict)
	missing := boundTo(2)
	missing.Version = 1
	_, err = f.Claim(ctx, missing)
	require.ErrorIs(t, err, ErrConflict)
	two := claimed(t, f, one)
	require.Greater(t, two.Version, one.Version)
	got, err := f.ByAddr(ctx, b.Addr.Addr())
	require.NoError(t, err)
	require.Equal(t, two, got)
	other := claimed(t, f, boundTo(2))
	require.Equal(t, []Binding{two, other}, bindings(t, f))
	require.NoError(t, f.Remove(ctx, two))
	require.Equal(t, []Binding{other}, bindings(t, f))
	require.NoError(t, f.Close())

	f = openLeases(t, path)
	require.Zero(t, f.Discarded())
	require.Equal(t, []Binding{other}, bindings(t, f))
	require.Greater(t, claimed(t, f, b).Version, other.Version, "versions do not come back")
}

func TestLeaseFileClosed(t *testing.T) {
	f := openLeases(t, filepath.Join(t.TempDir(), "leases"))
	b := claimed(t, f, boundTo(1))
	require.NoError(t, f.Close())
	require.ErrorIs(t, f.Close(), fs.ErrClosed)
	_, err := f.Claim(t.Context(), b)
	require.ErrorIs(t, err, fs.ErrClosed)
	require.ErrorIs(t, f.Remove(t.Context(), b), fs.ErrClosed)
	_, err = f.ByAddr(t.Context(), b.Addr.Addr())
	require.ErrorIs(t, err, fs.ErrClosed)
	for _, err := range f.Load(t.Context()) {
		require.ErrorIs(t, err, fs.ErrClosed)
	}
}

func TestLeaseFileContext(t *testing.T) {
	f := openLeases(t, filepath.Join(t.TempDir(), "leases"))
	claimed(t, f, boundTo(1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := f.Claim(ctx, boundTo(2))
	require.ErrorIs(t, err, context.Canceled)
	for _, err := range f.Load(ctx) {
		require.ErrorIs(t, err, context.Canceled)
	}
	require.Len(t, bindings(t, f), 1)
}

func TestLeaseFileInUse(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "leases")
	f := openLeases(t, path)
	_, err := OpenLeaseFile(path)
	require.ErrorIs(t, err, ErrLeaseFileInUse)
	require.ErrorContains(t, err, "stop the other server")
	require.ErrorContains(t, err, path)
	_, err = RepairLeaseFile(path)
	require.ErrorIs(t, err, ErrLeaseFileInUse)
	if runtime.GOOS != "windows" {
		link := filepath.Join(t.TempDir(), "link")
		require.NoError(t, os.Symlink(path, link))
		_, err = OpenLeaseFile(link)
		require.ErrorIs(t, err, ErrLeaseFileInUse, "under another name")
		require.NoError(t, f.Close())
		f = openLeases(t, link)
		f.growth = 1
		for i := range 20 {
			claimed(t, f, boundTo(i))
		}
		info, err := os.Lstat(link)
		require.NoError(t, err)
		require.NotZero(t, info.Mode()&fs.ModeSymlink, "a new file does not take the link's place")
	}
	require.NoError(t, f.Close())
	openLeases(t, path)
}

func TestLeaseFileCannotBeOpened(t *testing.T) {
	dir := t.TempDir()
	_, err := OpenLeaseFile(filepath.Join(dir, "none", "leases"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "directory must exist")
	_, err = OpenLeaseFile(dir)
	require.ErrorContains(t, err, "not a regular file")
	require.NoFileExists(t, dir+".lock")
	_, err = RepairLeaseFile(filepath.Join(dir, "leases"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = os.Stat(filepath.Join(dir, "leases"))
	require.ErrorIs(t, err, fs.ErrNotExist)

	link := filepath.Join(dir, "link")
	if os.Symlink(filepath.Join(dir, "unmounted", "leases"), link) == nil { // not everybody may on Windows
		_, err = OpenLeaseFile(link)
		require.ErrorContains(t, err, "symbolic link to a file that does not exist")
		_, err = os.Readlink(link)
		require.NoError(t, err, "the link is still there")
	}
}

// randomBinding has every length, and values at the ends of their ranges.
func randomBinding(rnd *rand.Rand, i int) Binding {
	fill := func(n int) []byte {
		if n == 0 {
			return nil
		}
		p := make([]byte, n)
		if rnd.IntN(3) > 0 { // else zeros
			for i := range p {
				p[i] = byte(rnd.Uint32())
			}
		}
		return p
	}
	times := []time.Time{{}, time.Unix(0, 0), time.Unix(-1, 999_999_999), time.Now(), time.Unix(1<<40, 1),
		time.Unix(1<<62, 0), time.Unix(-1<<63, 0), time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.FixedZone("x", 3600)),
		time.Now().Add(time.Duration(rnd.Int64N(1 << 60)))}
	b := Binding{
		HW: fill(i % 17), ID: fill(i % 256), UUID: []string{"", "01234567-89ab-cdef-0123-456789abcdef", "a\nb,\x00\"", string(fill(255))}[rnd.IntN(4)],
		Addr:  netip.PrefixFrom(addr4(rnd.Uint32()), rnd.IntN(33)),
		Until: times[rnd.IntN(len(times))], State: BindingState(rnd.IntN(4)),
	}
	switch rnd.IntN(10) {
	case 0:
		b.Addr = netip.PrefixFrom(netip.AddrFrom16([16]byte(fill(16))), rnd.IntN(129))
	case 1:
		b.Addr = netip.PrefixFrom(netip.AddrFrom16(netip.AddrFrom4([4]byte(fill(4))).As16()), 128)
	}
	return b
}

// TestCVE_2019_6474_WhatIsAcceptedCanBeReloaded: Kea stored a lease that it
// could not read any more, and did not start again.
func TestCVE_2019_6474_WhatIsAcceptedCanBeReloaded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	rnd := rand.New(rand.NewPCG(1, 2))
	want := map[netip.Addr]Binding{}
	for round := range 3 {
		f := openLeases(t, path)
		f.growth = 100 << 10 // once or twice a round
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range 1000 {
			b := randomBinding(rnd, i)
			mu.Lock()
			b.Version = want[b.Addr.Addr()].Version
			mu.Unlock()
			wg.Go(func() {
				got, err := f.Claim(t.Context(), b)
				mu.Lock()
				defer mu.Unlock()
				if errors.Is(err, ErrConflict) {
					return // another of the same address
				}
				if err != nil {
					t.Errorf("%+v: %v", b, err)
					return
				}
				if !got.Until.Equal(b.Until) {
					t.Errorf("%s became %s", b.Until, got.Until)
				}
				b.Version, b.Until = got.Version, got.Until
				want[b.Addr.Addr()] = b
			})
			if i%100 == 0 {
				wg.Wait()
			}
		}
		wg.Wait()
		require.NoError(t, f.Close())
		f = openLeases(t, path)
		all := bindings(t, f)
		require.Len(t, all, len(want), "round %d", round)
		for _, b := range all {
			require.Equal(t, want[b.Addr.Addr()], b)
			one, err := f.ByAddr(t.Context(), b.Addr.Addr())
			require.NoError(t, err)
			require.Equal(t, b, one)
		}
		for i, b := range all {
			if i%3 == 0 {
				require.NoError(t, f.Remove(t.Context(), b))
				delete(want, b.Addr.Addr())
			}
		}
		require.NoError(t, f.Close())
	}
	pool := small(3)
	pool.Store = openLeases(t, path)
	dora(t, newServer(withPool(pool)), mac(1))
}

func TestLeaseFileRefusesWhatItCannotStore(t *testing.T) {
	f := openLeases(t, filepath.Join(t.TempDir(), "leases"))
	for problem, edit := range map[string]func(*Binding){
		"valid address":    func(b *Binding) { b.Addr = netip.Prefix{} },
		"state -1":         func(b *Binding) { b.State = -1 },
		"state 256":        func(b *Binding) { b.State = 256 },
		"hardware address": func(b *Binding) { b.HW = make([]byte, 256) },
		"identifier":       func(b *Binding) { b.ID = make([]byte, 256) },
		"UUID":             func(b *Binding) { b.UUID = string(make([]byte, 256)) },
	} {
		b := boundTo(1)
		edit(&b)
		_, err := f.Claim(t.Context(), b)
		require.ErrorContains(t, err, problem)
	}
	require.Empty(t, bindings(t, f))
	claimed(t, f, boundTo(1))
}

func TestLeaseFileManyAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	f := openLeases(t, path)
	f.growth = 10 << 10
	const clients, rounds, addresses = 64, 20, 200
	var wg sync.WaitGroup
	won := make([][]Binding, clients)
	for c := range clients {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(c), 1))
			for range rounds {
				b := boundTo(rnd.IntN(addresses))
				b.HW = mac(c)
				if old, err := f.ByAddr(t.Context(), b.Addr.Addr()); err == nil {
					b.Version = old.Version
				}
				if got, err := f.Claim(t.Context(), b); err == nil {
					won[c] = append(won[c], got)
				} else if !errors.Is(err, ErrConflict) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	versions := map[uint64]bool{}
	last := map[netip.Addr]Binding{}
	for _, w := range won {
		for _, b := range w {
			require.False(t, versions[b.Version], "version %d twice", b.Version)
			versions[b.Version] = true
			if b.Version > last[b.Addr.Addr()].Version {
				last[b.Addr.Addr()] = b
			}
		}
	}
	require.Greater(t, len(versions), addresses/2)
	require.NoError(t, f.Close())
	all := bindings(t, openLeases(t, path))
	require.Len(t, all, len(last))
	for _, b := range all {
		require.Equal(t, last[b.Addr.Addr()], b)
	}
}

func TestLeaseFileIsCompacted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	f := openLeases(t, path)
	f.growth = 10 << 10
	b := boundTo(1)
	for range 2000 {
		b = claimed(t, f, b)
	}
	require.NoError(t, f.Close())
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(100<<10), "2,000 records are %d", 2000*100)
	require.NoFileExists(t, path+newSuffix)
	require.Equal(t, []Binding{b}, bindings(t, openLeases(t, path)))
}

func TestPoolOnALeaseFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	var got string
	for range 3 {
		f := openLeases(t, path)
		pool := small(50)
		pool.Store = f
		s := newServer(withPool(pool))
		a := dora(t, s, mac(1))
		require.True(t, got == "" || got == a, "the same address after a restart")
		got = a
		require.NotEqual(t, a, dora(t, s, mac(2)))
		require.NoError(t, f.Close())
		require.Equal(t, Error, ask(t, s, request(mac(1), selecting(a))).reason, "no lease, no ACK")
	}
}
