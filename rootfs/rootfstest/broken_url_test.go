package rootfstest_test

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/pxekit/pxe/rootfs"
	"github.com/pxekit/pxe/rootfs/rootfstest"
)

// hint is a transport made of functions.
type hint func(t rootfs.Target) (*url.URL, error)

func (h hint) RootURL(t rootfs.Target) (*url.URL, error) { return h(t) }

// always answers with a URL of its own.
func always(u url.URL) hint {
	return func(rootfs.Target) (*url.URL, error) { c := u; return &c, nil }
}

var good = url.URL{Scheme: "http", Host: "192.0.2.9", Path: "/rescue/"}

// refuse answers targets without HTTP with an error.
func refuse(err error) hint {
	return func(t rootfs.Target) (*url.URL, error) {
		if t.HTTP == nil {
			return nil, err
		}
		return always(good)(t)
	}
}

func TestBrokenRootURL(t *testing.T) {
	shared := good
	var calls atomic.Int64
	tests := []struct {
		name   string
		broken hint
		want   string
	}{
		{"panics for the zero Target", func(t rootfs.Target) (*url.URL, error) { u := *t.HTTP; return &u, nil }, "it panics"},
		{"changes the target", func(t rootfs.Target) (*url.URL, error) {
			if t.HTTP != nil {
				t.HTTP.Path += "more/"
			}
			return always(good)(t)
		}, "must not change what a Target points to"},
		{"the target's own", func(t rootfs.Target) (*url.URL, error) {
			if t.HTTP == nil {
				return always(good)(t)
			}
			return t.HTTP, nil
		}, "the caller owns the URL"},
		{"one for all", func(rootfs.Target) (*url.URL, error) { return &shared, nil }, "the caller owns the URL"},
		{"by chance", func(rootfs.Target) (*url.URL, error) {
			u := good
			u.Path = "/" + string(rune('a'+rand.IntN(26))) + string(rune('a'+calls.Add(1)%26)) + "/"
			return &u, nil
		}, "not deterministic"},
		{"nothing", func(rootfs.Target) (*url.URL, error) { return nil, nil }, "neither a URL nor an error"},
		{"both", func(t rootfs.Target) (*url.URL, error) {
			return &url.URL{}, &rootfs.TargetError{Transport: "x", Reason: "y", Remedy: "z"}
		}, "both a URL and an error"},
		{"never", func(rootfs.Target) (*url.URL, error) {
			return nil, &rootfs.TargetError{Transport: "x", Reason: "y", Remedy: "z"}
		}, "no URL for any target"},
		{"plain error", refuse(errors.New("no")), "no *rootfs.TargetError"},
		{"no transport", refuse(&rootfs.TargetError{Reason: "y", Remedy: "z"}), "TargetError without Transport"},
		{"no reason", refuse(&rootfs.TargetError{Transport: "x", Remedy: "z"}), "TargetError without Reason"},
		{"no remedy", refuse(&rootfs.TargetError{Transport: "x", Reason: "y"}), "TargetError without Remedy"},
		{"two lines", refuse(&rootfs.TargetError{Transport: "x", Reason: "y\nz", Remedy: "z"}), "is more than one line"},
		{"full stop", refuse(&rootfs.TargetError{Transport: "x", Reason: "y", Remedy: "do z."}), "ends in a full stop"},
		{"scheme", always(url.URL{Scheme: "ftp", Host: "192.0.2.9", Path: "/"}), `the scheme "ftp"`},
		{"upper-case scheme", always(url.URL{Scheme: "HTTP", Host: "192.0.2.9", Path: "/"}), `the scheme "HTTP"`},
		{"no host", always(url.URL{Scheme: "http", Path: "/"}), "no usable host"},
		{"opaque", always(url.URL{Scheme: "http", Opaque: "192.0.2.9/"}), "no usable host"},
		{"zone", always(url.URL{Scheme: "http", Host: "[fe80::1%eth0]", Path: "/"}), "zone"},
		{"IPv6 without brackets", always(url.URL{Scheme: "http", Host: "2001:db8::9", Path: "/"}), "no usable host"},
		{"user", always(url.URL{Scheme: "http", Host: "192.0.2.9", Path: "/", User: url.User("u")}), "has a user"},
		{"query", always(url.URL{Scheme: "http", Host: "192.0.2.9", Path: "/", RawQuery: "a=b"}), "query"},
		{"fragment", always(url.URL{Scheme: "http", Host: "192.0.2.9", Path: "/", Fragment: "a"}), "fragment"},
		{"no slash at the end", always(url.URL{Scheme: "tftp", Host: "192.0.2.9", Path: "/rescue"}), "end in a slash"},
		{"dots", always(url.URL{Scheme: "https", Host: "192.0.2.9", Path: "/a/../"}), `".."`},
		{"shell", always(url.URL{Scheme: "http", Host: "192.0.2.9", Path: "/$(reboot)/"}), "to a shell"},
		{"shell, another scheme", always(url.URL{Scheme: "toy", Host: "192.0.2.9", Path: "/a;b"}), "to a shell"},
		{"NFS by name", always(url.URL{Scheme: "nfs", Host: "files.example", Path: "/srv"}), "plain IPv4 address"},
		{"NFS with a port", always(url.URL{Scheme: "nfs", Host: "192.0.2.9:2049", Path: "/srv"}), "plain IPv4 address"},
		{"NFS path", always(url.URL{Scheme: "nfs", Host: "192.0.2.9", Path: "/srv/"}), `write it as "/srv"`},
		{"NFS for an IPv6 machine", always(url.URL{Scheme: "nfs", Host: "192.0.2.9", Path: "/srv"}), "over IPv4 only"},
		{"NBD without an export", always(url.URL{Scheme: "nbd", Host: "192.0.2.9", Path: "/"}), "names no export"},
		{"NBD export with an escape", always(url.URL{Scheme: "nbd", Host: "192.0.2.9", Path: "/a%b"}), "does not decode"},
		{"shared state", func() hint {
			var last atomic.Pointer[string]
			return func(t rootfs.Target) (*url.URL, error) {
				id := "x" + t.BootID
				if !t.Machine.IsValid() {
					id = "unknown"
				}
				last.Store(&id)
				runtime.Gosched() // others come in between
				u := good
				u.Path += *last.Load() + "/"
				return &u, nil
			}
		}(), "several at once"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			caught(t, test.want, func() rootfs.RootFSTransport { return test.broken }, rootfstest.Schemes("toy"))
		})
	}
}

