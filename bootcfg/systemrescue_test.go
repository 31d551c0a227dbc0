package bootcfg

import (
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParamsRefuses(t *testing.T) {
	const web = "http://192.0.2.1/"
	for _, test := range []struct {
		name, want, root string
		s                SystemRescue
	}{
		{"no slash", "does not end in a slash; append one", "http://192.0.2.1/a", SystemRescue{}},
		{"no path", "no path that begins with a slash", "http://192.0.2.1", SystemRescue{}},
		{"query", "put tokens in the path", "http://192.0.2.1/?x=1&y=2/", SystemRescue{}},
		{"empty query", "put tokens in the path", "http://192.0.2.1/?", SystemRescue{}},
		{"fragment", "put tokens in the path", "http://192.0.2.1/#a/", SystemRescue{}},
		{"user", "has a user in it", "http://u:secret@192.0.2.1/", SystemRescue{}},
		{"no host", "has no usable host", "http:///a/", SystemRescue{}},
		{"port", "has no usable host", "http://192.0.2.1:0/", SystemRescue{}},
		{"IPv6", "knows IPv4 only", "http://[2001:db8::1]/", SystemRescue{}},
		{"dollar", "hand to a shell", "http://192.0.2.1/$x/", SystemRescue{}},
		{"semicolon", "hand to a shell", "http://192.0.2.1/a;b/", SystemRescue{}},
		{"ampersand", "hand to a shell", "http://192.0.2.1/a&b/", SystemRescue{}},
		{"parenthesis", "hand to a shell", "http://192.0.2.1/(a)/", SystemRescue{}},
		{"scheme", "has a scheme that the initramfs does not know", "ftp://192.0.2.1/", SystemRescue{}},
		{"opaque", "has no usable host", "http:192.0.2.1/", SystemRescue{}},
		{"NFS name", "is no IPv4 address", "nfs://server/srv", SystemRescue{}},
		{"NFS port", "port= in NFSOptions", "nfs://192.0.2.1:2049/srv", SystemRescue{}},
		{"NFS path", "no path that begins with a slash", "nfs://192.0.2.1", SystemRescue{}},
		{"NFS path with a slash at its end", `write it as "/srv"`, "nfs://192.0.2.1/srv/", SystemRescue{}},
		{"NFS path that would be decoded", "does not decode", "nfs://192.0.2.1/a%2541", SystemRescue{}},
		{"NFS path with a blank", "has ' ' in it", "nfs://192.0.2.1/a%20b", SystemRescue{}},
		{"NFS broadcast address", "no usable host", "nfs://255.255.255.255/srv", SystemRescue{}},
		{"NFS version", `write "v3"`, "nfs://192.0.2.1/srv", SystemRescue{NFSOptions: []string{"v4"}}},
		{"NFS mountport", "portmapper", "nfs://192.0.2.1/srv", SystemRescue{NFSOptions: []string{"mountport=1"}}},
		{"NFS acl", "no option of klibc's nfsmount", "nfs://192.0.2.1/srv", SystemRescue{NFSOptions: []string{"noacl"}}},
		{"NFS octal", "leading zeros", "nfs://192.0.2.1/srv", SystemRescue{NFSOptions: []string{"rsize=010"}}},
		{"NFS option twice", "is there twice", "nfs://192.0.2.1/srv", SystemRescue{NFSOptions: []string{"ro", "ro"}}},
		{"NFS options by HTTP", "comes by http", web, SystemRescue{NFSOptions: []string{"ro"}}},
		{"NBD port", "serve NBD on port 10809", "nbd://192.0.2.1:10810/x", SystemRescue{}},
		{"NBD name", "hand to a shell", "nbd://192.0.2.1/a;b", SystemRescue{}},
		{"NBD name that would be decoded", "does not decode", "nbd://192.0.2.1/a%2541", SystemRescue{}},
		{"NBD name with a blank", "has ' ' in it", "nbd://192.0.2.1/a%20b", SystemRescue{}},
		{"NBD path", "no path that begins with a slash", "nbd://192.0.2.1", SystemRescue{}},
		{"parent in the path", "path segment", "http://192.0.2.1/a/../b/", SystemRescue{}},
		{"colon without a port", "has no usable host", "http://192.0.2.1:/", SystemRescue{}},
		{"half an address", "has no usable host", "http://192.0.2/", SystemRescue{}},
		{"bracket", "hand to a shell", "http://192.0.2.1/[a]/", SystemRescue{}},
		{"live by HTTP", "always copied", web, SystemRescue{CopyToRAM: CopyNever}},
		{"live by TFTP", "always copied", "tftp://192.0.2.1/", SystemRescue{CopyToRAM: CopyNever}},
		{"copy mode", "use CopyAuto", web, SystemRescue{CopyToRAM: 3}},
		{"directory", "archisobasedir", web, SystemRescue{BaseDir: "/sysresccd"}},
		{"parent directory", "archisobasedir", web, SystemRescue{BaseDir: "a/../b"}},
		{"architecture", "use x86_64 or i686", web, SystemRescue{Arch: "arm64"}},
		{"size", "copytoram_size", web, SystemRescue{CopyToRAMSize: "101%"}},
		{"space", "cow_spacesize", web, SystemRescue{COWSpaceSize: "lots"}},
		{"label", "cow_label", web, SystemRescue{COWLabel: "a b"}},
		{"COW directory", "cow_directory", web, SystemRescue{COWDirectory: "a"}},
		{"keymap", "setkmap", web, SystemRescue{Keymap: "de;reboot"}},
		{"hash", "is no hash of a password", web, SystemRescue{RootCryptPass: "secret"}},
		{"hash with brace", "is no hash of a password", web, SystemRescue{RootCryptPass: "$6${a}$b"}},
		{"password", "would not get through", web, SystemRescue{RootPassword: "a b"}},
		{"both passwords", "RootCryptPass too", web, SystemRescue{RootPassword: "a", RootCryptPass: "$6$a$b"}},
		{"shell", "rootshell", web, SystemRescue{RootShell: "zsh"}},
		{"VNC password", "is too short", web, SystemRescue{VNCPassword: "abc"}},
		{"console", "is no console", web, SystemRescue{Consoles: []string{"/dev/ttyS0"}}},
		{"console twice", "name each console once", web, SystemRescue{Consoles: []string{"tty0", "tty0"}}},
		{"configuration", "sysrescue.d", web, SystemRescue{Config: []string{"ftp://192.0.2.1/a"}}},
		{"configuration with query", "sysrescue.d", web, SystemRescue{Config: []string{"http://192.0.2.1/a?b"}}},
		{"no configuration", "is empty", web, SystemRescue{Config: []string{""}}},
		{"autorun", "ar_source", web, SystemRescue{Autorun: Autorun{Source: "scripts"}}},
		{"suffix", "use 0 to 9 and A to F", web, SystemRescue{Autorun: Autorun{Suffixes: []string{"a"}}}},
		{"attempts", "ar_attempts", web, SystemRescue{Autorun: Autorun{Attempts: -1}}},
		{"old docache", "set CopyToRAM", web, SystemRescue{Extra: []string{"docache"}}},
		{"old root", "no effect since SystemRescue 5", web, SystemRescue{Extra: []string{"root=auto"}}},
		{"old netboot", "no effect since SystemRescue 5", web, SystemRescue{Extra: []string{"netboot=http://192.0.2.1/"}}},
		{"old dodhcp", "ip=dhcp is always there", web, SystemRescue{Extra: []string{"dodhcp"}}},
		{"old subdir", "set BaseDir", web, SystemRescue{Extra: []string{"subdir=a"}}},
		{"old autoruns", "set Autorun.Suffixes", web, SystemRescue{Extra: []string{"autoruns=0"}}},
		{"static address", "it is always ip=dhcp", web, SystemRescue{Extra: []string{"ip=192.0.2.2"}}},
		{"another root", "give it as the root URL", web, SystemRescue{Extra: []string{"archiso_nfs_srv=192.0.2.1:/x"}}},
		{"checksum=1", "set Checksum", web, SystemRescue{Extra: []string{"checksum=1"}}},
		{"twice", "the last one would win", web, SystemRescue{Extra: []string{"a=1", "a=2"}}},
		{"field and extra", "the last one would win", web, SystemRescue{NoFirewall: true, Extra: []string{"nofirewall"}}},
		{"blank", "give one parameter per element", web, SystemRescue{Extra: []string{"a b"}}},
		{"too many", "keep to 256", web, SystemRescue{Extra: make([]string, 257)}},
		{"too long", "the kernel keeps 2047", web, SystemRescue{Extra: []string{strings.Repeat("x", 2000)}}},
		{"BOOTIF", "set AnyInterface on the entry", web, SystemRescue{Extra: []string{"BOOTIF=01-02-00-00-00-00-01"}}},
		{"bad BOOTIF", "set AnyInterface on the entry", web, SystemRescue{Extra: []string{"BOOTIF=01-AA-00-00-00-00-00"}}},
		{"architecture by Extra", "set Arch", web, SystemRescue{Extra: []string{"arch=i686"}}},
		{"local device", "names a local medium", web, SystemRescue{Extra: []string{"archisodevice=/dev/sr0"}}},
		{"local label", "names a local medium", web, SystemRescue{Extra: []string{"archisolabel=RESCUE"}}},
		{"device of an image", "names a local medium", web, SystemRescue{Extra: []string{"img_dev=/dev/sda1"}}},
		{"label of an image", "names a local medium", web, SystemRescue{Extra: []string{"img_label=data"}}},
		{"image", "names a local medium", web, SystemRescue{Extra: []string{"img_loop=rescue.iso"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			params, err := test.s.Params(parseURL(test.root))
			require.Nil(t, params)
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "secret@")
			m, err := test.s.Menu(parseURL(test.root))
			require.Nil(t, m)
			require.Error(t, err)
		})
	}
	_, err := SystemRescue{}.Params(nil)
	require.ErrorContains(t, err, "give the URL of the root file system")
	_, err = SystemRescue{Keymap: "ä", BaseDir: "/", Arch: "x"}.Params(nil)
	require.Len(t, strings.Split(err.Error(), "\n"), 4, "all problems at once")
}

// A path without its slash would become a part of the host.
func TestURLWithoutSlash(t *testing.T) {
	for _, scheme := range []string{"http", "https", "tftp", "nfs", "nbd"} {
		for _, path := range []string{"", "rescue/", "rescue", "@192.0.2.66/", ":81/"} {
			u := &url.URL{Scheme: scheme, Host: "192.0.2.1", Path: path}
			_, err := SystemRescue{}.Params(u)
			require.ErrorContains(t, err, "has no path that begins with a slash", "%s %q", scheme, path)
			for _, b := range []Bases{{HTTP: u}, {TFTP: u}} {
				for _, r := range []Renderer{PXELinux{}, IPXE{}} {
					_, err := r.Render(plainMenu(), b)
					require.Error(t, err)
				}
			}
		}
	}
}

// entryNames lists what a menu offers.
func entryNames(m *Menu) (names []string) {
	for _, e := range m.Entries {
		names = append(names, e.Name)
	}
	return names
}

func TestSystemRescueMenu(t *testing.T) {
	web, nfs := "http://192.0.2.1/", "nfs://192.0.2.1/srv"
	for _, test := range []struct {
		name, root string
		s          SystemRescue
		want       []string
	}{
		{"zero", web, SystemRescue{}, []string{"rescue", "checksum", "nomodeset", "serial", "local"}},
		{"all set", web, SystemRescue{Checksum: true, NoModeset: true, Consoles: []string{"ttyS0,9600"}, Memtest: "memtest"}, []string{"rescue", "memtest", "local"}},
		{"live NFS", nfs, SystemRescue{Checksum: true, CopyToRAM: CopyNever}, []string{"rescue", "copytoram", "nomodeset", "serial", "local"}},
		{"copied NFS", nfs, SystemRescue{Checksum: true}, []string{"rescue", "nomodeset", "serial", "local"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, err := test.s.Menu(parseURL(test.root))
			require.NoError(t, err)
			require.Equal(t, test.want, entryNames(m))
			require.Equal(t, "rescue", m.Default)
			for _, r := range []Renderer{PXELinux{}, PXELinux{UI: "menu.c32"}, IPXE{}} {
				_, err = r.Render(m, bases())
				require.NoError(t, err)
			}
		})
	}
}

func TestSystemRescueFiles(t *testing.T) {
	m, err := SystemRescue{Checksum: true}.Menu(parseURL("http://192.0.2.1/"))
	require.NoError(t, err)
	require.Equal(t, 10*time.Second, m.Timeout)
	e := m.Entries[0]
	require.Equal(t, "sysresccd/boot/x86_64/vmlinuz", e.Kernel)
	require.Equal(t, []string{"sysresccd/boot/intel_ucode.img", "sysresccd/boot/amd_ucode.img", "sysresccd/boot/x86_64/sysresccd.img"}, e.Initrds)
	require.Equal(t, []string{"sysresccd/x86_64/airootfs.sfs", "sysresccd/x86_64/airootfs.sha512"}, e.RootFiles)

	m, err = SystemRescue{Arch: "i686", BaseDir: "old/rescue", Initrds: []string{"one.img"}, Timeout: -1, AnyInterface: true}.Menu(parseURL("tftp://192.0.2.1/"))
	require.NoError(t, err)
	require.Zero(t, m.Timeout)
	e = m.Entries[0]
	require.True(t, e.AnyInterface)
	require.Equal(t, "old/rescue/boot/i686/vmlinuz", e.Kernel)
	require.Equal(t, []string{"one.img"}, e.Initrds)
	require.Equal(t, []string{"old/rescue/i686/airootfs.sfs"}, e.RootFiles)

	for _, root := range []string{"nfs://192.0.2.1/srv", "nbd://192.0.2.1/"} {
		m, err = SystemRescue{Checksum: true}.Menu(parseURL(root))
		require.NoError(t, err)
		require.Empty(t, m.Entries[0].RootFiles)
	}
	_, err = SystemRescue{Memtest: "../memtest"}.Menu(parseURL("http://192.0.2.1/"))
	require.ErrorContains(t, err, `entry "memtest": kernel`)
	_, err = SystemRescue{Initrds: []string{"/a"}}.Menu(parseURL("http://192.0.2.1/"))
	require.ErrorContains(t, err, `initrd "/a"`)
}

// Settings that leave no room for a variant's parameter say so.
func TestSystemRescueVariantTooLong(t *testing.T) {
	s := SystemRescue{Checksum: true, Consoles: []string{"tty0"}}
	params, err := s.Params(parseURL("http://192.0.2.1/"))
	require.NoError(t, err)
	room := MaxCommandLine - len(strings.Join(params, " ")) - 1
	s.Extra = []string{strings.Repeat("x", room)}
	_, err = s.Params(parseURL("http://192.0.2.1/"))
	require.NoError(t, err)
	_, err = s.Menu(parseURL("http://192.0.2.1/"))
	require.ErrorContains(t, err, "the kernel keeps 2047")
}

// each calls f with every string field of v, one after the other.
func each(v reflect.Value, f func(field reflect.Value)) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			each(v.Field(i), f)
		}
	case reflect.String:
		f(v)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.String {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			f(v.Index(0))
			v.SetZero()
		}
	}
}

