package bootcfg

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// change returns a full menu with one change.
func change(f func(m *Menu)) *Menu {
	m := fullMenu()
	f(m)
	return m
}

func TestValidate(t *testing.T) {
	require.NoError(t, fullMenu().Validate())
	require.NoError(t, plainMenu().Validate())
	for _, test := range []struct {
		name, want string
		menu       *Menu
	}{
		{"nothing", "menu: has no entries", &Menu{}},
		{"too many entries", "has 65 entries", change(func(m *Menu) { m.Entries = make([]Entry, 65) })},
		{"title", `menu title "a\tb"`, change(func(m *Menu) { m.Title = "a\tb" })},
		{"title with blank", "begins or ends with a blank", change(func(m *Menu) { m.Title = "a " })},
		{"long title", "has 71 bytes; keep to 70", change(func(m *Menu) { m.Title = strings.Repeat("x", 71) })},
		{"negative timeout", "menu timeout", change(func(m *Menu) { m.Timeout = -1 })},
		{"long timeout", "menu timeout", change(func(m *Menu) { m.Timeout = time.Hour + 1 })},
		{"default", `menu default "gone": names no entry`, change(func(m *Menu) { m.Default = "gone" })},
		{"two of a name", `menu "live": is the name of two entries`, change(func(m *Menu) { m.Entries[1].Name = "live" })},
		{"no name", `entry "": name: is no entry name`, change(func(m *Menu) { m.Entries[1].Name = "" })},
		{"name with blank", `entry "a b"`, change(func(m *Menu) { m.Entries[1].Name = "a b" })},
		{"name like an option", `entry "-a"`, change(func(m *Menu) { m.Entries[1].Name = "-a" })},
		{"entry title", `entry "live": title "é"`, change(func(m *Menu) { m.Entries[0].Title = "é" })},
		{"entry help", `entry "live": help: has a line of 79 bytes`, change(func(m *Menu) { m.Entries[0].Help = strings.Repeat("x", 79) })},
		{"tab in help", `entry "live": help: has something else`, change(func(m *Menu) { m.Entries[0].Help = "\t" })},
		{"no kernel", `entry "live": has neither a kernel nor Local`, change(func(m *Menu) { m.Entries[0].Kernel = "" })},
		{"local with kernel", `entry "live": boots the local disk and yet`, change(func(m *Menu) { m.Entries[0].Local = true })},
		{"absolute kernel", `entry "live": kernel "/k": is no file name`, change(func(m *Menu) { m.Entries[0].Kernel = "/k" })},
		{"parent", `entry "live": kernel "a/../k"`, change(func(m *Menu) { m.Entries[0].Kernel = "a/../k" })},
		{"backslash", "control character or backslash", change(func(m *Menu) { m.Entries[0].Kernel = `a\k` })},
		{"long kernel", "is too long", change(func(m *Menu) { m.Entries[0].Kernel = strings.Repeat("k", 481) })},
		{"initrd", `entry "live": initrd "."`, change(func(m *Menu) { m.Entries[0].Initrds[0] = "." })},
		{"root file", `entry "live": root file: is no file name`, change(func(m *Menu) { m.Entries[0].RootFiles = []string{""} })},
		{"initrds", "has 17 initrds", change(func(m *Menu) { m.Entries[0].Initrds = make([]string, 17) })},
		{"empty param", "param: has no name", change(func(m *Menu) { m.Entries[0].Params[0] = "" })},
		{"param without name", "has no name", change(func(m *Menu) { m.Entries[0].Params[0] = "=x" })},
		{"two params", "give one parameter per element", change(func(m *Menu) { m.Entries[0].Params[0] = "a b" })},
		{"newline", "something else than printable", change(func(m *Menu) { m.Entries[0].Params[0] = "a\nb" })},
		{"quote", "has a quote in it", change(func(m *Menu) { m.Entries[0].Params[0] = `a="b` })},
		{"comment", "hides all parameters after it", change(func(m *Menu) { m.Entries[0].Params[0] = "#a" })},
		{"initrd as param", "list the file in Initrds", change(func(m *Menu) { m.Entries[0].Params[0] = "initrd=x" })},
		{"upper case BOOTIF", "use BOOTIF() to write it", change(func(m *Menu) { m.Entries[0].Params[0] = "BOOTIF=01-02-00-00-00-00-AB" })},
		{"BOOTIF of another type", "use BOOTIF() to write it", change(func(m *Menu) { m.Entries[0].Params[0] = "BOOTIF=20-02-00-00-00-00-ab" })},
		{"F13", "help on F13: there is no such key", change(func(m *Menu) { m.Help[0].Key = 13 })},
		{"key twice", "help on F12: two texts", change(func(m *Menu) { m.Help[0].Key = 12 })},
		{"help without name", "help on F1: has no name", change(func(m *Menu) { m.Help[0].Name = "" })},
		{"help without text", "help on F1: has no text", change(func(m *Menu) { m.Help[0].Text = "" })},
		{"long help", "has 4097 bytes", change(func(m *Menu) { m.Help[0].Text = strings.Repeat("\n", 4097) })},
		{"file", `menu file "../x"`, change(func(m *Menu) { m.Files = map[string][]byte{"../x": nil} })},
		{"file size", "have 67108865 bytes", change(func(m *Menu) { m.Files = map[string][]byte{"x": make([]byte, MaxFile+1)} })},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.menu.Validate()
			require.ErrorContains(t, err, test.want)
			var v *ValueError
			require.True(t, errors.As(err, &v))
			require.NotEmpty(t, v.Remedy)
			for _, r := range []Renderer{PXELinux{}, IPXE{}, GRUB{}, UBoot{}} {
				c, rendered := r.Render(test.menu, bases())
				require.Nil(t, c)
				require.Equal(t, err.Error(), rendered.Error())
			}
		})
	}
}