// A transport may block, which nobody waits for forever.
func TestBlockedRootURL(t *testing.T) {
	forever := make(chan struct{})
	defer close(forever)
	caught(t, "does not return within", func() rootfs.RootFSTransport {
		return hint(func(t rootfs.Target) (*url.URL, error) { <-forever; return always(good)(t) })
	}, rootfstest.Patience(hasty/30))
}

func TestWantedTarget(t *testing.T) {
	caught(t, "no URL for a target given by Targets", func() rootfs.RootFSTransport { return rootfs.HTTP{} },
		rootfstest.Targets(rootfs.Target{Machine: netip.MustParseAddr("192.0.2.100")}))
}

// mount is a Mounter and Validator made of functions.
type mount struct {
	hint
	options func(rootfs.Target) (rootfs.MountOptions, error)
	invalid error
}

func (m mount) MountOptions(t rootfs.Target) (rootfs.MountOptions, error) { return m.options(t) }
func (m mount) Validate() error                                           { return m.invalid }

func TestBrokenMounter(t *testing.T) {
	options := func(live bool, words ...string) func(rootfs.Target) (rootfs.MountOptions, error) {
		return func(rootfs.Target) (rootfs.MountOptions, error) {
			return rootfs.MountOptions{NFS: append([]string(nil), words...), Live: live}, nil
		}
	}
	nfs := hint(rootfs.NFS{Export: "192.0.2.9:/srv"}.RootURL)
	shared := []string{"soft"}
	var calls atomic.Int64
	tests := []struct {
		name   string
		broken mount
		want   string
	}{
		{"invalid", mount{nfs, options(false), errors.New("no")}, "refuses the transport"},
		{"shell", mount{nfs, options(false, "soft;reboot"), nil}, "no option of klibc's nfsmount"},
		{"two in one", mount{nfs, options(false, "soft,ro"), nil}, "no option of klibc's nfsmount"},
		{"options of another protocol", mount{always(good), options(false, "soft"), nil}, "options of an NFS mount"},
		{"live over HTTP", mount{always(good), options(true), nil}, "always copied"},
		{"shared options", mount{nfs, func(rootfs.Target) (rootfs.MountOptions, error) {
			return rootfs.MountOptions{NFS: shared}, nil
		}, nil}, "return a copy of the options"},
		{"by chance", mount{nfs, func(rootfs.Target) (rootfs.MountOptions, error) {
			return rootfs.MountOptions{Live: calls.Add(1)%2 == 0}, nil
		}, nil}, "not deterministic"},
		{"plain error", mount{nfs, func(rootfs.Target) (rootfs.MountOptions, error) {
			return rootfs.MountOptions{}, errors.New("no")
		}, nil}, "no *rootfs.TargetError"},
		{"changes the target", mount{always(good), func(t rootfs.Target) (rootfs.MountOptions, error) {
			if t.TFTP != nil {
				t.TFTP.Host = "changed"
			}
			return rootfs.MountOptions{}, nil
		}, nil}, "must not change what a Target points to"},
		{"panics", mount{nfs, func(t rootfs.Target) (rootfs.MountOptions, error) {
			return rootfs.MountOptions{Live: t.HTTP.Host == ""}, nil
		}, nil}, "it panics"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			caught(t, test.want, func() rootfs.RootFSTransport { return test.broken })
		})
	}
}
