package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/pxekit/pxe/internal/sunrpc"
)

// DefaultNFSFile is what [NFS.Check] looks for below the export: where
// SystemRescue's media have their root file system.
const DefaultNFSFile = "sysresccd/x86_64/airootfs.sfs"

// portmapperPort is where boot code asks for all other ports (RFC 1833).
const portmapperPort = 111

// Check asks the NFS server what machines will ask it, in the same words, and
// returns a [*NFSError] for the first thing that would stop them, nil if nothing
// does. It goes the way of klibc's nfsmount: by TCP to the portmapper for NFS
// version 3 (not with the option port=) and for MOUNT version 3 (always), to
// MOUNT for the export, without credentials; then, as the kernel does once it is
// mounted, to NFS for each of files, by slash-separated names below the export
// ([fs.ValidPath]). Without files it looks for [DefaultNFSFile].
//
// What it finds holds for the computer that it runs on: a server may treat the
// machines' addresses differently. As boot code does, it comes from a port below
// 1024 if the system lets it, which takes root. It changes nothing on the server.
//
// A server that does not answer costs at most 5 seconds in each of the few steps;
// ctx can end it earlier. Check may be called by many goroutines at once.
func (n NFS) Check(ctx context.Context, files ...string) error {
	return n.check(ctx, portmapperPort, files)
}

func (n NFS) check(ctx context.Context, portmapper uint16, files []string) error {
	c := nfsCheck{export: n.Export, portmapper: portmapper, files: files}
	if err := c.configure(n); err != nil {
		return err
	}
	if c.nfs == 0 {
		if err := c.askForNFS(ctx); err != nil {
			return err
		}
	}
	if err := c.pingNFS(ctx); err != nil {
		return err
	}
	if err := c.askForMount(ctx); err != nil {
		return err
	}
	root, err := c.mountExport(ctx)
	if err != nil {
		return err
	}
	if err := c.readFiles(ctx, root); err != nil {
		return err
	}
	if c.awkward != "" {
		return c.fail(c.awkward, NFSAwkwardReply, nil, "the server's "+c.awkward+" service answers in pieces or with a verifier, which boot code misreads",
			"use another NFS server, such as the kernel's or nfs-ganesha")
	}
	return nil
}

// nfsCheck is one run of Check.
type nfsCheck struct {
	export     string
	addr       netip.Addr
	dir        string
	files      []string
	portmapper uint16

	nfs, mount uint16 // ports; 0: not known yet
	awkward    string // which service sent an awkward reply
	reserved   bool   // the last connection came from a port below 1024
}

func (c *nfsCheck) fail(step string, reason NFSReason, err error, problem, remedy string) *NFSError {
	return &NFSError{Export: c.export, Step: step, Reason: reason, Problem: problem, Remedy: remedy, Err: err}
}

// configure takes over what n and the files say.
func (c *nfsCheck) configure(n NFS) error {
	const step = "configuration"
	var err error
	if c.addr, c.dir, err = n.parse(); err != nil {
		return c.fail(step, NFSBadConfig, err, err.Error(), "correct NFS.Export")
	}
	if err := n.Validate(); err != nil {
		return c.fail(step, NFSBadConfig, err, err.Error(), "correct NFS.Options")
	}
	for _, option := range n.Options {
		switch name, value, _ := strings.Cut(option, "="); name {
		case "port":
			port, _ := strconv.ParseUint(value, 10, 16) // Validate has seen to it
			c.nfs = uint16(port)
		case "udp":
			return c.fail(step, NFSBadConfig, nil, "kernels are built without NFS over UDP since Linux 5.6", `remove the option "udp"`)
		case "v2":
			return c.fail(step, NFSBadConfig, nil, "servers do not have NFS version 2 any more", `remove the option "v2"`)
		}
	}
	if len(c.files) == 0 {
		c.files = []string{DefaultNFSFile}
	}
	if i := slices.IndexFunc(c.files, func(name string) bool { return !fs.ValidPath(name) || name == "." }); i >= 0 {
		return c.fail(step, NFSBadConfig, nil, fmt.Sprintf("%q is not the name of a file below it", c.files[i]), `write it with slashes, without "." and ".."`)
	}
	return nil
}

// askForNFS asks the portmapper for NFS.
func (c *nfsCheck) askForNFS(ctx context.Context) error {
	const step = "portmapper"
	port, err := c.getPort(ctx, sunrpc.NFS)
	if err != nil {
		return c.noPortmapper(ctx, err)
	}
	if port == 0 {
		if other, err := c.getPort4(ctx); err == nil && other != 0 {
			return c.onlyVersion4(nil)
		}
		return c.fail(step, NFSNotRegistered, nil, "the server's portmapper knows no NFS over TCP",
			"start the NFS server with version 3, after the portmapper")
	}
	c.nfs = port
	return nil
}

// noPortmapper says why there is no answer from the portmapper. A server of NFS
// version 4 alone runs without one, so that is asked for first.
func (c *nfsCheck) noPortmapper(ctx context.Context, err error) error {
	const step = "portmapper"
	var failed *NFSError
	if c.nfs == 0 {
		c.nfs = 2049
		if ping := c.pingNFS(ctx); errors.As(ping, &failed) && failed.Reason == NFSOnlyVersion4 {
			return ping
		}
	}
	if bad := c.badAnswer(ctx, step, err); bad.Reason == NFSBadAnswer || ctx.Err() != nil {
		return bad
	}
	return c.fail(step, NFSNoPortmapper, err, fmt.Sprintf("no portmapper answers on TCP port %d of %s, without which boot code finds no server", c.portmapper, c.addr),
		"start rpcbind there before the NFS server, and let the firewall pass port 111")
}

