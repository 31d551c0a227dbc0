package tftp

import (
	"context"
	"io"
	"io/fs"
	"net"
)

// Handler answers a read request, by [Transfer.ReadFrom] once or by returning
// an error, which becomes an ERROR packet (see the package comment) unless
// ReadFrom was called: it has told the client by itself then. A handler that
// does neither sends ERROR 0.
//
// ServeTFTP is called concurrently for different transfers. ctx ends when the
// server is closed, not when it is shut down, and when the transfer makes room
// for another one ([ErrSuperseded]). t must not be used after ServeTFTP has
// returned.
type Handler interface {
	ServeTFTP(ctx context.Context, t *Transfer) error
}

// HandlerFunc makes a Handler of a function.
type HandlerFunc func(ctx context.Context, t *Transfer) error

// ServeTFTP calls f.
func (f HandlerFunc) ServeTFTP(ctx context.Context, t *Transfer) error { return f(ctx, t) }

// FileHandler serves what open opens, and closes it. The size that a regular
// file has when it is opened is what the client is told and gets: if the file
// grows meanwhile the rest is not sent, if it shrinks the client gets an ERROR.
// Other files are sent to their end, without a size; directories are "File not
// found".
//
// Errors of open choose the ERROR packet, see the package comment. It is called
// concurrently; ctx is that of [Handler].
func FileHandler(open func(ctx context.Context, r *Request) (fs.File, error)) Handler {
	return HandlerFunc(func(ctx context.Context, t *Transfer) error {
		f, err := open(ctx, t.Request())
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		switch {
		case err != nil:
			return err
		case info.IsDir():
			return &fs.PathError{Op: "open", Path: t.Request().Name, Err: fs.ErrNotExist}
		case info.Mode().IsRegular():
			t.SetSize(info.Size())
			_, err = t.ReadFrom(f)
		default:
			// Hidden, so that the transfer does not ask a pipe for its size.
			_, err = t.ReadFrom(struct{ io.Reader }{f})
		}
		return err
	})
}

// ReadHandler serves by a handler written for github.com/pin/tftp/v3, unchanged.
// rf implements that package's OutgoingTransfer and RequestPacketInfo; as there,
// a reader that is an [io.Seeker] tells its size by itself.
//
// Two things differ to the better: filename is the normalised [Request].Name, so
// it has no slash at the front and cannot climb out of a directory it is joined
// to; and the error that h returns chooses the ERROR packet but is not shown to
// the client.
func ReadHandler(h func(filename string, rf io.ReaderFrom) error) Handler {
	return HandlerFunc(func(_ context.Context, t *Transfer) error {
		return h(t.Request().Name, readerFrom{t})
	})
}

// readerFrom is a Transfer as handlers for pin/tftp expect it.
type readerFrom struct{ *Transfer }

// RemoteAddr returns the client's address.
func (r readerFrom) RemoteAddr() net.UDPAddr {
	return *net.UDPAddrFromAddrPort(r.Request().Remote)
}

// LocalIP returns the address that the request was sent to, nil if unknown.
func (r readerFrom) LocalIP() net.IP {
	return r.Request().Local.AsSlice()
}
