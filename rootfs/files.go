package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"
)

// ErrStalled is the reason when a client took less than [Files].MinRate.
var ErrStalled = errors.New("rootfs: client stalled")

// Files is an http.Handler that serves files by name to boot firmware, boot
// loaders and initramfs scripts. Set Open; the zero value of everything else is
// ready. The fields must not change while it serves, and a Files must not be
// copied. It may be used by many servers at once.
//
// It answers GET and HEAD; a request with a body is refused at once, and its
// connection closed. A path is decoded once, repeated slashes count as one, and
// there are no redirects, no directory lists and no content encodings: firmware
// copes with none of them. So mount it without [http.ServeMux], which redirects
// paths that are not clean. Answers of whole files, of byte ranges and to
// conditional requests follow RFC 9110, with Content-Length always and a
// Content-Type that UEFI HTTP Boot knows. What the client reads of an error is
// the text of its status and nothing else.
//
// Entity tags are strong and made of the file's size, modification time, inode
// and place in the image that it lies in, so they survive a restart and a
// request never hashes a gigabyte. Since copies of a file have inodes of their
// own, replicas of one image behind one address give it different tags. A file
// without a modification time has no entity tag, since nothing cheap would tell
// when it changes; give files in memory a time to have one.
//
// A file that turns out shorter than its size ends in an aborted connection.
//
// On Linux the kernel sends bodies of 128 KiB and more by itself (sendfile) if
// the file lies in one piece in a file of the system, and so do single ranges of
// it. That needs /proc, and a connection that net/http knows as a *net.TCPConn:
// a listener that wraps connections, to bound their number for instance, makes
// net/http copy, as TLS does, and so does middleware whose ResponseWriter has no
// ReadFrom. It costs a descriptor for as long as the answer takes.
//
// Files sets write deadlines, so WriteTimeout of the http.Server has no effect
// on it and should be zero: no machine's download takes a known time. What
// comes before the handler is the server's matter: set ReadHeaderTimeout and
// IdleTimeout (some ten seconds and a minute, say) and MaxHeaderBytes, or
// clients that never finish their request hold connections for ever.
type Files struct {
	// Open opens the file of a slash-separated name that satisfies
	// [fs.ValidPath] and has neither backslashes nor control characters. It is
	// called once for every request, by many goroutines at once, with the
	// context of the request.
	//
	// The file must also be an [io.ReaderAt]. The handler closes it, never
	// during a ReadAt. If it has a method
	//
	//	Extent() (f *os.File, offset, length int64, ok bool)
	//
	// that says where in f it lies in one piece, it is sent from there, and f's
	// own identity goes into the entity tag. f is neither moved nor closed, and
	// must stay open as long as the file. An *os.File needs no such method.
	//
	// Errors that are [fs.ErrNotExist] or [fs.ErrInvalid] become status 404,
	// [fs.ErrPermission] 403, a lack of file descriptors or memory 503 with
	// Retry-After, which iPXE heeds, all others 500. A directory is a 404.
	Open func(ctx context.Context, name string) (fs.File, error)

	// MinRate is how many bytes a second a client must take at least, measured
	// over every 64 KiB of an answer; time that Limits cost does not count. A
	// client that takes less is cut off with [ErrStalled]. Zero means 1024, that
	// is, 64 seconds for 64 KiB. That is long enough for a switch port that goes
	// through spanning tree once more (30 seconds) with TCP's doubled
	// retransmission timer after it, and for a slow link whose full send buffer
	// (megabytes, in the kernel) drains by a third before the kernel takes more;
	// a client that takes nothing holds its connection for about a minute. More
	// than 64 KiB a second counts as that. Negative: no limit.
	MinRate int64

	// Limits bounds how fast files leave, and how many at once. The zero value
	// sets no limits.
	Limits Limits

	// Trace watches requests. Nil: nobody does.
	Trace *Trace

	buffers sync.Pool // of *[pieceSize]byte
	line    line      // for Limits.Downloads
	pace    clock     // of Limits.Rate
	clients clients   // and of Limits.ClientRate
}

// retryAfter is when a client is to ask again if the system has run out of
// something, in seconds: a transfer or two may have ended by then.
const retryAfter = "5"

// defaultMinRate is the MinRate that zero means; its comment says why.
const defaultMinRate = 1024

