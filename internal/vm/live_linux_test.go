package vm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pojntfx/go-nbd/pkg/backend"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/rootfs"
	"github.com/pxekit/pxe/rootfs/nbd"
)

// liveSystem is what all boots of one kind of initramfs have in common. The names
// of its files are those that the menu expects.
type liveSystem struct {
	booter                pxe.Booter
	initrd                func(*LiveImages) string
	kernel, image, initfs string // names
}

var (
	debianLive = liveSystem{
		booter: pxe.LiveBoot{Consoles: []string{"ttyS0"}, Timeout: time.Second},
		kernel: "live/vmlinuz", initfs: "live/initrd.img", image: "live/filesystem.squashfs",
		initrd: func(images *LiveImages) string { return images.LiveBoot },
	}
	dracutLive = liveSystem{
		booter: pxe.Dracut{Consoles: []string{"ttyS0"}, Timeout: time.Second},
		kernel: "images/pxeboot/vmlinuz", initfs: "images/pxeboot/initrd.img", image: "LiveOS/squashfs.img",
		initrd: func(images *LiveImages) string { return images.Dracut },
	}
)

const liveExport = "/srv/live"

// liveCase is a system with its root file system over one transport.
type liveCase struct {
	name   string
	system liveSystem
	root   func(image string) rootfs.RootFSTransport
	via    string // of the events of the root file system; "": another server has it
	params string // a pattern of what the guest's command line must have
	mount  string // a pattern of what liveinit says of the root file system
	copied bool   // the machine goes on when the servers are gone
}

func overHTTP(string) rootfs.RootFSTransport { return rootfs.HTTP{} }
func overTFTP(string) rootfs.RootFSTransport { return rootfs.TFTP{} }
func overNFS(string) rootfs.RootFSTransport {
	return rootfs.NFS{Export: "192.0.2.1:" + liveExport, Live: true}
}

func overNFSToRAM(string) rootfs.RootFSTransport {
	return rootfs.NFS{Export: "192.0.2.1:" + liveExport}
}

func overNBD(image string) rootfs.RootFSTransport {
	return &rootfs.NBD{Live: true, Exports: []nbd.Export{{
		Name: "archiso",
		Open: func(context.Context) (backend.Backend, error) {
			f, err := os.Open(image)
			if err != nil {
				return nil, err
			}
			return nbd.File(f)
		},
	}}}
}

var liveCases = []liveCase{
	{
		name: "live-boot-http", system: debianLive, root: overHTTP, via: "http", copied: true,
		params: ` boot=live .*fetch=http://192\.0\.2\.1/~[a-z0-9]+/live/filesystem\.squashfs `,
		mount:  `overlay overlay on loop /run/live/medium/live/filesystem\.squashfs`,
	},
	{
		name: "live-boot-tftp", system: debianLive, root: overTFTP, via: "tftp", copied: true,
		params: ` boot=live .*fetch=tftp://192\.0\.2\.1/~[a-z0-9]+/live/filesystem\.squashfs `,
		mount:  `overlay overlay on loop /run/live/medium/live/filesystem\.squashfs`,
	},
	{
		name: "live-boot-nfs", system: debianLive, root: overNFS,
		params: ` boot=live .*netboot=nfs nfsroot=192\.0\.2\.1:/srv/live `,
		mount:  `overlay overlay on loop /run/live/medium/live/filesystem\.squashfs from 192\.0\.2\.1:/srv/live`,
	},
	{
		name: "live-boot-nfs-toram", system: debianLive, root: overNFSToRAM, copied: true,
		params: ` boot=live .*netboot=nfs nfsroot=192\.0\.2\.1:/srv/live .*toram=filesystem\.squashfs `,
		mount:  `overlay overlay on loop `,
	},
	{
		name: "dracut-http", system: dracutLive, root: overHTTP, via: "http", copied: true,
		params: ` root=live:http://192\.0\.2\.1/~[a-z0-9]+/LiveOS/squashfs\.img `,
		mount:  `overlay LiveOS_rootfs on loop /tmp/.*/squashfs\.img`,
	},
	{
		name: "dracut-tftp", system: dracutLive, root: overTFTP, via: "tftp", copied: true,
		params: ` root=live:tftp://192\.0\.2\.1/~[a-z0-9]+/LiveOS/squashfs\.img `,
		mount:  `overlay LiveOS_rootfs on loop /tmp/.*/squashfs\.img`,
	},
	{
		name: "dracut-nbd", system: dracutLive, root: overNBD, via: "nbd",
		params: ` root=nbd:192\.0\.2\.1:archiso~[a-z0-9]+ `,
		mount:  `squashfs /dev/\S+ on /dev/`,
	},
	{
		name: "dracut-nfs", system: dracutLive, root: overNFS,
		params: ` root=nfs:192\.0\.2\.1:/srv/live:vers=3 `,
		mount:  `(nfs|overlay) \S+ from 192\.0\.2\.1:/srv/live`,
	},
}