// Every string that a caller may have from a client is refused, or comes out
// with another meaning in no language. The marker has what each of them needs:
// quote, end of command, substitution, blank, end of line, start of a script.
func TestCVE_2011_1930_SystemRescueTaint(t *testing.T) {
	fields := 0
	for _, marker := range []string{taint, "$(touch${IFS}/pwn)", "`touch`", "a;reboot", "a\nreboot", "a b"} {
		s := SystemRescue{}
		each(reflect.ValueOf(&s).Elem(), func(field reflect.Value) {
			fields++
			field.SetString(marker)
			m, err := s.Menu(parseURL("http://192.0.2.1/"))
			if err == nil {
				// Names of files may have anything in them: they are escaped.
				for _, r := range []Renderer{PXELinux{}, IPXE{}} {
					c, err := r.Render(m, bases())
					require.NoError(t, err)
					require.NotContains(t, string(c.Text), marker)
				}
			}
			field.SetString("")
		})
	}
	require.Greater(t, fields, 6*15)
}

// sameMeaning checks that what is rendered has the entries of m and no others.
func sameMeaning(t *testing.T, m *Menu, text string) {
	t.Helper()
	if strings.HasPrefix(text, "#!ipxe\n") {
		got := parseIPXE(text)
		require.Empty(t, got.unknown)
		require.Len(t, got.entries, len(m.Entries))
		require.NotContains(t, text[1:], "\n#!ipxe")
		return
	}
	got := parsePXELinux(text)
	require.Empty(t, got.bad)
	require.Len(t, got.labels, len(m.Entries))
}

