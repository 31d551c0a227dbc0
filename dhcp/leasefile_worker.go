package dhcp

import (
	"fmt"
	"net/netip"
	"runtime"
	"time"
)

// The worker is a goroutine that exists while something is to be written. It
// alone writes to the log and changes the bindings, so nothing is locked while
// the disk works, and the next batch gathers in the queue meanwhile.

// change is what an operation does to an address once it is on disk.
type change struct {
	addr   netip.Addr
	record string // of the kind recordRemoved: the address has none any more
	op     *leaseOp
}

// start has the worker run. f.mu is held.
func (f *LeaseFile) start() {
	if !f.working {
		f.working = true
		f.jobs.Go(f.work)
	}
}

// wake lets the worker look at what is not in the queue: a snapshot that is
// complete, a failed disk that may work again.
func (f *LeaseFile) wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.woken = true
		f.start()
	}
}

func (f *LeaseFile) work() {
	for {
		// Who is about to come into the queue gets there first: a sync of its own
		// would cost more than all the rest of its reply.
		runtime.Gosched()
		f.mu.Lock()
		if len(f.queue) == 0 && !f.woken {
			f.working = false
			f.mu.Unlock()
			return
		}
		f.woken = false
		changes := f.stage()
		f.mu.Unlock()
		f.commit(changes)
		f.compact()
		f.mend()
	}
}

// stage takes a batch out of the queue, its records into f.body. What is decided
// without the disk is answered. The second operation on an address waits for the
// next batch: only then is it certain what it meets. f.mu is held.
func (f *LeaseFile) stage() []change {
	var changes []change
	f.body = f.body[:0]
	clear(f.staged)
	later := f.queue[:0]
	for i, op := range f.queue {
		if len(f.body) >= fullBody {
			later = append(later, f.queue[i:]...)
			break
		}
		addr := op.binding.Addr.Addr()
		if f.staged[addr] {
			later = append(later, op)
			continue
		}
		old, ok := f.bindings[addr]
		switch {
		case !ok && op.remove:
			// What could not be brought to disk may yet be there.
			if f.fault != nil && !f.Volatile {
				op.err = f.named(f.fault)
			}
			close(op.done)
			continue
		case ok && recordVersion(old) != op.binding.Version, !ok && op.binding.Version != 0:
			op.err = ErrConflict
			close(op.done)
			continue
		}
		f.staged[addr] = true
		f.version++
		op.version = f.version
		begin := len(f.body)
		if op.remove {
			f.body = appendRemoval(f.body, op.binding.Addr, op.version)
		} else {
			f.body = appendBinding(f.body, op.binding, op.version)
		}
		changes = append(changes, change{addr, string(f.body[begin:]), op})
	}
	clear(f.queue[len(later):])
	f.queue = later
	return changes
}

// commit brings a batch to disk, then to memory, and answers it.
func (f *LeaseFile) commit(changes []change) {
	if len(changes) == 0 {
		return
	}
	if f.fault == nil {
		if err := f.log.append(f.body); err != nil {
			// Whatever a failed write or sync has left behind, nothing is
			// appended to it: a later sync would succeed without having written
			// what this one lost. The batch goes into a new file.
			f.lose(fmt.Errorf("appending: %w", err))
			f.renew(changes)
		}
	}
	err := f.fault
	if f.Volatile {
		err = nil
	}
	if err == nil {
		f.apply(changes)
	}
	for _, c := range changes {
		if c.op.err = err; err != nil {
			c.op.err = f.named(err)
		}
		close(c.op.done)
	}
}

func (f *LeaseFile) apply(changes []change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range changes {
		if c.record[0] == recordRemoved {
			delete(f.bindings, c.addr)
		} else {
			f.bindings[c.addr] = c.record
		}
		if f.snapshot != nil {
			f.snapshot.changed[c.addr] = c.record
		}
	}
}

// lose gives up the log.
func (f *LeaseFile) lose(err error) {
	if f.log != nil {
		_ = f.log.file.Close() // nothing in it is relied on any more
		f.log = nil
	}
	f.fault = err
	f.report(f.named(err))
}

// mend tries to make a new log when the time has come.
func (f *LeaseFile) mend() {
	if f.fault != nil && !time.Now().Before(f.retryAt) {
		f.renew(nil)
	}
}

// renew makes a new log, with these changes too, or sees to it that mend will.
func (f *LeaseFile) renew(changes []change) {
	err := f.replace(changes)
	if err == nil {
		f.fault, f.wait = nil, firstRetry
		f.report(nil)
		return
	}
	f.lose(err)
	f.retryAt = time.Now().Add(f.wait)
	f.mu.Lock()
	if !f.closed {
		f.retry = time.AfterFunc(f.wait, f.wake)
	}
	f.mu.Unlock()
	f.wait = min(2*f.wait, lastRetry)
}

func (f *LeaseFile) report(err error) {
	if f.OnDisk != nil {
		f.OnDisk(err)
	}
}
