package dhcp

import (
	"context"
	"errors"
	"iter"
	"net/netip"
	"slices"
	"sync"
)

// Store keeps the bindings of a [Pool], one for each address, with all their
// fields. All methods are
// called concurrently; hundreds of calls may wait in Claim at once, so that a
// store can write them to disk together. Several servers may share a store: the
// version decides who was first. So may several pools that have no address in
// common: each heeds the bindings of its own addresses only. (If they have one in
// common it is still given to one client only, and another that was offered it is
// refused and starts over.)
type Store interface {
	// Load yields every binding once, in any order. It ends at an error.
	Load(ctx context.Context) iter.Seq2[Binding, error]
	// ByAddr returns the binding of an address, or [ErrNoBinding].
	ByAddr(ctx context.Context, addr netip.Addr) (Binding, error)
	// Claim stores b in place of the binding of its address if that has the
	// version b.Version, 0 meaning that there is none, and returns b with its
	// new version. Otherwise it changes nothing and returns [ErrConflict].
	// When it returns without an error the binding survives a crash, as far as
	// the store ever survives one. After any other error the binding may or
	// may not be stored.
	Claim(ctx context.Context, b Binding) (Binding, error)
	// Remove deletes the binding of b's address if it has b's version, and
	// returns [ErrConflict] if it has another one. No binding is no error.
	Remove(ctx context.Context, b Binding) error
}

// What a [Store] says.
var (
	ErrNoBinding = errors.New("dhcp: no binding of this address")
	ErrConflict  = errors.New("dhcp: the binding of this address has changed meanwhile")
)

// MemoryStore is a [Store] that forgets everything with the process. The zero
// value is ready. It grows with the number of addresses that are ever claimed.
type MemoryStore struct {
	mu       sync.Mutex
	bindings map[netip.Addr]Binding
	version  uint64
}

// Load implements [Store]: the bindings by address, as they were when the
// iteration began.
func (s *MemoryStore) Load(context.Context) iter.Seq2[Binding, error] {
	return func(yield func(Binding, error) bool) {
		s.mu.Lock()
		all := make([]Binding, 0, len(s.bindings))
		for _, b := range s.bindings {
			all = append(all, b)
		}
		s.mu.Unlock()
		slices.SortFunc(all, func(a, b Binding) int { return a.Addr.Addr().Compare(b.Addr.Addr()) })
		for _, b := range all {
			if !yield(b, nil) {
				return
			}
		}
	}
}

// ByAddr implements [Store].
func (s *MemoryStore) ByAddr(_ context.Context, addr netip.Addr) (Binding, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.bindings[addr]
	if !ok {
		return Binding{}, ErrNoBinding
	}
	return b, nil
}

// Claim implements [Store].
func (s *MemoryStore) Claim(_ context.Context, b Binding) (Binding, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	addr := b.Addr.Addr()
	if s.bindings[addr].Version != b.Version {
		return Binding{}, ErrConflict
	}
	if s.bindings == nil {
		s.bindings = make(map[netip.Addr]Binding)
	}
	s.version++
	b.Version = s.version
	s.bindings[addr] = b
	return b, nil
}

// Remove implements [Store].
func (s *MemoryStore) Remove(_ context.Context, b Binding) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.bindings[b.Addr.Addr()]
	switch {
	case !ok:
		return nil
	case old.Version != b.Version:
		return ErrConflict
	}
	delete(s.bindings, b.Addr.Addr())
	return nil
}
