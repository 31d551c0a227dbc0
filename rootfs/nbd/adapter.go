package nbd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/pojntfx/go-nbd/pkg/backend"
)

// errReadOnly is what the backends of this package answer a write with.
var errReadOnly = errors.New("nbd: the export is read-only")

// extenter is a backend, or a file, that lies contiguously in a file.
type extenter interface {
	Extent() (f *os.File, offset, length int64, ok bool)
}

// ReaderAt makes a backend of the first size bytes of r. It refuses writes. If r
// is an *os.File, or has a method Extent as [Export] describes it, sendfile is
// used. r is not closed. The backend may be used concurrently if r may.
func ReaderAt(r io.ReaderAt, size int64) backend.Backend {
	return &readerBackend{ReaderAt: r, size: size}
}

// File makes a backend of a file, which is closed with it; f must be regular
// and an io.ReaderAt. It refuses writes. If f is an *os.File, or has a method
// Extent as [Export] describes it, sendfile is used. When File fails, f is left
// open.
func File(f fs.File) (backend.Backend, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("nbd: %.64q cannot be an export: it is no regular file", info.Name())
	}
	r, ok := f.(io.ReaderAt)
	if !ok {
		return nil, fmt.Errorf("nbd: %.64q cannot be an export: its %T is no io.ReaderAt", info.Name(), f)
	}
	return &fileBackend{readerBackend{ReaderAt: r, size: info.Size()}, f}, nil
}

// readerBackend is an io.ReaderAt of known size.
type readerBackend struct {
	io.ReaderAt
	size int64
}

func (*readerBackend) WriteAt([]byte, int64) (int, error) { return 0, errReadOnly }
func (b *readerBackend) Size() (int64, error)             { return b.size, nil }
func (*readerBackend) Sync() error                        { return nil }

// Extent implements extenter.
func (b *readerBackend) Extent() (f *os.File, offset, length int64, ok bool) {
	switch r := b.ReaderAt.(type) {
	case *os.File:
		return r, 0, b.size, true
	case extenter:
		return r.Extent()
	}
	return nil, 0, 0, false
}

type fileBackend struct {
	readerBackend
	file fs.File
}

func (b *fileBackend) Close() error { return b.file.Close() }
