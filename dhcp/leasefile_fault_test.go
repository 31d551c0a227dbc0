package dhcp

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// ledger is what clients of a store know: what was acknowledged, and what has
// been tried since, of which nobody knows what became.
type ledger struct {
	acked map[netip.Addr]Binding // Version 0: removed
	tried map[netip.Addr][]Binding
	acks  int
}

func newLedger() *ledger {
	return &ledger{acked: map[netip.Addr]Binding{}, tried: map[netip.Addr][]Binding{}}
}

// use claims and removes n times, as a pool does.
func (l *ledger) use(t testing.TB, f *LeaseFile, n int) {
	t.Helper()
	for range n {
		i := l.acks*7%5 + l.acks%3
		b := boundTo(i)
		b.HW = mac(1000 + l.acks) // who has it
		a := b.Addr.Addr()
		old, err := f.ByAddr(t.Context(), a)
		if err == nil {
			b.Version = old.Version
		} else {
			require.ErrorIs(t, err, ErrNoBinding)
		}
		remove := l.acks%11 == 10
		if remove {
			b = Binding{Addr: b.Addr, Version: b.Version}
			err = f.Remove(t.Context(), b)
		} else {
			b, err = f.Claim(t.Context(), b)
		}
		l.acks++
		switch {
		case err != nil:
			require.NotErrorIs(t, err, ErrConflict)
			b.HW, b.Addr, b.Version = mac(1000+l.acks-1), boundTo(i).Addr, 0
			if remove {
				b.HW = nil
			}
			l.tried[a] = append(l.tried[a], b)
		case remove:
			l.acked[a], l.tried[a] = Binding{}, nil
		default:
			l.acked[a], l.tried[a] = b, nil
		}
	}
}

// check requires that a store has what was acknowledged, or what was tried later.
func (l *ledger) check(t testing.TB, f *LeaseFile, context string) {
	t.Helper()
	for n := range 10 {
		a := boundTo(n).Addr.Addr()
		got, err := f.ByAddr(t.Context(), a)
		if err != nil {
			require.ErrorIs(t, err, ErrNoBinding)
		}
		want := l.acked[a]
		same := got.Version == want.Version && got.HW.String() == want.HW.String()
		later := slices.ContainsFunc(l.tried[a], func(b Binding) bool { return b.HW.String() == got.HW.String() })
		require.True(t, same || later, "%s: %s has %+v, acknowledged was %+v, tried %+v", context, a, got, want, l.tried[a])
		l.acked[a], l.tried[a] = got, nil // what is loaded counts
	}
}

func openOn(t testing.TB, disk *faultDisk, context string) *LeaseFile {
	t.Helper()
	f, err := openLeaseFile(disk, "d/leases")
	require.NoError(t, err, context)
	f.growth = 500
	return f
}

// faultAt makes n calls fail, from one on.
func faultAt(what fault, from, n int) func(int, string) fault {
	return func(call int, op string) fault {
		switch {
		case call < from || call >= from+n:
			return works
		case what == short && op != "write":
			return fails
		}
		return what
	}
}

// TestLeaseFileEveryFaultAtEveryCall: whatever call fails, in whatever way,
// nothing is acknowledged that a crash then loses.
func TestLeaseFileEveryFaultAtEveryCall(t *testing.T) {
	const always = 1 << 30
	claims := 30
	calls := func() (n int) {
		synctest.Test(t, func(t *testing.T) {
			disk := newFaultDisk(1)
			f := openOn(t, disk, "")
			l := newLedger()
			for range 2 {
				l.use(t, f, claims/2)
				synctest.Wait() // for the compaction, which claims can overtake
			}
			require.NoError(t, f.Close())
			n = disk.calls
			require.Greater(t, countOf(disk.log, "rename"), 2, "compacted")
		})
		return n
	}()
	for what, name := range map[fault]string{fails: "EIO", full: "ENOSPC", short: "short write", doneFails: "done, but EIO", crashed: "crash"} {
		for _, times := range []int{1, 3, always} {
			if what == crashed && times != always {
				continue
			}
			t.Run(fmt.Sprintf("%s, %d times", name, times), func(t *testing.T) {
				t.Parallel()
				for at := 1; at <= calls+3; at++ {
					for seed := range uint64(4) {
						synctest.Test(t, func(t *testing.T) { faultThenCrash(t, what, at, times, seed, claims) })
					}
				}
			})
		}
	}
}

func countOf(log []string, op string) (n int) {
	for _, l := range log {
		if l == op {
			n++
		}
	}
	return n
}

func faultThenCrash(t *testing.T, what fault, at, times int, seed uint64, claims int) {
	context := fmt.Sprintf("fault %d at call %d, seed %d", what, at, seed)
	disk := newFaultDisk(seed)
	disk.fault = faultAt(what, at, times)
	l := newLedger()
	f, err := openLeaseFile(disk, "d/leases")
	if err == nil {
		f.growth = 500
		l.use(t, f, claims/2)
		if seed%2 == 1 {
			time.Sleep(2 * time.Second) // a second try
		}
		l.use(t, f, claims/2)
	}
	// The process dies; with every other seed another one goes on, on what is
	// in the memory of the system.
	end := func() {
		disk.mu.Lock()
		disk.fault = faultAt(crashed, 0, 1<<30)
		disk.mu.Unlock()
		if f != nil {
			_ = f.Close() // on a disk that is gone
		}
	}
	end()
	if seed%4 < 2 {
		disk.kill()
		f = openOn(t, disk, context+", killed")
		l.check(t, f, context+", killed")
		if seed == 1 { // else what was loaded must be on disk without a claim
			l.use(t, f, 5)
		}
		end()
	}
	disk.crash()
	f = openOn(t, disk, context)
	l.check(t, f, context)
	l.use(t, f, 20)
	end()
	disk.crash()
	f = openOn(t, disk, context+", again")
	l.check(t, f, context+", again")
	require.NoError(t, f.Close())
}

