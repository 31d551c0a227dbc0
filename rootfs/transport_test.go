package rootfs_test

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/rootfs"
)

// What a transport may be, checked by the compiler.
var (
	_ rootfs.RootFSTransport = rootfs.HTTP{}
	_ rootfs.Validator       = rootfs.HTTP{}
	_ rootfs.Mounter         = rootfs.NFS{}
	_ rootfs.Validator       = rootfs.NFS{}
	_ rootfs.RootFSTransport = rootfs.TFTP{}
	_ rootfs.Validator       = rootfs.TFTP{}
)

func parse(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	require.NoError(t, err)
	return u
}

func TestHTTPThisServer(t *testing.T) {
	base := parse(t, "http://192.0.2.1:8080/~b-17/")
	target := rootfs.Target{Server: netip.MustParseAddr("192.0.2.1"), HTTP: base}
	u, err := rootfs.HTTP{}.RootURL(target)
	require.NoError(t, err)
	require.Equal(t, "http://192.0.2.1:8080/~b-17/", u.String())

	u.Path = "/changed/" // the caller's own
	require.Equal(t, "/~b-17/", base.Path)

	base.Path = "/no-slash"
	_, err = rootfs.HTTP{}.RootURL(target)
	require.ErrorContains(t, err, "Target.HTTP")
}

func TestHTTPElsewhere(t *testing.T) {
	base := parse(t, "https://files.example/rescue/")
	h := rootfs.HTTP{Base: base}
	require.NoError(t, h.Validate())
	u, err := h.RootURL(rootfs.Target{HTTP: parse(t, "http://192.0.2.1/")})
	require.NoError(t, err)
	require.Equal(t, "https://files.example/rescue/", u.String())
	u.Host = "changed"
	require.Equal(t, "files.example", base.Host)
}

func TestHTTPSThisServer(t *testing.T) {
	target := rootfs.Target{HTTP: parse(t, "http://192.0.2.1/~b-17/"), HTTPS: parse(t, "https://192.0.2.1:8443/~b-17/")}
	u, err := rootfs.HTTP{TLS: true}.RootURL(target)
	require.NoError(t, err)
	require.Equal(t, "https://192.0.2.1:8443/~b-17/", u.String())

	target.HTTPS = nil
	_, err = rootfs.HTTP{TLS: true}.RootURL(target)
	require.EqualError(t, err, "rootfs: no https root for this machine: this server does not serve HTTPS to it; "+
		"give the server an HTTPS listener and a TLS configuration, or clear HTTP.TLS")
	require.ErrorContains(t, rootfs.HTTP{TLS: true, Base: target.HTTP}.Validate(), "clear one of them")
	_, err = rootfs.HTTP{TLS: true, Base: target.HTTP}.RootURL(target)
	require.ErrorContains(t, err, "clear one of them")
}

func TestTFTP(t *testing.T) {
	target := rootfs.Target{HTTP: parse(t, "http://192.0.2.1/"), TFTP: parse(t, "tftp://192.0.2.1/~b-17/")}
	u, err := rootfs.TFTP{}.RootURL(target)
	require.NoError(t, err)
	require.Equal(t, "tftp://192.0.2.1/~b-17/", u.String())
	u.Path = "/changed/"
	require.Equal(t, "/~b-17/", target.TFTP.Path)

	_, err = rootfs.TFTP{}.RootURL(rootfs.Target{HTTP: target.HTTP})
	require.EqualError(t, err, "rootfs: no tftp root for this machine: this server does not serve TFTP to it; "+
		"give the server a TFTP socket, or set TFTP.Base to a TFTP server that has the files")

	elsewhere := rootfs.TFTP{Base: parse(t, "tftp://192.0.2.8/rescue/")}
	require.NoError(t, elsewhere.Validate())
	u, err = elsewhere.RootURL(target)
	require.NoError(t, err)
	require.Equal(t, "tftp://192.0.2.8/rescue/", u.String())
	for _, bad := range []string{"http://192.0.2.8/rescue/", "tftp://192.0.2.8/rescue", "tftp://192.0.2.8/$x/"} {
		wrong := rootfs.TFTP{Base: parse(t, bad)}
		require.ErrorContains(t, wrong.Validate(), "rootfs: TFTP.Base")
		_, err = wrong.RootURL(target)
		require.ErrorContains(t, err, "rootfs: TFTP.Base")
	}
}

