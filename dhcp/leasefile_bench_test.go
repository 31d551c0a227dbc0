package dhcp

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// countingDisk counts syncs of files.
type countingDisk struct {
	osDisk
	syncs atomic.Int64
}

func (d *countingDisk) open(name string) (leaseHandle, error) {
	h, err := d.osDisk.open(name)
	return countingHandle{h, d}, err
}

func (d *countingDisk) create(name string) (leaseHandle, error) {
	h, err := d.osDisk.create(name)
	return countingHandle{h, d}, err
}

type countingHandle struct {
	leaseHandle
	d *countingDisk
}

func (h countingHandle) Sync() error {
	h.d.syncs.Add(1)
	return h.leaseHandle.Sync()
}

func BenchmarkLeaseFileClaim(b *testing.B) {
	for _, clients := range []int{1, 8, 64, 512} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			disk := &countingDisk{}
			f, err := openLeaseFile(disk, filepath.Join(b.TempDir(), "leases"))
			require.NoError(b, err)
			defer f.Close()
			before := disk.syncs.Load()
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for c := range clients {
				wg.Go(func() {
					lease := boundTo(c)
					for i := c; i < b.N; i += clients {
						var err error
						if lease, err = f.Claim(context.Background(), lease); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(disk.syncs.Load()-before)/float64(b.N), "syncs/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "claims/s")
		})
	}
}

// leasesOf makes a lease file of n bindings, half of them in its log, each in a
// frame of its own: as when one came after the other.
func leasesOf(t testing.TB, path string, n int) {
	t.Helper()
	h, err := osDisk{}.create(path)
	require.NoError(t, err)
	w := frameWriter{log: &leaseLog{file: h, size: headerLen}}
	var base int64
	for i := range n {
		require.NoError(t, w.add(string(appendBinding(nil, boundTo(i), uint64(i+1)))))
		if i >= n/2 {
			require.NoError(t, w.flush())
		}
		if i == n/2 {
			base = w.log.size
		}
	}
	require.NoError(t, w.flush())
	require.NoError(t, writeAll(h, appendHeader(nil, fileHeader{base: base, version: uint64(n/2 + 1)}), 0))
	require.NoError(t, h.Close())
}

// loaded is a pool that has read its leases.
func loaded(t testing.TB, path string) (*LeaseFile, *Pool) {
	t.Helper()
	f, err := OpenLeaseFile(path)
	require.NoError(t, err)
	p := &Pool{First: addr("10.0.0.0"), Last: addr("10.3.255.255"), Store: f}
	_, err = p.lock(context.Background())
	require.NoError(t, err)
	p.mu.Unlock()
	return f, p
}

func BenchmarkLeaseFileLoad(b *testing.B) {
	path := filepath.Join(b.TempDir(), "leases")
	leasesOf(b, path, 100_000)
	b.ReportAllocs()
	for b.Loop() {
		f, _ := loaded(b, path)
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// heapInUse is how many bytes are in use.
func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A pool of 100,000 leases and its file take 128 MiB at most.
func TestLeaseFileMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	const n = 100_000
	leasesOf(t, path, n)
	before := heapInUse()
	f, err := OpenLeaseFile(path)
	require.NoError(t, err)
	file := heapInUse() - before
	require.NoError(t, f.Close())
	require.Len(t, f.bindings, n)
	before = heapInUse()
	f, p := loaded(t, path)
	both := heapInUse() - before
	require.Len(t, p.table.slots, n)
	t.Logf("%d bytes for a lease in the file, %d with the pool; %d MiB in all", file/n, both/n, both>>20)
	require.Less(t, both, int64(128<<20))
	require.Less(t, file/n, int64(300))
	one, err := f.ByAddr(t.Context(), netip.MustParseAddr("10.0.0.7"))
	require.NoError(t, err)
	require.Equal(t, mac(7), one.HW)
	require.NoError(t, f.Close())
}
