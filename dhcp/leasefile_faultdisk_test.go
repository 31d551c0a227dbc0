package dhcp

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"sync"
	"syscall"
)

// faultDisk is a file system in memory that forgets in a crash what was not
// synced, sector by sector and name by name, and that fails when it is told to.
type faultDisk struct {
	mu      sync.Mutex
	rnd     *rand.Rand
	names   map[string]*inode         // what processes see
	durable map[string]*inode         // what is on disk for certain
	pending []func(map[string]*inode) // changes of names since the last sync, in order
	locked  map[string]bool
	calls   int
	fault   func(call int, op string) fault
	log     []string // of the calls
}

// fault is what happens to one call.
type fault int

const (
	works     fault = iota
	fails           // with EIO, without effect; a write or sync may have done part
	full            // ENOSPC: half of a write
	short           // half of a write, and no error
	doneFails       // has its effect, and an error
	crashed         // the system is gone
)

var errCrashed = errors.New("crashed")

// inode is a file: what processes see, what is on disk, and the sectors that a
// failed sync has lost, which no later sync writes unless they are written again.
type inode struct {
	live, durable []byte
	lost          map[int]bool
}

func newFaultDisk(seed uint64) *faultDisk {
	return &faultDisk{rnd: rand.New(rand.NewPCG(seed, 7)), names: map[string]*inode{}, durable: map[string]*inode{}, locked: map[string]bool{}}
}

// call counts a call, with d.mu held when it returns.
func (d *faultDisk) call(op string) (fault, error) {
	d.mu.Lock()
	d.calls++
	d.log = append(d.log, op)
	what := works
	if d.fault != nil {
		what = d.fault(d.calls, op)
	}
	switch what {
	case fails, doneFails:
		return what, syscall.EIO
	case full:
		return what, syscall.ENOSPC
	case crashed:
		return what, errCrashed
	}
	return what, nil
}

// kill ends the process; the system goes on.
func (d *faultDisk) kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault, d.locked = nil, map[string]bool{}
}

// crash loses what is not on disk, or some of it.
func (d *faultDisk) crash() {
	d.kill()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, change := range d.pending[:d.rnd.IntN(len(d.pending)+1)] {
		change(d.durable)
	}
	d.pending = nil
	d.names = maps.Clone(d.durable)
	for _, i := range d.names {
		i.partly(d.rnd)
		i.live, i.lost = bytes.Clone(i.durable), nil
	}
}

// partly brings any of the sectors to disk, and any length.
func (i *inode) partly(rnd *rand.Rand) {
	if bytes.Equal(i.live, i.durable) {
		return
	}
	for s := range (len(i.live) + sector - 1) / sector {
		if !i.lost[s] && rnd.IntN(2) == 0 {
			i.write(s)
		}
	}
	if rnd.IntN(3) == 0 && len(i.durable) < len(i.live) {
		i.durable = append(i.durable, make([]byte, len(i.live)-len(i.durable))...)
	}
}

// write brings a sector to disk.
func (i *inode) write(s int) {
	end := min(len(i.live), (s+1)*sector)
	if len(i.durable) < end {
		i.durable = append(i.durable, make([]byte, end-len(i.durable))...)
	}
	copy(i.durable[s*sector:end], i.live[s*sector:end])
}

func (d *faultDisk) lock(name string) (io.Closer, error) {
	_, err := d.call("lock")
	defer d.mu.Unlock()
	if err == nil && d.locked[name] {
		err = ErrLeaseFileInUse
	}
	if err != nil {
		return nil, err
	}
	d.locked[name] = true
	return closer(func() error {
		_, err := d.call("unlock")
		defer d.mu.Unlock()
		delete(d.locked, name)
		return err
	}), nil
}

type closer func() error

func (c closer) Close() error { return c() }

func (d *faultDisk) open(name string) (leaseHandle, error) {
	_, err := d.call("open")
	defer d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	i := d.names[name]
	if i == nil {
		return nil, fs.ErrNotExist
	}
	return &faultHandle{d, i}, nil
}

// change does something to the names.
func (d *faultDisk) change(op string, do func(map[string]*inode)) error {
	what, err := d.call(op)
	defer d.mu.Unlock()
	if what != works && what != doneFails {
		return err
	}
	do(d.names)
	d.pending = append(d.pending, do)
	return err
}

func (d *faultDisk) create(name string) (leaseHandle, error) {
	i := &inode{lost: map[int]bool{}}
	if err := d.change("create", func(names map[string]*inode) { names[name] = i }); err != nil {
		return nil, err
	}
	return &faultHandle{d, i}, nil
}

func (d *faultDisk) rename(from, to string) error {
	return d.change("rename", func(names map[string]*inode) {
		if i := names[from]; i != nil {
			delete(names, from)
			names[to] = i
		}
	})
}

func (d *faultDisk) remove(name string) error {
	return d.change("remove", func(names map[string]*inode) { delete(names, name) })
}

func (d *faultDisk) syncDir(string) error {
	what, err := d.call("syncDir")
	defer d.mu.Unlock()
	if what == works || what == doneFails {
		d.durable, d.pending = maps.Clone(d.names), nil
	}
	return err
}

type faultHandle struct {
	d *faultDisk
	i *inode
}

func (h *faultHandle) ReadAt(p []byte, offset int64) (int, error) {
	_, err := h.d.call("read")
	defer h.d.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return bytes.NewReader(h.i.live).ReadAt(p, offset)
}

func (h *faultHandle) WriteAt(p []byte, offset int64) (int, error) {
	what, err := h.d.call("write")
	defer h.d.mu.Unlock()
	switch what {
	case fails:
		p = p[:h.d.rnd.IntN(len(p)+1)]
	case full, short:
		p = p[:len(p)/2]
	case crashed:
		return 0, err
	}
	i := h.i
	if i.lost == nil {
		i.lost = map[int]bool{}
	}
	if end := int(offset) + len(p); end > len(i.live) {
		i.live = append(i.live, make([]byte, end-len(i.live))...)
	}
	copy(i.live[offset:], p)
	for s := int(offset) / sector; s <= (int(offset)+len(p)-1)/sector; s++ {
		delete(i.lost, s)
	}
	return len(p), err
}

func (h *faultHandle) Sync() error {
	what, err := h.d.call("sync")
	defer h.d.mu.Unlock()
	i := h.i
	switch what {
	case works, doneFails, short:
		for s := range (len(i.live) + sector - 1) / sector {
			if !i.lost[s] {
				i.write(s)
			}
		}
	case fails, full:
		i.partly(h.d.rnd)
		// The system takes the pages for clean from now on.
		for s := range (len(i.live) + sector - 1) / sector {
			end := min(len(i.live), (s+1)*sector)
			if len(i.durable) < end || !bytes.Equal(i.live[s*sector:end], i.durable[s*sector:end]) {
				if i.lost == nil {
					i.lost = map[int]bool{}
				}
				i.lost[s] = true
			}
		}
	}
	return err
}

func (h *faultHandle) Size() (int64, error) {
	_, err := h.d.call("size")
	defer h.d.mu.Unlock()
	return int64(len(h.i.live)), err
}

func (h *faultHandle) Close() error {
	_, err := h.d.call("close")
	defer h.d.mu.Unlock()
	return err
}
