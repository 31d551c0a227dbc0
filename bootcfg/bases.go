package bootcfg

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Bases are the URLs below which a machine's loader finds files: the name of a
// file is appended to one of them. Each is absolute, ends in "/" and has
// neither user, query nor fragment; nil means that files are not served that
// way. At least one is needed. HTTP may be "http" or "https", TFTP is "tftp".
//
// Give addresses rather than host names: loaders resolve names badly or not at
// all.
type Bases struct {
	HTTP, TFTP *url.URL
}

// checkBase accepts one of the bases.
func checkBase(u *url.URL, schemes ...string) flaw {
	known := false
	for _, s := range schemes {
		known = known || u.Scheme == s
	}
	switch {
	case !known:
		return flaw{"has the wrong scheme", "use " + strings.Join(schemes, " or ")}
	case !isHost(u.Hostname()) || !isPort(u.Port()) || u.Opaque != "":
		return flaw{"has no usable host", "give the server's address, and a port if it is not the standard one"}
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return flaw{"has a user, a query or a fragment", "put tokens into the path"}
	case !strings.HasSuffix(u.Path, "/"):
		return flaw{"does not end in a slash", "append one: names are put right behind it"}
	}
	return flaw{}
}

// isHost accepts IP addresses and the letters of host names.
func isHost(s string) bool {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Zone() == "" && !a.IsUnspecified()
	}
	for i := 0; i < len(s); i++ {
		if !isAlnum(s[i]) && s[i] != '.' && s[i] != '-' {
			return false
		}
	}
	return s != "" && len(s) < 254 && isAlnum(s[0])
}

// isPort accepts a port number, and none at all.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return s == "" || err == nil && n > 0
}

// fileURL returns the URL of a file below base, in characters that no loader
// gives a meaning: letters, digits, "-._~", "%" and the URL's own punctuation.
func fileURL(base *url.URL, name string) string {
	return base.Scheme + "://" + base.Host + escapePath(base.Path) + escapePath(name)
}

// escapePath percent-encodes all but unreserved characters (RFC 3986, section
// 2.3) and slashes. Characters that a URL might keep as they are, such as ',',
// separate names in a loader's configuration.
func escapePath(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if isAlnum(c) || strings.IndexByte("-._~/", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}
