package dhcplint

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

const (
	pad = 0
	end = 255
)

// option is one instance of an option.
type option struct {
	code  byte
	value []byte
}

// parse takes the options of the reply apart. It reports whether that is possible.
func (l *linter) parse() bool {
	l.values = make(map[byte][]byte)
	b, after := l.reply[offsetOptions:], -1 // after: where the last option ended
	for i := 0; i < len(b); {
		switch {
		case b[i] == end:
			l.end = offsetOptions + i + 1
			return true
		case b[i] == pad:
			// UEFI writes a NUL behind the name of the boot file where it lies.
			if i != after || l.list[len(l.list)-1].code != 67 {
				l.add("pad: at offset %d, not behind option 67", offsetOptions+i)
			}
			i++
		case i+1 >= len(b) || i+2+int(b[i+1]) > len(b):
			l.add("options: option %d runs past the end", b[i])
			return false
		default:
			o := option{b[i], b[i+2 : i+2+int(b[i+1])]}
			l.list = append(l.list, o)
			l.values[o.code] = append(l.values[o.code], o.value...)
			i += 2 + len(o.value)
			after = i
		}
	}
	l.add("options: no END")
	return false
}

// order judges in which order, and how often, options are.
func (l *linter) order() {
	var codes []byte // each run of instances once
	for i, o := range l.list {
		if i == 0 || l.list[i-1].code != o.code {
			if slices.Contains(codes, o.code) {
				l.add("order: option %d is in two places", o.code)
			}
			codes = append(codes, o.code)
			continue
		}
		// RFC 3396: the parts of one value, all full but the last.
		if len(l.list[i-1].value) != 255 || len(o.value) == 0 {
			l.add("order: option %d is there twice, and is not one of more than 255 bytes", o.code)
		}
		if o.code == 43 || o.code == 60 || o.code == 67 {
			l.add("order: option %d in parts; firmware takes the first for all of it", o.code)
		}
	}
	if len(codes) < 2 || codes[0] != 53 || codes[1] != 54 {
		l.add("order: does not begin with 53 and 54")
	}
	if mask, router := slices.Index(codes, 1), slices.Index(codes, 3); router >= 0 && mask > router {
		l.add("order: router (3) before mask (1)") // RFC 2132 section 3.3
	}
	if i := slices.Index(codes, 82); i >= 0 && i != len(codes)-1 {
		l.add("order: option 82 is not the last one") // RFC 3046 section 2.1
	}
}

// echoes judges the options that are returned as they came.
func (l *linter) echoes() {
	if l.asked == nil {
		return
	}
	// RFC 6842 section 3, of an identifier of two bytes at least.
	if _, ok := l.values[61]; !ok && len(l.asked[61]) >= 2 {
		l.add("echo: option 61 is missing")
	}
	for _, code := range []byte{61, 82, 97, 118} {
		if v, ok := l.values[code]; ok && !bytes.Equal(v, l.asked[code]) {
			l.add("echo: option %d is %x, the request has %x", code, v, l.asked[code])
		}
	}
}

// askedFor reads the options of a request, those in the file and sname fields
// included (option 52), of several instances joined.
func askedFor(b []byte) (map[byte][]byte, error) {
	if len(b) < offsetOptions {
		return nil, errors.New("shorter than a header")
	}
	if b[0] != 1 {
		return nil, fmt.Errorf("op %d is no BOOTREQUEST", b[0])
	}
	values := make(map[byte][]byte)
	if err := collect(values, b[offsetOptions:]); err != nil {
		return nil, err
	}
	overload := byte(0)
	if v := values[52]; len(v) == 1 {
		overload = v[0]
	}
	var err error
	if overload&1 != 0 {
		err = collect(values, b[offsetFile:offsetCookie])
	}
	if overload&2 != 0 {
		err = errors.Join(err, collect(values, b[offsetSname:offsetFile]))
	}
	return values, err
}

func collect(values map[byte][]byte, b []byte) error {
	for len(b) > 0 && b[0] != end {
		switch {
		case b[0] == pad:
			b = b[1:]
			continue
		case len(b) < 2 || len(b) < 2+int(b[1]):
			return fmt.Errorf("option %d runs past the end", b[0])
		}
		values[b[0]] = append(values[b[0]], b[2:2+int(b[1])]...)
		b = b[2+int(b[1]):]
	}
	return nil
}
