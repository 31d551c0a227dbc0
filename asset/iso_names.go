package asset

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// plainName maps an ISO 9660 identifier as Linux does: lower case, no version,
// no trailing dot.
func plainName(ident []byte) string {
	s := strings.TrimSuffix(withoutVersion(string(ident)), ".")
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, text([]byte(s)))
}

// jolietName decodes UCS-2 (UTF-16 in practice), big endian.
func jolietName(ident []byte) string {
	units := make([]uint16, len(ident)/2)
	for i := range units {
		units[i] = uint16(ident[2*i])<<8 | uint16(ident[2*i+1])
	}
	return withoutVersion(string(utf16.Decode(units)))
}

// withoutVersion removes a file version such as ";1".
func withoutVersion(s string) string {
	stem, version, ok := strings.Cut(s, ";")
	if !ok || strings.Trim(version, "0123456789") != "" {
		return s
	}
	return stem
}

// text makes a name a valid one: fs.FS knows UTF-8 only, and what is no UTF-8
// on media of this age is mostly Latin-1.
func text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return latin1(b)
}

func latin1(b []byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}

// validElement reports whether name can be an element of a path. What cannot
// is an attempt to get somewhere else, or damage.
func validElement(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= maxName && !strings.ContainsAny(name, "/\x00")
}

// compareFold orders names by their ASCII lower case and says how.
func compareFold(a, b string) int {
	for i := range min(len(a), len(b)) {
		x, y := lower(a[i]), lower(b[i])
		if x != y {
			return int(x) - int(y)
		}
	}
	return len(a) - len(b)
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
