package dhcplint

import (
	"bytes"
	"slices"
)

// form is how long the value of an option may be.
type form struct {
	least, step int // least, least+step, ...; step 0: least only
	text        bool
}

// formOf is what the RFCs say of an option: RFC 2132 up to 76, then as noted. It
// is not known of every option.
func formOf(code byte) (form, bool) {
	flag, word, long := form{least: 1}, form{least: 2}, form{least: 4}
	hosts, pairs, words := form{least: 4, step: 4}, form{least: 8, step: 8}, form{least: 2, step: 2}
	some, text := form{least: 1, step: 1}, form{least: 1, step: 1, text: true}
	switch code {
	case 19, 20, 23, 27, 29, 30, 31, 34, 36, 37, 39, 46, 52, 53, 116: // 116: RFC 2563
		return flag, true
	case 13, 22, 26, 57:
		return word, true
	case 1, 2, 16, 24, 28, 32, 35, 38, 50, 51, 54, 58, 59,
		91,                      // RFC 4388
		108,                     // RFC 8925
		118,                     // RFC 3011
		152, 153, 154, 155, 157, // RFC 6926
		208, 211: // RFC 5071
		return long, true
	case 3, 4, 5, 6, 7, 8, 9, 10, 11, 41, 42, 44, 45, 48, 49, 65, 69, 70, 71, 72, 73, 74, 75, 76,
		92,       // RFC 4388
		136, 138, // RFC 5192, RFC 5417
		150: // RFC 5859
		return hosts, true
	case 68:
		return form{least: 0, step: 4}, true
	case 21, 33:
		return pairs, true
	case 25, 117, 93: // RFC 2937, RFC 4578
		return words, true
	case 12, 14, 15, 17, 18, 40, 47, 56, 60, 62, 64, 66, 67,
		100, 101, // RFC 4833
		114,      // RFC 8910
		209, 210: // RFC 5071
		return text, true
	case 61:
		return form{least: 2, step: 1}, true
	case 77: // RFC 3004
		return form{least: 2, step: 1}, true
	case 80: // RFC 4039
		return form{}, true
	case 82: // RFC 3046
		return form{least: 2, step: 1}, true
	case 94: // RFC 4578
		return form{least: 3}, true
	case 97:
		return form{least: 17}, true
	case 121, 249: // RFC 3442
		return form{least: 5, step: 1}, true
	case 124, 125: // RFC 3925
		return form{least: 5, step: 1}, true
	case 43, 55, 81, 98, 99, 119, 120, 175, 177, 203:
		return some, true
	}
	return form{}, false
}

// lengths judges the values of options.
func (l *linter) lengths() {
	codes := make([]byte, 0, len(l.values))
	for code := range l.values {
		codes = append(codes, code)
	}
	slices.Sort(codes)
	for _, code := range codes {
		v := l.values[code]
		f, known := formOf(code)
		if code == 82 && l.asked != nil {
			known = false // returned as it came
		}
		n := len(v) - f.least
		if known && (n < 0 || f.step == 0 && n != 0 || f.step > 0 && n%f.step != 0) {
			l.add("length: option %d has %d bytes", code, len(v))
			continue
		}
		if f.text {
			if code == 67 && l.rules.NUL {
				v = bytes.TrimSuffix(v, []byte{0})
			}
			if i := bytes.IndexFunc(v, func(c rune) bool { return c < ' ' || c == 0x7f }); i >= 0 {
				l.add("text: option %d has a control character at %d", code, i)
			}
		}
		if !wellFormed(code, v, l.values[60]) {
			l.add("form: option %d is %x", code, v)
		}
	}
}

// wellFormed judges the inside of an option. class is the reply's option 60.
func wellFormed(code byte, v, class []byte) bool {
	switch code {
	case 1: // a mask has its ones first
		host := ^(uint32(v[0])<<24 | uint32(v[1])<<16 | uint32(v[2])<<8 | uint32(v[3]))
		return host&(host+1) == 0
	case 43: // PXE 2.1 table 2-1
		return string(class) != "PXEClient" || pxeWellFormed(v)
	case 77: // RFC 3004
		for len(v) > 0 {
			n := int(v[0])
			if n == 0 || 1+n > len(v) {
				return false
			}
			v = v[1+n:]
		}
	case 97: // RFC 4578 section 2.3
		return v[0] == 0
	case 121, 249: // RFC 3442
		for len(v) > 0 {
			bits := int(v[0])
			if n := 1 + (bits+7)/8 + 4; bits > 32 || n > len(v) {
				return false
			} else {
				v = v[n:]
			}
		}
	case 208: // RFC 5071 section 3.1
		return bytes.Equal(v, []byte{0xf1, 0x00, 0x74, 0x7e})
	}
	return true
}

// pxeWellFormed reports whether v is a list of sub-options, each as long as it
// has to be, with END as its last byte.
func pxeWellFormed(v []byte) bool {
	sizes := map[byte]int{1: 4, 2: 2, 3: 2, 4: 1, 5: 1, 6: 1, 7: 4, 71: 4}
	for len(v) > 0 {
		switch {
		case v[0] == end:
			return len(v) == 1
		case v[0] == pad:
			v = v[1:]
			continue
		case len(v) < 2 || len(v) < 2+int(v[1]):
			return false
		}
		code, inner := v[0], v[2:2+int(v[1])]
		if n, fixed := sizes[code]; fixed && len(inner) != n || code == 10 && len(inner) == 0 {
			return false
		}
		if code == 8 && !listed(inner, 4) || code == 9 && !listed(inner, 1) {
			return false
		}
		v = v[2+len(inner):]
	}
	return false
}

// listed reports whether v is a list of: a type of two bytes, a count, and that
// many things of a size.
func listed(v []byte, size int) bool {
	for len(v) > 0 {
		if len(v) < 3 || v[2] == 0 || len(v) < 3+int(v[2])*size {
			return false
		}
		v = v[3+int(v[2])*size:]
	}
	return true
}
