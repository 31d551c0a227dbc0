package leasetest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/dhcp/leasetest"
)

// judge is a TB that keeps the errors.
type judge struct{ errors []string }

func (j *judge) Helper() {}
func (j *judge) Errorf(format string, args ...any) {
	j.errors = append(j.errors, fmt.Sprintf(format, args...))
}

// caught requires that there are errors and that want is in them.
func (j *judge) caught(t *testing.T, want string) {
	t.Helper()
	require.NotEmpty(t, j.errors, "nobody noticed")
	for _, e := range j.errors {
		require.True(t, strings.HasPrefix(e, "leasetest: "), e)
	}
	require.Contains(t, strings.Join(j.errors, "\n"), want)
}

func TestMemoryStore(t *testing.T) {
	leasetest.TestStore(t, func() dhcp.Store { return new(dhcp.MemoryStore) })
}

// files opens lease files that are closed with the test.
type files struct {
	t     *testing.T
	mu    sync.Mutex
	paths map[dhcp.Store]string
}

func (f *files) open(path string) dhcp.Store {
	s, err := dhcp.OpenLeaseFile(path)
	require.NoError(f.t, err)
	f.t.Cleanup(func() { _ = s.Close() }) // some have been closed by then
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paths[s] = path
	return s
}

func (f *files) create() dhcp.Store { return f.open(filepath.Join(f.t.TempDir(), "leases")) }

func TestLeaseFile(t *testing.T) {
	f := &files{t: t, paths: map[dhcp.Store]string{}}
	leasetest.TestStore(t, f.create, leasetest.Reopen(func(s dhcp.Store) dhcp.Store {
		require.NoError(t, s.(*dhcp.LeaseFile).Close())
		return f.open(f.paths[s])
	}))
}

// kept is a store that survives being closed, as one on a disk does.
type kept struct{ *dhcp.MemoryStore }

func TestAStoreThatIsOpenedAgain(t *testing.T) {
	leasetest.TestStore(t, func() dhcp.Store { return kept{new(dhcp.MemoryStore)} },
		leasetest.Reopen(func(s dhcp.Store) dhcp.Store { return kept{s.(kept).MemoryStore} }))
}

// broken is a MemoryStore of which parts are replaced.
type broken struct {
	dhcp.MemoryStore
	parts
	mu     sync.Mutex // for what the parts remember:
	memory map[netip.Addr]dhcp.Binding
}

type parts struct {
	load   func(s *broken, ctx context.Context) iter.Seq2[dhcp.Binding, error]
	byAddr func(s *broken, ctx context.Context, a netip.Addr) (dhcp.Binding, error)
	claim  func(s *broken, ctx context.Context, b dhcp.Binding) (dhcp.Binding, error)
	remove func(s *broken, ctx context.Context, b dhcp.Binding) error
}

func (s *broken) Load(ctx context.Context) iter.Seq2[dhcp.Binding, error] {
	if s.load != nil {
		return s.load(s, ctx)
	}
	return s.MemoryStore.Load(ctx)
}

func (s *broken) ByAddr(ctx context.Context, a netip.Addr) (dhcp.Binding, error) {
	if s.byAddr != nil {
		return s.byAddr(s, ctx, a)
	}
	return s.MemoryStore.ByAddr(ctx, a)
}

func (s *broken) Claim(ctx context.Context, b dhcp.Binding) (dhcp.Binding, error) {
	if s.claim != nil {
		return s.claim(s, ctx, b)
	}
	return s.MemoryStore.Claim(ctx, b)
}

func (s *broken) Remove(ctx context.Context, b dhcp.Binding) error {
	if s.remove != nil {
		return s.remove(s, ctx, b)
	}
	return s.MemoryStore.Remove(ctx, b)
}

// edited claims another binding than the one given, and returns the one given.
func edited(edit func(*dhcp.Binding)) parts {
	return parts{claim: func(s *broken, ctx context.Context, b dhcp.Binding) (dhcp.Binding, error) {
		c := b
		edit(&c)
		stored, err := s.MemoryStore.Claim(ctx, c)
		b.Version = stored.Version
		return b, err
	}}
}

// overwrite claims whatever the version is.
func overwrite(s *broken, ctx context.Context, b dhcp.Binding) (dhcp.Binding, error) {
	old, _ := s.MemoryStore.ByAddr(ctx, b.Addr.Addr())
	b.Version = old.Version
	return s.MemoryStore.Claim(ctx, b)
}

