package bootcfg

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// taint is what an attacker would put into a field.
const taint = "\";$(touch /pwn)\n#!ipxe"

// seeds are strings that mean something to one of the languages.
var seeds = []string{"", "a", taint, "${net0/mac}", "$${nil}{x}", "a  b ", " # ;", "|| goto x", "&& exit", "-n", "--", "x\\", "x\\\ny", "\r\n",
	"endtext", "ENDTEXT now", "^x", "initrd=evil", "a,b", "../x", "/x", "x/./y", "a b", "%20", "BOOTIF=01-AA-00-00-00-00-00", "é", "\x0f\x18", "#", "'", "$(reboot)", "`reboot`"}

// fuzzMenu makes a menu of strings from anywhere.
func fuzzMenu(name, title, help, kernel, initrd, param string) *Menu {
	return &Menu{Title: title, Timeout: time.Second, Entries: []Entry{
		{Name: name, Title: title, Help: help, Kernel: kernel, Initrds: []string{initrd, "second"}, Params: []string{"first", param, "last"}},
		{Name: "local-disk", Local: true},
	}}
}

func addSeeds(f *testing.F) {
	for i, s := range seeds {
		f.Add(s, s, s, s, s, s)
		all := []string{"name", "Title", "Help\nhelp", "dir/kernel", "dir/initrd", "key=value"}
		all[i%6] = s
		f.Add(all[0], all[1], all[2], all[3], all[4], all[5])
	}
}

// fileOf returns the file that a URL names below the base of fuzz tests.
func fileOf(t *testing.T, s string) string {
	u, err := url.Parse(s)
	require.NoError(t, err)
	require.Equal(t, "192.0.2.1", u.Host)
	require.Empty(t, u.RawQuery+u.Fragment)
	name, ok := strings.CutPrefix(u.Path, "/~b1/")
	require.True(t, ok, s)
	return name
}

// What is rendered means exactly what the menu says, read by iPXE's rules.
func FuzzIPXE(f *testing.F) {
	addSeeds(f)
	base := bases()
	f.Fuzz(func(t *testing.T, name, title, help, kernel, initrd, param string) {
		m := fuzzMenu(name, title, help, kernel, initrd, param)
		c, err := IPXE{}.Render(m, base)
		if err != nil {
			var v *ValueError
			require.True(t, errors.As(err, &v), "%v", err)
			require.Nil(t, c)
			return
		}
		got := parseIPXE(string(c.Text))
		require.Empty(t, got.unknown)
		require.Len(t, got.entries, 2)
		e := got.entries[name]
		require.NotNil(t, e)
		require.Equal(t, m.title(), got.title)
		require.Equal(t, m.Entries[0].title(), got.items[ipxeEntry+name])
		require.Equal(t, name, got.selected)
		require.Equal(t, kernel, fileOf(t, e.kernel))
		require.Equal(t, []string{"initrd=initrd0", "initrd=initrd1", "first", param, "last"}, e.args[:5])
		if strings.HasPrefix(param, "BOOTIF=") {
			require.Len(t, e.args, 5)
		} else {
			require.Equal(t, []string{"BOOTIF=01-02-00-00-00-00-01"}, e.args[5:])
		}
		require.Len(t, e.initrds, 2)
		require.Equal(t, initrd, fileOf(t, strings.TrimPrefix(e.initrds[0], "initrd0=")))
		if help != "" {
			want := strings.Split(strings.TrimRight(m.Entries[0].title()+"\n"+help, "\n"), "\n")
			require.Equal(t, want, got.help["help-0"])
		}
	})
}

// Any printable text comes out of iPXE's tokeniser as it went into the escaper.
func FuzzIPXEText(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		// Longer lines than a screen's never get there.
		if !isPrintable(s) || strings.Contains(s, "${") || len(s) > maxLine {
			return
		}
		lines := ipxeLines("echo -- " + ipxeText(s) + "\nnext")
		require.Len(t, lines, 2)
		commands := ipxeSplit(lines[0], map[string]string{"sp": " "})
		require.Len(t, commands, 1)
		require.Equal(t, s, strings.Join(commands[0].argv[2:], " "))
	})
}

