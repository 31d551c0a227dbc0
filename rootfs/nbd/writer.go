package nbd

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// writePiece is what a client must take in stallTime, in bytes: the longest reply
// that is put together leaves in one write.
const writePiece = bufferSpace

// errNoSendfile says that this file cannot be sent from there.
var errNoSendfile = errors.New("nbd: the system does not send this file")

// writer sends replies, one at a time: it is locked from the first byte of a
// reply to the last. The first error stays.
type writer struct {
	turn     chan struct{} // a mutex that tests with a clock of their own can see through
	conn     net.Conn
	deadline time.Time
	err      error
	file     *fileSender // nil where sendfile cannot be used
}

func newWriter(c *conn, export *opened) *writer {
	w := &writer{conn: c.stream, turn: make(chan struct{}, 1)}
	if export.file != nil {
		var raw syscall.RawConn
		var err error = errNoSendfile
		// Other types may do something to the data, TLS first of all.
		switch nc := c.stream.(type) {
		case *net.TCPConn:
			raw, err = nc.SyscallConn()
		case *net.UnixConn:
			raw, err = nc.SyscallConn()
		}
		if err == nil {
			w.file = newFileSender(raw, export.file, export.base)
		}
	}
	return w
}

func (w *writer) lock()   { w.turn <- struct{}{} }
func (w *writer) unlock() { <-w.turn }

// zeroCopy says whether sendFile may be used.
func (w *writer) zeroCopy() bool { return w.file != nil }

// failed returns the error that has ended the connection, if it was one of
// writing.
func (w *writer) failed() error {
	w.lock()
	defer w.unlock()
	return w.err
}

// arm gives the client time for the next piece. A deadline is changed when a
// sixth of it has passed and not for each reply, which would cost 5 % at 4 KiB.
func (w *writer) arm() error {
	if now := time.Now(); w.deadline.Sub(now) < stallTime*5/6 {
		w.deadline = now.Add(stallTime)
		w.err = w.conn.SetWriteDeadline(w.deadline)
	}
	return w.err
}

// write sends p; the lock is held.
func (w *writer) write(p []byte) error {
	for len(p) > 0 && w.err == nil {
		if w.arm() != nil {
			break
		}
		n, err := w.conn.Write(p[:min(len(p), writePiece)])
		p = p[n:]
		w.fail(err)
	}
	return w.err
}

func (w *writer) fail(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = ErrStalled
	}
	w.err = err
}

// sendFile sends head and then n bytes of the export from offset on, and returns
// how many of those have left; the lock is held. errNoSendfile leaves the rest to
// be sent by write.
func (w *writer) sendFile(head []byte, offset, n int64) (sent int64, err error) {
	f := w.file
	for (len(head) > 0 || sent < n) && w.err == nil {
		if w.arm() != nil {
			break
		}
		headLeft, piece, err := f.send(head, offset+sent, min(n-sent, bufferSize))
		head = headLeft
		sent += piece
		if err == errNoSendfile {
			w.file = nil
			w.write(head)
			if w.err != nil {
				return sent, w.err
			}
			return sent, err
		}
		w.fail(err)
	}
	return sent, w.err
}