// Each row breaks one rule of dhcp.Store.
func TestBrokenStores(t *testing.T) {
	shared := new(dhcp.MemoryStore)
	tests := map[string]struct {
		parts parts
		want  string
	}{
		"the content of another": {parts{
			claim: func(_ *broken, ctx context.Context, b dhcp.Binding) (dhcp.Binding, error) {
				return shared.Claim(ctx, b)
			},
			byAddr: func(_ *broken, ctx context.Context, a netip.Addr) (dhcp.Binding, error) {
				return shared.ByAddr(ctx, a)
			},
		}, "a new store: ByAddr of another store"},
		"another error for none": {parts{byAddr: func(s *broken, ctx context.Context, a netip.Addr) (dhcp.Binding, error) {
			b, err := s.MemoryStore.ByAddr(ctx, a)
			if err != nil {
				err = errors.New("not found")
			}
			return b, err
		}}, "instead of ErrNoBinding"},
		"nothing is an empty binding": {parts{byAddr: func(s *broken, ctx context.Context, a netip.Addr) (dhcp.Binding, error) {
			b, _ := s.MemoryStore.ByAddr(ctx, a)
			return b, nil
		}}, "instead of ErrNoBinding"},
		"the last claim wins": {parts{claim: overwrite}, "Claim with version 0 of a taken address returns <nil> instead of ErrConflict"},
		"a new version is not returned": {parts{claim: func(s *broken, ctx context.Context, b dhcp.Binding) (dhcp.Binding, error) {
			_, err := s.MemoryStore.Claim(ctx, b)
			return b, err
		}}, "which is not new"},
		"an old version is returned": {parts{claim: func(s *broken, ctx context.Context, b dhcp.Binding) (dhcp.Binding, error) {
			stored, err := s.MemoryStore.Claim(ctx, b)
			stored.Version += 7
			return stored, err
		}}, "Version is"},
		"another error for a conflict": {parts{claim: func(s *broken, ctx context.Context, b dhcp.Binding) (dhcp.Binding, error) {
			b, err := s.MemoryStore.Claim(ctx, b)
			if err != nil {
				err = errors.New("busy")
			}
			return b, err
		}}, "returns busy instead of ErrConflict"},
		"a claim is not stored": {parts{claim: func(_ *broken, _ context.Context, b dhcp.Binding) (dhcp.Binding, error) {
			b.Version++
			return b, nil
		}}, "ByAddr after a claim"},
		"HW is lost":               {edited(func(b *dhcp.Binding) { b.HW = nil }), "HW is"},
		"HW of 6 bytes":            {edited(func(b *dhcp.Binding) { b.HW = b.HW[:min(6, len(b.HW))] }), "HW is"},
		"ID is lost":               {edited(func(b *dhcp.Binding) { b.ID = nil }), "ID is"},
		"ID of 254 bytes":          {edited(func(b *dhcp.Binding) { b.ID = b.ID[:min(254, len(b.ID))] }), "ID is"},
		"ID is text":               {edited(func(b *dhcp.Binding) { b.ID = bytes.ToValidUTF8(b.ID, nil) }), "ID is"},
		"UUID is lost":             {edited(func(b *dhcp.Binding) { b.UUID = "" }), "UUID is"},
		"State is lost":            {edited(func(b *dhcp.Binding) { b.State = dhcp.Bound }), "State is"},
		"mask is lost":             {edited(func(b *dhcp.Binding) { b.Addr = netip.PrefixFrom(b.Addr.Addr(), 32) }), "Addr is"},
		"whole seconds":            {edited(func(b *dhcp.Binding) { b.Until = b.Until.Truncate(time.Second) }), "Until is"},
		"no time is the year 1970": {edited(func(b *dhcp.Binding) { b.Until = time.Unix(max(0, b.Until.Unix()), int64(b.Until.Nanosecond())) }), "Until is"},
		"32 bits of seconds": {edited(func(b *dhcp.Binding) {
			u := b.Until
			if !u.IsZero() {
				b.Until = time.Unix(int64(uint32(u.Unix())), int64(u.Nanosecond()))
			}
		}), "Until is"},
		"Remove whatever the version is": {parts{remove: func(s *broken, ctx context.Context, b dhcp.Binding) error {
			old, _ := s.MemoryStore.ByAddr(ctx, b.Addr.Addr())
			return s.MemoryStore.Remove(ctx, old)
		}}, "Remove with version 0 returns <nil> instead of ErrConflict"},
		"Remove does nothing": {parts{remove: func(*broken, context.Context, dhcp.Binding) error { return nil }}, "after Remove"},
		"Remove of nothing is an error": {parts{remove: func(s *broken, ctx context.Context, b dhcp.Binding) error {
			if _, err := s.MemoryStore.ByAddr(ctx, b.Addr.Addr()); err != nil {
				return err
			}
			return s.MemoryStore.Remove(ctx, b)
		}}, "Remove of an address that has no binding"},
		"Remove compares the client": {parts{remove: func(s *broken, ctx context.Context, b dhcp.Binding) error {
			if old, err := s.MemoryStore.ByAddr(ctx, b.Addr.Addr()); err == nil && !bytes.Equal(old.HW, b.HW) {
				return dhcp.ErrConflict
			}
			return s.MemoryStore.Remove(ctx, b)
		}}, "Remove with nothing but address and version"},
		"versions begin again": {perAddress(), "is used again"},
		"Load knows one client once": {parts{load: func(s *broken, ctx context.Context) iter.Seq2[dhcp.Binding, error] {
			return func(yield func(dhcp.Binding, error) bool) {
				seen := map[string]bool{}
				for b, err := range s.MemoryStore.Load(ctx) {
					if key := b.HW.String(); !seen[key] && !yield(b, err) {
						return
					} else {
						seen[key] = true
					}
				}
			}
		}}, "lacks"},
		"Load twice": {parts{load: func(s *broken, ctx context.Context) iter.Seq2[dhcp.Binding, error] {
			return func(yield func(dhcp.Binding, error) bool) {
				for b, err := range s.MemoryStore.Load(ctx) {
					for range 2 {
						if !yield(b, err) {
							return
						}
					}
				}
			}
		}}, "twice"},
		"Load of the first hundred": {parts{load: func(s *broken, ctx context.Context) iter.Seq2[dhcp.Binding, error] {
			return func(yield func(dhcp.Binding, error) bool) {
				n := 0
				for b, err := range s.MemoryStore.Load(ctx) {
					if n++; n > 100 || !yield(b, err) {
						return
					}
				}
			}
		}}, "Load of a thousand claims lacks"},
		"Load goes on": {parts{load: func(s *broken, ctx context.Context) iter.Seq2[dhcp.Binding, error] {
			return func(yield func(dhcp.Binding, error) bool) {
				for b, err := range s.MemoryStore.Load(ctx) {
					yield(b, err)
				}
			}
		}}, "Load that is not finished: it panics"},
		"Load keeps a lock": {parts{
			load: func(s *broken, ctx context.Context) iter.Seq2[dhcp.Binding, error] {
				return func(yield func(dhcp.Binding, error) bool) {
					s.mu.Lock()
					for b, err := range s.MemoryStore.Load(ctx) {
						if !yield(b, err) {
							return
						}
					}
					s.mu.Unlock()
				}
			},
			claim: func(s *broken, ctx context.Context, b dhcp.Binding) (dhcp.Binding, error) {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.MemoryStore.Claim(ctx, b)
			},
		}, "Load that is not finished: it does not return within"},
		"Load says nothing of its context": {parts{load: func(s *broken, ctx context.Context) iter.Seq2[dhcp.Binding, error] {
			return func(yield func(dhcp.Binding, error) bool) {
				for b, err := range s.MemoryStore.Load(ctx) {
					if ctx.Err() != nil || !yield(b, err) {
						return
					}
				}
			}
		}}, "Load with a context that has ended yields 0 bindings of 1 and no error"},
		"Claim pretends when its context has ended": {parts{claim: func(s *broken, ctx context.Context, b dhcp.Binding) (dhcp.Binding, error) {
			if ctx.Err() != nil {
				b.Version++
				return b, nil
			}
			return s.MemoryStore.Claim(ctx, b)
		}}, "Claim with a context that has ended returned"},
		"Claim hangs when its context has ended": {parts{claim: func(s *broken, ctx context.Context, b dhcp.Binding) (dhcp.Binding, error) {
			if ctx.Err() != nil {
				select {}
			}
			return s.MemoryStore.Claim(ctx, b)
		}}, "a context that has ended: it does not return within"},
		"looks first and writes then": {parts{claim: func(s *broken, ctx context.Context, b dhcp.Binding) (dhcp.Binding, error) {
			old, _ := s.MemoryStore.ByAddr(ctx, b.Addr.Addr())
			if old.Version != b.Version {
				return b, dhcp.ErrConflict
			}
			time.Sleep(time.Millisecond)
			return overwrite(s, ctx, b)
		}}, "claims of one address with version 0 succeed"},
		"Claim waits for a full batch": {parts{claim: batches(300)}, "does not return within"},
	}
	for name := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test := tests[name]
			var j judge
			leasetest.TestStore(&j, func() dhcp.Store {
				return &broken{parts: test.parts}
			}, patience(test.want))
			j.caught(t, test.want)
		})
	}
}