// What is rendered means exactly what the menu says, read by pxelinux's rules.
func FuzzPXELinux(f *testing.F) {
	addSeeds(f)
	base := bases()
	f.Fuzz(func(t *testing.T, name, title, help, kernel, initrd, param string) {
		m := fuzzMenu(name, title, help, kernel, initrd, param)
		c, err := PXELinux{}.Render(m, base)
		if err != nil {
			var v *ValueError
			require.True(t, errors.As(err, &v), "%v", err)
			require.Nil(t, c)
			return
		}
		got := parsePXELinux(string(c.Text))
		require.Empty(t, got.bad)
		require.Len(t, got.labels, 2)
		l := got.labels[0]
		require.Equal(t, name, l.name)
		require.Equal(t, name, got.global["default"])
		require.Equal(t, m.Entries[0].title(), l.title)
		require.Equal(t, m.title(), got.global["menu title"])
		require.Equal(t, "0", got.labels[1].local)
		if help != "" {
			require.Equal(t, strings.Split(help, "\n"), l.help)
		} else {
			require.Empty(t, l.help)
		}
		require.Equal(t, kernel, fileOf(t, l.kernel))
		require.Equal(t, []string{"first", param, "last"}, strings.Split(l.append, " "))
		line, initrds := l.commandLine()
		require.LessOrEqual(t, len(line), MaxCommandLine)
		require.Len(t, initrds, 2)
		require.Equal(t, initrd, fileOf(t, initrds[0]))
		require.Equal(t, "second", fileOf(t, initrds[1]))
		for file := range c.Files {
			require.True(t, fs.ValidPath(file))
			_, probe := PXELinux{}.Probe(file)
			require.False(t, probe)
		}
	})
}

// A name is a probe only if it can be put together again from what it says.
func FuzzProbe(f *testing.F) {
	for _, s := range []string{"pxelinux.cfg/default", "/a/pxelinux.cfg/01-02-00-00-00-00-0f", "pxelinux.cfg/C000020A", "pxelinux.cfg/C",
		"pxelinux.cfg/b8945908-d6a6-41a9-611d-74a6ab80b83d", "pxelinux.cfg/", "pxelinux.cfg", "xpxelinux.cfg/default", "pxelinux.cfg/g",
		"~b/autoexec.ipxe", "boot.ipxe", "grub/grub.cfg", "grub/grub.cfg-C", "grub.cfg-01-02-00-00-00-00-0f", "grub.cfg-C/", "grub.cfg-default", "pxelinux.cfg//C", "pxelinux.cfg/\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if p, ok := (IPXE{}).Probe(name); ok {
			require.True(t, p.Default)
			require.Equal(t, "boot.ipxe", path.Base(name))
		}
		p, ok := PXELinux{}.Probe(name)
		// GRUB says the same of a machine in the same words, below another name.
		machine, isGRUB := strings.CutPrefix(name[strings.LastIndexByte(name, '/')+1:], "grub.cfg-")
		g, found := GRUB{}.Probe(name)
		if isGRUB {
			same, _ := probeIdentity(machine)
			require.Equal(t, same, g)
		} else {
			require.Equal(t, found, g.Default)
		}
		if !ok {
			require.Equal(t, Probe{}, p)
			return
		}
		var again string
		switch {
		case p.Default:
			again = "default"
		case p.UUID != "":
			again = p.UUID
		case p.HardwareAddr != nil:
			again = "01-" + strings.ReplaceAll(p.HardwareAddr.String(), ":", "-")
		case p.Addr.IsValid():
			again = strings.ToUpper(hex.EncodeToString(p.Addr.AsSlice()))
		default:
			again = strings.ToUpper(hex.EncodeToString(p.Prefix.Addr().AsSlice()))[:p.Prefix.Bits()/4]
			require.Equal(t, p.Prefix, p.Prefix.Masked())
		}
		require.True(t, name == "pxelinux.cfg/"+again || strings.HasSuffix(name, "/pxelinux.cfg/"+again), name)
	})
}

// shellSafe is what the initramfs may put through a shell's eval.
var shellSafe = regexp.MustCompile(`^[A-Za-z0-9._~:/@%+=,\[\]-]*$`)

