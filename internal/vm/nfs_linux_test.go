package vm

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/rootfs"
)

// nfsTree makes a directory with these files, each readable for all.
func nfsTree(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	for _, name := range names {
		name = filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte("hsqs"), 0o644))
	}
	return dir
}

// rescue is an export of the server in the tests' namespace.
var rescue = rootfs.NFS{Export: "127.0.0.1:/srv/rescue"}

// ganeshaBlock is what the library gives for n.
func ganeshaBlock(t *testing.T, n rootfs.NFS, s rootfs.NFSShare) string {
	t.Helper()
	block, err := n.GaneshaExport(s)
	require.NoError(t, err)
	return block
}

func requireReason(t *testing.T, err error, want rootfs.NFSReason, sentence string) {
	t.Helper()
	var failed *rootfs.NFSError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, want, failed.Reason, err.Error())
	require.ErrorContains(t, err, sentence)
	t.Log(err)
}

func TestNFSCheckAgainstGanesha(t *testing.T) {
	needGanesha(t)
	dir := nfsTree(t, rootfs.DefaultNFSFile, "secret", "closed/file")
	require.NoError(t, os.Chmod(filepath.Join(dir, "secret"), 0o600))
	require.NoError(t, os.Chmod(filepath.Join(dir, "closed"), 0o700))
	require.NoError(t, os.Symlink("secret", filepath.Join(dir, "link")))
	startGanesha(t, Ganesha{Path: "/srv/rescue", Source: dir, Config: ganeshaBlock(t, rescue, rootfs.NFSShare{})})

	require.NoError(t, rescue.Check(t.Context()))
	require.NoError(t, rescue.Check(t.Context(), rootfs.DefaultNFSFile, "sysresccd/x86_64/airootfs.sfs"))
	require.NoError(t, rootfs.NFS{Export: rescue.Export, Options: []string{"port=2049", "ro"}}.Check(t.Context()))

	for name, want := range map[string]rootfs.NFSReason{
		"arch/x86_64/airootfs.sfs": rootfs.NFSFileMissing,
		"secret/file":              rootfs.NFSFileMissing,
		"sysresccd":                rootfs.NFSFileMissing,
		"link":                     rootfs.NFSFileMissing,
		"secret":                   rootfs.NFSFileUnreadable,
		"closed/file":              rootfs.NFSFileUnreadable,
	} {
		requireReason(t, rescue.Check(t.Context(), name), want, name)
	}
	requireReason(t, rootfs.NFS{Export: "127.0.0.1:/srv/rescu"}.Check(t.Context()), rootfs.NFSNotExported, "does not export the path")
	requireReason(t, rootfs.NFS{Export: "127.0.0.1:/srv/rescue/arch"}.Check(t.Context()), rootfs.NFSNotExported, "does not export the path")
	requireReason(t, rootfs.NFS{Export: "127.0.0.1:/srv/rescue/" + rootfs.DefaultNFSFile}.Check(t.Context()), rootfs.NFSNotExported, "does not export the path")
	requireReason(t, rootfs.NFS{Export: rescue.Export, Options: []string{"port=111"}}.Check(t.Context()), rootfs.NFSNoServer, "is no NFS server")
}

// A client that is not among those of the share is refused.
func TestNFSCheckOfAnotherClient(t *testing.T) {
	needGanesha(t)
	block := ganeshaBlock(t, rescue, rootfs.NFSShare{Clients: prefixes("192.0.2.0/24", "198.51.100.7/32"), ID: 7})
	server := startGanesha(t, Ganesha{Path: "/srv/rescue", Source: nfsTree(t, rootfs.DefaultNFSFile), Config: block})
	requireReason(t, rescue.Check(t.Context()), rootfs.NFSNotExported, "to this computer")
	server.Kill()

	block = ganeshaBlock(t, rescue, rootfs.NFSShare{Clients: prefixes("192.0.2.0/24", "127.0.0.0/8")})
	startGanesha(t, Ganesha{Path: "/srv/rescue", Source: nfsTree(t, rootfs.DefaultNFSFile), Config: block})
	require.NoError(t, rescue.Check(t.Context()))
}

