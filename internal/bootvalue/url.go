package bootvalue

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// CheckBase accepts URLs of one of the schemes that file names can be put right
// behind. Its path may have any characters: whoever writes it out escapes it, or
// checks it with [CheckSafe].
func CheckBase(u *url.URL, schemes ...string) Flaw {
	if !slices.Contains(schemes, u.Scheme) {
		return Flaw{"has the wrong scheme", "use " + strings.Join(schemes, " or ")}
	}
	if f := CheckURL(u); !f.OK() {
		return f
	}
	if !strings.HasSuffix(u.Path, "/") {
		return Flaw{"does not end in a slash", "append one: boot code puts names right behind it"}
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." {
			return Flaw{fmt.Sprintf("has the path segment %q", segment), "write the path without it"}
		}
	}
	return Flaw{}
}

// CheckURL accepts URLs of any scheme that consist of a usable host and a path.
// The path begins with a slash: put together without one, it would become part
// of the host.
func CheckURL(u *url.URL) Flaw {
	switch {
	case u.Opaque != "" || u.Host == "":
		return Flaw{"has no usable host", `give the server's address, behind "//"`}
	case u.User != nil:
		return Flaw{"has a user in it, for everybody at the machine to read", "put tokens in the path"}
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.RawFragment != "":
		return Flaw{"has a query or a fragment, which boot code cuts off", "put tokens in the path"}
	case !strings.HasPrefix(u.Path, "/"):
		return Flaw{"has no path that begins with a slash", "put one behind the host"}
	}
	return checkHost(u)
}

// checkHost accepts the host and port of u: an address of one machine or a host
// name, and a port or none.
func checkHost(u *url.URL) Flaw {
	host, port := u.Hostname(), u.Port()
	n, err := strconv.ParseUint(port, 10, 16)
	if port != "" && (err != nil || n == 0) {
		return Flaw{"has no usable host: its port is " + strconv.Quote(port), "use a port from 1 to 65535"}
	}
	written := host
	if addr, err := netip.ParseAddr(host); err == nil {
		if f := CheckAddr(addr); !f.OK() {
			return Flaw{"has no usable host: it " + f.Problem, f.Remedy}
		}
		if addr.Is6() {
			written = "[" + host + "]"
		}
	} else if !isHostName(host) {
		return Flaw{"has no usable host", "give the server's address, or a name of letters, digits and hyphens"}
	}
	if port != "" {
		written += ":" + port
	}
	if u.Host != written {
		return Flaw{"has no usable host", "write it as " + strconv.Quote(written)}
	}
	return Flaw{}
}

// CheckAddr accepts the address of one machine.
func CheckAddr(addr netip.Addr) Flaw {
	switch plain := addr.Unmap(); {
	case addr.Zone() != "":
		return Flaw{"has a zone, which is this machine's own name for an interface", "use an address without one"}
	case !plain.IsValid(), plain.IsUnspecified(), plain.IsMulticast(), plain == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return Flaw{"is not the address of one machine", "give the server's own"}
	}
	return Flaw{}
}

// isHostName accepts host names after RFC 1123 section 2.1. A name whose last
// label is a number is a mistyped address.
func isHostName(s string) bool {
	if len(s) > 253 {
		return false
	}
	labels := strings.Split(s, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' {
				continue
			}
			return false
		}
	}
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}