func TestCVE_2026_46447_MenuTaint(t *testing.T) {
	fields := 0
	m := fullMenu()
	texts := []any{&m.Entries[0].Help, &m.Entries[1].Help, &m.Entries[2].Help, &m.Help[0].Text, &m.Help[1].Text}
	tainted := func(field reflect.Value) {
		fields++
		old := field.String()
		field.SetString(taint)
		for _, r := range []Renderer{PXELinux{}, PXELinux{UI: "menu.c32"}, IPXE{}} {
			c, err := r.Render(m, bases())
			if err == nil {
				// A text of several lines may have them: each is shown as it is.
				require.Contains(t, texts, field.Addr().Interface())
				sameMeaning(t, m, string(c.Text))
				continue
			}
			require.Nil(t, c)
			require.NotContains(t, err.Error(), taint, "only quoted")
		}
		field.SetString(old)
	}
	each(reflect.ValueOf(m).Elem(), tainted)
	for i := range m.Entries {
		if !m.Entries[i].Local {
			each(reflect.ValueOf(&m.Entries[i]).Elem(), tainted)
		}
	}
	for i := range m.Help {
		each(reflect.ValueOf(&m.Help[i]).Elem(), tainted)
	}
	require.Greater(t, fields, 20)
	for _, host := range []string{"a;reboot", "a$x", "a`b`", "a'"} {
		b := bases()
		b.HTTP.Host = host
		b.TFTP.Host = host
		for _, r := range []Renderer{PXELinux{}, IPXE{}} {
			_, err := r.Render(plainMenu(), b)
			require.ErrorContains(t, err, "has no usable host")
			_, err = r.Render(plainMenu(), Bases{TFTP: b.TFTP})
			require.ErrorContains(t, err, "has no usable host")
		}
		root := parseURL("http://192.0.2.1/")
		root.Host = host
		_, err := SystemRescue{}.Params(root)
		require.ErrorContains(t, err, "has no usable host")
	}
	b := bases()
	b.HTTP.Path = "/" + taint + "/"
	for _, r := range []Renderer{PXELinux{}, IPXE{}} {
		c, err := r.Render(plainMenu(), b)
		require.NoError(t, err)
		require.NotContains(t, string(c.Text), "touch /pwn")
		require.Contains(t, string(c.Text), "%22%3B%24%28touch%20%2Fpwn"[:20])
	}
}
