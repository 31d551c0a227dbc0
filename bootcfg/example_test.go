package bootcfg_test

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/pxekit/pxe/bootcfg"
)

// A provisioning tool boots its installer, and lets who stands before the
// machine choose the disk instead.
func ExampleMenu() {
	menu := &bootcfg.Menu{
		Title:   "Rack 7",
		Timeout: 5 * time.Second,
		Entries: []bootcfg.Entry{
			{Name: "install", Title: "Install Debian", Kernel: "debian/linux", Initrds: []string{"debian/initrd.gz"},
				Params: []string{"auto=true", "url=http://192.0.2.1/preseed.cfg"}},
			{Name: "disk", Title: "Boot the disk", Local: true},
		},
	}
	base := &url.URL{Scheme: "http", Host: "192.0.2.1", Path: "/"}
	config, err := bootcfg.PXELinux{}.Render(menu, bootcfg.Bases{HTTP: base})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s", config.Text)
	fmt.Printf("---%s", config.Files["pxelinux.cfg/menu.msg"])
	// Output:
	// PROMPT 1
	// TIMEOUT 50
	// DEFAULT install
	// ONTIMEOUT install
	// MENU TITLE Rack 7
	// DISPLAY http://192.0.2.1/pxelinux.cfg/menu.msg
	//
	// LABEL install
	//   MENU LABEL Install Debian
	//   LINUX http://192.0.2.1/debian/linux
	//   APPEND auto=true url=http://192.0.2.1/preseed.cfg
	//   INITRD http://192.0.2.1/debian/initrd.gz
	//   SYSAPPEND 2
	//
	// LABEL disk
	//   MENU LABEL Boot the disk
	//   LOCALBOOT 0
	// ---
	// Rack 7
	//
	//   install  Install Debian
	//   disk     Boot the disk
	//
	// Type a name and press Enter. Enter alone boots install,
	// and so does waiting for 5s.
}

// A menu of one entry is booted without asking.
func ExampleIPXE() {
	menu := &bootcfg.Menu{Entries: []bootcfg.Entry{{Name: "install", Kernel: "debian/linux",
		Initrds: []string{"debian/initrd.gz"}, Params: []string{"auto=true"}}}}
	base := &url.URL{Scheme: "http", Host: "192.0.2.1", Path: "/"}
	config, err := bootcfg.IPXE{}.Render(menu, bootcfg.Bases{HTTP: base})
	if err != nil {
		fmt.Println(err)
		return
	}
	script, _, _ := strings.Cut(string(config.Text), "\n:failed")
	fmt.Println(script)
	// Output:
	// #!ipxe
	//
	// :boot-install
	// set selected boot-install
	// imgfree
	// set url http://192.0.2.1/debian/linux
	// kernel ${url} initrd=initrd0 auto=true BOOTIF=01-${netX/mac:hexhyp} || goto failed
	// set url http://192.0.2.1/debian/initrd.gz
	// initrd --name initrd0 ${url} || goto failed
	// boot || goto failed
	// goto failed
}

// The kernel parameters follow the scheme of the root file system's URL.
func ExampleSystemRescue() {
	rescue := bootcfg.SystemRescue{Checksum: true, Keymap: "de"}
	for _, root := range []string{"http://192.0.2.1/", "nfs://192.0.2.9/srv/rescue", "http://192.0.2.1/rescue?token=1"} {
		u, err := url.Parse(root)
		if err != nil {
			fmt.Println(err)
			continue
		}
		params, err := rescue.Params(u)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(strings.Join(params, " "))
	}
	// Output:
	// archisobasedir=sysresccd ip=dhcp archiso_http_srv=http://192.0.2.1/ checksum iomem=relaxed setkmap=de
	// archisobasedir=sysresccd ip=dhcp archiso_nfs_srv=192.0.2.9:/srv/rescue checksum iomem=relaxed setkmap=de
	// bootcfg: SystemRescue: root "http://192.0.2.1/rescue?token=1": has a query or a fragment, which boot code cuts off; put tokens in the path
}

// Values that a loader or the booted system would misread are refused.
func ExampleValueError() {
	menu := &bootcfg.Menu{Entries: []bootcfg.Entry{{Name: "install", Kernel: "debian/linux", Params: []string{"quiet splash"}}}}
	fmt.Println(menu.Validate())
	// Output:
	// bootcfg: entry "install": param "quiet splash": has a blank in it; give one parameter per element; values cannot contain blanks
}

// GRUB fetches by HTTP if it can, and by TFTP if it cannot.
func ExampleGRUB() {
	menu := &bootcfg.Menu{Entries: []bootcfg.Entry{{Name: "install", Title: "Install Debian", Kernel: "debian/linux",
		Initrds: []string{"debian/initrd.gz"}, Params: []string{"auto=true"}}}}
	config, err := bootcfg.GRUB{}.Render(menu, bootcfg.Bases{
		HTTP: &url.URL{Scheme: "http", Host: "192.0.2.1", Path: "/"},
		TFTP: &url.URL{Scheme: "tftp", Host: "192.0.2.1", Path: "/"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for line := range strings.Lines(string(config.Text)) {
		if word, _, _ := strings.Cut(strings.TrimSpace(line), " "); word == "source" || word == "menuentry" || word == "if" {
			fmt.Print(line)
		}
	}
	fmt.Printf("--- grub/http.cfg\n%s", config.Files["grub/http.cfg"])
	// Output:
	// source '(http,192.0.2.1)/grub/http.cfg'
	// if regexp --set 1:a --set 2:b --set 3:c --set 4:d --set 5:e --set 6:f '^(..):(..):(..):(..):(..):(..)$' "$net_default_mac"; then
	// menuentry 'Install Debian' --id 'install' {
	//     if linux "$base"'/debian/linux' 'auto=true' "BOOTIF=$bootif"; then
	//         if initrd "$base"'/debian/initrd.gz'; then boot; fi
	//         if sleep --interruptible 10; then true; else reboot; fi
	//     if sleep --interruptible 10; then true; else break; fi
	// --- grub/http.cfg
	// set base='(http,192.0.2.1)'
}

// A machine is given a boot program as it is.
func ExampleProgram() {
	menu := &bootcfg.Menu{Title: "Memory test", Program: &bootcfg.Program{File: "memtest.efi"}}
	fmt.Println(menu.Validate())
	// Output:
	// <nil>
}
