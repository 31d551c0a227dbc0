package bootcfg

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// ubootLabel is one label of a configuration.
type ubootLabel struct {
	name, title, kernel, config, initrd, append, local, ipappend string
}

// ubootModel is what a configuration amounts to.
type ubootModel struct {
	title, timeout, standard string
	prompt                   bool
	labels                   []*ubootLabel
	bad                      []string
}

// parseUBoot reads a configuration with the rules of boot/pxe_utils.c.
func parseUBoot(text string) *ubootModel {
	m := &ubootModel{}
	var label *ubootLabel
	for line := range strings.SplitSeq(text, "\n") {
		word, rest, _ := strings.Cut(strings.TrimLeft(line, " \t"), " ")
		rest = strings.TrimLeft(rest, " \t")
		if word == "" || word[0] == '#' {
			continue
		}
		if rest == "" || rest[0] == '#' {
			m.bad = append(m.bad, line+": no value")
			continue
		}
		switch strings.ToLower(word) {
		case "menu":
			what, value, _ := strings.Cut(rest, " ")
			value = strings.TrimLeft(value, " \t")
			switch {
			case value == "" || value[0] == '#':
				m.bad = append(m.bad, line+": no value")
			case strings.EqualFold(what, "label") && label != nil:
				label.title = value
			case strings.EqualFold(what, "title") && label == nil:
				m.title, m.prompt = value, true
			default:
				m.bad = append(m.bad, line)
			}
		case "label":
			label = &ubootLabel{name: rest}
			m.labels = append(m.labels, label)
		case "default":
			m.standard = rest
		case "timeout":
			m.timeout = rest
		case "linux":
			label.kernel, label.config, _ = strings.Cut(rest, "#")
		case "initrd":
			label.initrd = rest
		case "append":
			label.append = ubootMacros(rest)
			if _, after, ok := strings.Cut(rest, "initrd="); ok {
				label.initrd, _, _ = strings.Cut(after, " ")
			}
		case "localboot":
			label.local = rest
		case "ipappend":
			label.ipappend = rest
		default:
			m.bad = append(m.bad, line)
		}
	}
	return m
}

// ubootMacros replaces variables as cli_simple_process_macros does, of which
// none is set, and removes backslashes.
func ubootMacros(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			continue
		}
		if s[i] == '$' && i+1 < len(s) && (s[i+1] == '{' || s[i+1] == '(') {
			if n := strings.IndexAny(s[i:], "})"); n > 0 {
				i += n
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// ubootMenu is a full menu that U-Boot can ask for.
func ubootMenu() *Menu {
	m := fullMenu()
	e := &m.Entries[0]
	e.Kernel, e.Initrds, e.Params[1] = "a/vmlinuz", []string{"a/initrd=1.img"}, "mask=a;b"
	return m
}

func TestGoldenUBoot(t *testing.T) {
	for name, menu := range map[string]*Menu{"uboot-plain": plainMenu(), "uboot-full": ubootMenu()} {
		t.Run(name, func(t *testing.T) {
			c, err := UBoot{}.Render(menu, Bases{TFTP: parseURL("tftp://192.0.2.1/")})
			require.NoError(t, err)
			golden(t, name, c)
		})
	}
}

func TestUBootMenu(t *testing.T) {
	c, err := UBoot{}.Render(ubootMenu(), bases())
	require.NoError(t, err)
	m := parseUBoot(string(c.Text))
	require.Empty(t, m.bad)
	require.True(t, m.prompt)
	require.Equal(t, "13", m.timeout)
	require.Equal(t, "live", m.standard)
	require.Equal(t, "Machine room 2 # rack 7", m.title)
	require.Equal(t, &ubootLabel{name: "live", title: "Live system", kernel: "~b1/a/vmlinuz", initrd: "~b1/a/initrd=1.img",
		append: "quiet mask=a;b rootcryptpass=$6$a$b", ipappend: "2"}, m.labels[0])
	require.Equal(t, &ubootLabel{name: "other-nic", title: "Live system; other && interface", kernel: "~b1/vmlinuz",
		append: "BOOTIF=01-02-00-00-00-00-02"}, m.labels[1])
	require.Equal(t, &ubootLabel{name: "no-nic", title: "no-nic", kernel: "~b1/vmlinuz"}, m.labels[2])
	require.Equal(t, &ubootLabel{name: "local", title: "Local disk", local: "0"}, m.labels[3])

	c, err = UBoot{}.Render(plainMenu(), bases())
	require.NoError(t, err)
	require.False(t, parseUBoot(string(c.Text)).prompt, "one entry is booted without asking")
}

func TestUBootRefuses(t *testing.T) {
	plain := func(f func(e *Entry)) *Menu {
		m := plainMenu()
		f(&m.Entries[0])
		return m
	}
	tftp := Bases{TFTP: parseURL("tftp://192.0.2.1/")}
	for _, test := range []struct {
		name, want string
		menu       *Menu
		base       Bases
	}{
		{"no TFTP", "knows nothing else", plainMenu(), Bases{HTTP: bases().HTTP}},
		{"scheme", "has the wrong scheme", plainMenu(), Bases{TFTP: bases().HTTP}},
		{"port", "serve TFTP on port 69", plainMenu(), Bases{TFTP: parseURL("tftp://192.0.2.1:6969/")}},
		{"two initrds", "has 2 initrds, of which U-Boot loads one", plain(func(e *Entry) { e.Initrds = []string{"a", "b"} }), tftp},
		{"FIT configuration", `kernel "k#1"`, plain(func(e *Entry) { e.Kernel = "k#1" }), tftp},
		{"server in a name", `kernel "192.0.2.9:k"`, plain(func(e *Entry) { e.Kernel = "192.0.2.9:k" }), tftp},
		{"blank", `initrd "a b"`, plain(func(e *Entry) { e.Initrds = []string{"a b"} }), tftp},
		{"not ASCII", `kernel "é"`, plain(func(e *Entry) { e.Kernel = "é" }), tftp},
		{"long name", "which U-Boot cuts off", plain(func(e *Entry) { e.Kernel = strings.Repeat("k", 128) }), tftp},
		{"variable", "which U-Boot replaces", plain(func(e *Entry) { e.Params = []string{"a=${b}"} }), tftp},
		{"old variable", "which U-Boot replaces", plain(func(e *Entry) { e.Params = []string{"a=$(b)"} }), tftp},
		{"backslash", "which U-Boot removes", plain(func(e *Entry) { e.Params = []string{`a=\x2d`} }), tftp},
		{"initrd in a param", "for the name of an initrd", plain(func(e *Entry) { e.Params = []string{"a,initrd=b"} }), tftp},
		{"comment", "takes for a comment", plain(func(e *Entry) { e.Title = "# 1" }), tftp},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := UBoot{}.Render(test.menu, test.base)
			require.Nil(t, c)
			require.ErrorContains(t, err, test.want)
			var v *ValueError
			require.True(t, errors.As(err, &v))
			require.NotEmpty(t, v.Remedy)
		})
	}
}

