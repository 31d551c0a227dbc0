package bootcfg_test

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/pxekit/pxe/bootcfg"
)

// show prints the parameters that a system boots with from some roots.
func show(params func(root *url.URL) ([]string, error), roots ...string) {
	for _, root := range roots {
		u, err := url.Parse(root)
		if err != nil {
			fmt.Println(err)
			continue
		}
		p, err := params(u)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(strings.Join(p, " "))
	}
}

// Arch Linux's initramfs reads the parameters that SystemRescue's does, but for
// TFTP.
func ExampleArchiso() {
	arch := bootcfg.Archiso{CMSVerify: true}
	show(arch.Params, "http://192.0.2.1/", "nbd://192.0.2.9/arch", "tftp://192.0.2.1/")
	// Output:
	// archisobasedir=arch ip=dhcp archiso_http_srv=http://192.0.2.1/ cms_verify=y
	// archisobasedir=arch ip=dhcp archiso_nbd_srv=192.0.2.9 archiso_nbd_name=arch cms_verify=y
	// bootcfg: Archiso: root "tftp://192.0.2.1/": is TFTP, by which this initramfs would fetch the root file system twice; use http, https, nfs or nbd
}

// A Debian live medium, fetched or mounted. live-boot knows no NBD.
func ExampleLiveBoot() {
	debian := bootcfg.LiveBoot{Extra: []string{"locales=de_DE.UTF-8"}}
	show(debian.Params, "http://192.0.2.1/", "nfs://192.0.2.9/srv/debian", "nbd://192.0.2.9/debian")
	// Output:
	// boot=live components fetch=http://192.0.2.1/live/filesystem.squashfs locales=de_DE.UTF-8
	// boot=live components netboot=nfs nfsroot=192.0.2.9:/srv/debian locales=de_DE.UTF-8
	// bootcfg: LiveBoot: root "nbd://192.0.2.9/debian": is NBD, which live-boot does not know; use http, tftp or nfs
}

// dracut fetches a live image, or mounts what an export holds.
func ExampleDracut() {
	system := bootcfg.Dracut{}
	show(system.Params, "http://192.0.2.1/", "nfs://192.0.2.9/srv/root", "nbd://192.0.2.9/root", "nbd://192.0.2.9:10810/root")
	// Output:
	// root=live:http://192.0.2.1/LiveOS/squashfs.img rd.live.image rd.live.overlay.overlayfs=1 rd.neednet=1 ip=dhcp
	// root=nfs:192.0.2.9:/srv/root:vers=3 rd.neednet=1 ip=dhcp
	// root=nbd:192.0.2.9:root ro rd.neednet=1 ip=dhcp
	// bootcfg: Dracut: root "nbd://192.0.2.9:10810/root": has a port and an export, and the initramfs can be told only one of them; serve NBD on port 10809
}
