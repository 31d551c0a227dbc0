package dhcp

import "fmt"

// Features are what an iPXE says of itself in option 175: what was built into
// it. Scripts and menus may rely on them. The zero value is an iPXE that says
// nothing, of which nothing is known, see Known.
type Features struct {
	// Known says that the client sent option 175. Otherwise the rest is unset, and
	// an iPXE is best taken for a common one, that has HTTP and TFTP.
	Known bool
	// Version is iPXE's, such as "1.21.1"; "" if it does not tell.
	Version string
	// Bus is the network card's bus and IDs: "pci 8086:100e", or "bus 7 …" with
	// the number of another type of bus in iPXE's list. "" if it does not tell.
	Bus string

	// The protocols by which it fetches files.
	HTTP, HTTPS, TFTP, FTP, NFS bool
	// DNS says that URLs may have host names.
	DNS bool
	// ISCSI, AoE and FCoE are the protocols of disks that it can attach.
	ISCSI, AoE, FCoE bool
	// VLAN says that it can make VLAN interfaces.
	VLAN bool
	// Menu says that scripts may have the commands menu, item and choose.
	Menu bool
	// BzImage says that it starts Linux kernels by their own boot protocol. One
	// made for UEFI may lack it, and starts kernels as EFI programs.
	BzImage bool
	// EFI says that it runs EFI programs: it was made for UEFI.
	EFI bool
	// PXE says that it runs what BIOS ROMs boot, such as pxelinux: it was made for
	// BIOS.
	PXE bool
	// Multiboot, ELF, COMBOOT and SDI are further forms of programs and images.
	Multiboot, ELF, COMBOOT, SDI bool
}

// The sub-options of option 175 (iPXE src/include/ipxe/dhcp.h and features.h).
const (
	ipxeBusID   = 177
	ipxeVersion = 235
	ipxeBusPCI  = 1
)

// flag is the field of a feature's sub-option, nil for one that is not kept.
func (f *Features) flag(code byte) *bool {
	switch code {
	case 17:
		return &f.ISCSI
	case 18:
		return &f.AoE
	case 19:
		return &f.HTTP
	case 20:
		return &f.HTTPS
	case 21:
		return &f.TFTP
	case 22:
		return &f.FTP
	case 23:
		return &f.DNS
	case 24:
		return &f.BzImage
	case 25:
		return &f.Multiboot
	case 33:
		return &f.PXE
	case 34:
		return &f.ELF
	case 35:
		return &f.COMBOOT
	case 36:
		return &f.EFI
	case 37:
		return &f.FCoE
	case 38:
		return &f.VLAN
	case 39:
		return &f.Menu
	case 40:
		return &f.SDI
	case 41:
		return &f.NFS
	}
	return nil
}

// featuresOf reads option 175, a list of options (code, length, value). Unknown
// ones and those of a wrong length are skipped; where one runs past the end,
// what came before it counts. A list in which there is no option at all is no
// sign of an iPXE: the result is not Known.
func featuresOf(b []byte) Features {
	var f Features
	for len(b) > 0 && b[0] != optionEnd {
		if b[0] == optionPad {
			b = b[1:]
			continue
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			break
		}
		f.Known = true
		f.add(b[0], b[2:2+int(b[1])])
		b = b[2+int(b[1]):]
	}
	return f
}

func (f *Features) add(code byte, v []byte) {
	switch {
	case code == ipxeVersion && len(v) == 3:
		f.Version = fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2])
	case code == ipxeBusID && len(v) == 5 && v[0] == ipxeBusPCI:
		f.Bus = fmt.Sprintf("pci %x:%x", v[1:3], v[3:5])
	case code == ipxeBusID && len(v) == 5:
		f.Bus = fmt.Sprintf("bus %d %x:%x", v[0], v[1:3], v[3:5])
	default:
		// The value is the feature's version, 1 so far; 0 takes it away.
		if flag := f.flag(code); flag != nil && len(v) == 1 {
			*flag = v[0] != 0
		}
	}
}