// patience is short for what shall be seen to hang.
func patience(want string) leasetest.Option {
	if strings.Contains(want, "does not return") {
		return leasetest.Patience(3 * time.Second)
	}
	return leasetest.Patience(5 * time.Minute)
}

// perAddress is a store in which the versions of each address begin with 1.
func perAddress() parts {
	at := func(s *broken, a netip.Addr) (dhcp.Binding, error) {
		if b, ok := s.memory[a]; ok {
			return b, nil
		}
		return dhcp.Binding{}, dhcp.ErrNoBinding
	}
	return parts{
		byAddr: func(s *broken, _ context.Context, a netip.Addr) (dhcp.Binding, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return at(s, a)
		},
		claim: func(s *broken, _ context.Context, b dhcp.Binding) (dhcp.Binding, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if old, _ := at(s, b.Addr.Addr()); old.Version != b.Version {
				return b, dhcp.ErrConflict
			}
			if s.memory == nil {
				s.memory = make(map[netip.Addr]dhcp.Binding)
			}
			b.Version++
			s.memory[b.Addr.Addr()] = b
			return b, nil
		},
		remove: func(s *broken, _ context.Context, b dhcp.Binding) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if old, err := at(s, b.Addr.Addr()); err == nil && old.Version != b.Version {
				return dhcp.ErrConflict
			}
			delete(s.memory, b.Addr.Addr())
			return nil
		},
	}
}

