package bootcfg

import (
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// golden compares a configuration, its further files included, with a file.
func golden(t *testing.T, name string, c *Config) {
	t.Helper()
	got := string(c.Text)
	names := make([]string, 0, len(c.Files))
	for n := range c.Files {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		got += "\n==> " + n + " <==\n" + string(c.Files[n])
	}
	file := filepath.Join("testdata", name+".golden")
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err, "run go test -update once")
	require.Equal(t, string(want), got)
}

// parseURL returns a URL that is known to be one.
func parseURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

// bases are those of one boot.
func bases() Bases {
	return Bases{HTTP: parseURL("http://192.0.2.1/~b1/"), TFTP: parseURL("tftp://192.0.2.1/~b1/")}
}

// plainMenu is a menu of one entry, as a provisioning tool makes it.
func plainMenu() *Menu {
	return &Menu{Entries: []Entry{{Name: "install", Kernel: "debian/vmlinuz", Initrds: []string{"debian/initrd.gz"},
		Params: []string{"auto=true", "url=http://192.0.2.1/preseed?mac=1;x#y"}}}}
}

// fullMenu uses all that a menu has.
func fullMenu() *Menu {
	return &Menu{
		Title:   "Machine room 2 # rack 7",
		Prompt:  true,
		Timeout: 1250 * time.Millisecond,
		Default: "live",
		Entries: []Entry{
			{Name: "live", Title: "Live system", Help: "Runs from memory.\n\n  * two  blanks\n# no comment", Kernel: "a b/vmlinuz,1",
				Initrds: []string{"ucode.img", "a b/initrd=1.img"}, Params: []string{"quiet", `mask=dev\x2dsda`, "rootcryptpass=$6$a$b"}},
			{Name: "other-nic", Title: "Live system; other && interface", Kernel: "vmlinuz", Params: []string{"BOOTIF=01-02-00-00-00-00-02"}},
			{Name: "no-nic", Kernel: "vmlinuz", AnyInterface: true},
			{Name: "local", Title: "Local disk", Local: true, Help: "Nothing is loaded."},
		},
		Help: []HelpText{
			{Key: 1, Name: "about", Text: "First line\n\n  indented\n|| && ; # -n --\nends in \\"},
			{Key: 12, Name: "more", Text: "-n\n"},
		},
		Files: map[string][]byte{"preseed.cfg": []byte("x")},
	}
}

func TestGolden(t *testing.T) {
	rescue, err := SystemRescue{Checksum: true, Keymap: "de", Memtest: "sysresccd/boot/memtest"}.Menu(parseURL("http://192.0.2.1/~b1/"))
	require.NoError(t, err)
	for _, test := range []struct {
		name string
		r    Renderer
		menu *Menu
		base Bases
	}{
		{"pxelinux-plain", PXELinux{}, plainMenu(), bases()},
		{"pxelinux-full", PXELinux{}, fullMenu(), bases()},
		{"pxelinux-module", PXELinux{UI: "menu.c32", LocalBoot: -1}, fullMenu(), bases()},
		{"pxelinux-tftp", PXELinux{}, plainMenu(), Bases{TFTP: bases().TFTP}},
		{"pxelinux-systemrescue", PXELinux{}, rescue, bases()},
		{"ipxe-plain", IPXE{}, plainMenu(), bases()},
		{"ipxe-full", IPXE{}, fullMenu(), bases()},
		{"ipxe-tftp", IPXE{}, plainMenu(), Bases{TFTP: bases().TFTP}},
		{"ipxe-systemrescue", IPXE{}, rescue, bases()},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := test.r.Render(test.menu, test.base)
			require.NoError(t, err)
			golden(t, test.name, c)
		})
	}
}

func TestGoldenParams(t *testing.T) {
	var got strings.Builder
	for _, test := range []struct {
		name string
		s    SystemRescue
		root string
	}{
		{"zero", SystemRescue{}, "http://192.0.2.1/"},
		{"checksum", SystemRescue{Checksum: true}, "http://192.0.2.1:8080/~b1/"},
		{"tftp", SystemRescue{Checksum: true}, "tftp://192.0.2.1/~b1/"},
		{"nfs", SystemRescue{CopyToRAM: CopyNever, NFSOptions: []string{"port=2049", "nolock"}}, "nfs://192.0.2.9/srv/rescue"},
		{"nbd", SystemRescue{CopyToRAM: CopyAlways}, "nbd://192.0.2.9:10809/"},
		{"nbd-name", SystemRescue{}, "nbd://192.0.2.9/~b1/rescue"},
		{"everything", SystemRescue{
			BaseDir: "media/sysresccd", Checksum: true, CopyToRAM: CopyAlways, CopyToRAMSize: "60%", COWSpaceSize: "2G",
			COWLabel: "RESCUE", COWDirectory: "/cow", LoadSRM: true, Keymap: "fr-latin9", RootCryptPass: "$6$rounds=5000$salt$ab/c.d",
			RootShell: "/bin/zsh", NoFirewall: true, NoAutologin: true, StartX: true, StartVNC: true, VNCPassword: "secret1",
			Consoles: []string{"tty0", "ttyS0,115200n8"}, NoModeset: true, NoMDLVM: true,
			Config:  []string{"http://192.0.2.1/a.yaml", "/b.yaml", "300-c.yaml"},
			Autorun: Autorun{Source: "http://192.0.2.1/run", Suffixes: []string{"0", "A"}, Attempts: 3, Disable: true, NoWait: true, IgnoreFail: true, NoDelete: true},
			Extra:   []string{"earlycon=uart8250,io,0x3f8", "iomem=strict", "mitigations=off"},
		}, "https://boot.example.net/~b1/"},
	} {
		params, err := test.s.Params(parseURL(test.root))
		require.NoError(t, err, test.name)
		got.WriteString("# " + test.name + "\n" + strings.Join(params, "\n") + "\n\n")
	}
	golden(t, "params", &Config{Text: []byte(got.String())})
}
