package pxe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/pxekit/pxe/bootcfg"
)

// BootOnce is a [Booter] for machines that shall boot something one time only, as an
// installer, so that they do not run through it again and again.
//
// A machine is marked with Mark. The next boot of a marked machine claims the mark
// and gets what Once says; all messages of that boot get the same, also those that
// come twice or out of order. The mark is used up when the machine has fetched what
// it boots (see [BootWatcher]). If it fails before that, its next boot takes the
// claim over and tries again. Each change is a compare-and-set on the store, so that
// of servers that share one a single one uses the mark up.
//
// Fields must not change once it is used. All methods are safe for concurrent use.
type BootOnce struct {
	// Once decides what a marked machine boots that one time.
	Once Booter
	// Otherwise decides for all others, and for the same machine afterwards. Nil:
	// there is nothing to boot from us, and a machine goes on to its local disk when
	// its firmware has given up asking; [LocalDisk] sends it there at once.
	Otherwise Booter
	// Marks keeps the marks. Nil: memory; a mark ends with the process then.
	Marks MarkStore

	memory MemoryMarks
}

// Mark says that a machine shall boot once.
type Mark struct {
	// Until is when the mark ends even if the machine never came. The zero Time
	// means never.
	Until time.Time
	// Boot is the ID of the boot that has claimed it, empty if none has.
	Boot string
}

// MarkStore keeps the marks of [BootOnce]. Both methods are called concurrently.
type MarkStore interface {
	// Mark returns the mark of a machine; ok is false if it has none.
	Mark(ctx context.Context, hw net.HardwareAddr) (mark Mark, ok bool, err error)
	// Swap replaces the machine's mark if it is still old, and returns
	// [ErrMarkChanged] otherwise. A nil old means that there is none; a nil new
	// takes it away. What it has done survives a crash, as far as the store
	// ever does, when it returns.
	Swap(ctx context.Context, hw net.HardwareAddr, old, new *Mark) error
}

// ErrMarkChanged is what a [MarkStore] says when somebody else was first.
var ErrMarkChanged = errors.New("pxe: the mark of this machine has changed meanwhile")

// markTries is how often a change is tried while somebody else makes others.
const markTries = 8

// Mark marks a machine: its next boot gets what Once says. A mark that the machine
// has already is replaced, also one that a boot has claimed: that boot goes on, and
// the next one gets it again. until is when the mark ends unused; the zero Time
// means never.
func (o *BootOnce) Mark(ctx context.Context, hw net.HardwareAddr, until time.Time) error {
	return o.change(ctx, hw, func(Mark, bool) (*Mark, bool) { return &Mark{Until: until}, true })
}

// Unmark takes a machine's mark away, if it has one.
func (o *BootOnce) Unmark(ctx context.Context, hw net.HardwareAddr) error {
	return o.change(ctx, hw, func(_ Mark, marked bool) (*Mark, bool) { return nil, marked })
}

// Marked returns a machine's mark; ok is false if it has none that is in force.
func (o *BootOnce) Marked(ctx context.Context, hw net.HardwareAddr) (mark Mark, ok bool, err error) {
	mark, ok, err = o.marks().Mark(ctx, hw)
	return mark, ok && err == nil && !mark.over(), err
}

// Boot implements [Booter].
func (o *BootOnce) Boot(ctx context.Context, m *Machine) (*bootcfg.Menu, error) {
	claimed := false
	err := o.change(ctx, m.HardwareAddr, func(mark Mark, marked bool) (*Mark, bool) {
		claimed = marked && !mark.over()
		switch {
		case marked && mark.over():
			return nil, true
		case !claimed || mark.Boot == m.BootID:
			return nil, false
		}
		return &Mark{Until: mark.Until, Boot: m.BootID}, true
	})
	switch {
	case err != nil:
		return nil, err
	case claimed:
		return o.Once.Boot(ctx, m)
	case o.Otherwise == nil:
		return nil, nil
	}
	return o.Otherwise.Boot(ctx, m)
}

// Booted implements [BootWatcher]: it uses up the mark if a boot of this machine has
// claimed it. Which one does not matter: a copy of a message that comes very late looks
// like another boot.
func (o *BootOnce) Booted(ctx context.Context, m *Machine) error {
	err := o.change(ctx, m.HardwareAddr, func(mark Mark, marked bool) (*Mark, bool) {
		return nil, marked && mark.Boot != ""
	})
	for _, booter := range []Booter{o.Once, o.Otherwise} {
		if w, ok := booter.(BootWatcher); ok {
			err = errors.Join(err, w.Booted(ctx, m))
		}
	}
	return err
}

// Validate reports what is wrong with the fields.
func (o *BootOnce) Validate() error {
	if o.Once == nil || isNil(o.Once) {
		return errors.New("pxe: BootOnce without Once: say what a marked machine boots")
	}
	var errs []error
	for _, booter := range []Booter{o.Once, o.Otherwise} {
		if v, ok := booter.(interface{ Validate() error }); ok && !isNil(booter) {
			errs = append(errs, v.Validate())
		}
	}
	return errors.Join(errs...)
}

// change does a compare-and-set: decide says what shall be in the place of a mark,
// and whether anything shall.
func (o *BootOnce) change(ctx context.Context, hw net.HardwareAddr, decide func(mark Mark, marked bool) (*Mark, bool)) error {
	for range markTries {
		mark, marked, err := o.marks().Mark(ctx, hw)
		if err != nil {
			return fmt.Errorf("mark of %s: %w", hw, err)
		}
		old := &mark
		if !marked {
			old = nil
		}
		changed, is := decide(mark, marked)
		if !is {
			return nil
		}
		if err = o.marks().Swap(ctx, hw, old, changed); !errors.Is(err, ErrMarkChanged) {
			if err != nil {
				return fmt.Errorf("mark of %s: %w", hw, err)
			}
			return nil
		}
	}
	return fmt.Errorf("mark of %s, tried %d times: %w", hw, markTries, ErrMarkChanged)
}

func (o *BootOnce) marks() MarkStore {
	if o.Marks != nil {
		return o.Marks
	}
	return &o.memory
}

func (m Mark) over() bool { return !m.Until.IsZero() && !m.Until.After(time.Now()) }

// MemoryMarks is a [MarkStore] that forgets everything with the process. The zero
// value is ready.
type MemoryMarks struct {
	mu    sync.Mutex
	marks map[string]Mark
}

// Mark implements [MarkStore].
func (s *MemoryMarks) Mark(_ context.Context, hw net.HardwareAddr) (Mark, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	mark, ok := s.marks[string(hw)]
	return mark, ok, nil
}

// Swap implements [MarkStore].
func (s *MemoryMarks) Swap(_ context.Context, hw net.HardwareAddr, old, new *Mark) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	mark, ok := s.marks[string(hw)]
	if ok != (old != nil) || ok && (mark.Boot != old.Boot || !mark.Until.Equal(old.Until)) {
		return ErrMarkChanged
	}
	if new == nil {
		delete(s.marks, string(hw))
		return nil
	}
	if s.marks == nil {
		s.marks = make(map[string]Mark)
	}
	s.marks[string(hw)] = *new
	return nil
}