func TestHTTPNotServed(t *testing.T) {
	_, err := rootfs.HTTP{}.RootURL(rootfs.Target{})
	var target *rootfs.TargetError
	require.ErrorAs(t, err, &target)
	require.Equal(t, "http", target.Transport)
	require.EqualError(t, err, "rootfs: no http root for this machine: this server does not serve HTTP to it; "+
		"give the server an HTTP listener, or set HTTP.Base to a web server that has the files")
}

func TestHTTPBase(t *testing.T) {
	good := []string{
		"http://192.0.2.9/", "http://192.0.2.9:8080/", "http://[2001:db8::9]/", "http://[2001:db8::9]:80/a/",
		"https://files.example/", "http://a-b.c1.example/x_y/~z/", "http://h/a%20b/", "http://h/a=b,c+d@e:f/",
	}
	for _, base := range good {
		require.NoError(t, rootfs.HTTP{Base: parse(t, base)}.Validate(), base)
	}
	bad := []struct {
		base *url.URL
		want string
	}{
		{parse(t, "ftp://192.0.2.9/"), "use http or https"},
		{parse(t, "//192.0.2.9/"), "use http or https"},
		{parse(t, "/rescue/"), "use http or https"},
		{&url.URL{Scheme: "HTTP", Host: "h", Path: "/"}, "use http or https"},
		{parse(t, "http://192.0.2.9"), "begins with a slash"},
		{&url.URL{Scheme: "http", Host: "192.0.2.9", Path: "rescue/"}, "begins with a slash"},
		{parse(t, "http://192.0.2.9/[a]/"), "'['"},
		{parse(t, "http://255.255.255.255/"), "one machine"},
		{&url.URL{Scheme: "http", Host: "2001:db8::9:80", Path: "/"}, `"[2001:db8::9]:80"`},
		{parse(t, "http://192.0.2.9/rescue"), "end in a slash"},
		{parse(t, "http://192.0.2.9/?token=1"), "query"},
		{parse(t, "http://192.0.2.9/?"), "query"},
		{parse(t, "http://192.0.2.9/#top"), "fragment"},
		{parse(t, "http://user:secret@192.0.2.9/"), "has a user"},
		{parse(t, "http:192.0.2.9/"), "no usable host"},
		{parse(t, "http:///rescue/"), "no usable host"},
		{parse(t, "http://192.0.2.9:/"), `"192.0.2.9"`},
		{parse(t, "http://192.0.2.9:0/"), "port"},
		{parse(t, "http://192.0.2.9:65536/"), "port"},
		{parse(t, "http://192.0.2.300/"), "host"},
		{parse(t, "http://192.0.2/"), "host"},
		{parse(t, "http://0.0.0.0/"), "one machine"},
		{parse(t, "http://[::]/"), "one machine"},
		{parse(t, "http://239.0.0.1/"), "one machine"},
		{parse(t, "http://[fe80::1%25eth0]/"), "zone"},
		{parse(t, "http://under_score.example/"), "host"},
		{parse(t, "http://-a.example/"), "host"},
		{parse(t, "http://a..example/"), "host"},
		{parse(t, "http://"+strings.Repeat("a", 64)+".example/"), "host"},
		{parse(t, "http://"+strings.Repeat("a.", 127)+"example/"), "host"},
		{&url.URL{Scheme: "http", Host: "h;reboot", Path: "/"}, "host"},
		{&url.URL{Scheme: "http", Host: "$(reboot)", Path: "/"}, "host"},
		{parse(t, "http://192.0.2.9/a/../b/"), ".."},
		{parse(t, "http://192.0.2.9/a/%2e%2e/b/"), ".."},
		{parse(t, "http://192.0.2.9/./"), `"."`},
		{parse(t, "http://192.0.2.9/$x/"), "'$'"},
		{parse(t, "http://192.0.2.9/a;b/"), "';'"},
		{parse(t, "http://192.0.2.9/a&b/"), "'&'"},
		{parse(t, "http://192.0.2.9/(a)/"), "'('"},
		{parse(t, "http://192.0.2.9/it's/"), `'\''`},
		{parse(t, "http://192.0.2.9/a!/"), "'!'"},
	}
	for _, test := range bad {
		t.Run(test.base.Redacted(), func(t *testing.T) {
			h := rootfs.HTTP{Base: test.base}
			err := h.Validate()
			require.ErrorContains(t, err, "rootfs: HTTP.Base")
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "secret")
			_, urlErr := h.RootURL(rootfs.Target{})
			require.Equal(t, err, urlErr)
			_, urlErr = rootfs.HTTP{}.RootURL(rootfs.Target{HTTP: test.base})
			require.ErrorContains(t, urlErr, "rootfs: Target.HTTP")
		})
	}
}

