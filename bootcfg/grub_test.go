package bootcfg

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// checkGRUB has GRUB's own parser read a script.
func checkGRUB(t *testing.T, script []byte) {
	t.Helper()
	program, err := exec.LookPath("grub-script-check")
	if err != nil {
		require.Empty(t, os.Getenv("CI"), "in CI no check is left out: install the package grub-common")
		t.Log("not checked by GRUB itself: install the package grub-common")
		return
	}
	command := exec.CommandContext(t.Context(), program)
	command.Stdin = strings.NewReader(string(script))
	out, err := command.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// grubMenu is a full menu that GRUB can ask for by both bases.
func grubMenu() *Menu {
	m := fullMenu()
	e := &m.Entries[0]
	e.Kernel, e.Initrds, e.Params[1] = "a/vmlinuz,1", []string{"ucode.img", "a/initrd=1+2.img"}, "mask=a;b&c|d<e>{f}"
	return m
}

func TestGoldenGRUB(t *testing.T) {
	rescue, err := SystemRescue{Checksum: true, Keymap: "de"}.Menu(parseURL("http://192.0.2.1/~b1/"))
	require.NoError(t, err)
	for _, test := range []struct {
		name string
		menu *Menu
		base Bases
	}{
		{"grub-plain", plainMenu(), bases()},
		{"grub-full", grubMenu(), bases()},
		{"grub-http", plainMenu(), Bases{HTTP: parseURL("http://[2001:db8::1]:8080/a%20b/")}},
		{"grub-tftp", plainMenu(), Bases{TFTP: bases().TFTP}},
		{"grub-systemrescue", rescue, bases()},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := GRUB{}.Render(test.menu, test.base)
			require.NoError(t, err)
			golden(t, test.name, c)
			checkGRUB(t, c.Text)
			for _, content := range c.Files {
				checkGRUB(t, content)
			}
			require.Empty(t, parseGRUB(string(c.Text)).bad)
		})
	}
}

// GRUB's own parser refuses what is no script, or the checks above mean nothing.
func TestCheckGRUBChecks(t *testing.T) {
	program, err := exec.LookPath("grub-script-check")
	if err != nil {
		require.Empty(t, os.Getenv("CI"), "in CI no check is left out: install the package grub-common")
		t.Skip("install the package grub-common")
	}
	command := exec.CommandContext(t.Context(), program)
	command.Stdin = strings.NewReader("menuentry 'a {\n")
	require.Error(t, command.Run())
}