func TestNFSCheckOfVersion4Alone(t *testing.T) {
	needGanesha(t)
	block := strings.Replace(ganeshaBlock(t, rescue, rootfs.NFSShare{}), "Protocols = 3;", "Protocols = 4;", 1)
	startGanesha(t, Ganesha{Path: "/srv/rescue", Config: "NFS_CORE_PARAM { Protocols = 4; }\n" + block})
	requireReason(t, rescue.Check(t.Context()), rootfs.NFSOnlyVersion4, "no NFS version 3")
}

func TestNFSCheckWithoutPortmapper(t *testing.T) {
	needGanesha(t)
	startGanesha(t, Ganesha{Path: "/srv/rescue", NoPortmapper: true, Config: ganeshaBlock(t, rescue, rootfs.NFSShare{})})
	requireReason(t, rescue.Check(t.Context()), rootfs.NFSNoPortmapper, "no portmapper answers on TCP port 111")
	port := rootfs.NFS{Export: rescue.Export, Options: []string{"port=2049"}}
	requireReason(t, port.Check(t.Context()), rootfs.NFSNoPortmapper, "no portmapper answers on TCP port 111")
}

func TestNFSCheckWithoutServer(t *testing.T) {
	needGanesha(t)
	startGanesha(t, Ganesha{Path: "/srv/rescue", Config: "NFS_CORE_PARAM { Protocols = 9P; }"})
	requireReason(t, rescue.Check(t.Context()), rootfs.NFSNotRegistered, "knows no NFS")
}

// An unprivileged Check says that its own port may be at fault.
func TestNFSCheckFromUnprivilegedPort(t *testing.T) {
	needGanesha(t)
	block := strings.Replace(ganeshaBlock(t, rescue, rootfs.NFSShare{}), "{\n", "{\n\tPrivilegedPort = true;\n", 1)
	startGanesha(t, Ganesha{Path: "/srv/rescue", Source: nfsTree(t, rootfs.DefaultNFSFile), Config: block})
	require.NoError(t, rescue.Check(t.Context()))

	// A thread that is not root's, which ends with the goroutine.
	checked := make(chan error)
	go func() {
		runtime.LockOSThread()
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), 65534, ^uintptr(0)); errno != 0 {
			checked <- errno
			return
		}
		checked <- rescue.Check(t.Context())
	}()
	requireReason(t, <-checked, rootfs.NFSPrivilegedPort, "a port above 1023")
}

// The real nfsmount gets to the kernel where Check finds nothing, and no further
// than Check where it does.
func TestNFSCheckAgreesWithNfsmount(t *testing.T) {
	needGanesha(t)
	const nfsmount = "/usr/lib/klibc/bin/nfsmount"
	mount := func(export string) string {
		// In mounts of its own, for the kernel may well know NFS.
		cmd := exec.CommandContext(t.Context(), "unshare", "--mount", nfsmount, "-o", "ro", export, t.TempDir())
		said, err := cmd.CombinedOutput()
		if err == nil {
			return "mounted"
		}
		return string(said)
	}
	server := startGanesha(t, Ganesha{Path: "/srv/rescue", Source: nfsTree(t, rootfs.DefaultNFSFile), Config: ganeshaBlock(t, rescue, rootfs.NFSShare{})})
	require.NoError(t, rescue.Check(t.Context()))
	require.Regexp(t, `^(mounted|mount: .*)`, mount(rescue.Export))
	requireReason(t, rootfs.NFS{Export: "127.0.0.1:/srv"}.Check(t.Context()), rootfs.NFSNotExported, "")
	require.Regexp(t, `^mount call failed.*(13|Permission denied)`, mount("127.0.0.1:/srv"))
	server.Kill()

	block := strings.Replace(ganeshaBlock(t, rescue, rootfs.NFSShare{}), "Protocols = 3;", "Protocols = 4;", 1)
	startGanesha(t, Ganesha{Path: "/srv/rescue", Config: "NFS_CORE_PARAM { Protocols = 4; }\n" + block})
	requireReason(t, rescue.Check(t.Context()), rootfs.NFSOnlyVersion4, "")
	require.NotRegexp(t, `mounted|mount: `, mount(rescue.Export))
}

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}
