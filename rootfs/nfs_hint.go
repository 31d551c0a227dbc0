package rootfs

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
)

// NFSShare is what an NFS server must know of an export beyond its path: the
// server's side of [NFS]. The zero value shares a directory with everybody.
type NFSShare struct {
	// ISO is the path of an ISO image on the server that is mounted at the
	// export's path, see [NFS.FstabLine]. "": the export is a directory, into
	// which the medium has been copied.
	ISO string

	// Clients are the IPv4 networks and addresses whose machines may mount the
	// export. None: everybody may. A computer that runs [NFS.Check] must be
	// among them.
	Clients []netip.Prefix

	// ID is a number from 1 that no other export of the server has: Ganesha's
	// Export_Id, and what machines know a mounted ISO image by. 0: 1.
	ID uint16
}

func (s NFSShare) id() uint16 { return max(s.ID, 1) }

// validate reports what is wrong with s.
func (s NFSShare) validate() error {
	if s.ISO != "" && (!path.IsAbs(s.ISO) || path.Clean(s.ISO) != s.ISO || s.ISO == "/" || strings.Contains(s.ISO, "\x00")) {
		return fmt.Errorf(`rootfs: NFSShare.ISO %q is no path of a file; give it from "/" on, without "." and ".."`, s.ISO)
	}
	for _, client := range s.Clients {
		if !client.IsValid() || !client.Addr().Is4() {
			return fmt.Errorf("rootfs: NFSShare.Clients: %s is no IPv4 network; boot code mounts NFS over IPv4 only", client)
		}
		if client != client.Masked() {
			return fmt.Errorf("rootfs: NFSShare.Clients: %s is not the network's own address; write %s", client, client.Masked())
		}
	}
	return nil
}

// share returns the export's path after it checked everything.
func (n NFS) share(s NFSShare) (dir string, err error) {
	if err := n.Validate(); err != nil {
		return "", err
	}
	if err := s.validate(); err != nil {
		return "", err
	}
	_, dir, err = n.parse()
	return dir, err
}

// ExportsLine returns the line for /etc/exports of the kernel's NFS server, see
// exports(5), without a line feed. The path needs no escapes there: [NFS.Validate]
// has let none pass that does.
//
// A mounted ISO image gets two options. fsid=, because its file system has no UUID
// and the kernel would know it by the number of its loop device, which is another
// after a restart: machines that keep the export mounted would lose it. And mp,
// so that the empty directory is not exported while the image is not mounted.
//
// Root need not be exempted from squashing, as it reads only what everybody may
// read.
func (n NFS) ExportsLine(s NFSShare) (string, error) {
	dir, err := n.share(s)
	if err != nil {
		return "", err
	}
	options := "(ro,no_subtree_check"
	if s.ISO != "" {
		options += fmt.Sprintf(",fsid=%d,mp", s.id())
	}
	options += ")"
	if len(s.Clients) == 0 {
		return dir + " *" + options, nil
	}
	line := dir
	for _, client := range s.Clients {
		line += " " + client.String() + options
	}
	return line, nil
}

// FstabLine returns the line for /etc/fstab, see fstab(5), that mounts s.ISO
// read-only at the export's path, without a line feed. "mount -a" does it then,
// and so does every start of the server.
func (n NFS) FstabLine(s NFSShare) (string, error) {
	dir, err := n.share(s)
	if err != nil {
		return "", err
	}
	if s.ISO == "" {
		return "", errors.New("rootfs: NFSShare.ISO is empty: a directory needs no line in fstab; set it to the image's path on the server")
	}
	return octalEscapes.Replace(s.ISO) + " " + dir + " iso9660 loop,ro,nosuid,nodev 0 0", nil
}

// octalEscapes are those that fstab(5) reads back: getmntent decodes these four.
var octalEscapes = strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`)

// GaneshaExport returns the EXPORT block for nfs-ganesha's configuration, see
// ganesha-export-config(8), for its VFS module. It needs nothing else: by default
// Ganesha speaks NFS version 3 and MOUNT, and registers both with the portmapper.
//
// Of a mounted ISO image Ganesha makes file handles with the number of its loop
// device. Machines that keep the export mounted ([NFS.Live]) lose it when the
// image comes back on another device.
func (n NFS) GaneshaExport(s NFSShare) (string, error) {
	dir, err := n.share(s)
	if err != nil {
		return "", err
	}
	transport := "TCP"
	if slices.Contains(n.Options, "udp") {
		transport = "UDP"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "EXPORT {\n\tExport_Id = %d;\n", s.id())
	fmt.Fprintf(&b, "\tPath = %s;\n\tPseudo = %[1]s;\n", ganeshaString(dir))
	fmt.Fprintf(&b, "\tFilesystem_Id = %d.1;\n", s.id())
	fmt.Fprintf(&b, "\tProtocols = 3;\n\tTransports = %s;\n", transport)
	b.WriteString("\tSecType = none, sys;\n\tSquash = root_squash;\n")
	access := "\tAccess_Type = RO;\n"
	if len(s.Clients) > 0 {
		access = "\tAccess_Type = None;\n"
	}
	b.WriteString(access + "\tFSAL { Name = VFS; }\n")
	for _, client := range s.Clients {
		fmt.Fprintf(&b, "\tCLIENT { Clients = %s; Access_Type = RO; }\n", client)
	}
	b.WriteString("}\n")
	return b.String(), nil
}

// ganeshaString quotes a string for Ganesha, which reads what is between double
// quotes as it is but for backslashes.
func ganeshaString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
