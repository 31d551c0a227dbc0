package sunrpc

import (
	"encoding/binary"
	"errors"
)

// ErrMalformed says that a reply is not what RFC 5531 or RFC 1813 describe.
var ErrMalformed = errors.New("malformed reply")

// appendUint32 appends XDR integers (RFC 4506, section 4.2).
func appendUint32(b []byte, values ...uint32) []byte {
	for _, v := range values {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

// appendOpaque appends variable-length data, or a string, padded to four bytes
// (RFC 4506, section 4.10).
func appendOpaque[T ~[]byte | ~string](b []byte, data T) []byte {
	b = appendUint32(b, uint32(len(data)))
	b = append(b, data...)
	return append(b, make([]byte, padding(len(data)))...)
}

func padding(n int) int { return -n & 3 }

// decoder reads XDR. After its first failure it reads zeros and stays failed.
type decoder struct {
	rest   []byte
	failed bool
}

// take returns the next n bytes, which may be nil.
func (d *decoder) take(n int) []byte {
	if d.failed || n > len(d.rest) {
		d.failed = true
		return nil
	}
	p := d.rest[:n:n]
	d.rest = d.rest[n:]
	return p
}

func (d *decoder) uint32() uint32 {
	if p := d.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	high := d.uint32()
	return uint64(high)<<32 | uint64(d.uint32())
}

// opaque returns variable-length data of at most limit bytes.
func (d *decoder) opaque(limit int) []byte {
	n := d.uint32()
	if n > uint32(limit) {
		d.failed = true
		return nil
	}
	p := d.take(int(n))
	d.take(padding(int(n)))
	return p
}

func (d *decoder) err() error {
	if d.failed {
		return ErrMalformed
	}
	return nil
}
