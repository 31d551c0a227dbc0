package sunrpc

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
)

// maxReply bounds a reply with its record marks. The largest that a procedure of
// this package has, LOOKUP's, takes less than 400 bytes.
const maxReply = 4096

// Client calls procedures over one connection, one at a time. It sets no
// deadlines: those are the connection's.
type Client struct {
	conn net.Conn

	// Awkward becomes true when a reply came that klibc's nfsmount misreads. It
	// reads each reply by a single read and wants it whole, in one fragment, with
	// an empty verifier.
	Awkward bool
}

// NewClient returns a client of the server behind conn, which stays the caller's.
func NewClient(conn net.Conn) *Client { return &Client{conn: conn} }

// Credentials (RFC 5531, section 8.2 and appendix A).
const (
	authNone = 0
	authSys  = 1
)

// credNone are the credentials of nfsmount itself.
func credNone() []byte { return appendUint32(nil, authNone, 0) }

// credRoot are the credentials of root, as the kernel sends them once mounted:
// AUTH_SYS with the user and group 0 and no other groups.
func credRoot() []byte {
	body := appendUint32(nil, 0)       // stamp
	body = appendOpaque(body, "")      // machine name
	body = appendUint32(body, 0, 0, 0) // uid, gid, number of further groups
	return appendOpaque(appendUint32(nil, authSys), body)
}

// call runs one procedure and returns its results. Errors are [*AcceptError],
// [*DeniedError], [ErrMalformed] or those of the connection.
func (c *Client) call(program, version, procedure uint32, cred, args []byte) ([]byte, error) {
	const callMessage, rpcVersion, lastFragment = 0, 2, 1 << 31
	xid := rand.Uint32()
	m := appendUint32(nil, 0, xid, callMessage, rpcVersion, program, version, procedure)
	m = append(m, cred...)
	m = appendUint32(m, authNone, 0) // verifier
	m = append(m, args...)
	binary.BigEndian.PutUint32(m, lastFragment|uint32(len(m)-4))
	if _, err := c.conn.Write(m); err != nil {
		return nil, err
	}
	record, whole, err := readRecord(c.conn)
	if err != nil {
		return nil, err
	}
	results, bare, err := parseReply(record, xid)
	if !whole || err == nil && !bare {
		c.Awkward = true
	}
	return results, err
}

// readRecord reads a record (RFC 5531, section 11). Whole means that a single
// read got it, in one fragment. What follows the record must not come before the
// next call, and is an error.
func readRecord(r io.Reader) (record []byte, whole bool, err error) {
	buf := make([]byte, maxReply)
	n, err := r.Read(buf)
	if n == 0 {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, false, err
	}
	whole = true
	at := 0 // of the next fragment's mark
	for {
		// more reads on until the first end bytes are there.
		more := func(end int) error {
			if end > maxReply {
				return fmt.Errorf("%w: it is larger than %d bytes", ErrMalformed, maxReply)
			}
			if n >= end {
				return nil
			}
			whole = false
			got, err := io.ReadAtLeast(r, buf[n:], end-n)
			n += got
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if err := more(at + 4); err != nil {
			return nil, false, err
		}
		mark := binary.BigEndian.Uint32(buf[at:])
		size, last := int(min(mark&^(1<<31), maxReply)), mark>>31 == 1
		if err := more(at + 4 + size); err != nil {
			return nil, false, err
		}
		record = append(record, buf[at+4:at+4+size]...)
		at += 4 + size
		if last {
			break
		}
		whole = false
	}
	if n > at {
		return nil, false, fmt.Errorf("%w: %d bytes follow it", ErrMalformed, n-at)
	}
	return record, whole, nil
}
