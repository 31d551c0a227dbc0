package tftp

import "time"

const (
	minBlockSize     = 8     // RFC 2348
	maxBlockSize     = 65464 // RFC 2348
	defaultBlockSize = 512   // RFC 1350 section 2

	optionBlockSize = "blksize"
	optionTimeout   = "timeout"
	optionSize      = "tsize"
)

// Option is one option of a request, as the client wrote it.
type Option struct {
	Name  string // in lower case
	Value string // unchecked
}

// accepted is one option of an OACK.
type accepted struct {
	name  string
	value int64
}

// terms is what client and server have agreed on.
type terms struct {
	blockSize int
	timeout   time.Duration // 0: the server's own timer
	oack      []accepted    // in the order of the request; empty: no OACK is sent
}

// negotiate answers the options of a request. size is the number of bytes that
// will be sent, -1 if that is unknown. An option that is unknown, has a value
// out of its range or was asked for before is left out of the answer, which for
// the client means that it is not in force (RFC 2347).
func negotiate(options []Option, blockLimit int, size int64) terms {
	t := terms{blockSize: defaultBlockSize}
	var seen [3]bool
	first := func(i int) bool {
		was := seen[i]
		seen[i] = true
		return !was
	}
	for _, o := range options {
		switch o.Name {
		case optionBlockSize:
			n, ok := decimal(o.Value, minBlockSize, maxBlockSize)
			if !first(0) || !ok {
				continue
			}
			t.blockSize = min(n, blockLimit)
			t.oack = append(t.oack, accepted{optionBlockSize, int64(t.blockSize)})
		case optionTimeout:
			n, ok := decimal(o.Value, 1, 255)
			if !first(1) || !ok {
				continue
			}
			t.timeout = time.Duration(n) * time.Second
			t.oack = append(t.oack, accepted{optionTimeout, int64(n)})
		case optionSize:
			if !first(2) || size < 0 {
				continue
			}
			t.oack = append(t.oack, accepted{optionSize, size})
		}
	}
	return t
}

// decimal reads an unsigned decimal number between low and high. Signs, spaces
// and whatever else strconv would take are refused.
func decimal(s string, low, high int) (int, bool) {
	if s == "" {
		return 0, false
	}
	n := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
		if n > high {
			return 0, false
		}
	}
	return n, n >= low
}
