package dhcp

import (
	"context"
	"iter"
	"net/netip"
	"slices"
)

// leaseOp is a Claim or Remove that waits for the disk.
type leaseOp struct {
	binding Binding
	remove  bool
	done    chan struct{} // closed when version and err say what became of it
	version uint64
	err     error
}

// Claim implements [Store]. It returns the binding as ByAddr will: Until in UTC.
// A binding whose HW, ID or UUID is longer than 255 bytes, or whose State is not
// from 0 to 255, is refused.
func (f *LeaseFile) Claim(ctx context.Context, b Binding) (Binding, error) {
	if err := storable(b); err != nil {
		return Binding{}, err
	}
	version, err := f.do(ctx, &leaseOp{binding: b})
	if err != nil {
		return Binding{}, err
	}
	b.Version = version
	b.Until = b.Until.Round(0).UTC()
	if len(b.HW) == 0 {
		b.HW = nil
	}
	if len(b.ID) == 0 {
		b.ID = nil
	}
	return b, nil
}

// Remove implements [Store].
func (f *LeaseFile) Remove(ctx context.Context, b Binding) error {
	_, err := f.do(ctx, &leaseOp{binding: b, remove: true})
	return err
}

// do lets the worker carry out op.
func (f *LeaseFile) do(ctx context.Context, op *leaseOp) (version uint64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, f.named(err)
	}
	op.done = make(chan struct{})
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return 0, f.errClosed()
	}
	f.queue = append(f.queue, op)
	f.start()
	f.mu.Unlock()
	select {
	case <-op.done:
		return op.version, op.err
	case <-ctx.Done():
		return 0, f.named(ctx.Err())
	}
}

// ByAddr implements [Store]. It never waits for the disk.
func (f *LeaseFile) ByAddr(_ context.Context, addr netip.Addr) (Binding, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return Binding{}, f.errClosed()
	}
	record, ok := f.bindings[addr]
	if !ok {
		return Binding{}, ErrNoBinding
	}
	return decodeBinding(record), nil
}

// Load implements [Store]: the bindings by address, as they were when the
// iteration began. It never waits for the disk.
func (f *LeaseFile) Load(ctx context.Context) iter.Seq2[Binding, error] {
	return func(yield func(Binding, error) bool) {
		type item struct {
			addr   netip.Addr
			record string
		}
		f.mu.Lock()
		closed := f.closed
		all := make([]item, 0, len(f.bindings))
		for addr, record := range f.bindings {
			all = append(all, item{addr, record})
		}
		f.mu.Unlock()
		if closed {
			yield(Binding{}, f.errClosed())
			return
		}
		slices.SortFunc(all, func(a, b item) int { return a.addr.Compare(b.addr) })
		for _, i := range all {
			if err := ctx.Err(); err != nil {
				yield(Binding{}, f.named(err))
				return
			}
			if !yield(decodeBinding(i.record), nil) {
				return
			}
		}
	}
}
