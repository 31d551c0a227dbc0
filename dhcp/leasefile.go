package dhcp

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// LeaseFile is a [Store] in one file, made by [OpenLeaseFile]: a log that every
// change is appended to. A Claim or Remove that returned without an error
// survives the end of the process, of the system, and of the power, as far as
// the disk keeps what fdatasync gave it.
//
// All methods are safe for concurrent use. Those that wait together are written
// and synced together, so that hundreds of clients cost the disk hardly more
// than one. A Claim that waits for the disk ends with its context, and its
// binding may then be stored or not. All bindings are in memory besides, some
// 150 bytes for an address.
//
// When the log has grown to twice what it must hold, and by 4 MiB, the bindings
// are written to a new file that takes its place. Claims go on meanwhile, except
// for the moment of the change, when they wait for two syncs of what was claimed
// in between, and one of the directory.
//
// The file has the mode 0640, whatever the umask. Three more names belong to it:
// with ".lock" added, an empty file that stays, with ".new" added, a new file in
// the making, and with ".damaged" added, what [RepairLeaseFile] found.
//
// # Damage
//
// A crash may leave the last append incomplete. It was acknowledged to nobody,
// and OpenLeaseFile cuts it off. Everything else that is not as it was written is
// damage, down to one bit anywhere, and then OpenLeaseFile returns a
// [*DamagedLeasesError] and gives out nothing: a lease might be missing, and its
// address be given to somebody else. A copy of the file that has all leases, or
// [RepairLeaseFile], helps. Two kinds of damage look like the crash and are not seen: a file that
// was cut off later than its last compaction, and sectors of the last append that
// turn to zeros.
//
// # Format
//
// Numbers are little-endian, checksums CRC-32C (Castagnoli). The file begins
// with 40 bytes:
//
//	 0  8 bytes  "pxelease"
//	 8  uint32   version of the format: 1
//	12  8 bytes  a random number, the file's own
//	20  uint64   where the snapshot ends and the log begins
//	28  uint64   the last Version that was given out before the log
//	36  uint32   checksum of the 36 bytes before
//
// Frames follow. A frame is what was written and synced at once:
//
//	 0  byte     0xA5
//	 1  uint32   length of the body
//	 5  uint32   checksum of the body
//	 9  uint32   checksum of the file's random number, the frame's offset as
//	             uint64, and the 9 bytes before
//	13  byte     0x5A
//	14           the body: records, and one byte 0x5A
//
// A record is one address:
//
//	byte     1: this is its binding; 2: it has none any more
//	uint64   Version; in the log always one more than that of the record before
//	byte     length of the address, 4 or 16
//	         the address
//	byte     length of its mask
//	         the rest only with 1
//	byte     State
//	int64    Until, in seconds since 1970 UTC
//	uint32   and nanoseconds
//	byte, …  HW, its length before it
//	byte, …  ID, likewise
//	byte, …  UUID, likewise
//
// Of two records of one address the later one counts.
type LeaseFile struct {
	// Volatile says what becomes of a Claim when the disk fails. False: it
	// returns the error, so that no client gets a lease that a crash would
	// lose. True: it succeeds, and what the file lacks is in memory only. Either
	// way a new file is tried at once, then after 1 s, and at longer intervals up
	// to 1 min, until the disk works again. Set it before the first Claim.
	Volatile bool
	// OnDisk is called with an error when the disk fails and whenever a new file
	// cannot be made, and with nil once all leases are on disk again. Calls come one after
	// the other; claims wait meanwhile, so it should be quick, and it must not
	// call Close. Nil: nobody is told. Set it before the first Claim.
	OnDisk func(err error)

	disk      leaseDisk
	path      string
	lock      io.Closer
	discarded int64
	growth    int64 // how much the log grows at least before it is compacted

	mu       sync.Mutex
	bindings map[netip.Addr]string // the record of each address that has one; only the worker changes it
	queue    []*leaseOp
	snapshot *snapshot // nil: none in the making
	working  bool      // the worker runs
	woken    bool      // it has something else to do than the queue
	closed   bool
	retry    *time.Timer // nil until the disk has failed
	jobs     sync.WaitGroup

	// What follows is the worker's alone.
	version uint64 // the last one that was given out
	log     *leaseLog
	fault   error // why log must not be written to any more
	retryAt time.Time
	wait    time.Duration // until the next try
	// compactFailed: OnDisk has heard that a compaction failed.
	compactFailed bool
	body          []byte
	staged        map[netip.Addr]bool
}

const (
	compactGrowth = 4 << 20
	firstRetry    = time.Second
	lastRetry     = time.Minute
)

// ErrLeaseFileInUse says that a lease file is open already, mostly in another
// process.
var ErrLeaseFileInUse = errors.New("it is in use; stop the other server, or give each its own file")

