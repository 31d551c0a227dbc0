package pxetest_test

import (
	"fmt"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/dhcp/pxetest"
)

// grubMenu prefers HTTP where the image has it.
func grubMenu(params string) []byte {
	return fmt.Appendf(nil, `# a menu
set default=live
set timeout=5
if insmod http; then
  set base='(http,192.0.2.1)/'
else
  set base="(tftp,192.0.2.1)/"
fi
menuentry 'It'\''s "SystemRescue"' --id live {
	linux ${base}vmlinuz %s BOOTIF=01-$net_default_mac
	initrd ${base}ucode.img ${base}sysresccd.img
}
menuentry 'Local disk' --id=disk { exit }
`, params)
}

func grubServer(t *testing.T, arch string) *fakeServer {
	s := newFakeServer(t)
	params := s.media([]byte("root"))
	s.files["sysresccd/aarch64/airootfs.sfs"] = s.files["sysresccd/x86_64/airootfs.sfs"]
	s.files["sysresccd/aarch64/airootfs.sha512"] = s.files["sysresccd/x86_64/airootfs.sha512"]
	s.files["boot/shim"+arch+".efi"] = []byte("shim")
	s.files["boot/grub"+arch+".efi"] = []byte("grub")
	s.files["grub/grub.cfg"] = grubMenu(params)
	return s
}

func TestGRUB(t *testing.T) {
	for _, tt := range []struct {
		firmware  pxetest.Firmware
		arch, dir string
		shim      bool
		kernel    string
	}{
		{pxetest.UEFIx64, "x64", "x86_64-efi", false, "http://192.0.2.1/vmlinuz"},
		{pxetest.UEFIx64, "x64", "x86_64-efi", true, "/vmlinuz"},
		{pxetest.UEFIIA32, "ia32", "i386-efi", false, "http://192.0.2.1/vmlinuz"},
		{pxetest.UEFIARM64, "aa64", "arm64-efi", true, "/vmlinuz"},
	} {
		t.Run(fmt.Sprintf("%v shim %t", tt.firmware, tt.shim), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				segment := pxetest.NewSegment(t)
				server := grubServer(t, tt.arch)
				loader := "boot/grub" + tt.arch + ".efi"
				if tt.shim {
					loader = "boot/shim" + tt.arch + ".efi"
				}
				server.bootFile = chain(loader, "")
				server.on(segment)
				m := segment.Machine(mac, tt.firmware)
				got, err := m.Boot(t.Context())
				require.NoError(t, err)
				require.Equal(t, "live", got.Entry)
				require.Equal(t, "/grub/grub.cfg", got.Config)
				require.Equal(t, tt.kernel, got.Kernel.Name)
				require.Len(t, got.Initrds, 2)
				require.True(t, got.Root.Verified)
				require.Contains(t, got.Params, "BOOTIF=01-"+mac)
				require.Len(t, got.Leases, 2, "the firmware's and the initramfs'")
				for _, name := range []string{"command", "fs", "crypto", "terminal"} {
					require.Contains(t, got.Missing, "/grub/"+tt.dir+"/"+name+".lst")
				}
				own := "/grub/grub.cfg-01-02-00-00-00-00-01"
				if tt.shim {
					require.Equal(t, []string{"boot/revocations_sku.efi", "boot/revocations_sbat.efi", "boot/shim_certificate_0.efi"}, got.Missing[:3])
					require.Equal(t, "BOOT_IMAGE=(tftp,192.0.2.1)/vmlinuz", got.Params[0])
					require.NotContains(t, got.Missing, own, "a signed GRUB asks for grub.cfg alone")
				} else {
					require.Contains(t, got.Missing, own)
					require.Contains(t, got.Missing, "/grub/grub.cfg-C0000264")
					require.Contains(t, got.Missing, "/grub/grub.cfg-C")
				}
				m.Choose = "Local disk"
				got, err = m.Boot(t.Context())
				require.NoError(t, err)
				require.True(t, got.Local)
				require.Equal(t, "disk", got.Entry)
			})
		})
	}
}