func TestValidateReportsEverything(t *testing.T) {
	m := fullMenu()
	m.Title, m.Default, m.Entries[0].Kernel, m.Help[0].Key = "\n", "gone", "", 0
	err := m.Validate()
	require.Len(t, strings.Split(err.Error(), "\n"), 4)
}

func TestErrorsKeepSecrets(t *testing.T) {
	m := plainMenu()
	m.Entries[0].Params = []string{`rootpass=hun"ter2`}
	require.NotContains(t, m.Validate().Error(), "ter2")
	_, err := SystemRescue{RootPassword: `hun"ter2`, RootCryptPass: "ter2", VNCPassword: "ter2", Extra: []string{"rootpass=ter2"}}.Params(parseURL("http://192.0.2.1/"))
	require.Error(t, err)
	require.NotContains(t, err.Error(), "ter2")
}

func TestValueErrorClips(t *testing.T) {
	err := &ValueError{Where: "here", Value: strings.Repeat("x", 1000), Problem: "is long"}
	require.Equal(t, `bootcfg: here "`+strings.Repeat("x", 80)+`...": is long`, err.Error())
}

func TestBOOTIF(t *testing.T) {
	got, err := BOOTIF(net.HardwareAddr{2, 0, 0, 0, 0, 0xAB})
	require.NoError(t, err)
	require.Equal(t, "BOOTIF=01-02-00-00-00-00-ab", got)
	require.Equal(t, flaw{}, checkParam(got))
	for _, hw := range []net.HardwareAddr{nil, {2, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {1, 0, 0, 0, 0, 1}, make([]byte, 20)} {
		_, err := BOOTIF(hw)
		require.Error(t, err, hw.String())
	}
}

// What is refused because of the loader or the bases, not of the menu.
func TestRenderRefuses(t *testing.T) {
	pxelinux, ipxe, both := []Renderer{PXELinux{}}, []Renderer{IPXE{}}, []Renderer{PXELinux{}, IPXE{}}
	http := func(s string) Bases { return Bases{HTTP: parseURL(s)} }
	for _, test := range []struct {
		name, want string
		by         []Renderer
		menu       *Menu
		base       Bases
	}{
		{"no bases", "are both missing", both, plainMenu(), Bases{}},
		{"other scheme", "has the wrong scheme", both, plainMenu(), http("ftp://192.0.2.1/")},
		{"https", "has the wrong scheme", pxelinux, plainMenu(), http("https://192.0.2.1/")},
		{"tftp as http", "has the wrong scheme", both, plainMenu(), http("tftp://192.0.2.1/")},
		{"no slash", "does not end in a slash", both, plainMenu(), http("http://192.0.2.1/a")},
		{"query", "put tokens in the path", both, plainMenu(), http("http://192.0.2.1/?a/")},
		{"user", "put tokens in the path", both, plainMenu(), http("http://u@192.0.2.1/")},
		{"no host", "has no usable host", both, plainMenu(), http("http:///")},
		{"odd host", "has no usable host", both, plainMenu(), http("http://a$b/")},
		{"zone", "has no usable host", both, plainMenu(), http("http://[fe80::1%25eth0]/")},
		{"IPv6", "is an IPv6 address", pxelinux, plainMenu(), http("http://[2001:db8::1]/")},
		{"long URL", "more than 255 bytes", pxelinux, change(func(m *Menu) { m.Entries[0].Kernel = strings.Repeat("k", 250) }), bases()},
		{"odd name by TFTP", "serve it by HTTP", pxelinux, change(func(m *Menu) { m.Entries[0].Kernel = "a b" }), Bases{TFTP: bases().TFTP}},
		{"initrd= in a param", `has "initrd=" in it`, pxelinux, change(func(m *Menu) { m.Entries[0].Params[0] = "noinitrd=1" }), bases()},
		{"hotkey", "mark of a hotkey", pxelinux, change(func(m *Menu) { m.Entries[0].Title = "a^b" }), bases()},
		{"hotkey in title", "mark of a hotkey", pxelinux, change(func(m *Menu) { m.Title = "a^b" }), bases()},
		{"end of text", "where pxelinux would end the text", pxelinux, change(func(m *Menu) { m.Entries[0].Help = "a\n EndText x" }), bases()},
		{"name of a screen", "pxelinux's own screens need", pxelinux, change(func(m *Menu) { m.Files = map[string][]byte{pxelinuxScreen: nil} }), bases()},
		{"local boot", "local boot", []Renderer{PXELinux{LocalBoot: 5}}, plainMenu(), bases()},
		{"module", "menu module", []Renderer{PXELinux{UI: "../menu.c32"}}, fullMenu(), bases()},
		{"setting in a param", `has "${" in it`, ipxe, change(func(m *Menu) { m.Entries[0].Params[0] = "a=${b}" }), bases()},
		{"setting in a title", `has "${" in it`, ipxe, change(func(m *Menu) { m.Entries[0].Title = "${b}" }), bases()},
		{"setting in a help", `has "${" in it`, ipxe, change(func(m *Menu) { m.Help[0].Text = "${b}" }), bases()},
		{"or", "end the command", ipxe, change(func(m *Menu) { m.Entries[0].Params[0] = "||" }), bases()},
		{"and", "end the command", ipxe, change(func(m *Menu) { m.Entries[0].Params[0] = "&&" }), bases()},
		{"semicolon", "end the command", ipxe, change(func(m *Menu) { m.Entries[0].Params[0] = ";" }), bases()},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, r := range test.by {
				c, err := r.Render(test.menu, test.base)
				require.Nil(t, c)
				require.ErrorContains(t, err, test.want)
			}
		})
	}
}

