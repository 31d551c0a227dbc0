package tftp

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// normalise makes a relative slash-separated path of the name a client sent, or
// refuses it. What it returns satisfies fs.ValidPath, is not ".", holds no
// control characters and names no device, drive or share of Windows, so that
// the same request means the same file on every system.
func normalise(name string) (string, bool) {
	// Some ROMs take the option that ends their DHCP packet for the end of the
	// file name.
	for name != "" && name[len(name)-1] == 0xff {
		name = name[:len(name)-1]
	}
	if !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return "", false
	}
	if strings.HasPrefix(name, `\\`) {
		return "", false // UNC; //, which loaders make of "/" + "/name", is none
	}
	name = strings.ReplaceAll(name, `\`, "/")
	if name == "" || strings.HasSuffix(name, "/") {
		return "", false // a directory
	}
	var path strings.Builder
	for segment := range strings.SplitSeq(name, "/") {
		if segment == "" || segment == "." {
			continue
		}
		if !plain(segment) {
			return "", false
		}
		if path.Len() > 0 {
			path.WriteByte('/')
		}
		path.WriteString(segment)
	}
	return path.String(), path.Len() > 0
}

// plain reports whether one segment of a path means nothing but a name.
func plain(segment string) bool {
	// "..", and what old systems made of "...", ".. " and the like.
	if strings.Trim(segment, ". ") == "" {
		return false
	}
	if len(segment) >= 2 && segment[1] == ':' && isLetter(segment[0]) {
		return false // a drive
	}
	return !isDevice(segment)
}

// isDevice reports whether Windows takes segment for a device, which it does
// whatever the extension.
func isDevice(segment string) bool {
	base, _, _ := strings.Cut(segment, ".")
	base, _, _ = strings.Cut(base, ":")
	base = lower(strings.TrimRight(base, " "))
	switch base {
	case "con", "prn", "aux", "nul", "conin$", "conout$":
		return true
	}
	if rest, ok := strings.CutPrefix(base, "com"); ok {
		return isPort(rest)
	}
	rest, ok := strings.CutPrefix(base, "lpt")
	return ok && isPort(rest)
}

// isPort reports whether s is a digit as Windows counts ports, superscripts
// included.
func isPort(s string) bool {
	switch s {
	case "\u00b9", "\u00b2", "\u00b3":
		return true
	}
	return len(s) == 1 && '0' <= s[0] && s[0] <= '9'
}

func isLetter(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