var shellSafe = regexp.MustCompile(`^[A-Za-z0-9._~:/@%+=,\[\]-]*$`)

// FuzzHTTPBase holds for any URL: it is refused, or nothing in it means
// anything to a shell, it ends in "/" and reads back as itself.
func FuzzHTTPBase(f *testing.F) {
	for _, seed := range []string{"http://192.0.2.9/", "http://h/$(x)/", "http://h/`x`/", "http://h/%0a/", "http://h/\"/", "https://[::1]:8/a/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		base, err := url.Parse(s)
		if err != nil {
			return
		}
		u, err := rootfs.HTTP{Base: base}.RootURL(rootfs.Target{})
		if err != nil {
			return
		}
		require.Regexp(t, shellSafe, u.String())
		require.True(t, strings.HasSuffix(u.String(), "/"))
		again, err := url.Parse(u.String())
		require.NoError(t, err)
		require.Equal(t, u.Host, again.Host)
		require.Equal(t, u.Path, again.Path)
		require.Empty(t, again.RawQuery+again.Fragment)
	})
}

func TestNFS(t *testing.T) {
	n := rootfs.NFS{Export: "192.0.2.9:/srv/rescue", Options: []string{"soft", "rsize=32768"}, Live: true}
	require.NoError(t, n.Validate())
	u, err := n.RootURL(rootfs.Target{Machine: netip.MustParseAddr("192.0.2.100")})
	require.NoError(t, err)
	require.Equal(t, "nfs://192.0.2.9/srv/rescue", u.String())
	options, err := n.MountOptions(rootfs.Target{})
	require.NoError(t, err)
	require.Equal(t, rootfs.MountOptions{NFS: []string{"soft", "rsize=32768"}, Live: true}, options)
	options.NFS[0] = "changed"
	require.Equal(t, "soft", n.Options[0])

	_, err = rootfs.NFS{Export: "192.0.2.9:/"}.RootURL(rootfs.Target{})
	require.NoError(t, err, "all of a server, and a machine not known yet")
}

func TestNFSForIPv6Machine(t *testing.T) {
	n := rootfs.NFS{Export: "192.0.2.9:/srv/rescue"}
	_, err := n.RootURL(rootfs.Target{Machine: netip.MustParseAddr("2001:db8::5")})
	var target *rootfs.TargetError
	require.ErrorAs(t, err, &target)
	require.Contains(t, err.Error(), "give the machine an IPv4 address")
}