// The kernel keeps 2047 bytes, and what the loaders add counts.
func TestS004_CommandLineLength(t *testing.T) {
	for _, test := range []struct {
		r     Renderer
		added string // to the one parameter
	}{
		{PXELinux{}, "BOOT_IMAGE=http://192.0.2.1/~b1/vmlinuz  initrd=http://192.0.2.1/~b1/initrd BOOTIF=01-02-00-00-00-00-01"},
		{IPXE{}, "vmlinuz initrd=initrd0  BOOTIF=01-02-00-00-00-00-01"},
		{GRUB{}, "BOOT_IMAGE=(http,192.0.2.1)/~b1/vmlinuz  BOOTIF=01-02-00-00-00-00-01"},
		{UBoot{}, " BOOTIF=01-02-00-00-00-00-01"},
	} {
		t.Run(fmt.Sprintf("%T", test.r), func(t *testing.T) {
			room := MaxCommandLine - len(test.added)
			m := &Menu{Entries: []Entry{{Name: "a", Kernel: "vmlinuz", Initrds: []string{"initrd"}, Params: []string{strings.Repeat("x", room)}}}}
			_, err := test.r.Render(m, bases())
			require.NoError(t, err)
			m.Entries[0].Params[0] += "x"
			_, err = test.r.Render(m, bases())
			require.ErrorContains(t, err, "its kernel command line has 2048 bytes")
			m.Entries[0].AnyInterface = true
			_, err = test.r.Render(m, bases())
			require.NoError(t, err)
		})
	}
}

