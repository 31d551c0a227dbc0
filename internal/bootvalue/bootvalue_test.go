package bootvalue

import (
	"net/netip"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every byte is safe or has a flaw, and a shell leaves the safe ones alone.
func TestCheckSafe(t *testing.T) {
	var safe strings.Builder
	for c := range 256 {
		s := string([]byte{byte(c)})
		if CheckSafe("a"+s+"b").OK() && CheckSafe(s).OK() {
			safe.WriteString(s)
		}
	}
	require.Equal(t, "%+,-./0123456789:=@ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~", safe.String())
	require.True(t, CheckSafe("").OK())
	require.Equal(t, "has 'ö' in it, which boot code would hand to a shell; use letters, digits and '-._~:/@%+=,'", CheckSafe("größe").String())
	require.False(t, CheckSafe("\xff").OK())
	require.False(t, CheckSafe("a\n").OK())

	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no shell here to ask")
	}
	out, err := exec.Command(sh, "-c", `eval echo "x$1"`, "sh", safe.String()).Output()
	require.NoError(t, err)
	require.Equal(t, "x"+safe.String()+"\n", string(out))
}

func TestCheckPlain(t *testing.T) {
	require.True(t, CheckPlain("~b1/rescue").OK())
	require.Contains(t, CheckPlain("a%20b").Problem, "does not decode")
	require.Contains(t, CheckPlain("a b").Problem, "to a shell")
	require.NotContains(t, CheckPlain("a b").Remedy, "%")
}

func TestCheckExportPath(t *testing.T) {
	for dir, want := range map[string]string{
		"/": "", "/srv/rescue": "", "/srv/a:b": "",
		"": "names no export", "srv": "names no export", "/srv/": `"/srv"`, "//srv": `"/srv"`, "/srv/../etc": `"/etc"`, "/./srv": `"/srv"`,
		"/a b": "' '", "/a%20b": "'%'", "/[a]": "'['", "/$(reboot)": "'$'", "/größe": "'ö'",
	} {
		f := CheckExportPath(dir)
		require.Equal(t, want == "", f.OK(), dir)
		require.Contains(t, f.String(), want, dir)
	}
}

func TestCheckBase(t *testing.T) {
	for _, good := range []url.URL{
		{Scheme: "http", Host: "192.0.2.1", Path: "/"},
		{Scheme: "tftp", Host: "192.0.2.1:69", Path: "/~b1/a b;c/"}, // escaped by who writes it
		{Scheme: "http", Host: "[2001:db8::1]:8080", Path: "/a/"},
		{Scheme: "http", Host: "a-b.c1.example", Path: "//a/"},
	} {
		require.Equal(t, Flaw{}, CheckBase(&good, "http", "tftp"), good.String())
	}
	for _, test := range []struct {
		u    url.URL
		want string
	}{
		{url.URL{Scheme: "ftp", Host: "192.0.2.1", Path: "/"}, "use http or tftp"},
		{url.URL{Scheme: "HTTP", Host: "192.0.2.1", Path: "/"}, "use http or tftp"},
		{url.URL{Scheme: "http", Opaque: "192.0.2.1/"}, "no usable host"},
		{url.URL{Scheme: "http", Path: "/"}, "no usable host"},
		{url.URL{Scheme: "http", Host: "192.0.2.1"}, "begins with a slash"},
		{url.URL{Scheme: "http", Host: "192.0.2.1", Path: "rescue/"}, "begins with a slash"},
		{url.URL{Scheme: "http", Host: "192.0.2.1", Path: "/rescue"}, "end in a slash"},
		{url.URL{Scheme: "http", Host: "192.0.2.1", Path: "/a/../b/"}, `segment ".."`},
		{url.URL{Scheme: "http", Host: "192.0.2.1", Path: "/a/./"}, `segment "."`},
		{url.URL{Scheme: "http", Host: "192.0.2.1", Path: "/", User: url.User("u")}, "has a user"},
		{url.URL{Scheme: "http", Host: "192.0.2.1", Path: "/", RawQuery: "a"}, "query"},
		{url.URL{Scheme: "http", Host: "192.0.2.1", Path: "/", ForceQuery: true}, "query"},
		{url.URL{Scheme: "http", Host: "192.0.2.1", Path: "/", Fragment: "a"}, "fragment"},
	} {
		f := CheckBase(&test.u, "http", "tftp")
		require.Contains(t, f.String(), test.want, test.u.String())
	}
}

