package bootcfg

import (
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// system is what the descriptions of live systems have in common.
type system interface {
	Params(root *url.URL) ([]string, error)
	Menu(root *url.URL) (*Menu, error)
}

func TestGoldenSystems(t *testing.T) {
	var got strings.Builder
	for _, test := range []struct {
		name, root string
		s          system
	}{
		{"Archiso: zero, http", "http://192.0.2.1/", Archiso{}},
		{"Archiso: checked, https", "https://boot.example.net:8443/~b1/", Archiso{Checksum: true, Verify: true, CMSVerify: true, EROFS: true}},
		{"Archiso: live, nfs", "nfs://192.0.2.9/srv/arch", Archiso{CopyToRAM: CopyNever, NFSOptions: []string{"port=2049", "nolock"}}},
		{"Archiso: nbd", "nbd://192.0.2.9/", Archiso{CopyToRAM: CopyAlways}},
		{"Archiso: everything, nbd", "nbd://192.0.2.9:10809/arch~b1", Archiso{
			Title: "Rescue", BaseDir: "media/rescue", Kernel: "vmlinuz-zen", Initrds: []string{"ucode.img", "zen.img"}, Timeout: -1,
			CopyToRAM: CopyNever, CopyToRAMSize: "60%", COWSpaceSize: "2G", COWLabel: "COW", COWDirectory: "/cow", AnyInterface: true,
			Consoles: []string{"ttyS0,9600"}, Extra: []string{"mirror=auto", "earlycon=uart8250,io,0x3f8"}}},
		{"LiveBoot: zero, http", "http://192.0.2.1:8080/~b1/", LiveBoot{}},
		{"LiveBoot: tftp", "tftp://192.0.2.1/~b1/", LiveBoot{CopyToRAM: CopyAlways}},
		{"LiveBoot: nfs", "nfs://192.0.2.9/srv/debian", LiveBoot{NFSOptions: []string{"rsize=32768", "soft"}}},
		{"LiveBoot: everything, nfs", "nfs://192.0.2.9/srv/debian", LiveBoot{
			Title: "Rescue", BaseDir: "media/rescue", Image: "rescue-12.squashfs", Kernel: "vmlinuz", Initrds: []string{"ucode.img", "initrd"},
			Timeout: time.Minute, CopyToRAM: CopyAlways, OverlaySize: "1G", NoComponents: true, AnyInterface: true,
			Consoles: []string{"ttyS0"}, Extra: []string{"components=user-setup", "locales=de_DE.UTF-8"}}},
		{"Dracut: zero, http", "http://192.0.2.1/~b1/", Dracut{}},
		{"Dracut: tftp", "tftp://192.0.2.1/", Dracut{Image: "root.iso", Extra: []string{"rd.live.dir=live", "rd.live.squashimg=filesystem.squashfs"}}},
		{"Dracut: nfs", "nfs://192.0.2.9/srv/root", Dracut{}},
		{"Dracut: nfs with options", "nfs://192.0.2.9/", Dracut{NFSOptions: []string{"v3", "port=2049", "rw", "nolock"}, CopyToRAM: CopyNever}},
		{"Dracut: nbd", "nbd://192.0.2.9/rescue~b1", Dracut{FSType: "squashfs"}},
		{"Dracut: everything, http", "http://boot.example.net/", Dracut{
			Title: "Fedora", Image: "a/b.img", Kernel: "k", Initrds: []string{"i", "j"}, Timeout: time.Second, CopyToRAM: CopyAlways,
			AnyInterface: true, Consoles: []string{"tty0"}, Extra: []string{"rd.noverifyssl", "selinux=0"}}},
	} {
		m, err := test.s.Menu(parseURL(test.root))
		require.NoError(t, err, test.name)
		params, err := test.s.Params(parseURL(test.root))
		require.NoError(t, err, test.name)
		e := m.Entries[0]
		require.Equal(t, params, e.Params)
		for _, r := range []Renderer{PXELinux{}, PXELinux{UI: "menu.c32"}, IPXE{}} {
			_, err = r.Render(m, bases())
			require.NoError(t, err)
		}
		got.WriteString("# " + test.name + "\n" + m.Title + ", " + m.Timeout.String() + ": " + strings.Join(entryNames(m), " ") +
			"\nkernel " + e.Kernel + "\ninitrds " + strings.Join(e.Initrds, " ") + "\nfetches " + strings.Join(e.RootFiles, " ") +
			"\n  " + strings.Join(params, "\n  ") + "\n\n")
	}
	golden(t, "systems", &Config{Text: []byte(got.String())})
}

func TestSystemsRefuse(t *testing.T) {
	const web, nfs, nbd = "http://192.0.2.1/", "nfs://192.0.2.1/srv", "nbd://192.0.2.1/x"
	for _, test := range []struct {
		name, want, root string
		s                system
	}{
		{"archiso by TFTP", "twice; use http, https, nfs or nbd", "tftp://192.0.2.1/", Archiso{}},
		{"archiso by FTP", "does not know; use http, https, nfs or nbd", "ftp://192.0.2.1/", Archiso{}},
		{"archiso IPv6", "knows IPv4 only", "http://[2001:db8::1]/", Archiso{}},
		{"archiso NBD port", "serve NBD on port 10809", "nbd://192.0.2.1:10810/x", Archiso{}},
		{"archiso live by HTTP", "use CopyAuto, or an NFS root", web, Archiso{CopyToRAM: CopyNever}},
		{"archiso shell", "hand to a shell", "http://192.0.2.1/$x/", Archiso{}},
		{"archiso directory", "archisobasedir", web, Archiso{BaseDir: "/arch"}},
		{"archiso size", "cow_spacesize", web, Archiso{COWSpaceSize: "lots"}},
		{"archiso mode", "use CopyAuto", web, Archiso{CopyToRAM: 3}},
		{"archiso verify", "set Verify", web, Archiso{Extra: []string{"verify=y"}}},
		{"archiso cms_verify", "set CMSVerify", web, Archiso{Extra: []string{"cms_verify=y"}}},
		{"archiso arch", "another machine's files", web, Archiso{Extra: []string{"arch=i686"}}},
		{"archiso medium", "names a local medium", web, Archiso{Extra: []string{"archisosearchuuid=2024-05-01-00-00-00-00"}}},
		{"archiso root", "give it as the root URL", web, Archiso{Extra: []string{"archiso_nbd_srv=192.0.2.1"}}},
		{"archiso NFS options", "set NFSOptions", nfs, Archiso{Extra: []string{"archiso_nfs_opt=ro"}}},

		{"live-boot by NBD", "live-boot does not know; use http, tftp or nfs", nbd, LiveBoot{}},
		{"live-boot by HTTPS", "checks no certificates", "https://192.0.2.1/", LiveBoot{}},
		{"live-boot by FTP", "does not know; use http, tftp or nfs", "ftp://192.0.2.1/", LiveBoot{}},
		{"live-boot IPv6", "knows IPv4 only", "tftp://[2001:db8::1]/", LiveBoot{}},
		{"live-boot NFS name", "is no IPv4 address", "nfs://server/srv", LiveBoot{}},
		{"live-boot TFTP that would be decoded", "does not decode", "tftp://192.0.2.1/a%20b/", LiveBoot{}},
		{"live-boot shell", "hand to a shell", "http://192.0.2.1/a*/", LiveBoot{}},
		{"live-boot query", "put tokens in the path", "http://192.0.2.1/?a=.squashfs", LiveBoot{}},
		{"live-boot live by TFTP", "comes by tftp is always copied", "tftp://192.0.2.1/", LiveBoot{CopyToRAM: CopyNever}},
		{"live-boot mode", "use CopyAuto", nfs, LiveBoot{CopyToRAM: 3}},
		{"live-boot directory", "is no directory", web, LiveBoot{BaseDir: "live/"}},
		{"live-boot image", "ends in .squashfs", web, LiveBoot{Image: "filesystem.img"}},
		{"live-boot image elsewhere", "ends in .squashfs", web, LiveBoot{Image: "a/b.squashfs"}},
		{"live-boot size", "overlay-size", web, LiveBoot{OverlaySize: "0"}},
		{"live-boot NFS options", "no option of klibc", nfs, LiveBoot{NFSOptions: []string{"noatime"}}},
		{"live-boot NFS options by HTTP", "comes by http", web, LiveBoot{NFSOptions: []string{"ro"}}},
		{"live-boot ip", "static address", web, LiveBoot{Extra: []string{"ip=dhcp"}}},
		{"live-boot checksums", "reboot", web, LiveBoot{Extra: []string{"verify-checksums"}}},
		{"live-boot medium", "names another medium", web, LiveBoot{Extra: []string{"findiso=/a.iso"}}},
		{"live-boot root", "give it as the root URL", web, LiveBoot{Extra: []string{"fetch=http://192.0.2.1/x.squashfs"}}},
		{"live-boot boot", "always boot=live", web, LiveBoot{Extra: []string{"boot=nfs"}}},
		{"live-boot toram", "set CopyToRAM", nfs, LiveBoot{Extra: []string{"toram"}}},
		{"live-boot nfsopts", "set NFSOptions", nfs, LiveBoot{Extra: []string{"nfsopts=ro"}}},
		{"live-boot overlay", "set OverlaySize", nfs, LiveBoot{Extra: []string{"overlay-size=1G"}}},
		{"live-boot path", "set BaseDir", nfs, LiveBoot{Extra: []string{"live-media-path=x"}}},
		{"live-boot components", "is there already", web, LiveBoot{Extra: []string{"components=locales"}}},

		{"dracut by FTP", "use http, tftp, nfs or nbd", "ftp://192.0.2.1/", Dracut{}},
		{"dracut IPv6", "knows IPv4 only", "nbd://[2001:db8::1]/x", Dracut{}},
		{"dracut by HTTPS", "does not trust; use http", "https://192.0.2.1/", Dracut{}},
		{"dracut default export", "names no export", "nbd://192.0.2.1/", Dracut{}},
		{"dracut port and name", "only one of them; serve NBD on port 10809", "nbd://192.0.2.1:10810/x", Dracut{}},
		{"dracut number", "takes for a port", "nbd://192.0.2.1/12", Dracut{}},
		{"dracut signed number", "takes for a port", "nbd://192.0.2.1/+12", Dracut{}},
		{"dracut name with a slash", "at which dracut cuts it", "nbd://192.0.2.1/a/b", Dracut{}},
		{"dracut name with a colon", "at which dracut cuts it", "nbd://192.0.2.1/a:b", Dracut{}},
		{"dracut name that would be decoded", "does not decode", "nbd://192.0.2.1/a%2541", Dracut{}},
		{"dracut export with a comma", "mount options", "nfs://192.0.2.1/a,b", Dracut{}},
		{"dracut export with a colon", "mount options", "nfs://192.0.2.1/a:/b", Dracut{}},
		{"dracut NFS name", "is no IPv4 address", "nfs://server/srv", Dracut{}},
		{"dracut NFSv2", "NFSv3 over TCP", nfs, Dracut{NFSOptions: []string{"v2"}}},
		{"dracut UDP", "NFSv3 over TCP", nfs, Dracut{NFSOptions: []string{"soft", "udp"}}},
		{"dracut locks", "without locks", nfs, Dracut{NFSOptions: []string{"lock"}}},
		{"dracut NFS options", "no option of klibc", nfs, Dracut{NFSOptions: []string{"noatime"}}},
		{"dracut NFS options by NBD", "comes by nbd", nbd, Dracut{NFSOptions: []string{"ro"}}},
		{"dracut copy of NFS", "copies no root that comes by nfs", nfs, Dracut{CopyToRAM: CopyAlways}},
		{"dracut copy of NBD", "copies no root that comes by nbd", nbd, Dracut{CopyToRAM: CopyAlways}},
		{"dracut live by HTTP", "comes by http is always copied", web, Dracut{CopyToRAM: CopyNever}},
		{"dracut mode", "use CopyAuto", nfs, Dracut{CopyToRAM: 3}},
		{"dracut image", "is no file on the medium", web, Dracut{Image: "/a.img"}},
		{"dracut image in a parent", "is no file on the medium", web, Dracut{Image: "a/../b.img"}},
		{"dracut type", "is no type of a file system", nbd, Dracut{FSType: "ext4:rw"}},
		{"dracut root", "give it as the root URL", web, Dracut{Extra: []string{"netroot=nbd:192.0.2.1:x"}}},
		{"dracut ip", "always ip=dhcp", web, Dracut{Extra: []string{"ip=192.0.2.2::192.0.2.1:255.255.255.0"}}},
		{"dracut ro", "where the root asks for it", nfs, Dracut{Extra: []string{"ro"}}},
		{"dracut rw", "in NFSOptions", nbd, Dracut{Extra: []string{"rw"}}},
		{"dracut overlay", "always there", nbd, Dracut{Extra: []string{"rd.live.overlay.overlayfs=1"}}},
		{"dracut rootfstype", "set FSType", nbd, Dracut{Extra: []string{"rootfstype=ext4"}}},
		{"dracut copy", "copies into memory", web, Dracut{Extra: []string{"rd.live.ram=1"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			params, err := test.s.Params(parseURL(test.root))
			var v *ValueError
			require.ErrorAs(t, err, &v)
			require.Nil(t, params)
			require.ErrorContains(t, err, test.want)
			m, err := test.s.Menu(parseURL(test.root))
			require.Nil(t, m)
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "\n", "one mistake is one sentence")
		})
	}
}

// What all systems refuse, each in its own name.
func TestSystemsRefuseAlike(t *testing.T) {
	for _, name := range []string{"Archiso", "LiveBoot", "Dracut"} {
		with := func(consoles, extra []string) system {
			switch name {
			case "Archiso":
				return Archiso{Consoles: consoles, Extra: extra}
			case "LiveBoot":
				return LiveBoot{Consoles: consoles, Extra: extra}
			}
			return Dracut{Consoles: consoles, Extra: extra}
		}
		for want, s := range map[string]system{
			"name each console once":                    with([]string{"tty0", "tty0"}, nil),
			"is no console":                             with([]string{"/dev/tty0"}, nil),
			"give one parameter per element":            with(nil, []string{"a b"}),
			"that a shell may see":                      with(nil, []string{"a=$(reboot)"}),
			"the last one would win":                    with(nil, []string{"a=1", "a=2"}),
			"list the file in Initrds":                  with(nil, []string{"initrd=x"}),
			"or set AnyInterface":                       with(nil, []string{"BOOTIF=01-02-00-00-00-00-01"}),
			"keep to 256":                               with(nil, make([]string, 257)),
			"the kernel keeps 2047: use fewer or short": with(nil, []string{strings.Repeat("x", 2040)}),
		} {
			_, err := s.Params(parseURL("http://192.0.2.1/"))
			require.ErrorContains(t, err, want)
			require.ErrorContains(t, err, "bootcfg: "+name)
		}
		_, err := with(nil, nil).Params(nil)
		require.ErrorContains(t, err, "give the URL of the root file system")
		_, err = with(nil, nil).Menu(nil)
		require.ErrorContains(t, err, "give the URL of the root file system")
		for _, scheme := range []string{"http", "nfs"} {
			for _, path := range []string{"", "rescue/", "@192.0.2.66/", ":81/"} {
				_, err := with(nil, nil).Params(&url.URL{Scheme: scheme, Host: "192.0.2.1", Path: path})
				require.ErrorContains(t, err, "has no path that begins with a slash")
			}
		}
		for _, root := range []string{"http://u:secret@192.0.2.1/", "http://192.0.2.1/#a/", "http:///a/", "http://192.0.2.1/a", "http://h;reboot/", "nfs://192.0.2.1/a/"} {
			_, err := with(nil, nil).Params(parseURL(root))
			require.Error(t, err, root)
			require.NotContains(t, err.Error(), "secret")
		}
	}
}

// What a shell would execute comes out of no field.
func TestSystemsTaint(t *testing.T) {
	for _, marker := range []string{taint, "$(touch${IFS}/pwn)", "`touch`", "a;reboot", "a\nreboot", "a b", "a*"} {
		for _, root := range []string{"http://192.0.2.1/", "nfs://192.0.2.1/srv"} {
			fields := 0
			for _, s := range []system{&Archiso{}, &LiveBoot{}, &Dracut{}} {
				each(reflect.ValueOf(s).Elem(), func(field reflect.Value) {
					fields++
					field.SetString(marker)
					if m, err := s.Menu(parseURL(root)); err == nil {
						// Titles are shown and names of files escaped: see the menu's own test.
						for _, e := range m.Entries {
							require.NotContains(t, strings.Join(e.Params, " "), marker)
						}
					}
					field.SetString("")
				})
			}
			require.Greater(t, fields, 25)
		}
	}
}

func TestArchisoOfAnotherProcessor(t *testing.T) {
	menu, err := Archiso{Arch: "aarch64"}.Menu(&url.URL{Scheme: "http", Host: "192.0.2.1", Path: "/"})
	require.NoError(t, err)
	require.Equal(t, "arch/boot/aarch64/vmlinuz-linux", menu.Entries[0].Kernel)
	require.Equal(t, []string{"arch/boot/aarch64/initramfs-linux.img"}, menu.Entries[0].Initrds)
	require.Contains(t, menu.Entries[0].RootFiles, "arch/aarch64/airootfs.sfs")
	for _, arch := range []string{"../x", "a/b", "."} {
		_, err = Archiso{Arch: arch}.Menu(&url.URL{Scheme: "http", Host: "192.0.2.1", Path: "/"})
		require.ErrorContains(t, err, "uname -m", arch)
	}
}
