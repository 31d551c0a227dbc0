package bootcfg

import "net/netip"

// probeIdentity tells what part of a configuration's name says about a machine:
// its UUID, its hardware address, or its IPv4 address in hexadecimal with digits
// left out at the end. The names are those of pxelinux, which GRUB and U-Boot
// took over.
func probeIdentity(s string) (Probe, bool) {
	switch {
	case len(s) == 36 && isForm(s, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"):
		return Probe{UUID: s}, true
	case len(s) == 20 && isForm(s, "01-xx-xx-xx-xx-xx-xx"):
		hw := make([]byte, 6)
		for i := range hw {
			hw[i] = hexValue(s[3*i+3])<<4 | hexValue(s[3*i+4])
		}
		return Probe{HardwareAddr: hw}, true
	case len(s) >= 1 && len(s) <= 8 && isForm(s, "XXXXXXXX"[:len(s)]):
		var a [4]byte
		for i := range len(s) {
			a[i/2] |= hexValue(s[i]) << (4 - i%2*4)
		}
		addr := netip.AddrFrom4(a)
		if len(s) == 8 {
			return Probe{Addr: addr}, true
		}
		return Probe{Prefix: netip.PrefixFrom(addr, 4*len(s))}, true
	}
	return Probe{}, false
}

// isForm tells whether s, of the same length, has a lower-case hexadecimal
// digit for each 'x' of form, an upper-case one for each 'X', and else form's
// own characters.
func isForm(s, form string) bool {
	for i := 0; i < len(s); i++ {
		c, digit := s[i], s[i] >= '0' && s[i] <= '9'
		switch form[i] {
		case 'x':
			if !digit && (c < 'a' || c > 'f') {
				return false
			}
		case 'X':
			if !digit && (c < 'A' || c > 'F') {
				return false
			}
		default:
			if c != form[i] {
				return false
			}
		}
	}
	return true
}

// hexValue returns the value of a hexadecimal digit.
func hexValue(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}
