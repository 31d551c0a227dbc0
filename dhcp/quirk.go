package dhcp

import (
	"slices"
	"strings"
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
	// StyleNUL ends the name in option 67 with a NUL byte.
	StyleNUL
)

// Quirk says how clients are treated that its first fields describe.
type Quirk struct {
	// The clients: those of Kind PXE for which all holds that is set. Arches are
	// the architectures that they send; VendorClass is what their option 60
	// begins with, case-sensitive; OUI what their hardware address begins with,
	// as "b8:27:eb".
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

// QuirkTable returns what is known of firmware, the special before the general;
// the caller may change it. The first row that matches counts.
func QuirkTable() []Quirk {
	return []Quirk{
		{Arches: []Arch{ArchBIOS}, Style: StyleClass | StyleDirect,
			Reason: "a BIOS ROM takes an offer for its own by the vendor class, and searches for boot servers unless told not to"},
		{Style: StyleAsk4011,
			Reason: "UEFI (EDK2) takes an offer with the vendor class but without discovery options for one of a BINL server, " +
				"whatever file it names, and asks port 4011; one without the class is plain DHCP with a boot file; " +
				"several firmwares stumble over option 43"},
	}
}

// quirkOf returns the first of the rows that matches, the zero Quirk if none does.
func quirkOf(rows []Quirk, c Client, hw string) Quirk {
	arch := ArchBIOS // who does not tell is older than the option
	if c.HasArch {
		arch = c.Arch
	}
	for _, q := range rows {
		if (len(q.Arches) == 0 || slices.Contains(q.Arches, arch)) &&
			strings.HasPrefix(c.VendorClass, q.VendorClass) && strings.HasPrefix(hw, strings.ToLower(q.OUI)) {
			return q
		}
	}
	return Quirk{}
}
