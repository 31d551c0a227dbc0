package asset

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// FileSource opens files by name. Names are slash-separated and relative, as
// fs.ValidPath wants them, and "." is the root.
//
// OpenFile fails with an *fs.PathError that wraps fs.ErrNotExist for what is
// not there, fs.ErrPermission for what may not be read or lies outside of the
// source, and fs.ErrInvalid for a name that fs.ValidPath refuses or that holds
// a NUL. The error's text never has a path of the host in it. ctx ends the
// wait of a source that has to fetch; the sources of this package look at it
// once. Any other failure has a text that tells nothing, and what failed is
// found with errors.Is, errors.As or errors.Unwrap: that is for the operator.
//
// OpenFile is called from many goroutines at once.
type FileSource interface {
	OpenFile(ctx context.Context, name string) (File, error)
}

// File is an open file that can be read at any offset. ReadAt is safe for
// concurrent use, Read and Seek are not. Stat tells size and modification
// time; a directory opens too and says IsDir, reading it fails.
type File interface {
	fs.File
	io.ReaderAt
}

// Extenter is implemented by files that may lie in one piece in a file of the
// host, so that they can be sent by sendfile. The n bytes of content start at
// offset off of f; ok is false when there is no such piece.
//
// f is shared with others and stays the source's: read it with an explicit
// offset only, never seek or close it. It is valid until the File it came from,
// or an [ISO] that this was opened in, is closed.
type Extenter interface {
	Extent() (f *os.File, off, n int64, ok bool)
}

// checkName is the gate that every name passes first.
func checkName(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return pathError(name, err)
	}
	if !fs.ValidPath(name) || strings.IndexByte(name, 0) >= 0 {
		return pathError(name, fs.ErrInvalid)
	}
	return nil
}

func pathError(name string, err error) error {
	return &fs.PathError{Op: "open", Path: name, Err: err}
}

// hideHost replaces the path in an error of package os or of a foreign fs.FS
// by the name that was asked for, and maps what means "not there" or "not
// allowed" onto the two errors that consumers know. What it does not know it
// wraps in a hiddenError.
func hideHost(op, name string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	reason := knownReason(err)
	if reason == nil {
		reason = &hiddenError{err}
	}
	return &fs.PathError{Op: op, Path: name, Err: reason}
}

// hiddenError is a failure whose text may tell where things are on the host.
// It shows none of it, but leads to it.
type hiddenError struct{ err error }

func (*hiddenError) Error() string   { return "the underlying storage failed" }
func (h *hiddenError) Unwrap() error { return h.err }

// renamed is an error of another FileSource, under the name that was asked for
// here. A source's reason is fit to be shown; the name that it was asked for
// is not always.
func renamed(name string, err error) error {
	if pe, ok := err.(*fs.PathError); ok { // not one further down, which may be hidden
		return &fs.PathError{Op: pe.Op, Path: name, Err: pe.Err}
	}
	return hideHost("open", name, err)
}

// knownReason is the error that consumers know for err, nil if there is none.
func knownReason(err error) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, fs.ErrNotExist),
		errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENAMETOOLONG):
		return fs.ErrNotExist
	case errors.Is(err, fs.ErrInvalid):
		return fs.ErrInvalid
	case errors.Is(err, fs.ErrClosed):
		return fs.ErrClosed
	case errors.Is(err, fs.ErrPermission):
		return fs.ErrPermission
	case errors.Is(err, io.ErrUnexpectedEOF):
		return io.ErrUnexpectedEOF
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.As(err, &errno):
		return errno
	}
	return nil
}

// directoryReader is what a directory has for ReadAt.
type directoryReader struct{ name string }

func (d directoryReader) ReadAt([]byte, int64) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: syscall.EISDIR}
}
