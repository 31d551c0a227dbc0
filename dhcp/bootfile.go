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
	// Options are sent whether the client asks for them or not, and replace
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
	for i := range len(f.Name) {
		if f.Name[i] < ' ' || f.Name[i] > '~' {
			return fmt.Errorf("dhcp: boot file name %q has a byte that is not printable ASCII", f.Name)
		}
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
		style := f.Style
		if style == 0 {
			style = r.Client.Style
		}
		addPXE(reply, style)
	case HTTPBoot:
		// Firmware ignores an offer without it (UEFI 2.10 section 24.7).
		reply.Options[60] = []byte(classHTTP)
	case IPXE:
		// iPXE waits two seconds for a proxy unless it is told that none comes.
		reply.Options[175] = []byte{ipxeNoPXEDHCP, 1, 1}
	}
	return mergeOptions(reply.Options, f.Options, nil)
}

const (
	pxeDiscoveryControl = 6   // sub-option of 43 (PXE 2.1 table 2-3)
	pxeUseBootFile      = 8   // its bit 3: no discovery, boot the file named here
	ipxeNoPXEDHCP       = 176 // sub-option of 175
)

// addPXE adds what PXE firmware takes as a sign that this offer is for it, see
// [QuirkTable] for who needs what.
func addPXE(reply *dhcpv4.DHCPv4, style Style) {
	if style&StyleClass != 0 {
		reply.Options[60] = []byte(classPXE)
	}
	if style&StyleDirect != 0 {
		reply.Options[43] = []byte{pxeDiscoveryControl, 1, pxeUseBootFile, optionEnd}
	}
}
