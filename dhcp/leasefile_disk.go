package dhcp

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// leaseDisk is what a LeaseFile needs of a file system, so that tests can make
// each call fail.
type leaseDisk interface {
	// lock keeps everybody else from taking the same lock until it is closed or
	// the process ends. If somebody has it: ErrLeaseFileInUse.
	lock(name string) (io.Closer, error)
	// open opens a file for reading and writing. It gives it the mode 0640 if
	// others have more rights.
	open(name string) (leaseHandle, error)
	// create makes an empty file of mode 0640, in place of any of this name.
	create(name string) (leaseHandle, error)
	rename(from, to string) error
	remove(name string) error
	// syncDir brings the names in a directory to disk.
	syncDir(dir string) error
}

// leaseHandle is an open file.
type leaseHandle interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync brings to disk what was written, and the length.
	Sync() error
	Size() (int64, error)
}

// leaseMode lets a group read the leases, and nobody else.
const leaseMode fs.FileMode = 0o640

// osDisk is the file system of the operating system.
type osDisk struct{}

func (osDisk) open(name string) (leaseHandle, error) {
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = &fs.PathError{Op: "open", Path: name, Err: errors.New("not a regular file")}
	case info.Mode().Perm()&^leaseMode != 0:
		err = file.Chmod(leaseMode)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return osHandle{file}, nil
}

func (d osDisk) create(name string) (leaseHandle, error) {
	// Never write through a link, or to what others have open.
	if err := d.remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, leaseMode)
	if err != nil {
		return nil, err
	}
	if err := file.Chmod(leaseMode); err != nil { // whatever the umask
		return nil, errors.Join(err, file.Close())
	}
	return osHandle{file}, nil
}

func (osDisk) rename(from, to string) error { return os.Rename(from, to) }
func (osDisk) remove(name string) error     { return os.Remove(name) }

type osHandle struct{ *os.File }

// Sync implements leaseHandle.
func (h osHandle) Sync() error { return dataSync(h.File) }

// Size implements leaseHandle.
func (h osHandle) Size() (int64, error) {
	info, err := h.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
