package bootcfg

import (
	"errors"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// lastParam returns the last value of a parameter, as initramfs-tools and dracut
// read it; "y" if it is bare.
func lastParam(params []string, key string) (value string) {
	for _, p := range params {
		if k, v, has := strings.Cut(p, "="); k == key {
			if value = v; !has {
				value = "y"
			}
		}
	}
	return value
}

// liveBootFetch takes a fetch= to pieces as live-boot's 9990-mount-http.sh does:
// by its ending, and for TFTP by a host and a file.
func liveBootFetch(fetch string) (host, file string, ok bool) {
	if !strings.HasSuffix(fetch, ".squashfs") {
		return "", "", false
	}
	if rest, tftp := strings.CutPrefix(fetch, "tftp://"); tftp {
		host, _, _ := strings.Cut(path.Dir(rest), "/")
		return host, strings.Replace(fetch, "tftp://"+host, "", 1), true
	}
	u, err := url.Parse(fetch)
	if err != nil {
		return "", "", false
	}
	return u.Host, u.Path, true
}

// dracutNFS takes a root=nfs: to pieces as dracut's nfs-lib.sh does.
func dracutNFS(root string) (server, dir string, options []string) {
	arg := strings.TrimPrefix(root, "nfs:") + ":"
	if at := strings.Index(arg, ":/"); at >= 0 {
		server, arg = arg[:at], arg[strings.LastIndex(arg, ":/")+1:]
	}
	dir, rest, _ := strings.Cut(arg, ":")
	if before, after, has := strings.Cut(dir, ","); has {
		dir, rest = before, after
	}
	return server, dir, strings.Split(strings.Trim(rest, ":"), ",")
}

// dracutNBD takes a root=nbd: to pieces as dracut's nbdroot.sh does.
func dracutNBD(root string) (server, port, name, fsType string) {
	fields := strings.Split(strings.TrimPrefix(root, "nbd:"), ":")
	if len(fields) > 2 && fields[2] != fields[1] {
		fsType = fields[2]
	}
	if n, err := strconv.ParseInt(fields[1], 10, 64); err == nil && n > 0 {
		return fields[0], fields[1], "", fsType
	}
	return fields[0], "", fields[1], fsType
}

// Every parameter of every system, from any URL and fields, is one word that
// means nothing to a shell, is there once, and read by the initramfs names the
// root file system that was asked for.
func FuzzSystems(f *testing.F) {
	roots := []string{"http://192.0.2.1/", "https://h/a/", "tftp://192.0.2.1:1069/~b1/", "nfs://192.0.2.1/srv", "nfs://192.0.2.1/a,b:/c",
		"nbd://192.0.2.1/x~b1", "nbd://h:10810/", "nbd://192.0.2.1/007", "nbd://192.0.2.1/+1", "nbd://192.0.2.1/a:b", "http://h/?a=1&b=2/",
		"http://h/a%20b/", "tftp://h/a%20b/", "http://[2001:db8::1]/", "http://h/$x/", "nfs://name/srv", "nbd://[::1]:1/x"}
	for i, s := range append(seeds, "live", "LiveOS/a.img", "a.squashfs", "ext4", "ro", "v3", "rw", "udp", "port=2049", "60%", "a=1") {
		for _, root := range roots {
			f.Add(root, s, s, s, s, uint8(i))
		}
		f.Add("http://192.0.2.1/"+s+"/", s, "", "", "", uint8(i))
		f.Add("nbd://192.0.2.1/"+s, "", "", s, "", uint8(i))
	}
	f.Fuzz(func(t *testing.T, root, dir, image, word, extra string, flags uint8) {
		u, err := url.Parse(root)
		if err != nil {
			return
		}
		var options, extras []string
		if flags&1 != 0 {
			options = []string{word}
		}
		if extra != "" {
			extras = []string{extra}
		}
		mode, on := CopyMode(flags>>1%4), flags&8 != 0
		check := func(s system) []string {
			params, err := s.Params(u)
			if err != nil {
				var v *ValueError
				require.True(t, errors.As(err, &v), "%v", err)
				require.Nil(t, params)
				return nil
			}
			require.LessOrEqual(t, len(strings.Join(params, " ")), MaxCommandLine)
			var keys []string
			for _, p := range params {
				require.NotEmpty(t, p)
				require.Regexp(t, shellSafe, p)
				require.NotContains(t, p, "[")
				key, _, _ := strings.Cut(p, "=")
				require.NotContains(t, keys, key, "one parameter hides another")
				keys = append(keys, key)
			}
			if extra != "" {
				require.Equal(t, extra, params[len(params)-1])
			}
			return params
		}
		fetched := func(written, name string) {
			back, err := url.Parse(written)
			require.NoError(t, err)
			require.Equal(t, u.Scheme, back.Scheme)
			require.Equal(t, u.Host, back.Host)
			require.Equal(t, u.Path+name, back.Path)
			require.Empty(t, back.RawQuery+back.Fragment)
		}

		a := Archiso{BaseDir: dir, COWSpaceSize: word, COWDirectory: image, NFSOptions: options, CopyToRAM: mode, Checksum: on, CMSVerify: on, Extra: extras}
		if params := check(a); params != nil {
			got := parseArchiso(strings.Join(params, " "))
			require.Equal(t, "dhcp", got["ip"])
			require.Equal(t, orElse(dir, "arch"), got["archisobasedir"])
			require.Equal(t, on, got["cms_verify"] == "y")
			switch u.Scheme {
			case "nfs":
				require.Equal(t, u.Host+":"+u.Path, got["archiso_nfs_srv"])
				require.Equal(t, strings.Join(options, ","), got["archiso_nfs_opt"])
			case "nbd":
				require.Equal(t, u.Hostname(), got["archiso_nbd_srv"])
				require.Equal(t, orElse(u.Path[1:], "archiso"), got["archiso_nbd_name"])
			default:
				require.NotEqual(t, "tftp", u.Scheme)
				require.NotEqual(t, CopyNever, mode)
				fetched(got["archiso_http_srv"], "")
			}
		}

		l := LiveBoot{BaseDir: dir, Image: image, OverlaySize: word, NFSOptions: options, CopyToRAM: mode, NoComponents: on, Extra: extras}
		if params := check(l); params != nil {
			require.Equal(t, "live", lastParam(params, "boot"))
			require.Empty(t, lastParam(params, "ip"))
			if u.Scheme == "nfs" {
				require.Equal(t, u.Host+":"+u.Path, lastParam(params, "nfsroot"))
				require.Equal(t, strings.Join(options, ","), lastParam(params, "nfsopts"))
				require.Equal(t, l.baseDir(), orElse(lastParam(params, "live-media-path"), "live"))
			} else {
				host, file, ok := liveBootFetch(lastParam(params, "fetch"))
				require.True(t, ok)
				require.Equal(t, u.Host, host)
				require.Equal(t, u.Path+l.baseDir()+"/"+l.image(), file)
				require.Contains(t, []string{"http", "tftp"}, u.Scheme)
			}
		}

		d := Dracut{Image: image, FSType: word, NFSOptions: options, CopyToRAM: mode, Extra: extras}
		if flags&1 != 0 {
			d.FSType = ""
		}
		if params := check(d); params != nil {
			root := lastParam(params, "root")
			require.Equal(t, "dhcp", lastParam(params, "ip"))
			switch u.Scheme {
			case "nfs":
				server, dir, got := dracutNFS(root)
				require.Equal(t, u.Host, server)
				require.Equal(t, u.Path, dir)
				options = slices.DeleteFunc(options, func(o string) bool { return o == "v3" })
				require.Equal(t, append([]string{"vers=3"}, options...), got)
			case "nbd":
				server, port, name, fsType := dracutNBD(root)
				require.Equal(t, u.Hostname(), server)
				require.Equal(t, u.Path, "/"+name)
				if name == "" {
					require.Equal(t, orElse(u.Port(), "10809"), port)
				}
				if d.FSType != name { // it recognises the type then
					require.Equal(t, d.FSType, fsType)
				}
				require.Equal(t, "y", lastParam(params, "ro"))
			default:
				require.Equal(t, "y", lastParam(params, "rd.live.image"))
				fetched(strings.TrimPrefix(root, "live:"), d.image())
			}
		}
	})
}
