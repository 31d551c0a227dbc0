package dhcp

import (
	"errors"
	"fmt"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// mergeOptions puts from into o, replacing what has the same code. Only codes
// that want says yes to are taken.
func mergeOptions(o dhcpv4.Options, from []dhcpv4.Option, want func(uint8) bool) error {
	for _, option := range from {
		v, err := optionValue(option)
		if err != nil {
			return err
		}
		if code := option.Code.Code(); want(code) {
			o[code] = v
		}
	}
	return nil
}

// optionValue encodes and checks an option that an embedder gave us.
func optionValue(option dhcpv4.Option) (v []byte, err error) {
	if option.Code == nil || option.Value == nil {
		return nil, fmt.Errorf("dhcp: option %v has no code or no value", option.Code)
	}
	code := option.Code.Code()
	// The codec panics on an address that is not IPv4, in a classless route for
	// one. That is a mistake in a configuration, not a reason to end a server.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("dhcp: option %d cannot be encoded: %v", code, p)
		}
	}()
	v = option.Value.ToBytes()
	return v, checkOption(code, v)
}

// checkOption refuses options that the server makes itself, and values that no
// client can read or that would harm it.
func checkOption(code uint8, v []byte) error {
	switch code {
	case 116:
		// RFC 2563: without an address only, and then there is no reply.
		return errors.New("dhcp: option 116 (auto-configure) is never sent: each client that gets a reply gets an address")
	case optionPad, optionEnd, 1, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 61, 82, 97, 118:
		return fmt.Errorf("dhcp: option %d is the server's own; it follows from the lease, the network or the request", code)
	case 43, 60, 67:
		if len(v) > 255 {
			return fmt.Errorf("dhcp: option %d has %d bytes; firmware reads 255", code, len(v))
		}
	case 3, 6:
		if len(v)%4 != 0 {
			return fmt.Errorf("dhcp: option %d is not a list of IPv4 addresses", code)
		}
	case 12, 15, 40:
		// An initramfs sources these into a shell.
		if err := checkDomain(string(v)); err != nil {
			return fmt.Errorf("dhcp: option %d: %w", code, err)
		}
	case 17:
		if i := strings.IndexFunc(string(v), notURLByte); i >= 0 {
			return fmt.Errorf("dhcp: option 17 (root path) %q has a character that a boot script could take for more than text", v)
		}
	case 119:
		if err := checkSearchList(v); err != nil {
			return err
		}
	case 121, 249: // 249 is Microsoft's number for the same
		if err := checkRoutes(v); err != nil {
			return fmt.Errorf("dhcp: option %d (classless routes): %w", code, err)
		}
	}
	// RFC 2132 section 2. A boot file may have one, see StyleNUL.
	if isText(code) && len(v) > 0 && v[len(v)-1] == 0 {
		return fmt.Errorf("dhcp: option %d is text and ends with a NUL; leave it out", code)
	}
	if len(v) == 0 && code != 80 {
		return fmt.Errorf("dhcp: option %d is empty", code)
	}
	return nil
}

// checkDomain accepts letters, digits, hyphens and dots, and labels of 1 to 63
// characters, 255 in all.
func checkDomain(name string) error {
	if len(name) > 255 {
		return fmt.Errorf("name of %d bytes is longer than 255", len(name))
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if label == "" || len(label) > 63 {
			return fmt.Errorf("name %q has a label of %d characters", name, len(label))
		}
		if strings.IndexFunc(label, notLDH) >= 0 || label[0] == '-' || label[len(label)-1] == '-' {
			return fmt.Errorf("name %q has characters other than letters, digits and inner hyphens", name)
		}
	}
	return nil
}

// checkSearchList accepts option 119 without compression (RFC 3397).
func checkSearchList(v []byte) error {
	for len(v) > 0 {
		n := int(v[0])
		if n > 63 || 1+n > len(v) {
			return errors.New("dhcp: option 119 (search list) is compressed or cut")
		}
		if strings.IndexFunc(string(v[1:1+n]), notLDH) >= 0 {
			return errors.New("dhcp: option 119 (search list) has characters other than letters, digits and hyphens")
		}
		v = v[1+n:]
	}
	return nil
}

// checkRoutes accepts option 121 (RFC 3442): for each route the length of its
// prefix, just the bytes that this makes significant, and a router.
func checkRoutes(v []byte) error {
	for len(v) > 0 {
		width := int(v[0])
		if width > 32 {
			return fmt.Errorf("a prefix of %d bits", width)
		}
		n := (width + 7) / 8
		if len(v) < 1+n+4 {
			return errors.New("the last route is cut")
		}
		if spare := n*8 - width; spare > 0 && v[n]&(1<<spare-1) != 0 {
			return fmt.Errorf("a destination with bits beyond the %d of its prefix", width)
		}
		v = v[1+n+4:]
	}
	return nil
}

// isText reports whether an option is text in the specification of its code.
func isText(code uint8) bool {
	switch code {
	case 12, 14, 15, 17, 18, 40, 64, 66, 100, 101, 114, 209, 210:
		return true
	}
	return false
}

func notLDH(c rune) bool {
	return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-')
}

func notURLByte(c rune) bool { return notLDH(c) && !strings.ContainsRune("._~:/@%+=,[]", c) }
