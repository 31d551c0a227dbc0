package tftp

import (
	"context"
	"errors"
	"io"
)

// Transfer is one file on its way to one client, as its [Handler] sees it. Only
// the handler's goroutine may use it.
type Transfer struct {
	server  *Server
	place   *place
	request *Request
	conn    packetConn
	size    int64 // -1: unknown
	began   bool  // ReadFrom was called
	result  Result
}

// Request returns what the client asked for. It must not be changed.
func (t *Transfer) Request() *Request { return t.request }

// SetSize tells the number of bytes that the reader given to ReadFrom holds; a
// negative one means unknown. Without it ReadFrom asks a reader that is an
// [io.Seeker]. A known size is told to clients that ask for it (RFC 2349), and
// it is a promise: exactly so many bytes are sent. It has no effect after
// ReadFrom.
func (t *Transfer) SetSize(n int64) { t.size = max(n, -1) }

// ReadFrom sends what r holds and returns when the client has all of it. The
// number it returns is of the bytes that the client has acknowledged.
//
// Nothing is sent before the first block was read, so a file that cannot be
// read becomes an ERROR instead of an offer. When it fails the client has been
// told, and the error says why: [*ClientError] if the client ended the
// transfer, [ErrNoAnswer], [ErrSuperseded], [ErrServerClosed], or what reading
// r failed with. It may be called once.
func (t *Transfer) ReadFrom(r io.Reader) (int64, error) {
	if t.began {
		return 0, errSentTwice
	}
	t.began = true
	if t.size < 0 {
		t.size = sizeOf(r)
	}
	if t.size >= 0 {
		r = &exactReader{r, t.size}
	}
	sent := t.size
	if t.request.Mode == ModeNetASCII {
		// The size on the wire is known only after the translation.
		sent = -1
	}
	s := newSender(t, negotiate(t.request.Options, t.server.blockLimit(t.request.Remote.Addr()), sent))
	if t.request.Mode == ModeNetASCII {
		r = &netasciiReader{r: r}
	}
	err := s.run(r)

	t.result.Bytes, t.result.Retransmits = s.bytes, s.retransmits
	var client *ClientError
	switch {
	case err == nil:
	case errors.As(err, &client):
		t.result.Aborted = s.offering() || client.Code == CodeUndefined || client.Code == CodeOptionRefused
	case t.place.ctx.Err() != nil:
		err = ErrServerClosed
		if t.superseded() {
			err = ErrSuperseded
		}
	case !errors.Is(err, ErrNoAnswer):
		t.fail(err)
	}
	if !t.result.Aborted {
		t.result.Err = err
	}
	return s.bytes, err
}

// superseded reports whether the transfer has lost its place to another one.
func (t *Transfer) superseded() bool {
	return errors.Is(context.Cause(t.place.ctx), ErrSuperseded)
}

// fail sends an ERROR packet. It is sent once and not waited for (RFC 1350
// section 2).
func (t *Transfer) fail(err error) {
	code, text := wireError(err)
	_ = t.conn.write(appendError(nil, code, text), t.request.Remote)
}

// decline tells the client that its request came to nothing, where it is any use
// to know, and returns the error to report.
func (t *Transfer) decline(err error) error {
	switch {
	case t.superseded():
		return ErrSuperseded
	case outOfResources(err):
		t.server.drop(DropResources, t.request.Remote)
	default:
		t.fail(err)
	}
	return err
}

// transfer serves one request from its own socket.
func (s *Server) transfer(p *place, r *Request) Result {
	ctx := p.ctx
	t := &Transfer{server: s, place: p, request: r, size: -1}
	conn, err := s.open(ctx, r)
	if err != nil {
		if outOfResources(err) {
			s.drop(DropResources, r.Remote)
		}
		return Result{Size: -1, Err: err}
	}
	t.conn = newPacketConn(conn)
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		conn.Close() // wakes a transfer that waits for its client
	})
	defer func() {
		if stop() {
			conn.Close()
		} else {
			<-closed
		}
	}()

	err = s.Handler.ServeTFTP(ctx, t)
	if !t.began {
		if err == nil {
			err = errNothingSent
		}
		err = t.decline(err)
	}
	if t.result.Err == nil && !t.result.Aborted {
		t.result.Err = err
	}
	t.result.Size = t.size
	return t.result
}

// sizeOf asks a reader that can seek how much it holds from where it stands. An
// answer of nothing is no answer: files of /proc and devices give it.
func sizeOf(r io.Reader) int64 {
	seeker, ok := r.(io.Seeker)
	if !ok {
		return -1
	}
	position, err := seeker.Seek(0, io.SeekCurrent)
	if err != nil {
		return -1
	}
	end, err := seeker.Seek(0, io.SeekEnd)
	if err != nil {
		return -1
	}
	if _, err := seeker.Seek(position, io.SeekStart); err != nil || end <= position {
		return -1
	}
	return end - position
}

// exactReader reads left bytes, no more, and fails if there are fewer.
type exactReader struct {
	r    io.Reader
	left int64
}

func (e *exactReader) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	if err == io.EOF {
		if e.left > 0 {
			return n, errShrunk
		}
		err = nil
	}
	return n, err
}
