package rootfs_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/rootfs"
)

var localExport = rootfs.NFS{Export: "127.0.0.1:/srv/rescue"}

// Check asks what boot code asks, in the same order and with its credentials.
func TestNFSCheckAsksAsBootCodeDoes(t *testing.T) {
	f := newFakeNFS(t)
	require.NoError(t, localExport.CheckWithPortmapper(t.Context(), f.port))
	files := []int{lookup, lookup, lookup, getAttr, accessProc}
	require.Equal(t, append([]int{getPort, null, getPort, mnt, umnt, getAttr}, files...), f.ids())
	require.Equal(t, u32(nfsProgram, 3, 6, 0), f.calls[0].args)
	require.Equal(t, u32(mountProgram, 3, 6, 0), f.calls[2].args)
	require.Equal(t, append(u32(11), "/srv/rescue\x00"...), f.calls[3].args)
	require.Equal(t, append(u32(4, 0, 9), "sysresccd\x00\x00\x00"...), f.calls[6].args)
	for _, c := range f.calls {
		require.Equal(t, map[uint32]uint32{portmapper: 2, nfsProgram: 3, mountProgram: 3}[c.program], c.version)
		wantFlavor := uint32(0)
		if c.program == nfsProgram && c.procedure != 0 {
			wantFlavor = 1 // the kernel comes as root, nfsmount as nobody
		}
		require.Equal(t, wantFlavor, c.flavor)
	}
}

// port= keeps Check from asking for NFS, but not for MOUNT.
func TestNFSCheckWithPortOption(t *testing.T) {
	f := newFakeNFS(t)
	n := rootfs.NFS{Export: localExport.Export, Options: []string{"soft", fmt.Sprintf("port=%d", f.port)}}
	require.NoError(t, n.CheckWithPortmapper(t.Context(), f.port, "a", "b/c"))
	require.Equal(t, []int{null, getPort, mnt, umnt, getAttr, lookup}, f.ids()[:6])
	require.Equal(t, u32(mountProgram, 3, 6, 0), f.calls[1].args)
}

func TestNFSCheckFailures(t *testing.T) {
	mismatch := func(low, high uint32) []byte { return acceptState(2, low, high) }
	for name, test := range map[string]struct {
		call  int
		reply []byte
		want  rootfs.NFSReason
		says  string
	}{
		"nothing registered":        {getPort, success(0), rootfs.NFSNotRegistered, "the server's portmapper knows no NFS over TCP; start the NFS server with version 3, after the portmapper"},
		"portmapper of other kind":  {getPort, mismatch(3, 4), rootfs.NFSBadAnswer, "portmapper of 127.0.0.1: the server has versions 3 to 4"},
		"no such port":              {getPort, success(65536), rootfs.NFSBadAnswer, "port 65536"},
		"NFSv4 only":                {null, mismatch(4, 4), rootfs.NFSOnlyVersion4, "has no NFS version 3"},
		"not NFS":                   {null, acceptState(1), rootfs.NFSNoServer, "is no NFS server"},
		"NFS demands Kerberos":      {null, authError(5), "", "the server"},
		"MOUNT of other versions":   {mnt, mismatch(1, 2), rootfs.NFSNoMount, "knows no MOUNT version 3"},
		"no MOUNT":                  {mnt, acceptState(1), rootfs.NFSNoMount, "rpc.mountd"},
		"no such path":              {mnt, success(2), rootfs.NFSNotExported, "the server exports no such path; export it, or correct the path"},
		"path of a file":            {mnt, success(20), rootfs.NFSNotDirectory, "is not that of a directory"},
		"not for this computer":     {mnt, success(13), "", "the server"},
		"MOUNT out of order":        {mnt, success(10006), rootfs.NFSBadAnswer, "mount of 127.0.0.1: the server answers state 10006; see the server's log"},
		"handle too long":           {mnt, success(0, 65), rootfs.NFSBadAnswer, "malformed reply"},
		"no handle":                 {mnt, success(0, 0), rootfs.NFSBadAnswer, "malformed reply"},
		"short":                     {mnt, []byte{0, 0}, rootfs.NFSBadAnswer, "malformed reply"},
		"root is a file":            {getAttr, success(append([]uint32{0}, attributes(regular, 0o644)...)...), rootfs.NFSNotDirectory, "is not that of a directory"},
		"handle unknown":            {getAttr, success(70), rootfs.NFSBadAnswer, "overlay file systems do not"},
		"file missing":              {lookup, success(2), rootfs.NFSFileMissing, "sysresccd/x86_64/airootfs.sfs is not below it"},
		"directory closed":          {lookup, success(13), "", "the server"},
		"file unreadable":           {accessProc, success(0, 0, 0), rootfs.NFSFileUnreadable, "has the mode 0444, and the server does not let root of a machine read it"},
		"attributes cut off":        {getAttr, success(0, 2), rootfs.NFSBadAnswer, "malformed reply"},
		"garbage where a reply was": {lookup, acceptState(4), rootfs.NFSBadAnswer, "accept state 4"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeNFS(t)
			f.answer[test.call] = always(test.reply)
			err := localExport.CheckWithPortmapper(t.Context(), f.port)
			var failed *rootfs.NFSError
			require.ErrorAs(t, err, &failed)
			require.Equal(t, localExport.Export, failed.Export)
			require.NotEmpty(t, failed.Step)
			require.NotEmpty(t, failed.Remedy)
			require.ErrorContains(t, err, test.says)
			if test.want != "" {
				require.Equal(t, test.want, failed.Reason, err)
				return
			}
			// A refusal means less when Check may not use the port that boot code uses.
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.calls[len(f.calls)-1].sourcePort < 1024 {
				require.NotEqual(t, rootfs.NFSPrivilegedPort, failed.Reason)
			} else {
				require.Equal(t, rootfs.NFSPrivilegedPort, failed.Reason)
			}
		})
	}
}