// The initramfs reads from the command line exactly what was asked for, and
// nothing in it that a shell would execute.
func FuzzParams(f *testing.F) {
	for i, s := range seeds {
		f.Add("http://192.0.2.1/"+s+"/", s, s, s, s, s, uint8(i))
		f.Add("nfs://192.0.2.1/"+s, "", "", "", "", s, uint8(i))
	}
	for i, root := range []string{"http://192.0.2.1/", "https://h/a/", "tftp://192.0.2.1/", "nfs://192.0.2.1/srv", "nbd://192.0.2.1/x", "http://h/?a=1&b=2/",
		"http://u:p@h/", "http://[2001:db8::1]/", "http://h;reboot/", "http://h/$x/", "http://h/a`b`/", "nfs://name/srv", "nbd://h:10810/x"} {
		f.Add(root, "de", "$6$a$b", "/bin/sh", "http://h/x.yaml", "extra=1", uint8(i))
	}
	f.Fuzz(func(t *testing.T, root, keymap, hash, shell, config, extra string, flags uint8) {
		u, err := url.Parse(root)
		if err != nil {
			return
		}
		s := SystemRescue{Keymap: keymap, RootCryptPass: hash, RootShell: shell, Checksum: flags&1 != 0, NoFirewall: flags&2 != 0,
			CopyToRAM: CopyMode(flags >> 2 % 4), BaseDir: config}
		if config != "" {
			s.Config = []string{config}
		}
		if extra != "" {
			s.Extra = []string{extra}
		}
		params, err := s.Params(u)
		if err != nil {
			var v *ValueError
			require.True(t, errors.As(err, &v), "%v", err)
			require.Nil(t, params)
			return
		}
		line := strings.Join(params, " ")
		require.LessOrEqual(t, len(line), MaxCommandLine)
		got := parseArchiso(line)
		require.Len(t, params, len(got), "one parameter hides another: %q", params)
		require.Equal(t, "dhcp", got["ip"])
		require.Equal(t, s.baseDir(), got["archisobasedir"])
		require.Equal(t, keymap, got["setkmap"])
		require.Equal(t, hash, got["rootcryptpass"])
		require.Equal(t, shell, got["rootshell"])
		require.Equal(t, config, got["sysrescuecfg"])
		require.Equal(t, s.Checksum, got["checksum"] == "y")
		require.Equal(t, s.NoFirewall, got["nofirewall"] == "y")
		if key, value, has := strings.Cut(extra, "="); has {
			require.Equal(t, value, got[key])
		} else if extra != "" {
			require.Equal(t, "y", got[extra])
		}
		for _, key := range []string{"archiso_http_srv", "archiso_nfs_srv", "archiso_nbd_srv", "archiso_nbd_name", "archisobasedir"} {
			require.True(t, shellSafe.MatchString(got[key]), got[key])
		}
		switch u.Scheme {
		case "http", "https", "tftp":
			require.True(t, strings.HasSuffix(got["archiso_http_srv"], "/"))
			back, err := url.Parse(got["archiso_http_srv"])
			require.NoError(t, err)
			require.Equal(t, u.Path, back.Path)
			require.Equal(t, u.Host, back.Host)
		case "nfs":
			require.Equal(t, u.Hostname()+":"+u.Path, got["archiso_nfs_srv"])
			require.NotContains(t, got["archiso_nfs_srv"], "%")
		case "nbd":
			require.Equal(t, u.Hostname(), got["archiso_nbd_srv"])
			require.NotContains(t, got["archiso_nbd_name"], "%")
		}
	})
}

// However a URL was put together, what is written out names its host and, below
// its path, the file; or it is refused.
func FuzzURLFields(f *testing.F) {
	for _, scheme := range []string{"http", "https", "tftp", "nfs", "nbd"} {
		for _, host := range []string{"192.0.2.1", "192.0.2.1:10809", "files", "h:", "[2001:db8::1]", "2001:db8::1:80", "a@b", "a/b", ""} {
			for _, path := range []string{"/", "/a b/", "rescue/", "", "@evil/", ":80/", ".example/", "/%20/", "//x/", "/../", "/srv", "/a%2fb"} {
				f.Add(scheme, host, path)
			}
		}
	}
	f.Fuzz(func(t *testing.T, scheme, host, path string) {
		u := &url.URL{Scheme: scheme, Host: host, Path: path}
		check := func(written, name string) {
			back, err := url.Parse(written)
			require.NoError(t, err)
			require.Equal(t, host, back.Host)
			require.Equal(t, path+name, back.Path)
			require.Empty(t, back.RawQuery+back.Fragment)
		}
		for _, b := range []Bases{{HTTP: u}, {TFTP: u}} {
			if c, err := (IPXE{}).Render(plainMenu(), b); err == nil {
				e := parseIPXE(string(c.Text)).entries["install"]
				check(e.kernel, "debian/vmlinuz")
			}
			if c, err := (PXELinux{}).Render(plainMenu(), b); err == nil {
				check(parsePXELinux(string(c.Text)).labels[0].kernel, "debian/vmlinuz")
			}
			if c, err := (GRUB{}).Render(plainMenu(), b); err == nil {
				device, file, ok := strings.Cut(parseGRUB(string(c.Text)).entries[0].linux[0], ")")
				require.True(t, ok)
				if b.TFTP != nil {
					require.Equal(t, "("+scheme+","+host+")"+path+"debian/vmlinuz", device+")"+file, "as it is")
				} else {
					check(strings.Replace(device[1:], ",", "://", 1)+file, "debian/vmlinuz")
				}
			}
		}
		params, err := SystemRescue{}.Params(u)
		if err != nil {
			return
		}
		switch got := parseArchiso(strings.Join(params, " ")); scheme {
		case "nfs":
			require.Equal(t, host+":"+path, got["archiso_nfs_srv"])
		case "nbd":
			require.Equal(t, strings.TrimSuffix(host, ":10809"), got["archiso_nbd_srv"])
			if path != "/" {
				require.Equal(t, path, "/"+got["archiso_nbd_name"])
			}
		default:
			check(got["archiso_http_srv"], "")
		}
	})
}
