package rootfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

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

	// Where the file lies in one piece in a file of the system; nil: it does not.
	host       *os.File
	hostOffset int64
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
