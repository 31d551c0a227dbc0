package pxetest

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// windowSize is how much one side of a connection may write before the other
// side reads: the receive window.
const windowSize = 64 << 10

// pipe is one direction of a stream: a bounded buffer with one writer's end and
// one reader's end.
type pipe struct {
	mu      sync.Mutex
	buf     []byte
	read    int  // buf[:read] has been read
	ended   bool // the writer has finished: EOF after the rest
	broken  bool // the reader has gone: writing fails
	waiting int
	changed chan struct{} // closed at the next change, for those who wait
}

func newPipe() *pipe { return &pipe{changed: make(chan struct{})} }

// wake wants mu held.
func (p *pipe) wake() {
	if p.waiting > 0 {
		p.waiting = 0
		close(p.changed)
		p.changed = make(chan struct{})
	}
}

// attempt runs try under the lock until it says done, waiting for a change, the
// deadline or the end of our own side in between.
func (p *pipe) attempt(late *deadline, closed <-chan struct{}, try func() (int, bool, error)) (int, error) {
	for {
		select {
		case <-closed:
			return 0, net.ErrClosed
		default:
		}
		if late.passed() {
			return 0, os.ErrDeadlineExceeded
		}
		p.mu.Lock()
		n, done, err := try()
		if done {
			p.wake()
			p.mu.Unlock()
			return n, err
		}
		p.waiting++
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-closed:
		case <-late.wait():
		}
	}
}

func (p *pipe) Read(b []byte, late *deadline, closed <-chan struct{}) (int, error) {
	return p.attempt(late, closed, func() (int, bool, error) {
		switch {
		case p.read < len(p.buf):
			n := copy(b, p.buf[p.read:])
			p.read += n
			if p.read == len(p.buf) {
				p.buf, p.read = p.buf[:0], 0
			}
			return n, true, nil
		case len(b) == 0:
			return 0, true, nil
		case p.ended:
			return 0, true, io.EOF
		}
		return 0, false, nil
	})
}

// Write blocks until all of b is in the buffer; on an error the number says how
// much of it is.
func (p *pipe) Write(b []byte, late *deadline, closed <-chan struct{}) (int, error) {
	written := 0
	for {
		n, err := p.attempt(late, closed, func() (int, bool, error) {
			if p.ended || p.broken {
				return 0, true, syscall.EPIPE
			}
			room := windowSize - (len(p.buf) - p.read)
			if room == 0 && written < len(b) {
				return 0, false, nil
			}
			n := min(room, len(b)-written)
			if p.read > 0 && len(p.buf)+n > cap(p.buf) {
				p.buf = p.buf[:copy(p.buf, p.buf[p.read:])]
				p.read = 0
			}
			p.buf = append(p.buf, b[written:written+n]...)
			return n, true, nil
		})
		written += n
		if err != nil || written == len(b) {
			return written, err
		}
	}
}

// end is the writer's FIN.
func (p *pipe) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.wake()
}

// abandon is the reader going away; what was not read is gone.
func (p *pipe) abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = true
	p.buf, p.read = nil, 0
	p.wake()
}