func TestUBootNameOf127Bytes(t *testing.T) {
	m := plainMenu()
	m.Entries[0].Kernel = strings.Repeat("k", 127)
	_, err := UBoot{}.Render(m, Bases{TFTP: parseURL("tftp://192.0.2.1/")})
	require.NoError(t, err)
}

func TestUBootProbe(t *testing.T) {
	for _, name := range []string{"pxelinux.cfg/default", "pxelinux.cfg/default-arm", "boot/pxelinux.cfg/default-arm-qemu-arm-qemu-arm64"} {
		got, ok := UBoot{}.Probe(name)
		require.True(t, ok, name)
		require.Equal(t, Probe{Default: true}, got)
	}
	for _, name := range []string{"pxelinux.cfg/01-02-00-00-00-00-ab", "pxelinux.cfg/C000020A", "pxelinux.cfg/C",
		"pxelinux.cfg/b8945908-d6a6-41a9-611d-74a6ab80b83d"} {
		want, _ := PXELinux{}.Probe(name)
		got, ok := UBoot{}.Probe(name)
		require.True(t, ok, name)
		require.Equal(t, want, got)
	}
	for _, name := range []string{"", "default-arm", "pxelinux.cfg/default-", "pxelinux.cfg/default-a b", "pxelinux.cfg/default-arm/", "grub/grub.cfg"} {
		got, ok := UBoot{}.Probe(name)
		require.False(t, ok, name)
		require.Equal(t, Probe{}, got)
	}
}

// What is rendered means exactly what the menu says, read by U-Boot's rules.
func FuzzUBoot(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, name, title, help, kernel, initrd, param string) {
		m := fuzzMenu(name, title, help, kernel, initrd, param)
		m.Entries[0].Initrds = []string{initrd}
		c, err := UBoot{}.Render(m, bases())
		if err != nil {
			var v *ValueError
			require.True(t, errors.As(err, &v), "%v", err)
			require.Nil(t, c)
			return
		}
		got := parseUBoot(string(c.Text))
		require.Empty(t, got.bad)
		require.Equal(t, name, got.standard)
		require.Equal(t, m.title(), got.title)
		require.Len(t, got.labels, 2)
		want := &ubootLabel{name: name, title: m.Entries[0].title(), kernel: "~b1/" + kernel, initrd: "~b1/" + initrd,
			append: "first " + param + " last"}
		if !strings.HasPrefix(param, "BOOTIF=") {
			want.ipappend = "2"
		}
		require.Equal(t, want, got.labels[0])
		require.Equal(t, "0", got.labels[1].local)
	})
}
