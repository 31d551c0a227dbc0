package rootfs

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"syscall"
	"time"
)

// sendfileSize is the least body that goes by sendfile. Smaller ones are sooner
// copied than a descriptor is opened and closed for them: of a request for 64 KiB
// on loopback, sendfile made 90 microseconds of processor time from 83; of
// 128 KiB, 98 from 102; of 256 KiB, 103 from 160.
const sendfileSize = 128 << 10

// sendfilePiece is how much the kernel is given to send at a time: seldom enough
// to cost nothing, and often enough for Trace.Progress with a fast client. Of 64
// downloads at once on loopback, 1 MiB took a fifth more processor time, 2 MiB a
// tenth, and 256 MiB no less.
const sendfilePiece = 16 << 20

// sendfileTurn is how long the kernel may wait for the client before we look at
// what it took, report progress and go on.
const sendfileTurn = progressInterval

// errCopy is what a descriptor says to whoever wants to read it: the way to the
// connection has no sendfile, and then copy has the better piece size.
var errCopy = errors.New("rootfs: no sendfile here")

// descriptor is a file as net/http and net want it to send it by sendfile: an
// io.Reader that is a syscall.Conn.
type descriptor struct{ file *os.File }

func (d *descriptor) SyscallConn() (syscall.RawConn, error) { return d.file.SyscallConn() }
func (d *descriptor) Read([]byte) (int, error)              { return 0, errCopy }

// extentOf says where a file of the given size lies in one piece in a file of
// the system.
func extentOf(file fs.File, size int64) (f *os.File, offset int64, ok bool) {
	switch file := file.(type) {
	case *os.File:
		return file, 0, true
	case extenter:
		f, offset, length, ok := file.Extent()
		return f, offset, ok && f != nil && length == size
	}
	return nil, 0, false
}

// sendFile sends the next n bytes of the body without copying them through this
// process, as far as that goes; the rest, if there is no error, is to be copied.
// So it is after every failure but a stalled client: sendfile does not tell
// whether the file or the connection failed, and copying does.
//
// net/http gets to sendfile only if the connection is a *net.TCPConn, that is,
// neither TLS nor wrapped by a listener, and if middleware around w has a
// ReadFrom too.
func (a *answer) sendFile(n int64) (sent int64, err error) {
	to, ok := a.ResponseWriter.(io.ReaderFrom)
	if !ok || n < sendfileSize || a.body.host == nil || a.request.TLS != nil || a.request.ProtoMajor != 1 {
		return 0, nil
	}
	// The kernel sends from the position of a descriptor and moves it, so the
	// container's own, which other requests send from, will not do.
	own, err := reopen(a.body.host)
	if err != nil {
		return 0, nil
	}
	defer own.Close()
	if _, err := own.Seek(a.body.hostOffset+a.body.offset, io.SeekStart); err != nil {
		return 0, nil
	}
	// Otherwise net/http reads the first bytes, to leave with the headers.
	if err := a.control.Flush(); errors.Is(err, http.ErrNotSupported) {
		return 0, nil // middleware
	} else if err != nil {
		a.err = err
		return 0, err
	}

	from := &descriptor{file: own}
	var paid int64 // of what is to be sent
	for sent < n {
		if paid == 0 {
			paid = min(n-sent, a.permit.piece)
			if err := a.permit.pay(paid); err != nil {
				a.err = err
				return sent, err
			}
		}
		took, err := a.sendPiece(to, from, paid)
		paid -= took
		sent += took
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			a.err = err
			return sent, err
		case err != nil || paid > 0: // failed, or the file ended early
			return sent, nil
		}
	}
	return sent, nil
}

// sendPiece sends n bytes. It fails with os.ErrDeadlineExceeded when the client
// takes less than pieceSize of them for as long as our patience lasts.
//
// Unlike a Write that met its deadline, a sendfile that did can go on. So it is
// given short turns, and each makes the kernel take what the client has made
// room for, although it reports a socket as writable only when a third of a send
// buffer (megabytes, on a fast network) is free: a slow client is not mistaken
// for one that stands still.
func (a *answer) sendPiece(to io.ReaderFrom, from *descriptor, n int64) (sent int64, err error) {
	since, mark := time.Now(), int64(0)
	for sent < n {
		_ = a.control.SetWriteDeadline(time.Now().Add(sendfileTurn))
		took, err := to.ReadFrom(&io.LimitedReader{R: from, N: n - sent})
		sent += took
		a.bytes += took
		a.body.offset += took
		if took > 0 {
			a.progress()
		}
		now := time.Now()
		if sent-mark >= pieceSize {
			since, mark = now, sent
		}
		stalled := a.patience != 0 && now.Sub(since) >= a.patience
		if err == nil && took == 0 || err != nil && (stalled || !errors.Is(err, os.ErrDeadlineExceeded)) {
			a.rest()
			return sent, err
		}
	}
	a.rest()
	return sent, nil
}

// rest gives the client the time that it has for the end of the answer.
func (a *answer) rest() {
	if a.patience == 0 {
		_ = a.control.SetWriteDeadline(time.Time{})
		return
	}
	a.arm()
}
