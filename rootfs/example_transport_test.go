package rootfs_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/pojntfx/go-nbd/pkg/backend"

	"github.com/pxekit/pxe/rootfs"
	"github.com/pxekit/pxe/rootfs/nbd"
)

// TLS sends machines to the HTTPS listener of the server that asks.
func ExampleHTTP_tls() {
	target := rootfs.Target{HTTPS: &url.URL{Scheme: "https", Host: "192.0.2.1", Path: "/"}}
	u, _ := rootfs.HTTP{TLS: true}.RootURL(target)
	fmt.Println(u)

	_, err := rootfs.HTTP{TLS: true}.RootURL(rootfs.Target{})
	fmt.Println(err)
	// Output:
	// https://192.0.2.1/
	// rootfs: no https root for this machine: this server does not serve HTTPS to it; give the server an HTTPS listener and a TLS configuration, or clear HTTP.TLS
}

func ExampleTFTP() {
	target := rootfs.Target{TFTP: &url.URL{Scheme: "tftp", Host: "192.0.2.1", Path: "/"}}
	here, _ := rootfs.TFTP{}.RootURL(target)
	fmt.Println(here)

	base := &url.URL{Scheme: "tftp", Host: "192.0.2.8", Path: "/rescue/"}
	elsewhere, _ := rootfs.TFTP{Base: base}.RootURL(target)
	fmt.Println(elsewhere)
	// Output:
	// tftp://192.0.2.1/
	// tftp://192.0.2.8/rescue/
}

// An NBD serves its exports itself. The name that a machine is sent to carries
// the ID of its boot, so that the session is known by it.
func ExampleNBD() {
	medium := strings.NewReader("CD001...") // an *os.File, or an ISO's own
	root := &rootfs.NBD{Live: true, Exports: []nbd.Export{{
		Name: "archiso", // what SystemRescue asks for
		Open: func(context.Context) (backend.Backend, error) { return nbd.ReaderAt(medium, medium.Size()), nil },
	}}}
	if err := root.Validate(); err != nil {
		fmt.Println(err)
		return
	}
	u, _ := root.RootURL(rootfs.Target{NBD: netip.MustParseAddrPort("192.0.2.1:10809"), BootID: "fmqk2p7xw4ztc"})
	options, _ := root.MountOptions(rootfs.Target{})
	fmt.Println(u, options.Live)

	// A pxe.Server does this; by itself, on a port of the system's choice:
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	done := make(chan error)
	go func() {
		done <- root.Serve(listener, rootfs.Site{Ended: func(s rootfs.Session) {
			fmt.Println(s.BootID, s.Name, s.Bytes, "of", s.Size, s.Err)
		}})
	}()
	_ = root.Shutdown(context.Background())
	fmt.Println(<-done)
	// Output:
	// nbd://192.0.2.1/archiso~fmqk2p7xw4ztc true
	// pxe: server closed
}

// A RemoteNBD serves nothing: the server elsewhere must have the export, by the
// very name.
func ExampleRemoteNBD() {
	root := rootfs.RemoteNBD{Addr: netip.MustParseAddrPort("192.0.2.9:10809"), Export: "RESCUE1200"}
	u, _ := root.RootURL(rootfs.Target{BootID: "fmqk2p7xw4ztc"})
	fmt.Println(u)
	// Output:
	// nbd://192.0.2.9/RESCUE1200
}