func TestNFSExport(t *testing.T) {
	tests := []struct{ export, want string }{
		{"", "192.0.2.9:/srv/rescue"},
		{"/srv/rescue", "192.0.2.9:/srv/rescue"},
		{"files.example:/srv", "dotted IPv4"},
		{"[2001:db8::9]:/srv", "dotted IPv4"},
		{"2001:db8::9:/srv", "dotted IPv4"},
		{"192.0.2:/srv", "dotted IPv4"},
		{"192.0.02.9:/srv", "dotted IPv4"},
		{"0.0.0.0:/srv", "one machine"},
		{"224.0.0.1:/srv", "one machine"},
		{"255.255.255.255:/srv", "one machine"},
		{"192.0.2.9:", `begins with "/"`},
		{"192.0.2.9:srv", `begins with "/"`},
		{"192.0.2.9:/srv/", `write it as "/srv"`},
		{"192.0.2.9://srv", `write it as "/srv"`},
		{"192.0.2.9:/srv/../etc", `write it as "/etc"`},
		{"192.0.2.9:/a b", "' '"},
		{"192.0.2.9:/a;reboot", "';'"},
		{"192.0.2.9:/$(reboot)", "'$'"},
		{"192.0.2.9:/a%20b", "'%'"},
		{"192.0.2.9:/[a]", "'['"},
		{"192.0.2.9:/größe", "'ö'"},
		{"192.0.2.9:/a\nb", `'\n'`},
		{"192.0.2.9:/a\xffb", "to a shell"},
	}
	for _, test := range tests {
		t.Run(test.export, func(t *testing.T) {
			n := rootfs.NFS{Export: test.export}
			err := n.Validate()
			require.ErrorContains(t, err, "rootfs: NFS.Export")
			require.ErrorContains(t, err, test.want)
			_, err = n.RootURL(rootfs.Target{})
			require.Error(t, err)
			_, err = n.MountOptions(rootfs.Target{})
			require.Error(t, err)
		})
	}
}

func TestNFSOptions(t *testing.T) {
	good := []string{"port=2049", "rsize=1048576", "wsize=8192", "timeo=600", "retrans=0", "acregmin=3", "acregmax=60",
		"acdirmin=30", "acdirmax=60", "soft", "nolock", "v3", "tcp", "ro"}
	require.NoError(t, rootfs.NFS{Export: "192.0.2.9:/srv", Options: good}.Validate())
	bad := map[string]string{
		"":                  "no option of klibc",
		"vers=4":            `write "v3"`,
		"nfsvers=3":         `write "v3"`,
		"mountport=20048":   "portmapper",
		"noatime":           "no option of klibc",
		"rsize":             "whole number",
		"rsize=":            "whole number",
		"rsize=32k":         "whole number",
		"rsize=-1":          "whole number",
		"rsize=99999999999": "whole number",
		"rsize=010":         "octal",
		"port=0":            "no port",
		"port=65536":        "no port",
		"soft=1":            "value",
		"ro":                "there twice",
		"noacl":             "no option of klibc",
		"timeo=1000000000":  "nine digits",
		"soft,hard":         "no option of klibc",
		"soft;reboot":       "no option of klibc",
		"rsize=1;reboot":    "whole number",
	}
	for option, want := range bad {
		t.Run(option, func(t *testing.T) {
			err := rootfs.NFS{Export: "192.0.2.9:/srv", Options: []string{"ro", option}}.Validate()
			require.ErrorContains(t, err, "rootfs: NFS.Options")
			require.ErrorContains(t, err, want)
		})
	}
}

// FuzzNFSExport holds for any export: it is refused, or nothing in it means
// anything to a shell and the URL gives back its two halves.
func FuzzNFSExport(f *testing.F) {
	for _, seed := range []string{"192.0.2.9:/srv/rescue", "192.0.2.9:/", "192.0.2.9:/a:b", "192.0.2.9:/$x", "h:/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, export string) {
		u, err := rootfs.NFS{Export: export}.RootURL(rootfs.Target{})
		if err != nil {
			return
		}
		require.Regexp(t, shellSafe, export)
		require.Equal(t, export, u.Host+":"+u.Path)
		again, err := url.Parse(u.String())
		require.NoError(t, err)
		require.Equal(t, u.Path, again.EscapedPath())
	})
}