func TestGRUBRefused(t *testing.T) {
	config := func(text string) func(*fakeServer) {
		return func(s *fakeServer) { s.files["grub/grub.cfg"] = []byte(text) }
	}
	entry := func(text string) func(*fakeServer) { return config("timeout=1\nmenuentry a {\n" + text + "\n}") }
	for _, tt := range []struct {
		name, loader string
		change       func(*fakeServer)
		is           error
		says         string
	}{
		{"no configuration", "boot/grubx64.efi", func(s *fakeServer) { delete(s.files, "grub/grub.cfg") },
			pxetest.ErrNoConfig, "grub.cfg-C0000264"},
		{"nothing beside shim", "boot/shimx64.efi", func(s *fakeServer) { delete(s.files, "boot/grubx64.efi") },
			nil, "boot/grubx64.efi"},
		{"an empty second stage", "boot/shimx64.efi", func(s *fakeServer) { s.files["boot/grubx64.efi"] = nil },
			pxetest.ErrLoader, "is empty"},
		{"shim by option 67 alone", "boot/shimx64.efi", func(s *fakeServer) {
			s.mangle = func(_, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
				r.UpdateOption(dhcpv4.OptBootFileName(r.BootFileName))
				r.BootFileName = ""
				return r
			}
		}, nil, "from the header alone"},
		{"shim without siaddr", "boot/shimx64.efi", func(s *fakeServer) {
			s.mangle = func(_, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 { r.ServerIPAddr = nil; return r }
		}, pxetest.ErrLoader, "siaddr"},
		{"GRUB without siaddr", "boot/grubx64.efi", func(s *fakeServer) {
			s.mangle = func(_, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 { r.ServerIPAddr = nil; return r }
		}, pxetest.ErrLoader, "siaddr of the DHCPACK"},
		{"32 bits", "boot/grubia32.efi", nil, pxetest.ErrLoader, "for ia32, the firmware is x64"},
		{"a signed GRUB has no http", "boot/shimx64.efi", entry("linux (http,192.0.2.1)/vmlinuz"),
			pxetest.ErrTransfer, "this GRUB has no http"},
		{"no kernel", "boot/grubx64.efi", entry("linux /nothing"), pxetest.ErrConfig, "/nothing"},
		{"no initrd", "boot/grubx64.efi", entry("linux /vmlinuz\ninitrd /nothing\necho on"), pxetest.ErrConfig, "/nothing"},
		{"initrd first", "boot/grubx64.efi", entry("initrd /vmlinuz"), pxetest.ErrConfig, "has to be loaded first"},
		{"a relative path", "boot/grubx64.efi", entry("linux vmlinuz"), pxetest.ErrConfig, "no absolute path"},
		{"another device", "boot/grubx64.efi", entry("linux (nfs,192.0.2.1)/vmlinuz"), pxetest.ErrConfig, "neither tftp,ADDRESS"},
		{"nothing in it", "boot/grubx64.efi", config("set a=b"), pxetest.ErrConfig, "no menuentry"},
		{"an unknown command", "boot/grubx64.efi", config("\nset a=b\nfrobnicate $a"),
			pxetest.ErrConfig, `/grub/grub.cfg:3: frobnicate b: unknown command "frobnicate"`},
		{"waits for ever", "boot/grubx64.efi", config("menuentry a { exit }"), pxetest.ErrNoChoice, "waits for a key"},
		{"in circles", "boot/grubx64.efi", config("source /grub/grub.cfg"), pxetest.ErrChainLoop, "deeper than 16"},
		{"restarts", "boot/grubx64.efi", config("reboot"), pxetest.ErrNoChoice, "would reboot"},
		{"a signed GRUB loads no modules", "boot/shimx64.efi", func(s *fakeServer) {
			s.files["grub/x86_64-efi/foo.mod"] = []byte("module")
			config("if insmod foo; then exit; else reboot; fi")(s)
		}, pxetest.ErrNoChoice, "would reboot"},
		{"a blank in a URL", "boot/grubx64.efi", entry("linux '(http,192.0.2.1)/a b'"), pxetest.ErrTransfer, "does not escape"},
		{"tried for ever", "boot/grubx64.efi", entry("while true; do\nif linux /nothing; then boot; fi\nsleep --interruptible 10\ndone"),
			fs.ErrNotExist, "/grub/grub.cfg:3: the loop has failed 3 times and is given up: /grub/grub.cfg:4: linux /nothing"},
		{"an initrd tried for ever", "boot/grubx64.efi", entry("until false; do\nif linux /vmlinuz; then if initrd /nothing; then boot; fi; fi\ndone"),
			fs.ErrNotExist, "/grub/grub.cfg:4: initrd /nothing"},
		{"nothing for ever", "boot/grubx64.efi", entry("while true; do sleep 1; done"), pxetest.ErrConfig, "more than 10000 commands"},
		{"tried once", "boot/grubx64.efi", entry("if linux /nothing; then boot; fi"), fs.ErrNotExist, "boots nothing"},
		{"broken off", "boot/grubx64.efi", entry("while true; do\nif linux /nothing; then boot; fi\nbreak\nboot\ndone"), fs.ErrNotExist, "boots nothing"},
		{"another loader of the network", "boot/grubx64.efi", entry("chainloader /boot/grubia32.efi"), pxetest.ErrConfig, "only what is on the disk"},
		{"a kernel over another", "boot/grubx64.efi", entry("linux /vmlinuz a\nlinux /vmlinuz b\nboot"), pxetest.ErrConfig, "grub.cfg:5: boot: the loader cannot use its configuration: GRUB starts the kernel with an empty command line"},
		{"a kernel over another at the end", "boot/grubx64.efi", entry("linux /vmlinuz a\nlinux /vmlinuz b"), pxetest.ErrConfig, "empty command line"},
		{"a kernel over one that a failure hides", "boot/grubx64.efi", entry("linux /vmlinuz a\nif linux /none; then x; fi\nlinux /vmlinuz b\nboot"),
			pxetest.ErrConfig, "empty command line"},
		{"kernel and initrd again", "boot/grubx64.efi",
			entry("set i=/none; while true; do\nif linux /vmlinuz; then if initrd $i; then boot; fi; fi\nset i=/vmlinuz; done"), pxetest.ErrConfig, "empty command line"},
		{"a bad variable", "boot/grubx64.efi", entry("for a in x; do regexp --set=0:a- . b; done"), pxetest.ErrConfig, "is no assignment"},
		{"and", "boot/grubx64.efi", config("true && boot"), pxetest.ErrConfig, ":1: '&' is reserved"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				segment := pxetest.NewSegment(t)
				server := grubServer(t, "x64")
				server.files["boot/grubia32.efi"] = []byte("loader")
				server.bootFile = chain(tt.loader, "")
				if tt.change != nil {
					tt.change(server)
				}
				server.on(segment)
				_, err := segment.Machine(mac, pxetest.UEFIx64).Boot(t.Context())
				require.ErrorContains(t, err, tt.says)
				if tt.is != nil {
					require.ErrorIs(t, err, tt.is)
				}
			})
		})
	}
}

