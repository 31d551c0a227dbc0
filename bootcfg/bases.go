package bootcfg

import (
	"net/url"
	"strings"
)

// Bases are the URLs below which a machine's loader finds files: the name of a
// file is appended to one of them. Each is absolute, has a host and a path that
// begins and ends with "/", and neither user, query, fragment nor the path
// segments "." and ".."; nil means that files are not served that way. At least
// one is needed. HTTP may be "http" or "https", TFTP is "tftp".
//
// Give addresses rather than host names: loaders resolve names badly or not at
// all.
type Bases struct {
	HTTP, TFTP *url.URL
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
