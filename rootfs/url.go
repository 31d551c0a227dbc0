package rootfs

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// safeByte reports whether c means nothing to a shell, also inside the eval of
// archiso's boot hooks, which run as root.
func safeByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("._~:/@%+=,[]-", c) >= 0
}

// unsafeByte returns the position of the first byte of s that safeByte
// refuses, or -1.
func unsafeByte(s string) int {
	for i := range len(s) {
		if !safeByte(s[i]) {
			return i
		}
	}
	return -1
}

// checkBase reports why boot code could not append file names to u. Its errors
// are halves of sentences that follow the URL.
func checkBase(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return errors.New(`must begin with "http://" or "https://"`)
	case u.User != nil:
		return errors.New("must not contain a user or password: boot code shows it on every screen")
	case u.RawQuery != "" || u.ForceQuery:
		return errors.New("must not contain a query, which boot code cuts off: put tokens in the path")
	case u.Fragment != "" || u.RawFragment != "":
		return errors.New("must not contain a fragment")
	case u.Opaque != "" || u.Host == "":
		return errors.New("must name a host")
	case !strings.HasPrefix(u.Path, "/") || !strings.HasSuffix(u.Path, "/"):
		return errors.New(`must end in "/", because boot code appends file names to it`)
	}
	if err := checkHost(u); err != nil {
		return err
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." {
			return fmt.Errorf("must not contain the path segment %q", segment)
		}
	}
	text := u.String()
	if i := unsafeByte(text); i >= 0 {
		return fmt.Errorf("must not contain %q: boot code passes the URL through a shell; percent-encode it or leave it out", text[i])
	}
	return nil
}

// checkHost checks the host and port of u.
func checkHost(u *url.URL) error {
	if strings.HasSuffix(u.Host, ":") {
		return errors.New("must not end its host in a colon: add the port or leave the colon out")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("must have a port from 1 to 65535, not %q", port)
		}
	}
	host := u.Hostname()
	addr, err := netip.ParseAddr(host)
	if err != nil {
		if !hostName(host) {
			return fmt.Errorf("must have an address or a host name of letters, digits and hyphens as its host, not %q", host)
		}
		return nil
	}
	switch {
	case addr.Zone() != "":
		return errors.New("must not have an address with a zone, which is this machine's own name for an interface")
	case addr.IsUnspecified() || addr.IsMulticast():
		return fmt.Errorf("must have the address of one machine as its host, not %s", addr)
	}
	return nil
}

// hostName reports whether s is a host name after RFC 1123 section 2.1. A name
// whose last label is a number is a mistyped address.
func hostName(s string) bool {
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
