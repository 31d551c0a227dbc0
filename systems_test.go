package pxe_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/bootcfg"
	"github.com/pxekit/pxe/dhcp/pxetest"
	"github.com/pxekit/pxe/rootfs"
)

// Each system's own words for the same root file systems.
func TestEverySystemIsToldInItsOwnWords(t *testing.T) {
	nfs := rootfs.NFS{Export: "192.0.2.9:/srv/live", Options: []string{"soft"}, Live: true}
	tests := map[string]struct {
		system pxe.Booter
		root   pxe.RootFSTransport
		params []string
	}{
		"archiso, http":   {pxe.Archiso{}, rootfs.HTTP{}, []string{"archisobasedir=arch"}},
		"archiso, nfs":    {pxe.Archiso{}, nfs, []string{"archiso_nfs_srv=192.0.2.9:/srv/live", "archiso_nfs_opt=soft", "copytoram=n"}},
		"live-boot, http": {pxe.LiveBoot{}, rootfs.HTTP{}, []string{"boot=live"}},
		"live-boot, copied from nfs": {pxe.LiveBoot{}, rootfs.NFS{Export: "192.0.2.9:/srv/live"},
			[]string{"netboot=nfs", "nfsroot=192.0.2.9:/srv/live", "toram=filesystem.squashfs"}},
		"live-boot, nfs": {pxe.LiveBoot{}, nfs, []string{"boot=live", "netboot=nfs", "nfsroot=192.0.2.9:/srv/live"}},
		"dracut, http":   {pxe.Dracut{}, rootfs.HTTP{}, []string{"rd.neednet=1"}},
		"dracut, nfs":    {pxe.Dracut{}, rootfs.NFS{Export: "192.0.2.9:/srv/live"}, []string{"rd.neednet=1"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var events recorder
			srv := rescueServer(&events)
			srv.Files = asset.Memory{
				"arch/boot/x86_64/vmlinuz-linux": []byte("k"), "arch/boot/x86_64/initramfs-linux.img": []byte("i"),
				"arch/x86_64/airootfs.sfs": []byte("r"),
				"live/vmlinuz":             []byte("k"), "live/initrd.img": []byte("i"),
				"images/pxeboot/vmlinuz": []byte("k"), "images/pxeboot/initrd.img": []byte("i"),
			}
			srv.Booter, srv.Root = test.system, test.root
			require.NoError(t, srv.Validate())
			on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
				boot, err := segment.Machine("02:00:00:00:00:01", pxetest.IPXEROM).Boot(t.Context())
				require.NoError(t, err)
				require.Subset(t, boot.Params, test.params)
			})
		})
	}
}

// own decides by itself, and has only its fields from SystemRescue.
type own struct{ pxe.SystemRescue }

func (own) Boot(context.Context, *pxe.Machine) (*bootcfg.Menu, error) { return nil, nil }

func TestABooterAroundASystemIsItsOwn(t *testing.T) {
	var events recorder
	srv := rescueServer(&events)
	srv.Booter, srv.Root = own{}, nil
	require.NoError(t, srv.Validate())
}

func TestASystemThatKnowsNotTheTransportIsRefusedAtTheStart(t *testing.T) {
	var events recorder
	srv := rescueServer(&events)
	iso, _ := image(t)
	for name, test := range map[string]struct {
		system pxe.Booter
		root   pxe.RootFSTransport
		want   string
	}{
		"live-boot, nbd":       {pxe.LiveBoot{}, &rootfs.NBD{Exports: pxe.ISOExports(iso)}, "nbd"},
		"copy never, by http":  {pxe.SystemRescue{CopyToRAM: 2}, rootfs.HTTP{}, "always copied"},
		"nothing to boot from": {pxe.Dracut{}, nil, "set the Server's Root"},
		"a nil pointer":        {(*pxe.SystemRescue)(nil), rootfs.HTTP{}, "a nil *pxe.SystemRescue"},
		"a nil transport":      {pxe.SystemRescue{}, (*rootfs.NBD)(nil), "a nil *rootfs.NBD"},
	} {
		t.Run(name, func(t *testing.T) {
			srv.Booter, srv.Root = test.system, test.root
			require.ErrorContains(t, srv.Validate(), test.want)
		})
	}
}
