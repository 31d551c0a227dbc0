package dhcp

import (
	"bytes"
	"encoding/hex"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Kind is what a client is to a boot server.
type Kind int

const (
	// Plain clients do not boot over the network: operating systems, and the
	// DHCP client of an initramfs.
	Plain Kind = iota
	// PXE is firmware that boots a file by TFTP: BIOS option ROMs and UEFI.
	PXE
	// HTTPBoot is firmware that boots from a URL.
	HTTPBoot
	// IPXE is iPXE, in a ROM or loaded before: it runs a script.
	IPXE
	// UBoot is U-Boot, which reads the boot file from the header of a reply only
	// and fetches a menu in the language of pxelinux by itself. U-Boot that poses as
	// UEFI firmware, to be given an EFI program, is of Kind PXE.
	UBoot
)

// String returns "plain", "pxe", "httpboot", "ipxe" or "u-boot".
func (k Kind) String() string {
	switch k {
	case Plain:
		return "plain"
	case PXE:
		return "pxe"
	case HTTPBoot:
		return "httpboot"
	case IPXE:
		return "ipxe"
	case UBoot:
		return "u-boot"
	}
	return "unknown"
}

// Client is what a packet tells about the machine that sent it. The zero value
// is a plain client.
type Client struct {
	Kind Kind
	// Arch is the processor architecture (option 93); of a list the first that
	// has a name. It means nothing unless HasArch.
	Arch    Arch
	HasArch bool
	// UUID is the machine's (option 97) as its firmware shows it: canonical
	// text in lower case, "" if absent, ill-formed, all zeros or all ones.
	UUID string
	// VendorClass and UserClass are options 60 and 77 as sent, the former without
	// trailing NULs. They are the client's bytes: quote them before logging.
	VendorClass string
	UserClass   string
	// Features are what an iPXE says of itself; the zero Features for all others.
	Features Features
	// Style is how this client is told its boot file, by the quirks that apply
	// to it; [BootFile] may say otherwise, and from then on this is what it says:
	// the hooks Sending and Sent of [Trace] see what was done.
	Style Style
}

const (
	classPXE  = "PXEClient"
	classHTTP = "HTTPClient"
)

// classify reads what a packet tells. iPXE counts first: it also sends the
// vendor class of the firmware whose place it has taken. Whether firmware boots
// from a URL goes by its vendor class, which EDK2's HTTP driver always sends, and
// not by its architecture, so that a reply has the class that the client knows.
func classify(p *dhcpv4.DHCPv4) Client {
	c := Client{
		VendorClass: strings.TrimRight(string(p.Options.Get(dhcpv4.OptionClassIdentifier)), "\x00"),
		UserClass:   string(p.Options.Get(dhcpv4.OptionUserClassInformation)),
		UUID:        uuidText(p.Options.Get(dhcpv4.OptionClientMachineIdentifier)),
	}
	c.Arch, c.HasArch = archOf(p.Options.Get(dhcpv4.OptionClientSystemArchitectureType))
	features := featuresOf(p.Options.Get(dhcpv4.OptionEtherboot))
	switch {
	case userClassIs(c.UserClass, "iPXE") || features.Known:
		c.Kind, c.Features = IPXE, features
	case isUBoot(c):
		c.Kind = UBoot
	case strings.HasPrefix(c.VendorClass, classHTTP):
		c.Kind = HTTPBoot
	case strings.HasPrefix(c.VendorClass, classPXE):
		c.Kind = PXE
	}
	return c
}

// isUBoot goes by the vendor class, "U-Boot.armv8" and "U-boot.armv7.highbank"
// for two, and by the architecture, which boards may say without it. Older ones
// say the architecture 256, which nobody has registered.
func isUBoot(c Client) bool {
	return strings.HasPrefix(c.VendorClass, "U-Boot") || strings.HasPrefix(c.VendorClass, "U-boot") ||
		c.HasArch && c.Arch.Firmware() == FirmwareUBoot
}

// archOf reads option 93, a list of 16-bit types (RFC 4578 section 2.1).
func archOf(b []byte) (Arch, bool) {
	if len(b) == 0 || len(b)%2 != 0 {
		return 0, false
	}
	for i := 0; i < len(b); i += 2 {
		if a := Arch(b[i])<<8 | Arch(b[i+1]); a.known() {
			return a, true
		}
	}
	return Arch(b[0])<<8 | Arch(b[1]), true
}

// userClassIs accepts the form that iPXE sends, the bare text, and RFC 3004's
// list of length-prefixed texts.
func userClassIs(class, want string) bool {
	if strings.TrimRight(class, "\x00") == want {
		return true
	}
	for class != "" {
		n := int(class[0])
		if n == 0 || n >= len(class) {
			return false
		}
		if class[1:1+n] == want {
			return true
		}
		class = class[1+n:]
	}
	return false
}

// machineID returns option 97 if it is well formed, 17 bytes of type 0, and nil
// otherwise.
func machineID(b []byte) []byte {
	if len(b) != 17 || b[0] != 0 {
		return nil
	}
	return b
}

// uuidText writes option 97 as text. On the wire the first three fields are
// little-endian, as SMBIOS stores them.
func uuidText(option []byte) string {
	b := machineID(option)
	if b == nil || bytes.Count(b[1:], []byte{0}) == 16 || bytes.Count(b[1:], []byte{0xff}) == 16 {
		return ""
	}
	u := []byte{b[4], b[3], b[2], b[1], b[6], b[5], b[8], b[7], b[9], b[10], b[11], b[12], b[13], b[14], b[15], b[16]}
	h := hex.EncodeToString(u)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