// pingNFS calls NFS version 3.
func (c *nfsCheck) pingNFS(ctx context.Context) error {
	const step = "nfs"
	err := c.with(ctx, c.nfs, true, func(client *sunrpc.Client) error { return client.Ping(sunrpc.NFS, sunrpc.Version3) })
	var refused *sunrpc.AcceptError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused) && refused.Stat == sunrpc.ProgramMismatch:
		return c.onlyVersion4(err)
	case errors.As(err, &refused) && refused.Stat == sunrpc.ProgramUnavailable:
		return c.fail(step, NFSNoServer, err, fmt.Sprintf("what listens on port %d of %s is no NFS server", c.nfs, c.addr), "give the port of one, or no option port=")
	}
	bad := c.badAnswer(ctx, step, err)
	if bad.Reason != NFSBadAnswer && bad.Reason != NFSPrivilegedPort && ctx.Err() == nil {
		bad = c.fail(step, NFSNoServer, err, fmt.Sprintf("no NFS server answers on TCP port %d of %s", c.nfs, c.addr), "start it, and let the firewall pass that port")
	}
	return bad
}

func (c *nfsCheck) onlyVersion4(err error) error {
	return c.fail("nfs", NFSOnlyVersion4, err, "the server has no NFS version 3, the only one that boot code mounts",
		`enable version 3 (Linux: "vers3=y" in nfs.conf; Ganesha: Protocols = 3) and rpcbind`)
}

// askForMount asks the portmapper for MOUNT, for which boot code knows no option.
func (c *nfsCheck) askForMount(ctx context.Context) error {
	port, err := c.getPort(ctx, sunrpc.Mount)
	if err != nil {
		return c.noPortmapper(ctx, err)
	}
	if port == 0 {
		return c.noMount(nil)
	}
	c.mount = port
	return nil
}

func (c *nfsCheck) noMount(err error) error {
	return c.fail("mount", NFSNoMount, err, "the server's portmapper knows no MOUNT version 3 over TCP",
		"start rpc.mountd with version 3 (Ganesha: Protocols = 3), after the portmapper")
}

// mountExport asks MOUNT for the export's handle.
func (c *nfsCheck) mountExport(ctx context.Context) (root sunrpc.Handle, err error) {
	const step = "mount"
	err = c.with(ctx, c.mount, true, func(client *sunrpc.Client) error {
		var err error
		root, err = client.MountPath(c.dir)
		if client.Awkward {
			c.awkward = step
		}
		if err == nil {
			// So that the server's list of who mounts what stays true. Boot code
			// does not care, and neither does the check.
			_ = client.Unmount(c.dir)
		}
		return err
	})
	var refused *sunrpc.AcceptError
	var status sunrpc.Status
	switch {
	case err == nil:
		return root, nil
	case errors.As(err, &refused) && (refused.Stat == sunrpc.ProgramMismatch || refused.Stat == sunrpc.ProgramUnavailable):
		return nil, c.noMount(err)
	case !errors.As(err, &status):
		return nil, c.badAnswer(ctx, step, err)
	}
	switch status {
	case sunrpc.NoEntry:
		return nil, c.fail(step, NFSNotExported, err, "the server exports no such path", "export it, or correct the path in NFS.Export")
	case sunrpc.NotDirectory:
		return nil, c.notDirectory(step, err)
	case sunrpc.AccessDenied, sunrpc.NotPermitted:
		if !c.reserved {
			return nil, c.privilegedPort(step, err)
		}
		return nil, c.fail(step, NFSNotExported, err, "the server does not export the path to this computer", "export the path to this computer and to the machines, and check its spelling")
	}
	return nil, c.badAnswer(ctx, step, err)
}

func (c *nfsCheck) notDirectory(step string, err error) *NFSError {
	return c.fail(step, NFSNotDirectory, err, "the path is not that of a directory",
		"export the directory that the medium's files are in (an ISO image is mounted on one first)")
}

// privilegedPort says that a refusal may be the port's fault, not the export's.
func (c *nfsCheck) privilegedPort(step string, err error) *NFSError {
	return c.fail(step, NFSPrivilegedPort, err, "the server refuses this computer, perhaps only because Check asks from a port above 1023, from which boot code does not",
		"run Check as root, or see whether the path is exported to this computer")
}

// badAnswer says that a step failed in a way of no special meaning there.
func (c *nfsCheck) badAnswer(ctx context.Context, step string, err error) *NFSError {
	var denied *sunrpc.DeniedError
	var refused *sunrpc.AcceptError
	var status sunrpc.Status
	switch {
	case ctx.Err() != nil:
		return c.fail(step, NFSNoAnswer, context.Cause(ctx), "the check was ended before "+c.addr.String()+" answered ("+step+")", "give it more time")
	case errors.As(err, &denied) && !c.reserved && step != "portmapper":
		return c.privilegedPort(step, err)
	case errors.As(err, &denied), errors.As(err, &refused), errors.As(err, &status), errors.Is(err, sunrpc.ErrMalformed):
		return c.fail(step, NFSBadAnswer, err, step+" of "+c.addr.String()+": "+err.Error(), "see the server's log")
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return c.fail(step, NFSNoAnswer, err, fmt.Sprintf("%s does not answer (%s)", c.addr, step), "see whether the server runs and the firewall lets this pass")
	}
	return c.fail(step, NFSNoAnswer, err, fmt.Sprintf("%s: %v", step, err), "see whether the server runs and the firewall lets this pass")
}