func TestNFSCheckOfFileKinds(t *testing.T) {
	for kind, says := range map[uint32]string{directory: "is not a file", symlink: "is a symbolic link"} {
		f := newFakeNFS(t)
		good := f.answer[getAttr]
		f.answer[getAttr] = func(c fakeCall) []byte {
			if c.args[7] == 0 {
				return good(c)
			}
			return success(append([]uint32{0}, attributes(kind, 0o755)...)...)
		}
		err := localExport.CheckWithPortmapper(t.Context(), f.port, "a")
		requireNFSReason(t, err, rootfs.NFSFileMissing, "a below it "+says)
	}
}

// The portmapper has NFS version 4 and MOUNT, or no MOUNT.
func TestNFSCheckOfRegistrations(t *testing.T) {
	f := newFakeNFS(t)
	f.answer[getPort] = func(c fakeCall) []byte {
		if c.args[7] == 4 {
			return success(uint32(f.port))
		}
		return success(0)
	}
	requireNFSReason(t, localExport.CheckWithPortmapper(t.Context(), f.port), rootfs.NFSOnlyVersion4, "enable version 3")

	f = newFakeNFS(t)
	f.answer[getPort] = func(c fakeCall) []byte {
		if c.args[3] == nfsProgram&0xff {
			return success(uint32(f.port))
		}
		return success(0)
	}
	requireNFSReason(t, localExport.CheckWithPortmapper(t.Context(), f.port), rootfs.NFSNoMount, "knows no MOUNT version 3 over TCP")
}

// What boot code would misread is an error of its own, and the last: other things
// are more urgent.
func TestNFSCheckOfAwkwardReplies(t *testing.T) {
	whole := func(c net.Conn, reply []byte) { _, _ = c.Write(reply) }
	for name, send := range map[string]func(net.Conn, []byte){
		"in two fragments": func(c net.Conn, reply []byte) {
			half := u32(8)
			half = append(half, reply[4:12]...)
			half = append(half, u32(1<<31|uint32(len(reply)-12))...)
			whole(c, append(half, reply[12:]...))
		},
		"with a verifier": func(c net.Conn, reply []byte) {
			long := u32(1<<31 | uint32(len(reply)))
			long = append(long, reply[4:16]...)
			long = append(long, u32(2, 4, 99)...)
			whole(c, append(long, reply[24:]...))
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeNFS(t)
			f.send = send
			requireNFSReason(t, localExport.CheckWithPortmapper(t.Context(), f.port), rootfs.NFSAwkwardReply, "which boot code misreads")
			f.answer[lookup] = always(success(2))
			requireNFSReason(t, localExport.CheckWithPortmapper(t.Context(), f.port), rootfs.NFSFileMissing, "")
		})
	}
}