// ServeHTTP answers one request. It panics with [http.ErrAbortHandler], as that
// asks for, when a file cannot be read to its end.
func (f *Files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !r.ProtoAtLeast(1, 1) {
		// Clients this old expect the end of the connection, whatever they ask
		// for in a Connection header.
		w.Header().Set("Connection", "close")
	}
	a := &answer{ResponseWriter: w, files: f, request: r, control: http.NewResponseController(w)}
	if rate := f.MinRate; rate >= 0 {
		if rate == 0 {
			rate = defaultMinRate
		}
		a.patience = max(time.Second, time.Duration(pieceSize*int64(time.Second)/rate))
	}
	defer a.permit.leave()

	hasBody := r.ContentLength != 0
	if hasBody {
		a.rejectBody()
	}
	name, status := fileName(r.URL.Path)
	a.name = name
	var result Result
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		a.refuse(http.StatusMethodNotAllowed)
		result.Err = fmt.Errorf("rootfs: method %q is neither GET nor HEAD", r.Method)
	case hasBody:
		a.refuse(http.StatusBadRequest)
		result.Err = fmt.Errorf("rootfs: %s request with a body: files are asked for without one", r.Method)
	case status != 0:
		a.refuse(status)
		result.Err = fmt.Errorf("rootfs: path %.100q names no file", r.URL.Path)
	default:
		result = f.serve(a)
	}
	broken := result.Err != nil && a.status < 400 && !result.Aborted
	result.Status, result.First, result.Bytes = a.status, a.first(), a.bytes
	f.Trace.done(r, name, result)
	if broken {
		panic(http.ErrAbortHandler)
	}
}

// serve opens the file of a.name and answers with it. The result lacks what a
// itself knows.
func (f *Files) serve(a *answer) (result Result) {
	file, err := f.open(a.request.Context(), a.name)
	if err != nil {
		a.refuse(statusOf(err))
		return Result{Err: err, Aborted: a.request.Context().Err() != nil}
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		a.refuse(statusOf(err))
		return Result{Err: err}
	}
	if !info.Mode().IsRegular() {
		a.refuse(http.StatusNotFound)
		return Result{Err: fmt.Errorf("rootfs: %q is a directory or no regular file", a.name)}
	}
	at, ok := file.(io.ReaderAt)
	if !ok {
		a.refuse(http.StatusInternalServerError)
		return Result{Err: fmt.Errorf("rootfs: %q opened as %T, which is no io.ReaderAt: open it through a source whose files are", a.name, file)}
	}

	size := info.Size()
	a.size = size
	request, ignored := a.request, false
	if ranges, ok := request.Header["Range"]; ok {
		// RFC 9110 section 14.2 defines ranges for GET alone.
		canonical := ""
		if request.Method == http.MethodGet {
			canonical = canonicalRange(ranges, size)
			ignored = canonical == ""
		}
		request = withRange(request, canonical)
	}
	header := a.Header()
	header.Set("Content-Type", contentType(a.name))
	if tag := entityTag(file, info); tag != "" {
		header.Set("ETag", tag)
	}

	f.Trace.start(a.request, a.name, size)
	body := newContent(at, size)
	if host, offset, ok := extentOf(file, size); ok {
		body.host, body.hostOffset = host, offset
	}
	a.body = body
	http.ServeContent(a, request, "", info.ModTime(), body)
	result = Result{Size: size, RangeIgnored: ignored}
	switch err := body.stop(); {
	case a.busy != nil:
		result.Err = fmt.Errorf("%w: %q", a.busy, a.name)
		result.Aborted = !errors.Is(a.busy, ErrBusy)
	case err != nil:
		result.Err = fmt.Errorf("rootfs: reading %q: %w", a.name, err)
	case errors.Is(a.err, os.ErrDeadlineExceeded):
		result.Err = fmt.Errorf("%w: %q: took less than %d KiB in %v", ErrStalled, a.name, pieceSize>>10, a.patience)
		result.Aborted = true
	case a.err != nil:
		result.Err = fmt.Errorf("rootfs: sending %q: %w", a.name, a.err)
		result.Aborted = true
	}
	return result
}

// open calls Open, if there is one.
func (f *Files) open(ctx context.Context, name string) (fs.File, error) {
	if f.Open == nil {
		return nil, errors.New("rootfs: Files.Open is nil: set it to what opens files")
	}
	return f.Open(ctx, name)
}

// statusOf maps an error of opening a file to a status. The error's text stays
// here.
func statusOf(err error) int {
	switch {
	case errors.Is(err, fs.ErrNotExist),
		// A name that the source does not take: not a fault of the request's
		// syntax, which was checked before.
		errors.Is(err, fs.ErrInvalid),
		// What a path gets that goes on below a file, or is too long for the
		// system below: there is no such file either.
		errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENAMETOOLONG):
		return http.StatusNotFound
	case errors.Is(err, fs.ErrPermission):
		return http.StatusForbidden
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE),
		errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.EAGAIN):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
