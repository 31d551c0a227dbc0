package dhcp

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Style says how a boot file is told to PXE firmware ([Kind] PXE), of which some
// stumbles over what other needs. Styles are combined with |.
type Style uint8

const (
	// StylePlain is nothing beyond the boot file itself.
	StylePlain Style = 1 << iota
	// StyleClass says PXEClient in option 60 also where we give the address. A
	// proxy always says it.
	StyleClass
	// StyleDirect says in option 43 that the boot file is to be used directly,
	// without a search for boot servers.
	StyleDirect
	// StyleAsk4011 leaves the boot file out of a proxy's OFFER: the firmware asks
	// for it at port 4011.
	StyleAsk4011
	// StyleRaspberryPi sends the boot menu in option 43 without which the ROM of a
	// Raspberry Pi does not go on.
	StyleRaspberryPi
	// StyleNUL ends the name in option 67 with a NUL byte. Firmware of the years
	// around 2010 reads on until it finds one, and asks for a name with rubbish
	// at its end; nothing in its packets tells it from other.
	StyleNUL
)

// styleNames are the names of the styles, by bit.
var styleNames = [...]string{"plain", "class", "direct", "ask-4011", "raspberry-pi", "nul"}

// String returns the names of the styles joined with +, such as "class+direct",
// and "none" for the zero Style.
func (s Style) String() string {
	var names []string
	for i, name := range styleNames {
		if s&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if unknown := s >> len(styleNames) << len(styleNames); unknown != 0 {
		names = append(names, fmt.Sprintf("%#x", uint8(unknown)))
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, "+")
}

// Quirk says how clients are treated that its first fields describe.
type Quirk struct {
	// The clients: those of Kind PXE for which all holds that is set. Arches are
	// the architectures that they send; VendorClass is what their option 60
	// begins with, case-sensitive; OUI what their hardware address begins with,
	// at least its first three bytes, in any of the forms "b8:27:eb", "B8-27-EB",
	// "b827.eb" and "b827eb".
	Arches      []Arch
	VendorClass string
	OUI         string
	// Style is how they are told their boot file.
	Style Style
	// As, unless nil, is the architecture that they are taken for.
	As *Arch
	// Reason says why, for people who wonder.
	Reason string
}

// Validate reports what is wrong with the quirk: an OUI that is none, or a Style
// that does not exist. A quirk with such an OUI matches no client.
func (q Quirk) Validate() error {
	var errs []error
	if _, ok := normalOUI(q.OUI); !ok {
		errs = append(errs, fmt.Errorf("dhcp: quirk: OUI %q is not the first three to six bytes of a hardware address, such as \"b8:27:eb\"", q.OUI))
	}
	if q.Style>>len(styleNames) != 0 {
		errs = append(errs, fmt.Errorf("dhcp: quirk: there is no Style %s", q.Style))
	}
	return errors.Join(errs...)
}

// normalOUI returns the hexadecimal digits of an OUI in lower case. Blocks of 28
// and 36 bits, which are sold too, end in the middle of a byte.
func normalOUI(s string) (digits string, ok bool) {
	if s == "" {
		return "", true
	}
	digits = strings.ToLower(strings.NewReplacer(":", "", "-", "", ".", "").Replace(s))
	ok = len(digits) >= 6 && len(digits) <= 12 && strings.Trim(digits, "0123456789abcdef") == ""
	return digits, ok
}

// QuirkTable returns what is known of firmware, the special before the general;
// the caller may change it. The first row that matches counts.
func QuirkTable() []Quirk {
	pi := ArchRPiBoot
	var rows []Quirk
	for _, oui := range raspberryPiOUIs() {
		// Only what its ROM and EEPROM send: a Raspberry Pi may also run UEFI.
		rows = append(rows, Quirk{Arches: []Arch{ArchBIOS}, VendorClass: "PXEClient", OUI: oui, Style: StyleClass | StyleRaspberryPi, As: &pi,
			Reason: "a Raspberry Pi says that it is x86 BIOS, takes an offer by the vendor class and the words \"Raspberry Pi Boot\" in option 43, " +
				"and fetches files by names of its own"})
	}
	return append(rows,
		Quirk{Arches: []Arch{ArchRPiBoot}, Style: StyleClass | StyleRaspberryPi,
			Reason: "a Raspberry Pi that says what it is, as it does over IPv6 already"},
		Quirk{Arches: []Arch{ArchBIOS}, Style: StyleClass | StyleDirect,
			Reason: "a BIOS ROM takes an offer for its own by the vendor class, and searches for boot servers unless told not to"},
		Quirk{Style: StyleAsk4011,
			Reason: "UEFI (EDK2) takes an offer with the vendor class but without discovery options for one of a BINL server, " +
				"whatever file it names, and asks port 4011; one without the class is plain DHCP with a boot file; " +
				"several firmwares stumble over option 43"},
	)
}

// raspberryPiOUIs are the blocks of hardware addresses that the IEEE has given to
// Raspberry Pi Ltd and to the Raspberry Pi Foundation.
func raspberryPiOUIs() []string {
	return []string{"b8:27:eb", "dc:a6:32", "e4:5f:01", "28:cd:c1", "d8:3a:dd", "2c:cf:67", "88:a2:9e"}
}

// quirks are the rows that a server goes by, made once since every packet of
// firmware is looked up. The zero value is ready.
type quirks struct {
	once sync.Once
	rows []Quirk // OUIs are normal, and those that are none left out
}

// of returns the first row that matches, of own and then of the table, and the
// zero Quirk if none does. own is looked at in the first call only.
func (t *quirks) of(own []Quirk, c Client, hw []byte) Quirk {
	t.once.Do(func() { t.rows = compile(slices.Concat(own, QuirkTable())) })
	return quirkOf(t.rows, c, hw)
}

func compile(rows []Quirk) []Quirk {
	var compiled []Quirk
	for _, q := range rows {
		var ok bool
		if q.OUI, ok = normalOUI(q.OUI); ok {
			compiled = append(compiled, q)
		}
	}
	return compiled
}

func quirkOf(rows []Quirk, c Client, hw []byte) Quirk {
	arch := ArchBIOS // who does not tell is older than the option
	if c.HasArch {
		arch = c.Arch
	}
	for _, q := range rows {
		if (len(q.Arches) == 0 || slices.Contains(q.Arches, arch)) &&
			strings.HasPrefix(c.VendorClass, q.VendorClass) && hasDigits(hw, q.OUI) {
			return q
		}
	}
	return Quirk{}
}

// hasDigits reports whether a hardware address begins with these hexadecimal
// digits.
func hasDigits(hw []byte, digits string) bool {
	const hex = "0123456789abcdef"
	if len(digits) > 2*len(hw) {
		return false
	}
	for i := range len(digits) {
		nibble := hw[i/2] >> 4
		if i%2 == 1 {
			nibble = hw[i/2] & 15
		}
		if digits[i] != hex[nibble] {
			return false
		}
	}
	return true
}