// DamagedLeasesError says that a lease file is not as it was written.
type DamagedLeasesError struct {
	// Path is the file.
	Path string
	// Offset is where in the file the damage is or begins, in bytes.
	Offset int64
	// Problem is what is wrong there.
	Problem string
}

// Error implements error.
func (e *DamagedLeasesError) Error() string {
	remedy := "put back a copy of it that has all leases, or keep what is left with RepairLeaseFile"
	if e.Offset < headerLen {
		remedy = "put back a copy of it, or move it away to begin without leases"
	}
	return fmt.Sprintf("dhcp: lease file %s is damaged at offset %d: %s; %s", e.Path, e.Offset, e.Problem, remedy)
}

// OpenLeaseFile opens the lease file of this path, and makes an empty one if
// there is none. The directory must exist and be writable. A path that is a
// symbolic link means the file that it points to. The errors are
// [ErrLeaseFileInUse], [*DamagedLeasesError] and those of the file system.
//
// It reads all of the file and puts a new one in its place, so that everything
// that it found is on disk; the disk must have room for both.
func OpenLeaseFile(path string) (*LeaseFile, error) {
	path, err := resolve(path)
	if err != nil {
		return nil, fmt.Errorf("dhcp: lease file: %w", err)
	}
	return openLeaseFile(osDisk{}, path)
}

// resolve finds the file behind symbolic links: its lock must be the same under
// every name, and a new file must not take the place of a link.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		return real, checkRegular(real)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if _, err := os.Lstat(path); err == nil {
		return "", fmt.Errorf("%s is a symbolic link to a file that does not exist; remove the link or make the directory it leads to", path)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", fmt.Errorf("its directory must exist: %w", err)
	}
	return filepath.Join(dir, filepath.Base(path)), nil
}

// checkRegular refuses a directory or a pipe before anything is made beside it.
func checkRegular(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file; name one, or one that is to be made", path)
	}
	return err
}

func openLeaseFile(disk leaseDisk, path string) (*LeaseFile, error) {
	f, err := newLeaseFile(disk, path)
	if err != nil {
		return nil, err
	}
	if err := f.open(); err != nil {
		return nil, errors.Join(f.named(err), f.lock.Close())
	}
	f.jobs.Wait() // what wrote the new file, and wakes the worker when it has done so
	f.mu.Lock()
	defer f.mu.Unlock()
	f.working, f.woken = false, false
	return f, nil
}

// newLeaseFile has the lock and no file yet, and no worker comes to it before
// working is false.
func newLeaseFile(disk leaseDisk, path string) (*LeaseFile, error) {
	lock, err := disk.lock(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("dhcp: lease file %s: %w", path, err)
	}
	return &LeaseFile{
		disk: disk, path: path, lock: lock, growth: compactGrowth, wait: firstRetry, working: true,
		bindings: make(map[netip.Addr]string), staged: make(map[netip.Addr]bool),
	}, nil
}

// open reads the file and writes a new one. What was read may be in the memory
// of the system only, left there by a process that was killed, or by a sync that
// failed: then the pages count as clean, and no sync of the old file would bring
// them to disk. It must not vanish once claims build on it.
func (f *LeaseFile) open() error {
	file, err := f.disk.open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return f.replace(nil)
	}
	if err != nil {
		return err
	}
	l, err := readLeases(file, f.path)
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	f.bindings, f.version, f.discarded = l.bindings, l.version, l.size-l.end
	return f.replace(nil)
}

// named adds the file's name to what the system says. Damage has it.
func (f *LeaseFile) named(err error) error {
	var damaged *DamagedLeasesError
	if errors.As(err, &damaged) {
		return err
	}
	return fmt.Errorf("dhcp: lease file %s: %w", f.path, err)
}

// Discarded returns how many bytes OpenLeaseFile cut off because a crash had
// interrupted their append. No lease that was acknowledged was among them.
func (f *LeaseFile) Discarded() int64 { return f.discarded }

// Close writes what is waiting, and closes the file. If Volatile claims could
// not be brought to disk even now it returns the reason: they are lost. After
// Close all methods return an error that wraps [fs.ErrClosed].
func (f *LeaseFile) Close() error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return f.errClosed()
	}
	f.closed = true
	if f.retry != nil {
		f.retry.Stop()
	}
	f.mu.Unlock()
	f.jobs.Wait() // nothing begins any more, so that all is ours

	var err error
	if f.fault != nil && f.Volatile {
		err = f.replace(nil)
	}
	if f.snapshot != nil {
		<-f.snapshot.done
		f.discard(f.snapshot)
	}
	if f.log != nil {
		err = errors.Join(err, f.log.file.Close())
	}
	if err = errors.Join(err, f.lock.Close()); err != nil {
		return f.named(err)
	}
	return nil
}

func (f *LeaseFile) errClosed() error { return f.named(fs.ErrClosed) }
