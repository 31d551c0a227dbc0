package nbd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/pojntfx/go-nbd/pkg/backend"
)

// Export is what a client can read from.
type Export struct {
	// Name is what clients ask for: UTF-8 without NUL, of at most 4096 bytes.
	// The empty name is that of the default export.
	Name string
	// Description is shown by clients that list exports; it may be empty. The
	// rules of Name hold.
	Description string
	// Open opens the export for one connection, once the client has named it.
	// The backend is only read from: ReadAt is called concurrently, for ranges
	// within what Size returned, and may return io.EOF with the last bytes. It
	// is closed at the end of the connection if it is an io.Closer, and served
	// by sendfile if it lies contiguously in a file and says so:
	//
	//	Extent() (f *os.File, offset, length int64, ok bool)
	//
	// ctx ends with the connection, and when the negotiation has taken 10
	// seconds. Errors are as those of [Server].Find. Open is called
	// concurrently.
	Open func(ctx context.Context) (backend.Backend, error)
}

// checkString says what is wrong with a string of the protocol (doc/proto.md,
// Conventions).
func checkString(s string) error {
	switch {
	case len(s) > maxString:
		return fmt.Errorf("is of %d bytes: %d are allowed", len(s), maxString)
	case !utf8.ValidString(s):
		return errors.New("is not UTF-8")
	case strings.ContainsRune(s, 0):
		return errors.New("contains a NUL")
	}
	return nil
}

// opened is the export of one connection.
type opened struct {
	name        string // as the client asked for it
	canonical   string
	description string
	backend     backend.Backend
	size        int64

	// If file is not nil, the export lies in it from base on.
	file *os.File
	base int64

	failed atomic.Pointer[error] // the first error of reading
}

// open finds the export of that name and opens it.
func (s *Server) open(ctx context.Context, name string) (*opened, error) {
	export, err := s.find(ctx, name)
	if err != nil {
		return nil, err
	}
	if export.Open == nil {
		return nil, fmt.Errorf("nbd: the export that Find gave for %.64q has no Open", name)
	}
	b, err := export.Open(ctx)
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, fmt.Errorf("nbd: Open of the export %.64q gave neither a backend nor an error", name)
	}
	o := &opened{name: name, canonical: export.Name, description: export.Description, backend: b}
	if checkString(o.canonical) != nil || checkString(o.description) != nil {
		o.canonical, o.description = name, "" // of a Find that is not so careful
	}
	usable := false
	defer func() {
		if !usable { // a panic of the backend is on its way, too
			o.close()
		}
	}()
	if o.size, err = b.Size(); err == nil && o.size < 0 {
		err = fmt.Errorf("nbd: the export %.64q has a size of %d", name, o.size)
	}
	if err != nil {
		return nil, err
	}
	if e, ok := b.(extenter); ok {
		if file, offset, length, ok := e.Extent(); ok && length >= o.size {
			o.file, o.base = file, offset
		}
	}
	usable = true
	return o, nil
}

func (s *Server) find(ctx context.Context, name string) (*Export, error) {
	for i := range s.Exports {
		if s.Exports[i].Name == name {
			return &s.Exports[i], nil
		}
	}
	if s.Find == nil {
		return nil, fs.ErrNotExist
	}
	export, err := s.Find(ctx, name)
	if err == nil && export == nil {
		return nil, fs.ErrNotExist
	}
	return export, err
}

func (o *opened) close() {
	if closer, ok := o.backend.(io.Closer); ok {
		closer.Close() // it was only read from: there is nothing to lose
	}
}

// readAt fills p, and survives what a backend may do wrong.
func (o *opened) readAt(p []byte, offset int64) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("nbd: the backend of %.64q panicked: %v", o.name, v)
		}
		if err != nil {
			o.failed.CompareAndSwap(nil, &err)
		}
	}()
	n, err := o.backend.ReadAt(p, offset)
	switch {
	case n == len(p):
		return nil // with io.EOF at the end of the data, says io.ReaderAt
	case err == nil || err == io.EOF:
		return fmt.Errorf("nbd: the backend of %.64q gave %d of %d bytes at %d: %w", o.name, n, len(p), offset, io.ErrUnexpectedEOF)
	}
	return err
}
