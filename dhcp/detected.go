package dhcp

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Detected is a server that [Detect] has found. All but Source is what the
// server says of itself.
type Detected struct {
	// ServerID is the address by which the server identifies itself (option 54),
	// or that of Source where it does not.
	ServerID netip.Addr
	// Source is where its first answer came from, a relay's address if one was
	// between.
	Source netip.AddrPort
	// Relay is the relay's address on this segment (giaddr); zero for a server on
	// the segment itself.
	Relay netip.Addr
	// DHCP says that it gives out addresses, and Addr is one that it offered.
	DHCP bool
	Addr netip.Addr
	// PXE says that it tells PXE machines what to boot, and HTTPBoot that it tells
	// those that boot by UEFI HTTP Boot. One that does so and gives no addresses is
	// a proxyDHCP server.
	PXE      bool
	HTTPBoot bool
	// BootFile is the name or the URL that it tells, to BIOS machines if it tells
	// them one, and NextServer the host that has it. "" where machines shall ask
	// again at port 4011. The name is the server's bytes, 255 at most: quote it
	// before logging.
	BootFile   string
	NextServer netip.Addr

	// rank is the probe that BootFile was told to.
	rank int
}

// String says it for people: "192.0.2.9 gives out addresses and boot files
// ("pxelinux.0" from 192.0.2.9)". The boot file is quoted.
func (d Detected) String() string {
	var gives []string
	if d.DHCP {
		gives = append(gives, "addresses")
	}
	if d.PXE || d.HTTPBoot {
		gives = append(gives, "boot files")
	}
	if gives == nil {
		gives = []string{"nothing"}
	}
	text := fmt.Sprintf("%s gives out %s", d.ServerID, strings.Join(gives, " and "))
	switch {
	case d.BootFile != "" && d.NextServer.IsValid():
		text += fmt.Sprintf(" (%+q from %s)", d.BootFile, d.NextServer)
	case d.BootFile != "":
		text += fmt.Sprintf(" (%+q)", d.BootFile)
	}
	if d.Relay.IsValid() {
		text += fmt.Sprintf(" through the relay %s", d.Relay)
	}
	return text
}

// add notes what an offer says that answers the probe of this rank.
func (d *Detected) add(p *dhcpv4.DHCPv4, kind Kind, rank int) {
	if a := addrOf(p.YourIPAddr); a.IsValid() && !d.DHCP {
		d.DHCP, d.Addr = true, a
	}
	if a := addrOf(p.GatewayIPAddr); a.IsValid() {
		d.Relay = a
	}
	class := string(p.Options.Get(dhcpv4.OptionClassIdentifier))
	file := fileOf(p)
	switch kind {
	case PXE:
		// Firmware takes any of the three for a sign.
		if strings.HasPrefix(class, classPXE) || p.Options.Has(dhcpv4.OptionVendorSpecificInformation) || file != "" {
			d.PXE = true
		}
	case HTTPBoot:
		// Without the class firmware ignores it (UEFI 2.10 section 24.7).
		if !strings.HasPrefix(class, classHTTP) {
			return
		}
		d.HTTPBoot = true
	}
	if file != "" && rank < d.rank {
		d.rank, d.BootFile, d.NextServer = rank, file, addrOf(p.ServerIPAddr)
		if a, err := netip.ParseAddr(text(p.Options.Get(dhcpv4.OptionTFTPServerName))); err == nil && a.Is4() && !d.NextServer.IsValid() {
			d.NextServer = a
		}
	}
}

// fileOf is the boot file of a reply: option 67, else the header's.
func fileOf(p *dhcpv4.DHCPv4) string {
	file := text(p.Options.Get(dhcpv4.OptionBootfileName))
	if file == "" {
		file = text([]byte(p.BootFileName))
	}
	return file[:min(len(file), 255)]
}

// text is an option's text without the NUL that some servers end it with.
func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}