// TestLiveBoot boots Debian's own live-boot and dracut, by iPXE, from the library's
// server and with the parameters of package bootcfg, into a root file system that
// checks itself.
func TestLiveBoot(t *testing.T) {
	if line := missing(liveRequirements()); line != "" {
		if os.Getenv("CI") != "" && !testing.Short() {
			t.Fatal("in CI this test is not skipped: " + line)
		}
		t.Skip(line)
	}
	for _, c := range liveCases {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), liveLimit)
			defer cancel()
			s := newSegment(t, ctx)
			images, err := BuildLiveImages(ctx, "")
			require.NoError(t, err)
			server, stop := startLive(t, ctx, s, c, images)
			machine := s.boot(t, ctx, Machine{Firmware: BIOS, NICs: []NIC{s.nic(1)}, Memory: 1024})

			require.Regexp(t, c.params, see(t, ctx, machine, `PXEKIT cmdline (.*)`)[1]+" ")
			require.Regexp(t, "^"+c.mount, see(t, ctx, machine, `PXEKIT root-fs (.*)`)[1])
			require.Equal(t, s.medium.Content, see(t, ctx, machine, `PXEKIT root-content ok (\S+)`)[1])
			address := see(t, ctx, machine, `PXEKIT os-ip (\S+)`)[1]
			see(t, ctx, machine, `PXEKIT up`)
			checkLive(t, c, address, server.events(t))
			if c.copied {
				stop()
			}
			read := 0
			for _, line := range machine.Console.Lines() {
				if strings.HasPrefix(line.Text, "PXEKIT read-again ") {
					read++
				}
			}
			// The reading that is under way may have begun before.
			see(t, ctx, machine, fmt.Sprintf(`PXEKIT read-again %d$`, read+2))
		})
	}
}

// liveLimit bounds one boot: dracut's initramfs runs a systemd, which takes an
// emulated processor long.
const liveLimit = 20 * time.Minute

// checkLive wants the server to have seen the machine get its root file system.
func checkLive(t *testing.T, c liveCase, address string, events []pxe.Event) {
	t.Helper()
	stages := map[pxe.Stage]string{}
	for _, e := range events {
		if e.Stage == pxe.StageRoot {
			require.Equal(t, c.via, e.Via, "%v", e)
		}
		stages[e.Stage] = e.Addr.String()
	}
	require.Equal(t, address, stages[pxe.StageLease])
	require.Equal(t, c.via != "", stages[pxe.StageRoot] == address)
}

// startLive starts the library's server, and an NFS server if the case needs one. Stop
// ends both.
func startLive(t *testing.T, ctx context.Context, s *segment, c liveCase, images *LiveImages) (server *library, stop func()) {
	t.Helper()
	image := filepath.Join(s.medium.Tree, rootFiles[0])
	files := asset.Memory{}
	for name, source := range map[string]string{
		c.system.kernel: images.Kernel, c.system.initfs: c.system.initrd(images), c.system.image: image,
	} {
		data, err := os.ReadFile(source)
		require.NoError(t, err)
		files[name] = data
	}
	root := c.root(image)
	stopNFS := func() {}
	if export, ok := root.(rootfs.NFS); ok {
		needGanesha(t)
		tree := filepath.Join(t.TempDir(), "tree")
		if c.system.image == dracutLive.image { // it mounts the export itself
			require.NoError(t, run(ctx, "unsquashfs", "-quiet", "-no-progress", "-dest", tree, image))
		} else {
			require.NoError(t, os.MkdirAll(filepath.Join(tree, filepath.Dir(c.system.image)), 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(tree, c.system.image), files[c.system.image], 0o644))
		}
		config, err := export.GaneshaExport(rootfs.NFSShare{})
		require.NoError(t, err)
		ganesha, err := Ganesha{Path: liveExport, Source: tree, Config: config}.Start(ctx)
		require.NoError(t, err)
		stopNFS = ganesha.Kill
		t.Cleanup(ganesha.Kill)
	}

	server = startLibrary(t, ctx, s, &pxe.Server{Files: files, Root: root, Booter: c.system.booter}, false)
	return server, func() {
		stopNFS()
		require.NoError(t, server.Close())
	}
}
