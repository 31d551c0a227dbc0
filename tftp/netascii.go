package tftp

import "io"

// netasciiReader translates a file of a Unix system to netascii: a line feed
// becomes CR LF, a carriage return CR NUL (RFC 1350 section 2, RFC 764).
type netasciiReader struct {
	r         io.Reader
	buf       [512]byte
	pos, end  int
	err       error
	second    byte // the second byte of a pair, if hasSecond
	hasSecond bool
}

func (a *netasciiReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if a.hasSecond {
			p[n], a.hasSecond = a.second, false
			n++
			continue
		}
		if a.pos == a.end {
			if n > 0 || a.err != nil {
				break
			}
			a.pos = 0
			a.end, a.err = a.r.Read(a.buf[:])
			if a.end == 0 {
				break
			}
		}
		c := a.buf[a.pos]
		a.pos++
		switch c {
		case '\n':
			c, a.second, a.hasSecond = '\r', '\n', true
		case '\r':
			a.second, a.hasSecond = 0, true
		}
		p[n] = c
		n++
	}
	if n > 0 {
		return n, nil
	}
	return 0, a.err
}