// TestGRUBBehindAProxy: GRUB reads siaddr of the DHCPACK, and that is the router's.
func TestGRUBBehindAProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		segment := pxetest.NewSegment(t)
		server, router := beside(t, segment, &proxy{offer: bare, ack: loaderOf("grubx64.efi", "")})
		server.files["grubx64.efi"] = []byte("grub")
		server.files["grub/grub.cfg"] = grubMenu("quiet")
		m := segment.Machine(mac, pxetest.UEFIx64)
		_, err := m.Boot(t.Context())
		require.ErrorContains(t, err, "siaddr of the DHCPACK, which is empty")

		router.SetBootFile("", server.addr)
		_, err = m.Boot(t.Context())
		require.NoError(t, err, "the other server says where GRUB's files are")
	})
}

// TestGRUBScripts: what configurations do.
func TestGRUBScripts(t *testing.T) {
	for _, tt := range []struct{ name, script, line string }{
		{"boots by itself", "linux /vmlinuz a; boot", "BOOT_IMAGE=/vmlinuz a"},
		{"quoting", `linux /vmlinuz 'a b' "c$net_default_ip" d\ e '"'` + "\nboot", `BOOT_IMAGE=/vmlinuz "a b" c192.0.2.100 "d e" \"`},
		{"words of a variable", "set a='x  y'\nlinux /vmlinuz $a \"$a\" ${a}z $none \"$none\"\nboot", `BOOT_IMAGE=/vmlinuz x y "x  y" x yz `},
		{"elif", "if [ a = b ]; then x\nelif test -z \"$nothing\" -a; then y; fi", ""},
		{"else", "if [ a = b ]; then linux /none\nelif [ ! a != a ]; then linux /vmlinuz elif\nelse linux /none\nfi\nboot", "BOOT_IMAGE=/vmlinuz elif"},
		{"a file that is there", "if [ -e /vmlinuz ]; then linux /vmlinuz there; fi\nboot", "BOOT_IMAGE=/vmlinuz there"},
		{"a kernel that may be missing", "if linux /none; then true; else linux /vmlinuz other; fi\nboot", "BOOT_IMAGE=/vmlinuz other"},
		{"modules", "insmod gzio; insmod nothere; linux /vmlinuz on\nboot", "BOOT_IMAGE=/vmlinuz on"},
		{"continued", "linux /vmlinuz \\\n  a # comment\nboot", "BOOT_IMAGE=/vmlinuz a"},
		{"a second configuration", "configfile /grub/next.cfg", "BOOT_IMAGE=/vmlinuz next"},
		{"included", "source ($root)/grub/part.cfg; boot", "BOOT_IMAGE=/vmlinuz part"},
		{"for", "for a in x 'y z' $net_default_ip; do set all=\"$all/$a\"; done\nlinux /vmlinuz \"$all\"; boot", `BOOT_IMAGE=/vmlinuz "/x/y z/192.0.2.100"`},
		{"for without words", "for a in ; do linux /none; done; linux /vmlinuz a$a; boot", "BOOT_IMAGE=/vmlinuz a"},
		{"while", "while [ \"$a\" != xxxxx ]; do a=\"x$a\"; done; linux /vmlinuz $a; boot", "BOOT_IMAGE=/vmlinuz xxxxx"},
		{"until", "until [ \"$a\" = xx ]\ndo\n  a=\"x$a\"\ndone\nlinux /vmlinuz $a; boot", "BOOT_IMAGE=/vmlinuz xx"},
		{"break", "for a in 1 2; do for b in 1 2 3; do if [ $b = 2 ]; then break; linux /none; fi; c=\"$c$a$b,\"; done; done; linux /vmlinuz $c; boot", "BOOT_IMAGE=/vmlinuz 11,21,"},
		{"break two", "for a in 1 2; do for b in 1 2; do c=\"$c$a$b,\"; break 2; done; done; linux /vmlinuz $c; boot", "BOOT_IMAGE=/vmlinuz 11,"},
		{"continue", "for a in 1 2 3; do if [ $a = 2 ]; then continue; fi; c=\"$c$a\"; done; linux /vmlinuz $c; boot", "BOOT_IMAGE=/vmlinuz 13"},
		{"break of no loop", "break; linux /vmlinuz a; boot", "BOOT_IMAGE=/vmlinuz a"},
		{"break in a condition", "while break; do linux /none; done; linux /vmlinuz a; boot", "BOOT_IMAGE=/vmlinuz a"},
		{"a kernel that is there at last", "set k=/none\nwhile true; do\nif linux $k; then boot; fi\nset k=/vmlinuz\nif sleep --interruptible 1; then true; else break; fi\ndone", "BOOT_IMAGE=/vmlinuz"},
		{"a kernel that fails twice", "for k in /none /none /vmlinuz; do if linux $k a; then boot; fi; done", "BOOT_IMAGE=/vmlinuz a"},
		{"the initrd alone again", "linux /vmlinuz a; set i=/none\nwhile true; do if initrd $i; then boot; fi; set i=/vmlinuz; done", "BOOT_IMAGE=/vmlinuz a"},
		{"a kernel over the disk's loader", "linux /vmlinuz a; search --set --file /x; chainloader /x; set root=tftp,192.0.2.1; linux /vmlinuz b; boot", "BOOT_IMAGE=/vmlinuz b"},
		{"regexp", "if regexp --set 1:a --set=2:b --set c '^(..):(..)' \"$net_default_mac\"; then linux /vmlinuz $a-$b-$c; fi\nboot", "BOOT_IMAGE=/vmlinuz 02-00-02"},
		{"regexp without a match", "if regexp --set a '(z)' yx; then x; else linux /vmlinuz no$a; fi; boot", "BOOT_IMAGE=/vmlinuz no"},
		{"regexp without the group", "set b=1; regexp --set 2:b '(y)' yx; linux /vmlinuz b$b; boot", "BOOT_IMAGE=/vmlinuz b"},
		{"a bad regexp", "if regexp '(' yx; then x; else linux /vmlinuz bad; fi; boot", "BOOT_IMAGE=/vmlinuz bad"},
		{"default by number", "set timeout=0 default=1\nmenuentry a {}\nmenuentry b --class linux { linux /vmlinuz b }", "BOOT_IMAGE=/vmlinuz b"},
		{"unknown default", "timeout=3; default=zz; menuentry a { linux /vmlinuz a\n}", "BOOT_IMAGE=/vmlinuz a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				segment := pxetest.NewSegment(t)
				server := grubServer(t, "x64")
				server.bootFile = chain("boot/grubx64.efi", "")
				server.files["grub/grub.cfg"] = []byte(tt.script)
				server.files["grub/next.cfg"] = []byte("set timeout=2\nmenuentry next { linux /vmlinuz next }")
				server.files["grub/part.cfg"] = []byte("linux /vmlinuz part")
				server.on(segment)
				started := time.Now()
				got, err := segment.Machine(mac, pxetest.UEFIx64).Boot(t.Context())
				if tt.line == "" {
					require.ErrorIs(t, err, pxetest.ErrConfig)
					return
				}
				require.NoError(t, err)
				require.Equal(t, tt.line, got.CommandLine)
				require.Less(t, time.Since(started), 10*time.Second)
			})
		})
	}
}

