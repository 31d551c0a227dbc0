package dhcp

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// BootFile is what a machine boots next.
type BootFile struct {
	// Name is the name of a file on the TFTP server, or an absolute URL. It has
	// at most 255 bytes of printable ASCII. UEFI HTTP Boot needs a URL; BIOS
	// and UEFI PXE cannot use one.
	Name string
	// ServerAddr is the TFTP server; zero: [Request.ServerAddr].
	ServerAddr netip.Addr
	// Style, if set, is how this machine is told, whatever its quirks say. It has
	// a meaning for clients of Kind PXE only.
	Style Style
	// Item is the type of PXE boot item that this is ([PXEServer]): at port 4011
	// a client that asks for another one gets no reply. 0 is what all ask for
	// that are not sent by a menu; see [Request.BootItem].
	Item uint16
	// Options are sent whether the client asks for them or not, but for 108 and
	// 114 (RFC 8925, RFC 8910), which are only if it does, and replace
	// what the server would send itself under the same codes: 43, 60, 66, 67
	// and 175 among them.
	Options []dhcpv4.Option
}

// check refuses what no client could read or what would be cut.
func (f *BootFile) check(c Client) error {
	if f.Name == "" {
		return errors.New("dhcp: boot file without a name; return nil for a machine that boots nothing from here")
	}
	if len(f.Name) > 255 {
		return fmt.Errorf("dhcp: boot file name of %d bytes; an option holds 255", len(f.Name))
	}
	if !printable(f.Name) {
		return fmt.Errorf("dhcp: boot file name %q has a byte that is not printable ASCII", f.Name)
	}
	if c.Kind == UBoot && len(f.Name) >= fileLen {
		return fmt.Errorf("dhcp: boot file name of %d bytes; U-Boot reads it from the header, which holds %d", len(f.Name), fileLen-1)
	}
	if c.Kind == HTTPBoot && !isURL(f.Name) {
		return fmt.Errorf("dhcp: boot file %q for UEFI HTTP Boot is not an absolute URL", f.Name)
	}
	if f.ServerAddr.IsValid() && !f.ServerAddr.Is4() {
		return fmt.Errorf("dhcp: TFTP server %s is not an IPv4 address", f.ServerAddr)
	}
	return nil
}

func isURL(name string) bool {
	u, err := url.Parse(name)
	return err == nil && u.Scheme != "" && u.Host != ""
}

// addBootFile puts a boot file into a reply, in all the places where clients
// look: the header and option 67, siaddr and option 66.
func addBootFile(reply *dhcpv4.DHCPv4, r *Request, f *BootFile) error {
	if err := f.check(r.Client); err != nil {
		return err
	}
	if f.ServerAddr.IsValid() {
		reply.ServerIPAddr = f.ServerAddr.AsSlice()
	}
	if len(f.Name) < fileLen {
		reply.BootFileName = f.Name
	}
	reply.Options[67] = []byte(f.Name)
	if !isURL(f.Name) {
		reply.ServerHostName = reply.ServerIPAddr.String()
		reply.Options[66] = []byte(reply.ServerHostName)
	}
	switch r.Client.Kind {
	case PXE:
		if err := addPXE(reply, r.Client.Style); err != nil {
			return err
		}
	case HTTPBoot:
		// Firmware ignores an offer without it (UEFI 2.10 section 24.7).
		reply.Options[60] = []byte(classHTTP)
	case IPXE:
		if addrOf(reply.YourIPAddr).IsValid() {
			// iPXE waits two seconds for a proxy unless whoever gives the
			// address tells it that none comes.
			reply.Options[175] = []byte{ipxeNoPXEDHCP, 1, 1}
		}
	}
	return mergeOptions(reply.Options, f.Options, unforbidden(r))
}

const ipxeNoPXEDHCP = 176 // sub-option of 175

// raspberryPi is a menu of one item, which the ROM of a Raspberry Pi looks for
// by its text; it then fetches what it wants by names of its own.
const raspberryPi = "\x06\x01\x03" + "\x0a\x04\x00PXE" + "\x09\x14\x00\x00\x11Raspberry Pi Boot" + "\xff"

// addPXE adds what PXE firmware takes as a sign that this offer is for it, see
// [QuirkTable] for who needs what.
func addPXE(reply *dhcpv4.DHCPv4, style Style) error {
	if style&(StyleClass|StyleRaspberryPi) != 0 {
		reply.Options[60] = []byte(classPXE)
	}
	switch {
	case style&StyleRaspberryPi != 0:
		reply.Options[43] = []byte(raspberryPi)
	case style&StyleDirect != 0:
		reply.Options[43] = []byte{pxeDiscoveryControl, 1, byte(PXEUseBootFile), optionEnd}
	}
	if style&StyleNUL != 0 {
		if reply.Options[67] = append(reply.Options[67], 0); len(reply.Options[67]) > 255 {
			return errors.New("dhcp: the boot file name has no room for the NUL of StyleNUL; an option holds 255 bytes")
		}
	}
	return nil
}

// addResolver adds DNS servers, asked for or not, to the reply to UEFI HTTP Boot
// whose URL has a host name (UEFI 2.10 section 24.7): firmware takes them from
// the same offer or fails without a word.
func addResolver(reply *dhcpv4.DHCPv4, r *Request, f *BootFile) error {
	if r.Client.Kind != HTTPBoot || len(reply.Options[6]) > 0 {
		return nil
	}
	u, err := url.Parse(f.Name)
	if err != nil {
		return err // cannot be: it was checked
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil {
		return nil
	}
	if len(r.Network.DNS) == 0 {
		return fmt.Errorf("dhcp: UEFI HTTP Boot needs a DNS server for the host name %q; set Network.DNS, or name the host by its address", u.Hostname())
	}
	reply.Options[6] = joinAddrs(r.Network.DNS)
	return nil
}