// batches is a Claim that returns when n wait in it.
func batches(n int) func(*broken, context.Context, dhcp.Binding) (dhcp.Binding, error) {
	full := make(chan struct{}, n)
	return func(s *broken, ctx context.Context, b dhcp.Binding) (dhcp.Binding, error) {
		full <- struct{}{}
		for len(full) < n {
			time.Sleep(time.Millisecond)
		}
		return s.MemoryStore.Claim(ctx, b)
	}
}

// What is removed must stay so.
func TestAStoreThatForgetsRemovals(t *testing.T) {
	removed := make(map[dhcp.Store][]dhcp.Binding)
	var mu sync.Mutex
	var j judge
	leasetest.TestStore(&j, func() dhcp.Store {
		return &broken{parts: parts{remove: func(s *broken, ctx context.Context, b dhcp.Binding) error {
			mu.Lock()
			removed[s] = append(removed[s], b)
			mu.Unlock()
			return s.MemoryStore.Remove(ctx, b)
		}}}
	}, leasetest.Reopen(func(s dhcp.Store) dhcp.Store {
		for _, b := range removed[s] {
			b.Version = 0
			_, err := s.Claim(t.Context(), b)
			require.NoError(t, err)
		}
		removed[s] = nil
		return s
	}))
	j.caught(t, "of a removed binding after it was opened again")
}

// Each row keeps all rules but those of a store that is opened again.
func TestForgetfulStores(t *testing.T) {
	copied := func(edit func(dhcp.Binding) (dhcp.Binding, bool)) func(dhcp.Store) dhcp.Store {
		return func(old dhcp.Store) dhcp.Store {
			s := &broken{parts: perAddress(), memory: make(map[netip.Addr]dhcp.Binding)}
			s.load = func(s *broken, _ context.Context) iter.Seq2[dhcp.Binding, error] {
				return func(yield func(dhcp.Binding, error) bool) {
					for _, b := range s.memory {
						if !yield(b, nil) {
							return
						}
					}
				}
			}
			for b := range old.Load(context.Background()) {
				if b, ok := edit(b); ok {
					s.memory[b.Addr.Addr()] = b
				}
			}
			return s
		}
	}
	tests := map[string]struct {
		reopen func(dhcp.Store) dhcp.Store
		want   string
	}{
		"all is forgotten": {func(dhcp.Store) dhcp.Store { return new(dhcp.MemoryStore) }, "opened again: Load after it was opened again lacks"},
		"one is forgotten": {copied(func(b dhcp.Binding) (dhcp.Binding, bool) {
			return b, b.Addr.Addr() != netip.MustParseAddr("223.255.255.254")
		}), "lacks 223.255.255.254"},
		"released are forgotten": {copied(func(b dhcp.Binding) (dhcp.Binding, bool) { return b, b.State != dhcp.Released }), "lacks"},
		"UUIDs are forgotten":    {copied(func(b dhcp.Binding) (dhcp.Binding, bool) { b.UUID = ""; return b, true }), "UUID is"},
		"versions are forgotten": {copied(func(b dhcp.Binding) (dhcp.Binding, bool) { b.Version = 1; return b, true }), "Version is"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var j judge
			leasetest.TestStore(&j, func() dhcp.Store { return new(dhcp.MemoryStore) }, leasetest.Reopen(test.reopen))
			j.caught(t, test.want)
		})
	}
}