// TestGRUBOnARM64LoadsASecondKernel: that GRUB unloads the first one before.
func TestGRUBOnARM64LoadsASecondKernel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		segment := pxetest.NewSegment(t)
		server := grubServer(t, "aa64")
		server.bootFile = chain("boot/grubaa64.efi", "")
		server.files["grub/grub.cfg"] = []byte("linux /vmlinuz a; linux /vmlinuz b; boot")
		server.on(segment)
		got, err := segment.Machine(mac, pxetest.UEFIARM64).Boot(t.Context())
		require.NoError(t, err)
		require.Equal(t, "BOOT_IMAGE=/vmlinuz b", got.CommandLine)
	})
}

// TestGRUBStartsTheDisk: what a chainloader loads starts by boot, or at the end of
// the entry.
func TestGRUBStartsTheDisk(t *testing.T) {
	for name, text := range map[string]string{
		"boot": "if search --no-floppy --set=disk --file /EFI/BOOT/BOOTX64.EFI; then if chainloader ($disk)/EFI/BOOT/BOOTX64.EFI; then boot; linux /none; fi; fi",
		"end":  "search --set --file /x; chainloader /x",
		"exit": "exit 1",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				segment := pxetest.NewSegment(t)
				server := grubServer(t, "x64")
				server.bootFile = chain("boot/grubx64.efi", "")
				server.files["grub/grub.cfg"] = []byte("timeout=1; menuentry a {\n" + text + "\n}")
				server.on(segment)
				got, err := segment.Machine(mac, pxetest.UEFIx64).Boot(t.Context())
				require.NoError(t, err)
				require.True(t, got.Local)
				require.NotContains(t, got.Missing, "/none")
			})
		})
	}
}
