package rootfs

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// pieceSize is how much is read and written at a time where a file is copied,
// and over how much MinRate is measured. On loopback 32 KiB was about a quarter
// slower and 256 KiB at most a fifth faster, but every client that is slow to
// read holds a piece: a thousand of them 64 MiB of memory, not 256.
const pieceSize = 64 << 10

// progressInterval is the least time between two calls of Trace.Progress.
const progressInterval = time.Second

// bodyPatience is how long net/http may read the body of a request after the
// answer: enough for a client that has sent it to read the answer undisturbed.
const bodyPatience = time.Second

// answer is the http.ResponseWriter of one request. It asks for admission when
// the length of the body is known, keeps to the rates, sets a new write deadline
// before every piece, counts, and remembers how sending ended.
//
// Deadlines are left standing at the end: they then bound the last flush of
// net/http, which clears them before the connection's next request.
type answer struct {
	http.ResponseWriter
	files    *Files
	request  *http.Request
	name     string
	size     int64    // of the file
	body     *content // nil until there is a file
	control  *http.ResponseController
	patience time.Duration // for one piece; 0: no deadlines
	reported time.Time     // when Trace.Progress was last called
	permit   permit        // of the limits

	status int
	bytes  int64
	err    error // the first error of writing
	busy   error // why the answer became a 503 instead of the file
}

// WriteHeader implements http.ResponseWriter. A body that is coming must be
// admitted first; http.ServeContent knows its length only now.
func (a *answer) WriteHeader(status int) {
	if status < 300 && a.request.Method == http.MethodGet {
		length, _ := strconv.ParseInt(a.Header().Get("Content-Length"), 10, 64) // ours
		if err := a.permit.enter(a.files, a.request, length); err != nil {
			a.refuseBusy(err)
			return
		}
	}
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
// sent: without copying them where that is possible.
func (a *answer) ReadFrom(src io.Reader) (sent int64, err error) {
	if a.busy != nil {
		return 0, a.busy // after the text of the 503
	}
	if limited, ok := src.(*io.LimitedReader); ok && a.body != nil && limited.R == io.Reader(a.body) {
		sent, err = a.sendFile(limited.N)
		limited.N -= sent
		if err != nil || limited.N == 0 {
			return sent, err
		}
	}
	copied, err := a.copy(src)
	return sent + copied, err
}

// copy reads and writes piece by piece, until src ends.
func (a *answer) copy(src io.Reader) (sent int64, err error) {
	buf, ok := a.files.buffers.Get().(*[pieceSize]byte)
	if !ok {
		buf = new([pieceSize]byte)
	}
	defer a.files.buffers.Put(buf)
	for {
		n, readErr := src.Read(buf[:])
		if n > 0 {
			if err := a.permit.pay(int64(n)); err != nil {
				a.err = err
				return sent, err
			}
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

// refuse answers with an error status and its own text.
func (a *answer) refuse(status int) {
	text := http.StatusText(status) + "\n"
	header := a.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(len(text)))
	if status == http.StatusServiceUnavailable && header.Get("Retry-After") == "" {
		header.Set("Retry-After", retryAfter)
	}
	a.WriteHeader(status)
	_, _ = io.WriteString(a, text)
}

// refuseBusy is refuse for a download that was not admitted, whose headers are
// there already.
func (a *answer) refuseBusy(err error) {
	header := a.Header()
	for _, name := range []string{"Accept-Ranges", "Content-Range", "Etag", "Last-Modified"} {
		header.Del(name)
	}
	header.Set("Retry-After", busyRetryAfter())
	a.refuse(http.StatusServiceUnavailable)
	a.busy = err
}

// first is what Result.First says, when the headers are written.
func (a *answer) first() int64 {
	switch a.status {
	case http.StatusOK:
		return 0
	case http.StatusPartialContent:
		// http.ServeContent's; several ranges have theirs in the body.
		text, _, _ := strings.Cut(strings.TrimPrefix(a.Header().Get("Content-Range"), "bytes "), "-")
		if first, err := strconv.ParseInt(text, 10, 64); err == nil {
			return first
		}
	}
	return -1
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
