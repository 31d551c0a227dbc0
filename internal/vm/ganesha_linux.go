package vm

import (
	"context"
	_ "embed"
	"errors"
	"os"
	"os/exec"
	"path"
	"strings"
	"syscall"
)

// ganeshaScript is what runs rpcbind and nfs-ganesha, as a shell's arguments:
// Path, Source, Config and what to say about the portmapper.
//
//go:embed guest/ganesha.sh
var ganeshaScript string

// Ganesha is a real NFS server: Debian's rpcbind and nfs-ganesha, with the VFS
// module, in the network namespace of the caller. They have mounts and process
// numbers of their own, so they neither see nor touch what the host keeps in /run
// and /var/lib/nfs. Two at a time do not fit into one network namespace: the
// portmapper's port is fixed.
//
// What is exported lies in memory, on a tmpfs: FSAL_VFS needs a file system that
// knows file handles, and the overlay file systems of containers do not.
type Ganesha struct {
	// Path is where the export's files are, as the server sees them: below /srv,
	// "/srv/rescue".
	Path string

	// Source is what Path is filled with: a directory's content, or an ISO image's.
	// It is copied. "": Path is empty.
	Source string

	// Config is the text of ganesha.conf.
	Config string

	// NoPortmapper ends rpcbind when the server has registered with it: as if it
	// had crashed. (Without one from the start ganesha does not start.)
	NoPortmapper bool
}

// MissingGanesha says in one line what must be installed before [Ganesha] can
// start, or that it takes root; "" if nothing is missing.
func MissingGanesha() string {
	if os.Geteuid() != 0 {
		// In a user namespace open_by_handle_at is forbidden, by which FSAL_VFS opens files.
		return "nfs-ganesha must be started by root"
	}
	return missing([]requirement{
		{pkg: "rpcbind", program: "rpcbind"},
		{pkg: "nfs-ganesha", program: "ganesha.nfsd"},
		{pkg: "nfs-ganesha-vfs", file: "/usr/lib/*/ganesha/libfsalvfs.so"},
		{pkg: "libarchive-tools", program: "bsdtar"},
	})
}

// Start starts the server and returns when it is ready for clients. When ctx ends,
// so does the server. Its log is the process's Stderr.
func (g Ganesha) Start(ctx context.Context) (*Process, error) {
	inside, _, err := insideNamespace()
	switch {
	case err != nil:
		return nil, err
	case !inside:
		return nil, errors.New("vm: an NFS server outside a namespace of its own: call EnterNamespace first")
	case path.Clean(g.Path) != g.Path || !strings.HasPrefix(g.Path, "/srv/"):
		return nil, errors.New("vm: Ganesha.Path is to be a clean path below /srv")
	}
	if err := ip(ctx, "link set lo up"); err != nil {
		return nil, err // ganesha reaches its portmapper by it
	}
	portmapper, ready := "stays", "NFS SERVER INITIALIZED"
	if g.NoPortmapper {
		portmapper, ready = "ends", "portmapper ended"
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", ganeshaScript, "ganesha.sh", g.Path, g.Source, g.Config, portmapper)
	// With a process namespace rpcbind ends when ganesha does, however that ends.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	return start(ctx, cmd, ready)
}