func TestGRUBMenu(t *testing.T) {
	c, err := GRUB{}.Render(grubMenu(), bases())
	require.NoError(t, err)
	m := parseGRUB(string(c.Text))
	require.Equal(t, "(tftp,192.0.2.1)/~b1", m.variables["base"], "what an image without HTTP is left with")
	require.Equal(t, []string{"(http,192.0.2.1)/~b1/grub/http.cfg"}, m.sources)
	require.Equal(t, "set base='(http,192.0.2.1)/~b1'\n", string(c.Files["grub/http.cfg"]))
	require.Equal(t, "0", m.variables["default"])
	require.Equal(t, "2", m.variables["timeout"], "1.25 s rounded up")
	require.Len(t, m.entries, 4+3)
	live := m.entries[0]
	require.Equal(t, "Live system", live.title)
	require.Equal(t, "live", live.id)
	require.Equal(t, []string{"(tftp,192.0.2.1)/~b1/a/vmlinuz,1", "quiet", "mask=a;b&c|d<e>{f}", "rootcryptpass=$6$a$b",
		"BOOTIF=01-02-00-00-00-00-01"}, live.linux)
	require.Equal(t, []string{"(tftp,192.0.2.1)/~b1/ucode.img", "(tftp,192.0.2.1)/~b1/a/initrd=1+2.img"}, live.initrd)
	require.Equal(t, []string{"(tftp,192.0.2.1)/~b1/vmlinuz", "BOOTIF=01-02-00-00-00-00-02"}, m.entries[1].linux, "its own BOOTIF")
	require.Equal(t, []string{"(tftp,192.0.2.1)/~b1/vmlinuz"}, m.entries[2].linux, "no BOOTIF")
	local := m.entries[3]
	require.Nil(t, local.linux)
	require.True(t, local.exits)
	require.Contains(t, local.chain, "(hd0)+1")
	about := m.entries[4]
	require.Equal(t, "Help: about", about.title)
	require.Equal(t, "f1", about.hotkey)
	require.Equal(t, []string{" First line", " ", "   indented", " || && ; # -n --", ` ends in \`, " Press Esc to get back to the menu."}, about.echo)
	require.Equal(t, "Help: entries", m.entries[6].title)
	require.Contains(t, m.entries[6].echo, "   * two  blanks")
}

func TestGRUBTimeout(t *testing.T) {
	for _, test := range []struct {
		menu func(m *Menu)
		want string
	}{
		{func(m *Menu) {}, "0"},
		{func(m *Menu) { m.Timeout = time.Minute }, "0"},
		{func(m *Menu) { m.Prompt = true }, "-1"},
		{func(m *Menu) { m.Prompt, m.Timeout = true, time.Minute }, "60"},
		{func(m *Menu) { m.Prompt, m.Timeout = true, time.Nanosecond }, "1"},
	} {
		menu := plainMenu()
		test.menu(menu)
		c, err := GRUB{}.Render(menu, bases())
		require.NoError(t, err)
		require.Equal(t, test.want, parseGRUB(string(c.Text)).variables["timeout"])
	}
}

// GRUB takes a default of "2x" for the third entry, so it is given a number.
func TestGRUBDefaultIsANumber(t *testing.T) {
	menu := &Menu{Default: "0", Entries: []Entry{{Name: "a", Local: true}, {Name: "2x", Local: true}, {Name: "0", Local: true}}}
	c, err := GRUB{}.Render(menu, bases())
	require.NoError(t, err)
	require.Equal(t, "2", parseGRUB(string(c.Text)).variables["default"])
}

func TestGRUBRefuses(t *testing.T) {
	http := func(s string) Bases { return Bases{HTTP: parseURL(s)} }
	for _, test := range []struct {
		name, want string
		menu       *Menu
		base       Bases
	}{
		{"no bases", "are both missing", plainMenu(), Bases{}},
		{"https", "has the wrong scheme", plainMenu(), http("https://192.0.2.1/")},
		{"tftp as http", "has the wrong scheme", plainMenu(), http("tftp://192.0.2.1/")},
		{"http as tftp", "has the wrong scheme", plainMenu(), Bases{HTTP: bases().HTTP, TFTP: bases().HTTP}},
		{"no slash", "does not end in a slash", plainMenu(), http("http://192.0.2.1/a")},
		{"blank by TFTP", "by both HTTP and TFTP", change(func(m *Menu) { m.Entries[0].Params[1] = "a" }), bases()},
		{"initrd with a blank by TFTP", `initrd "a b"`, change(func(m *Menu) {
			m.Entries[0].Params, m.Entries[0].Kernel, m.Entries[0].Initrds = nil, "k", []string{"a b"}
		}), bases()},
		{"blank in the TFTP base", `base "/a b/"`, plainMenu(), Bases{TFTP: parseURL("tftp://192.0.2.1/a%20b/")}},
		{"backslash", "which GRUB would double", fullMenu(), http("http://192.0.2.1/")},
		{"own file", `menu file "grub/http.cfg"`, change(func(m *Menu) { m.Files["grub/http.cfg"] = nil }), bases()},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := GRUB{}.Render(test.menu, test.base)
			require.Nil(t, c)
			require.ErrorContains(t, err, test.want)
			var v *ValueError
			require.True(t, errors.As(err, &v))
			require.NotEmpty(t, v.Remedy)
		})
	}
}

// By HTTP alone any name can be asked for.
func TestGRUBEncodesForHTTP(t *testing.T) {
	menu := fullMenu()
	menu.Entries[0].Params = nil
	c, err := GRUB{}.Render(menu, Bases{HTTP: bases().HTTP})
	require.NoError(t, err)
	require.Empty(t, c.Files)
	m := parseGRUB(string(c.Text))
	require.Empty(t, m.sources)
	require.Equal(t, "(http,192.0.2.1)/~b1/a%20b/vmlinuz,1", m.entries[0].linux[0])
}

// No value of a menu becomes a command, a word of its own or a variable.
func TestS003_HostileValuesInGRUB(t *testing.T) {
	for _, hostile := range []string{"$x", "${x}", "'", "''", `"`, "a'; halt; '", ";halt", "}", "} halt {", "{", "|halt", "&halt", ">x", "<x", "#x",
		`\`, `\'`, `x\`, "--id", "-n", "*", "`halt`", "$(halt)", "~", "!", "[", "\\n"} {
		t.Run(hostile, func(t *testing.T) {
			menu := plainMenu()
			menu.Prompt, menu.Help = true, []HelpText{{Key: 1, Name: "x" + hostile, Text: hostile}}
			e := &menu.Entries[0]
			e.Title, e.Help = hostile, hostile
			if checkParam("a="+hostile) == (flaw{}) && !strings.Contains(hostile, `\`) {
				e.Params = []string{"a=" + hostile, "b"}
			}
			if !strings.Contains(hostile, `\`) {
				e.Kernel = "k" + hostile
			}
			c, err := GRUB{}.Render(menu, Bases{HTTP: bases().HTTP})
			require.NoError(t, err)
			checkGRUB(t, c.Text)
			m := parseGRUB(string(c.Text))
			require.Empty(t, m.bad)
			require.Len(t, m.entries, 3)
			require.Equal(t, hostile, m.entries[0].title)
			require.Len(t, m.entries[0].linux, 2+len(e.Params))
			require.Equal(t, e.Params, m.entries[0].linux[1:1+len(e.Params)])
			require.Equal(t, "Help: x"+hostile, m.entries[1].title)
			require.Equal(t, " "+hostile, m.entries[1].echo[0])
		})
	}
	for _, hostile := range []string{"a\nhalt", "a\rhalt", "a\x00", "a\x1b[2J"} {
		menu := plainMenu()
		menu.Entries[0].Title = hostile
		_, err := GRUB{}.Render(menu, bases())
		require.Error(t, err)
	}
}

func TestGRUBProbe(t *testing.T) {
	for name, want := range map[string]Probe{
		"grub/grub.cfg":                      {Default: true},
		"/grub/grub.cfg":                     {Default: true},
		"grub.cfg":                           {Default: true},
		"EFI/fedora/grub.cfg":                {Default: true},
		"~b1/grub/grub.cfg":                  {Default: true},
		"boot/grub/x86_64-efi/grub.cfg":      {Default: true},
		"grub/grub.cfg-01-02-00-00-00-00-ab": {HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 0xab}},
		"grub.cfg-C000020A":                  {Addr: netip.MustParseAddr("192.0.2.10")},
		"grub/grub.cfg-C0000":                {Prefix: netip.MustParsePrefix("192.0.0.0/20")},
		"grub/grub.cfg-b8945908-d6a6-41a9-611d-74a6ab80b83d": {UUID: "b8945908-d6a6-41a9-611d-74a6ab80b83d"},
	} {
		got, ok := GRUB{}.Probe(name)
		require.True(t, ok, name)
		require.Equal(t, want, got, name)
	}
	for _, name := range []string{"", "grub", "grub/", "grub/grub.cfg/", "grub/http.cfg", "grub/Grub.cfg", "grub/xgrub.cfg", "grub/grub.cfg-", "grub/grub.cfg-default",
		"grub/grub.cfg-c000020a", "grub/grub.cfg-01-02-00-00-00-00-AB", "grub/grub.cfg-C000020AA", "grub/x86_64-efi/command.lst",
		"pxelinux.cfg/default", "boot.ipxe", `grub\grub.cfg`, "grub/grub.cfg\x00"} {
		got, ok := GRUB{}.Probe(name)
		require.False(t, ok, name)
		require.Equal(t, Probe{}, got)
	}
}

// Any text comes out of GRUB's lexer as it went into the quotes.
func FuzzGRUBQuote(f *testing.F) {
	for _, s := range seeds {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, s, after string) {
		words, bad := grubWords("echo "+grubQuote(s)+" "+grubQuote(after)+"\n", nil)
		require.Empty(t, bad)
		require.Equal(t, []grubWord{{value: "echo"}, {value: s}, {value: after}, {"\n", true}}, words)
	})
}

// What is rendered means exactly what the menu says, read by GRUB's rules.
func FuzzGRUB(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, name, title, help, kernel, initrd, param string) {
		m := fuzzMenu(name, title, help, kernel, initrd, param)
		for _, base := range []Bases{bases(), {HTTP: bases().HTTP}, {TFTP: bases().TFTP}} {
			c, err := GRUB{}.Render(m, base)
			if err != nil {
				var v *ValueError
				require.True(t, errors.As(err, &v), "%v", err)
				require.Nil(t, c)
				continue
			}
			got := parseGRUB(string(c.Text))
			require.Empty(t, got.bad)
			e := got.entries[0]
			require.Equal(t, m.Entries[0].title(), e.title)
			require.Equal(t, name, e.id)
			fetched := func(word string) string {
				file, ok := got.file(word)
				require.True(t, ok, word)
				if base.TFTP != nil {
					return file // by TFTP as it is
				}
				return fileOf(t, "http://192.0.2.1/~b1/"+file)
			}
			require.Equal(t, kernel, fetched(e.linux[0]))
			require.Equal(t, []string{"first", param, "last"}, e.linux[1:4])
			if strings.HasPrefix(param, "BOOTIF=") {
				require.Len(t, e.linux, 4)
			} else {
				require.Equal(t, []string{"BOOTIF=01-02-00-00-00-00-01"}, e.linux[4:])
			}
			require.Len(t, e.initrd, 2)
			require.Equal(t, initrd, fetched(e.initrd[0]))
			require.Equal(t, "second", fetched(e.initrd[1]))
			if help != "" {
				want := strings.Split(strings.TrimRight(m.Entries[0].title()+"\n"+help, "\n"), "\n")
				require.Len(t, got.entries, 3)
				for i, line := range want {
					require.Equal(t, " "+line, got.entries[2].echo[i])
				}
			} else {
				require.Len(t, got.entries, 2)
			}
		}
	})
}
