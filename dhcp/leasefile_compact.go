package dhcp

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
)

// snapshot is a new file in the making. It is complete when it also has what
// changed while it was written.
type snapshot struct {
	log  *leaseLog
	done chan struct{} // closed when the bindings are in log, or err is set
	err  error
	// changed has the last record of each address that changed since the
	// beginning. f.mu guards it.
	changed map[netip.Addr]string
}

// compact begins a snapshot when the log has grown, and puts one that is done in
// the log's place.
func (f *LeaseFile) compact() {
	if f.log == nil {
		return // mend makes a new file anyway
	}
	if f.snapshot == nil {
		if f.log.size-f.log.base >= max(f.growth, f.log.base) {
			f.begin()
		}
		return
	}
	select {
	case <-f.snapshot.done:
	default:
		return
	}
	old := f.log
	if err := f.finish(nil); err != nil {
		err = fmt.Errorf("compacting: %w", err)
		if f.log == nil {
			f.lose(err)
			f.renew(nil)
			return
		}
		// The old file is as good as before. It may grow by as much again.
		old.base = old.size
		f.compactFailed = true
		f.report(f.named(err))
		return
	}
	if f.compactFailed {
		f.compactFailed = false
		f.report(nil)
	}
}

// replace writes a new file with all bindings and these changes, and waits until
// it is on disk. After an error there is no log, or the one from before.
func (f *LeaseFile) replace(changes []change) error {
	if f.snapshot == nil {
		f.begin()
	}
	<-f.snapshot.done
	if err := f.finish(changes); err != nil {
		return fmt.Errorf("writing a new file: %w", err)
	}
	return nil
}

// begin has a goroutine write a snapshot, which wakes the worker in the end.
func (f *LeaseFile) begin() {
	s := &snapshot{done: make(chan struct{}), changed: make(map[netip.Addr]string)}
	f.mu.Lock()
	f.snapshot = s
	f.mu.Unlock()
	f.jobs.Go(func() {
		s.err = f.fill(s)
		close(s.done)
		f.wake()
	})
}

// fill writes the bindings to a new file and syncs it. It holds f.mu for one
// frame at a time; that bindings change meanwhile is what changed is for.
func (f *LeaseFile) fill(s *snapshot) error {
	file, err := f.disk.create(f.path + newSuffix)
	if err != nil {
		return err
	}
	s.log = &leaseLog{file: file, size: headerLen}
	_, _ = rand.Read(s.log.salt[:]) // never fails
	w := frameWriter{log: s.log}
	f.mu.Lock()
	for _, record := range f.bindings {
		if w.body = append(w.body, record...); len(w.body) < fullBody {
			continue
		}
		f.mu.Unlock()
		err := w.flush()
		f.mu.Lock()
		if err != nil {
			f.mu.Unlock()
			return err
		}
	}
	f.mu.Unlock()
	if err := w.flush(); err != nil {
		return err
	}
	return file.Sync()
}

// finish adds to the snapshot what has changed, and puts it in the place of the
// log. Without a log after an error, nobody knows which of both files is there;
// they are equally good, but nothing may be appended.
func (f *LeaseFile) finish(changes []change) error {
	s := f.snapshot
	f.mu.Lock()
	f.snapshot = nil
	f.mu.Unlock()
	err := s.err
	if err == nil {
		err = f.seal(s, changes)
	}
	if err != nil {
		f.discard(s)
		return err
	}
	// Not every system renames a file that is open, or over one.
	if err := s.log.file.Close(); err != nil {
		f.discard(s)
		return err
	}
	if f.log != nil {
		old := f.log.file
		f.log = nil
		if err := old.Close(); err != nil {
			return err
		}
	}
	if err := f.disk.rename(f.path+newSuffix, f.path); err != nil {
		return err
	}
	if err := f.disk.syncDir(filepath.Dir(f.path)); err != nil {
		return err
	}
	if s.log.file, err = f.disk.open(f.path); err != nil {
		return err
	}
	s.log.base = s.log.size
	f.log = s.log
	return nil
}

// seal writes the rest of a snapshot, and last its header, which says that it
// is complete.
func (f *LeaseFile) seal(s *snapshot, changes []change) error {
	w := frameWriter{log: s.log}
	for _, record := range s.changed {
		if err := w.add(record); err != nil {
			return err
		}
	}
	for _, c := range changes {
		if err := w.add(c.record); err != nil {
			return err
		}
	}
	if err := w.flush(); err != nil {
		return err
	}
	header := appendHeader(nil, fileHeader{salt: s.log.salt, base: s.log.size, version: f.version})
	if err := writeAll(s.log.file, header, 0); err != nil {
		return err
	}
	return s.log.file.Sync()
}

// discard throws away a snapshot that is not wanted. What is left of it when
// that fails is overwritten by the next one.
func (f *LeaseFile) discard(s *snapshot) {
	if s.log != nil {
		_ = errors.Join(s.log.file.Close(), f.disk.remove(f.path+newSuffix))
	}
}
