package pxe

import (
	"context"
	"fmt"

	"github.com/pxekit/pxe/bootcfg"
)

// BootWatcher is an optional upgrade of [Booter]: it hears when a machine has
// fetched what it was sent.
type BootWatcher interface {
	// Booted is called once per boot, when the kernel and every initrd of one
	// entry of the menu have been delivered whole, at once or in pieces that follow
	// one another; where another computer serves
	// those (Treatment.Bases), or the menu is a Program, when the loader's
	// configuration has, or the program. The machine may start it at once, so
	// Booted is called before anything else is done for this boot. Its error
	// becomes an event. A machine that chose its local disk in a menu has booted
	// nothing of ours. A Server that is started anew in the middle of a boot knows
	// nothing of the files before: unless all of them come again Booted is not called,
	// and a mark of BootOnce boots the machine once more.
	//
	// It is called concurrently for different machines. The context ends at the
	// Server's BootTimeout.
	Booted(ctx context.Context, m *Machine) error
}

// booted tells the Booter when a boot has come so far.
func (v *services) booted(b *boot, stage Stage, name string) {
	watcher, ok := v.server.Booter.(BootWatcher)
	if !ok || !b.has(stage, name) {
		return
	}
	b.mu.Lock()
	machine := b.machine
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), v.server.bootTimeout())
	defer cancel()
	if err := watcher.Booted(ctx, &machine); err != nil {
		v.emit(b.event(Event{Stage: StageBooter, Done: true, Err: fmt.Errorf("telling the Booter that the machine has what it boots: %w", err)}))
	}
}

// received reports whether with this transfer the machine has all of a file. Some
// loaders fetch a kernel in pieces, or go on where a transfer broke off: what that one
// sent counts when the next begins no later, and the last must have ended well.
func (b *boot) received(e Event, first int64) bool {
	if first < 0 {
		return false // several ranges, or no file
	}
	end := first + e.Bytes
	last := end >= e.Size && e.Err == nil && !e.Aborted
	if first == 0 && last {
		return true
	}
	switch e.Stage {
	case StageKernel, StageInitrd, StageRoot: // as many as the menu names, at most
	default:
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if first > b.begun[e.Name] {
		return false
	}
	if b.begun == nil {
		b.begun = make(map[string]int64)
	}
	b.begun[e.Name] = max(b.begun[e.Name], end)
	return last
}

// has notes that a file was delivered, and reports whether with it the machine has,
// for the first time, what it boots.
func (b *boot) has(stage Stage, name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.menu == nil || b.told {
		return false
	}
	if stage == StageKernel || stage == StageInitrd {
		if b.fetched == nil {
			b.fetched = make(map[string]bool) // as many as the menu names, at most
		}
		b.fetched[name] = true
	}
	switch elsewhere := b.treatment.Bases.HTTP != nil || b.treatment.Bases.TFTP != nil; {
	case b.menu.Program != nil:
		b.told = name == b.menu.Program.File
	case elsewhere:
		b.told = stage == StageConfig
	default:
		for i := range b.menu.Entries {
			b.told = b.told || b.whole(&b.menu.Entries[i])
		}
	}
	return b.told
}

// whole reports whether all of an entry was delivered. b.mu is held.
func (b *boot) whole(e *bootcfg.Entry) bool {
	if e.Kernel == "" || !b.fetched[e.Kernel] {
		return false
	}
	for _, name := range e.Initrds {
		if !b.fetched[name] {
			return false
		}
	}
	return true
}
