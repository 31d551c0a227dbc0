package rootfs

import "net/http"

// Trace is a set of hooks on the requests of a [Files]. Any of them may be nil.
// They run on the goroutine of the request, many at once, and delay its answer:
// they must return quickly. They must neither keep nor change the request. A
// name is what was passed to Open.
type Trace struct {
	// Start says that a file was opened and is about to be answered with, whole
	// or in part or by a status alone. Size is the size of the file.
	Start func(r *http.Request, name string, size int64)

	// Progress says how many bytes of the body have been handed to the
	// connection, at most once a second and not at the end. Size is the size of
	// the file; a range of it ends at fewer bytes.
	Progress func(r *http.Request, name string, bytes, size int64)

	// Done is the end of every request, also of those that were refused. The
	// name is empty when the path was no name of a file.
	Done func(r *http.Request, name string, result Result)
}

// Result is how a request ended.
type Result struct {
	// Status is the status of the answer.
	Status int

	// Bytes counts the bytes of the body, of a file or of an error's text,
	// that were handed to the connection. The last of them, a send buffer
	// full, may never have reached the client.
	Bytes int64

	// First is where in the file the body begins: 0 for all of it, else the first
	// byte of the range. It is -1 if the body is no one piece of the file but the
	// text of an error, or several ranges.
	First int64

	// Size is the size of the file, 0 if none was opened. A GET with status
	// 200, no error and as many bytes has delivered the file.
	Size int64

	// Err is why there was no file to answer with, or why the answer is not
	// complete; nil otherwise. It is for the embedder's eyes: the client saw
	// nothing of it.
	Err error

	// Aborted says that Err is the client's doing and no fault of the server:
	// it went away before the end, or it took less than MinRate ([ErrStalled]).
	Aborted bool

	// RangeIgnored says that the Range header was malformed, or listed too many
	// ranges, and that the answer is not a part of the file because of that. Some 32-bit builds of iPXE send
	// "bytes=u-u" for a SAN disk and then do not boot
	// (https://github.com/ipxe/ipxe/issues/767).
	RangeIgnored bool
}

func (t *Trace) start(r *http.Request, name string, size int64) {
	if t != nil && t.Start != nil {
		t.Start(r, name, size)
	}
}

func (t *Trace) done(r *http.Request, name string, result Result) {
	if t != nil && t.Done != nil {
		t.Done(r, name, result)
	}
}
