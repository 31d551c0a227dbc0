package rootfs

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"time"
)

// pieceSize is how much is read and written at a time, and over how much
// MinRate is measured. On loopback 32 KiB was about a quarter slower and 256 KiB
// at most a fifth faster, but every client that is slow to read holds a piece:
// a thousand of them 64 MiB of memory, not 256.
const pieceSize = 64 << 10

// progressInterval is the least time between two calls of Trace.Progress.
const progressInterval = time.Second

// bodyPatience is how long net/http may read the body of a request after the
// answer: enough for a client that has sent it to read the answer undisturbed.
const bodyPatience = time.Second

// answer is the http.ResponseWriter of one request. It sets a new write
// deadline before every piece, counts, and remembers how sending ended.
//
// Deadlines are left standing at the end: they then bound the last flush of
// net/http, which clears them before the connection's next request.
type answer struct {
	http.ResponseWriter
	files    *Files
	request  *http.Request
	name     string
	size     int64 // of the file
	control  *http.ResponseController
	patience time.Duration // for one piece; 0: no deadlines
	reported time.Time     // when Trace.Progress was last called

	status int
	bytes  int64
	err    error // the first error of writing
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	a.status = status
	a.arm()
	a.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (a *answer) Write(p []byte) (int, error) {
	if a.request.Method == http.MethodHead {
		return len(p), nil // texts of errors
	}
	a.arm()
	n, err := a.ResponseWriter.Write(p)
	a.bytes += int64(n)
	if err != nil && a.err == nil {
		a.err = err
	}
	a.progress()
	return n, err
}

// ReadFrom implements io.ReaderFrom, which io.Copy finds. It is where files are
// sent, and so where a way without copying belongs.
func (a *answer) ReadFrom(src io.Reader) (sent int64, err error) {
	buf, ok := a.files.buffers.Get().(*[pieceSize]byte)
	if !ok {
		buf = new([pieceSize]byte)
	}
	defer a.files.buffers.Put(buf)
	for {
		n, readErr := src.Read(buf[:])
		if n > 0 {
			m, err := a.Write(buf[:n])
			sent += int64(m)
			if err != nil {
				return sent, err
			}
		}
		if readErr == io.EOF {
			return sent, nil
		}
		if readErr != nil {
			return sent, readErr
		}
	}
}

// arm gives the client patience from now on.
func (a *answer) arm() {
	if a.patience == 0 {
		return
	}
	if err := a.control.SetWriteDeadline(time.Now().Add(a.patience)); err != nil {
		a.patience = 0 // a recorder in a test, or a wrapper that hides them
	}
}

// rejectBody ends the connection after the answer. Otherwise net/http would wait
// for the body before it answers, and it does so after the answer in any case,
// without a time limit of its own: hence the deadline, where w has any.
func (a *answer) rejectBody() {
	a.Header().Set("Connection", "close")
	_ = a.control.SetReadDeadline(time.Now().Add(bodyPatience))
}

// progress reports to the trace, now and then.
func (a *answer) progress() {
	trace := a.files.Trace
	if trace == nil || trace.Progress == nil {
		return
	}
	now := time.Now()
	if a.reported.IsZero() {
		a.reported = now
	}
	if now.Sub(a.reported) >= progressInterval {
		a.reported = now
		trace.Progress(a.request, a.name, a.bytes, a.size)
	}
}

// content is the io.ReadSeeker over a file that http.ServeContent wants. It
// remembers an error of the file, which ServeContent keeps to itself.
//
// Its lock is for answers of several ranges: ServeContent reads those on a
// goroutine that may outlive it, when the file is closed already. It is a
// channel because stop may wait for a slow file, and the clock of a
// testing/synctest bubble stands still while anyone waits for a Mutex.
type content struct {
	lock   chan struct{}
	file   io.ReaderAt
	size   int64
	offset int64
	closed bool
	err    error
}

func newContent(file io.ReaderAt, size int64) *content {
	return &content{lock: make(chan struct{}, 1), file: file, size: size}
}

// Read implements io.Reader. A file that ends before its size is an error.
func (c *content) Read(p []byte) (int, error) {
	c.lock <- struct{}{}
	defer func() { <-c.lock }()
	if c.closed {
		return 0, fs.ErrClosed
	}
	rest := c.size - c.offset
	if rest <= 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > rest {
		p = p[:rest]
	}
	n, err := c.file.ReadAt(p, c.offset)
	c.offset += int64(n)
	if n == len(p) {
		return n, nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	c.err = err
	return n, err
}

// Seek implements io.Seeker.
func (c *content) Seek(offset int64, whence int) (int64, error) {
	c.lock <- struct{}{}
	defer func() { <-c.lock }()
	switch whence {
	case io.SeekCurrent:
		offset += c.offset
	case io.SeekEnd:
		offset += c.size
	}
	if offset < 0 {
		return 0, errors.New("rootfs: seek before the beginning")
	}
	c.offset = offset
	return offset, nil
}

// stop ends reading and returns the file's error, if there was one.
func (c *content) stop() error {
	c.lock <- struct{}{}
	defer func() { <-c.lock }()
	c.closed = true
	return c.err
}