func TestProbe(t *testing.T) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 0xab}
	for name, want := range map[string]Probe{
		"pxelinux.cfg/default":                                   {Default: true},
		"/~b1/boot/pxelinux.cfg/default":                         {Default: true},
		"pxelinux.cfg/01-02-00-00-00-00-ab":                      {HardwareAddr: mac},
		"pxelinux.cfg/b8945908-d6a6-41a9-611d-74a6ab80b83d":      {UUID: "b8945908-d6a6-41a9-611d-74a6ab80b83d"},
		"x/pxelinux.cfg/C000020A":                                {Addr: netip.MustParseAddr("192.0.2.10")},
		"pxelinux.cfg/C0000":                                     {Prefix: netip.MustParsePrefix("192.0.0.0/20")},
		"pxelinux.cfg/C":                                         {Prefix: netip.MustParsePrefix("192.0.0.0/4")},
		"pxelinux.cfg/pxelinux.cfg/pxelinux.cfg/0":               {Prefix: netip.MustParsePrefix("0.0.0.0/4")},
		"//pxelinux.cfg/default":                                 {Default: true},
		"http://192.0.2.1/pxelinux.cfg/01-02-00-00-00-00-ab":     {HardwareAddr: mac},
		"../pxelinux.cfg/01-02-00-00-00-00-ab":                   {HardwareAddr: mac},
		"pxelinux.cfg/00000000-0000-0000-0000-000000000000":      {UUID: "00000000-0000-0000-0000-000000000000"},
		"/srv/tftp/pxelinux.cfg/01-00-00-00-00-00-00":            {HardwareAddr: make(net.HardwareAddr, 6)},
		strings.Repeat("d/", 5000) + "pxelinux.cfg/default":      {Default: true},
		"pxelinux.cfg/FFFFFFFF":                                  {Addr: netip.MustParseAddr("255.255.255.255")},
		"pxelinux.cfg/0/pxelinux.cfg/01-02-00-00-00-00-ab":       {HardwareAddr: mac},
		"~b1/pxelinux.cfg/01-02-00-00-00-00-ab":                  {HardwareAddr: mac},
		"\x00/pxelinux.cfg/b8945908-d6a6-41a9-611d-74a6ab80b83d": {UUID: "b8945908-d6a6-41a9-611d-74a6ab80b83d"},
	} {
		got, ok := PXELinux{}.Probe(name)
		require.True(t, ok, name)
		require.Equal(t, want, got, name)
	}
	for _, name := range []string{"", "default", "/default", "pxelinux.cfg", "pxelinux.cfg/", "pxelinux.cfg//default", "pxelinux.cfg/DEFAULT", "pxelinux.cfg/default/", "apxelinux.cfg/default",
		"pxelinux.cfg/01-02-00-00-00-00-AB", "pxelinux.cfg/02-02-00-00-00-00-ab", "pxelinux.cfg/01-02-00-00-00-00", "pxelinux.cfg/01:02:00:00:00:00:ab",
		"pxelinux.cfg/c0000201", "pxelinux.cfg/C00002011", "pxelinux.cfg/G", "pxelinux.cfg/B8945908-D6A6-41A9-611D-74A6AB80B83D",
		"pxelinux.cfg/menu.msg", "pxelinux.cfg/f1.msg", `pxelinux.cfg\default`, "pxelinux.cfg/default\x00", "boot.ipxe"} {
		got, ok := PXELinux{}.Probe(name)
		require.False(t, ok, name)
		require.Equal(t, Probe{}, got)
	}
	for name, want := range map[string]bool{"boot.ipxe": true, "/~b1/boot.ipxe": true, "a/boot.ipxe": true,
		"autoexec.ipxe": false, "a/autoexec.ipxe": false, // iPXE runs it without a network
		"Boot.ipxe": false, "xboot.ipxe": false, "boot.ipxe/": false, "": false, "pxelinux.cfg/default": false} {
		got, ok := IPXE{}.Probe(name)
		require.Equal(t, want, ok, name)
		require.Equal(t, want, got.Default, name)
	}
}
