package dhcp

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// The functions below make the options of RFC 5071, with which PXELINUX is told
// where its configuration is; U-Boot heeds [PXELinuxConfigFile] too. They are for
// [BootFile.Options], so that they go to the machine that loads PXELINUX.

// PXELinuxMagic is option 208. PXELINUX before 3.55 heeds the others only where
// it is sent too.
func PXELinuxMagic() dhcpv4.Option {
	return dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(208), []byte{0xf1, 0x00, 0x74, 0x7e})
}

// PXELinuxConfigFile is option 209, the one configuration file that is read in
// place of pxelinux.cfg/… The name is relative to the path prefix. lpxelinux.0
// also takes a URL. It has 1 to 255 bytes of printable ASCII.
func PXELinuxConfigFile(name string) (dhcpv4.Option, error) {
	return pxelinuxText(209, "configuration file", name)
}

// PXELinuxPathPrefix is option 210, which is put in front of every file name as
// it is: a directory ends with a slash. lpxelinux.0 also takes a URL. It has 1 to
// 255 bytes of printable ASCII.
func PXELinuxPathPrefix(prefix string) (dhcpv4.Option, error) {
	return pxelinuxText(210, "path prefix", prefix)
}

// PXELinuxRebootTime is option 211: how long PXELINUX waits before it restarts
// the machine when it finds no configuration. It is a whole number of seconds,
// from one up to 136 years.
func PXELinuxRebootTime(d time.Duration) (dhcpv4.Option, error) {
	if d < time.Second || d%time.Second != 0 || d/time.Second > math.MaxUint32 {
		return dhcpv4.Option{}, fmt.Errorf("dhcp: reboot time %s is not a whole number of seconds from 1 to %d", d, uint32(math.MaxUint32))
	}
	return dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(211), binary.BigEndian.AppendUint32(nil, uint32(d/time.Second))), nil
}

// pxelinuxText makes an option of text that PXELINUX puts into file names.
func pxelinuxText(code uint8, what, text string) (dhcpv4.Option, error) {
	if len(text) == 0 || len(text) > 255 {
		return dhcpv4.Option{}, fmt.Errorf("dhcp: PXELINUX %s of %d bytes; an option holds 1 to 255", what, len(text))
	}
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return dhcpv4.Option{}, fmt.Errorf("dhcp: PXELINUX %s %q has a byte that is not printable ASCII", what, text)
		}
	}
	return dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(code), []byte(text)), nil
}