func TestNFSCheckRefusesForeignReplies(t *testing.T) {
	for name, send := range map[string]func(net.Conn, []byte){
		"other call":    func(c net.Conn, reply []byte) { reply[4] ^= 1; _, _ = c.Write(reply) },
		"not a reply":   func(c net.Conn, reply []byte) { reply[11] = 0; _, _ = c.Write(reply) },
		"huge":          func(c net.Conn, reply []byte) { copy(reply, u32(1<<32-1)); _, _ = c.Write(reply) },
		"more than one": func(c net.Conn, reply []byte) { _, _ = c.Write(append(reply, reply...)) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeNFS(t)
			f.send = send
			requireNFSReason(t, localExport.CheckWithPortmapper(t.Context(), f.port), rootfs.NFSBadAnswer, "malformed reply")
		})
	}
	f := newFakeNFS(t)
	f.send = func(c net.Conn, _ []byte) { c.Close() }
	requireNFSReason(t, localExport.CheckWithPortmapper(t.Context(), f.port), rootfs.NFSNoPortmapper, "no portmapper answers")
}

// A server that is silent costs no more than the context allows, or the limit.
func TestNFSCheckOfSilentServer(t *testing.T) {
	f := newFakeNFS(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	f.answer[mnt] = func(fakeCall) []byte {
		cancel(errors.New("enough"))
		<-ctx.Done()
		return success(2)
	}
	f.send = func(c net.Conn, reply []byte) {
		if ctx.Err() == nil {
			_, _ = c.Write(reply)
		}
	}
	err := localExport.CheckWithPortmapper(ctx, f.port)
	requireNFSReason(t, err, rootfs.NFSNoAnswer, "the check was ended before 127.0.0.1 answered (mount)")
	require.ErrorContains(t, errors.Unwrap(err), "enough")
}

func TestNFSCheckGivesUp(t *testing.T) {
	t.Parallel() // it takes the limit's five seconds
	f := newFakeNFS(t)
	f.answer[mnt] = func(fakeCall) []byte { return nil }
	f.send = func(c net.Conn, reply []byte) {
		if len(reply) > 12 {
			_, _ = c.Write(reply)
		}
	}
	requireNFSReason(t, localExport.CheckWithPortmapper(t.Context(), f.port), rootfs.NFSNoAnswer, "127.0.0.1 does not answer (mount)")
}

func TestNFSCheckOfConfiguration(t *testing.T) {
	for _, test := range []struct {
		n     rootfs.NFS
		files []string
		says  string
	}{
		{n: rootfs.NFS{Export: "files.example:/srv/rescue"}, says: "resolves no names"},
		{n: rootfs.NFS{Export: "[2001:db8::9]:/srv/rescue"}, says: "IPv4 only"},
		{n: rootfs.NFS{Export: "192.0.2.9"}, says: "must be an address and a path"},
		{n: rootfs.NFS{Export: "192.0.2.9:/srv", Options: []string{"vers=4"}}, says: `"vers=4"`},
		{n: rootfs.NFS{Export: "192.0.2.9:/srv", Options: []string{"udp"}}, says: "NFS over UDP"},
		{n: rootfs.NFS{Export: "192.0.2.9:/srv", Options: []string{"v2"}}, says: "version 2"},
		{n: localExport, files: []string{"a", "../b"}, says: `"../b" is not the name of a file`},
		{n: localExport, files: []string{"."}, says: `"." is not the name of a file`},
		{n: localExport, files: []string{""}, says: `"" is not the name of a file`},
	} {
		requireNFSReason(t, test.n.Check(t.Context(), test.files...), rootfs.NFSBadConfig, test.says)
	}
}

func requireNFSReason(t *testing.T, err error, want rootfs.NFSReason, says string) {
	t.Helper()
	var failed *rootfs.NFSError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, want, failed.Reason, err.Error())
	require.ErrorContains(t, err, says)
}