func TestCheckURLHosts(t *testing.T) {
	for host, want := range map[string]string{
		"192.0.2.1": "", "192.0.2.1:1": "", "192.0.2.1:65535": "", "[::ffff:192.0.2.1]": "", "files": "", "xn--e1a.example": "",
		"192.0.2.1:":                    `write it as "192.0.2.1"`,
		"[192.0.2.1]":                   `write it as "192.0.2.1"`,
		"2001:db8::1:80":                `write it as "[2001:db8::1]:80"`, // an address, or one with a port
		"192.0.2.1:0":                   "port from 1",
		"192.0.2.1:65536":               "port from 1",
		"192.0.2.300":                   "address",
		"192.0.2":                       "address",
		"0.0.0.0":                       "one machine",
		"[::]":                          "one machine",
		"[::ffff:0.0.0.0]":              "one machine",
		"239.0.0.1":                     "one machine",
		"255.255.255.255":               "one machine",
		"[fe80::1%eth0]":                "zone",
		"under_score":                   "name",
		"-a":                            "name",
		"a-":                            "name",
		"a..b":                          "name",
		"a.":                            "name",
		"a;reboot":                      "name",
		"$(reboot)":                     "name",
		"a@b":                           "name",
		"a/b":                           "name",
		strings.Repeat("a", 64):         "name",
		strings.Repeat("a.", 127) + "a": "name",
	} {
		f := CheckURL(&url.URL{Scheme: "nbd", Host: host, Path: "/"})
		require.Equal(t, want == "", f.OK(), host)
		require.Contains(t, f.String(), want, host)
		if want != "" {
			require.Contains(t, f.Problem, "has no usable host", host)
		}
	}
}

func TestCheckAddr(t *testing.T) {
	require.True(t, CheckAddr(netip.MustParseAddr("192.0.2.9")).OK())
	require.False(t, CheckAddr(netip.Addr{}).OK())
}

func TestCheckNFSOptions(t *testing.T) {
	_, f := CheckNFSOptions(nil)
	require.True(t, f.OK())
	_, f = CheckNFSOptions([]string{"port=2049", "rsize=1048576", "wsize=8192", "timeo=600", "retrans=0", "acregmin=3", "acregmax=60",
		"acdirmin=30", "acdirmax=60", "soft", "intr", "posix", "cto", "ac", "lock", "v2", "tcp", "ro"})
	require.True(t, f.OK(), f)
	_, f = CheckNFSOptions([]string{"hard", "nointr", "noposix", "nocto", "noac", "nolock", "v3", "udp", "rw"})
	require.True(t, f.OK(), f)
	for _, pair := range [][]string{
		{"soft", "hard"}, {"rsize=8192", "rsize=32768"}, {"lock", "nolock"}, {"tcp", "udp"}, {"v2", "v3"}, {"ro", "rw"}, {"cto", "cto"},
	} {
		bad, f := CheckNFSOptions(pair)
		require.Equal(t, pair[1], bad)
		require.Contains(t, f.Problem, "contradicts")
	}
	for option, want := range map[string]string{
		"": "no option of klibc", "acl": "no option of klibc", "noacl": "no option of klibc", "noatime": "no option of klibc",
		"soft,hard": "no option of klibc", "soft;reboot": "no option of klibc",
		"vers=4": `write "v3"`, "v4": `write "v3"`, "mountport=20048": "portmapper",
		"rsize": "whole number", "rsize=": "whole number", "rsize=32k": "whole number", "rsize=-1": "whole number", "rsize=+1": "whole number",
		"rsize=1;reboot": "whole number", "timeo=1000000000": "nine digits", "rsize=010": "octal", "rsize=00": "octal",
		"port=0": "no port", "port=65536": "no port", "soft=1": "has a value", "soft=": "has a value",
	} {
		bad, f := CheckNFSOptions([]string{"ro", option, "what"})
		require.Equal(t, option, bad)
		require.Contains(t, f.String(), want, option)
	}
	bad, f := CheckNFSOptions([]string{"ro", "soft", "ro"})
	require.Equal(t, "ro", bad)
	require.Equal(t, "is there twice, or contradicts another; keep one", f.String())
}

// A base that is accepted, written out with its path escaped, reads back as
// itself.
func FuzzCheckBase(f *testing.F) {
	for _, host := range []string{"192.0.2.1", "[2001:db8::1]:80", "2001:db8::1:80", "a@b", "a/b", "h:", "[h]", "h%41", "[fe80::1%25e]"} {
		f.Add(host, "/a b/")
		f.Add(host, "rescue/")
	}
	f.Fuzz(func(t *testing.T, host, path string) {
		u := &url.URL{Scheme: "http", Host: host, Path: path}
		if flaw := CheckBase(u, "http"); !flaw.OK() {
			require.NotEmpty(t, flaw.Problem)
			require.NotEmpty(t, flaw.Remedy)
			return
		}
		back, err := url.Parse("http://" + host + (&url.URL{Path: path}).EscapedPath())
		require.NoError(t, err)
		require.Equal(t, host, back.Host)
		require.Equal(t, path, back.Path)
	})
}

// What passes for an option is one word of a list separated by commas.
func FuzzCheckNFSOptions(f *testing.F) {
	for _, s := range []string{"ro", "rsize=010", "port=1,soft", "timeo=9", "v3=", "soft\n"} {
		f.Add(s)
	}
	form := regexp.MustCompile(`\A[a-z0-9]+(=(0|[1-9][0-9]{0,8}))?\z`)
	f.Fuzz(func(t *testing.T, option string) {
		if bad, flaw := CheckNFSOptions([]string{option}); !flaw.OK() {
			require.Equal(t, option, bad)
			return
		}
		require.Regexp(t, form, option)
	})
}
