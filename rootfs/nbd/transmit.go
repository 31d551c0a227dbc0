package nbd

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/pojntfx/go-nbd/pkg/protocol"
)

const (
	// bufferSize is the longest READ that is read into memory as a whole, and
	// the piece by which longer ones go, in bytes.
	bufferSize = 256 << 10
	// bufferSpace is that with the header that precedes it.
	bufferSpace = bufferSize + chunkSize + offsetSize
	// parallelSize is the shortest READ that is worth a goroutine of its own
	// while more requests wait, in bytes.
	parallelSize = 32 << 10
	// maxHelpers bounds the goroutines that read for one connection.
	maxHelpers = 3
	// maxHelpersInAll bounds them for a server, and so their buffers, which a
	// client that does not read could keep.
	maxHelpersInAll = 64
)

// transmission is the session of one connection (doc/proto.md, Transmission).
// Its own goroutine reads the requests, answers short ones into one buffer,
// which leaves when no further request has arrived, and gives long ones to
// helpers.
type transmission struct {
	*conn
	export     *opened
	structured bool
	bytes      atomic.Int64
	w          *writer

	out    []byte // replies that have not left; its array is buffer
	buffer *[bufferSpace]byte

	helpers sync.WaitGroup
	slots   chan struct{}

	header [chunkSize + offsetSize]byte // of a reply by sendfile, while there is no buffer
}

func newTransmission(c *conn, export *opened, structured bool) *transmission {
	return &transmission{
		conn: c, export: export, structured: structured,
		w: newWriter(c, export), slots: make(chan struct{}, maxHelpers),
	}
}

// run answers requests until the client has said goodbye (nil) or cannot be
// answered.
func (t *transmission) run() error {
	err := t.loop()
	if err == nil {
		err = t.flush()
	} else {
		t.net.Close() // helpers may be writing
	}
	t.helpers.Wait()
	t.release()
	if failed := t.w.failed(); failed != nil {
		return failed // it closed the connection, which is all that loop saw
	}
	return err
}

func (t *transmission) loop() error {
	for {
		if t.in.Buffered() < requestSize {
			if err := t.flush(); err != nil {
				return err
			}
			t.release()
		}
		p, err := t.in.Peek(requestSize)
		if err != nil {
			return err
		}
		r, ok := decodeRequest(p)
		if !ok {
			return errors.New("nbd: the client sent something else where a request belongs")
		}
		t.in.Discard(requestSize)
		if r.command == protocol.TRANSMISSION_TYPE_REQUEST_DISC {
			return nil
		}
		if err := t.answer(r); err != nil {
			return err
		}
	}
}

func (t *transmission) answer(r request) error {
	if r.command == protocol.TRANSMISSION_TYPE_REQUEST_WRITE {
		if r.length > maxRequest {
			return fmt.Errorf("nbd: the client wants to write %d bytes, of at most %d", r.length, maxRequest)
		}
		if err := t.flush(); err != nil { // the data may be long in coming
			return err
		}
		if _, err := t.in.Discard(int(r.length)); err != nil {
			return err
		}
	}
	allowed := uint16(0)
	if t.structured && r.command == protocol.TRANSMISSION_TYPE_REQUEST_READ {
		allowed = cmdFlagDF
	}
	switch r.command {
	case protocol.TRANSMISSION_TYPE_REQUEST_WRITE, cmdTrim, cmdWriteZeroes, cmdResize:
		return t.status(r, protocol.TRANSMISSION_ERROR_EPERM)
	case cmdFlush, cmdCache, protocol.TRANSMISSION_TYPE_REQUEST_READ:
		if r.flags&^allowed != 0 {
			return t.status(r, protocol.TRANSMISSION_ERROR_EINVAL)
		}
	default:
		return t.status(r, protocol.TRANSMISSION_ERROR_EINVAL)
	}
	switch {
	case r.command == cmdFlush:
		return t.status(r, 0)
	case !r.within(t.export.size):
		return t.status(r, protocol.TRANSMISSION_ERROR_EINVAL)
	case r.command == cmdCache:
		return t.status(r, 0) // a hint, and the system caches what is read
	case r.length > maxRequest:
		return t.status(r, protocol.TRANSMISSION_ERROR_EINVAL)
	case r.length == 0:
		return t.status(r, 0)
	}
	return t.read(r)
}

// status answers a request without data.
func (t *transmission) status(r request, errno uint32) error {
	if err := t.reserve(chunkSize + 6); err != nil {
		return err
	}
	t.out = t.appendStatus(t.out, r, errno)
	return nil
}

// appendStatus appends a reply without data. Only a READ has structured ones
// (doc/proto.md, Structured reply chunk message).
func (t *transmission) appendStatus(p []byte, r request, errno uint32) []byte {
	switch {
	case !t.structured || r.command != protocol.TRANSMISSION_TYPE_REQUEST_READ:
		return appendSimple(p, r.cookie, errno)
	case errno != 0:
		return appendErrorChunk(p, r.cookie, errno)
	default:
		return appendChunk(p, r.cookie, chunkDone, chunkNone, 0)
	}
}

// reserve makes room for n more bytes, at most bufferSpace, in out.
func (t *transmission) reserve(n int) error {
	if len(t.out)+n > bufferSpace {
		if err := t.flush(); err != nil {
			return err
		}
	}
	if t.buffer == nil {
		t.buffer = t.server.buffer()
		t.out = t.buffer[:0]
	}
	return nil
}

// flush sends what out holds.
func (t *transmission) flush() error {
	if len(t.out) == 0 {
		return nil
	}
	t.w.lock()
	defer t.w.unlock()
	err := t.w.write(t.out)
	t.out = t.out[:0]
	return err
}

// release gives the buffer back; out is empty.
func (t *transmission) release() {
	if t.buffer != nil {
		t.server.buffers.Put(t.buffer)
		t.buffer, t.out = nil, nil
	}
}