func TestLeaseFileRefusesWhileTheDiskFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newFaultDisk(1)
		f := openOn(t, disk, "")
		var told []error
		f.OnDisk = func(err error) { told = append(told, err) }
		before := claimed(t, f, boundTo(1))
		disk.setFault(func(_ int, op string) fault {
			if op == "write" {
				return full
			}
			return works
		})
		_, err := f.Claim(t.Context(), boundTo(2))
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.ErrorContains(t, err, "d/leases")
		require.Len(t, told, 2, "the append, and the new file")
		synctest.Wait()
		calls := disk.count()
		_, err = f.Claim(t.Context(), boundTo(2))
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.Equal(t, calls, disk.count(), "the disk is left alone until the next try")
		require.Equal(t, []Binding{before}, bindings(t, f))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.Less(t, len(told), 2+6+10, "once a minute at last")
		require.Greater(t, len(told), 2+6)
		disk.setFault(nil)
		time.Sleep(lastRetry)
		synctest.Wait()
		require.NoError(t, told[len(told)-1])
		two := claimed(t, f, boundTo(2))
		require.NoError(t, f.Close())
		disk.crash()
		require.Equal(t, []Binding{before, two}, bindings(t, openOn(t, disk, "")))
	})
}

func (d *faultDisk) setFault(fault func(int, string) fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = fault
}

func (d *faultDisk) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls
}

func TestLeaseFileVolatile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newFaultDisk(1)
		f := openOn(t, disk, "")
		f.Volatile = true
		var told []error
		f.OnDisk = func(err error) { told = append(told, err) }
		l := newLedger()
		l.use(t, f, 5)
		require.Empty(t, told)
		disk.setFault(faultAt(fails, 0, 1<<30))
		l.use(t, f, 30)
		require.ErrorIs(t, told[0], syscall.EIO)
		for _, tried := range l.tried {
			require.Empty(t, tried, "all were acknowledged")
		}
		disk.setFault(nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.NoError(t, told[len(told)-1], "all is on disk, without a claim")
		disk.setFault(faultAt(crashed, 0, 1<<30))
		_ = f.Close() // the system is gone
		disk.crash()
		f = openOn(t, disk, "")
		l.check(t, f, "back on disk before the crash")

		f.Volatile = true
		disk.setFault(faultAt(fails, 0, 1<<30))
		l.use(t, f, 3)
		disk.setFault(nil)
		require.NoError(t, f.Close(), "Close tries once more")
		f = openOn(t, disk, "")
		l.check(t, f, "brought to disk by Close")

		f.Volatile = true
		disk.setFault(faultAt(fails, 0, 1<<30))
		l.use(t, f, 3)
		require.ErrorIs(t, f.Close(), syscall.EIO, "they are lost, and Close says so")
	})
}

// A compaction that fails leaves the log as it was.
func TestLeaseFileCompactionFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newFaultDisk(1)
		f := openOn(t, disk, "")
		var told []error
		f.OnDisk = func(err error) { told = append(told, err) }
		l := newLedger()
		disk.setFault(func(_ int, op string) fault {
			if op == "create" {
				return full
			}
			return works
		})
		for range 60 {
			l.use(t, f, 1)
			synctest.Wait()
		}
		require.NotEmpty(t, told)
		require.ErrorIs(t, told[0], syscall.ENOSPC)
		require.ErrorContains(t, told[0], "compacting")
		for _, tried := range l.tried {
			require.Empty(t, tried, "no claim failed")
		}
		disk.setFault(nil)
		for range 400 {
			l.use(t, f, 1)
			synctest.Wait()
		}
		require.NoError(t, told[len(told)-1])
		require.NoError(t, f.Close())
		disk.crash()
		l.check(t, openOn(t, disk, ""), "")
	})
}

// What a sync has lost is not on disk however many syncs succeed later: the
// page is taken for clean. A store that only tried again would lose it here.
func TestFaultDiskLosesForGoodWhatASyncLost(t *testing.T) {
	disk := newFaultDisk(1)
	h, err := disk.create("x")
	require.NoError(t, err)
	require.NoError(t, disk.syncDir(""))
	content := bytes.Repeat([]byte{1}, 100*sector)
	_, err = h.WriteAt(content, 0)
	require.NoError(t, err)
	disk.setFault(faultAt(fails, 0, 1<<30))
	require.Error(t, h.Sync())
	disk.setFault(nil)
	require.NoError(t, h.Sync())
	read := make([]byte, len(content))
	_, err = h.ReadAt(read, 0)
	require.NoError(t, err)
	require.Equal(t, content, read, "it can still be read")
	disk.crash()
	h, err = disk.open("x")
	require.NoError(t, err)
	_, _ = h.ReadAt(read, 0) // it may be shorter
	require.NotEqual(t, content, disk.names["x"].live)
}
