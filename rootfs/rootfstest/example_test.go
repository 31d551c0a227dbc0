package rootfstest_test

import (
	"fmt"
	"net/netip"
	"net/url"

	"github.com/pxekit/pxe/rootfs"
	"github.com/pxekit/pxe/rootfs/rootfstest"
)

// mirror is a transport of an embedder's own: the mirror that is next to the
// machine, by its address.
type mirror struct{ near, far *url.URL }

func (m mirror) RootURL(t rootfs.Target) (*url.URL, error) {
	if !t.Machine.IsValid() {
		return nil, &rootfs.TargetError{Transport: "mirror", Reason: "its address is not known", Remedy: "serve its addresses, too"}
	}
	if netip.MustParsePrefix("192.0.2.0/25").Contains(t.Machine) {
		return m.near, nil // wrong: the caller may change it
	}
	return m.far, nil
}

// printer is a TB that prints. In a test it is the *testing.T.
type printer struct{}

func (printer) Helper()                           {}
func (printer) Errorf(format string, args ...any) { fmt.Println(fmt.Sprintf(format, args...)) }

func ExampleTest() {
	rootfstest.Test(printer{}, func() rootfs.RootFSTransport {
		return mirror{
			near: &url.URL{Scheme: "http", Host: "192.0.2.8", Path: "/rescue/"},
			far:  &url.URL{Scheme: "http", Host: "198.51.100.8", Path: "/rescue/"},
		}
	})
	// Output:
	// rootfstest: RootURL: it gives the same *url.URL twice for a target that knows everything: the caller owns the URL that it gets, return a copy
}

// A transport that listens is told how its clients talk.
func ExampleClient() {
	rootfstest.Test(printer{}, func() rootfs.RootFSTransport { return &toy{} },
		rootfstest.Schemes("toy"), rootfstest.Client(talk))
	fmt.Println("no rule is broken")
	// Output:
	// no rule is broken
}
