package rootfs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing/fstest"
	"time"

	"github.com/pxekit/pxe/rootfs"
)

// The zero value sends machines to the server that asks, a Base to another.
func ExampleHTTP() {
	target := rootfs.Target{
		Server: netip.MustParseAddr("192.0.2.1"),
		HTTP:   &url.URL{Scheme: "http", Host: "192.0.2.1", Path: "/"},
	}
	here, _ := rootfs.HTTP{}.RootURL(target)
	fmt.Println(here)

	base, _ := url.Parse("http://192.0.2.8/rescue/")
	elsewhere, _ := rootfs.HTTP{Base: base}.RootURL(target)
	fmt.Println(elsewhere)

	_, err := rootfs.HTTP{}.RootURL(rootfs.Target{})
	fmt.Println(err)
	// Output:
	// http://192.0.2.1/
	// http://192.0.2.8/rescue/
	// rootfs: no http root for this machine: this server does not serve HTTP to it; give the server an HTTP listener, or set HTTP.Base to a web server that has the files
}

func ExampleNFS() {
	root := rootfs.NFS{Export: "192.0.2.9:/srv/rescue", Options: []string{"soft"}, Live: true}
	target := rootfs.Target{Machine: netip.MustParseAddr("192.0.2.100")}
	u, _ := root.RootURL(target)
	options, _ := root.MountOptions(target)
	fmt.Println(u, options.NFS, options.Live)

	fmt.Println(rootfs.NFS{Export: "files.example:/srv/rescue"}.Validate())
	// Output:
	// nfs://192.0.2.9/srv/rescue [soft] true
	// rootfs: NFS.Export "files.example:/srv/rescue" must begin with a dotted IPv4 address: boot code resolves no names and mounts NFS over IPv4 only
}

// What the administrator of the NFS server puts into its configuration, for a
// medium whose ISO image lies on the server.
func ExampleNFS_ExportsLine() {
	root := rootfs.NFS{Export: "192.0.2.9:/srv/rescue"}
	share := rootfs.NFSShare{
		ISO:     "/srv/iso/systemrescue 12.00.iso",
		Clients: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
	}
	mount, _ := root.FstabLine(share)
	export, _ := root.ExportsLine(share)
	fmt.Println("/etc/fstab:  ", mount)
	fmt.Println("/etc/exports:", export)
	// Output:
	// /etc/fstab:   /srv/iso/systemrescue\04012.00.iso /srv/rescue iso9660 loop,ro,nosuid,nodev 0 0
	// /etc/exports: /srv/rescue 192.0.2.0/24(ro,no_subtree_check,fsid=1,mp)
}

func ExampleNFS_GaneshaExport() {
	root := rootfs.NFS{Export: "192.0.2.9:/srv/rescue"}
	block, _ := root.GaneshaExport(rootfs.NFSShare{ID: 77})
	fmt.Print(block)
	// Output:
	// EXPORT {
	// 	Export_Id = 77;
	// 	Path = "/srv/rescue";
	// 	Pseudo = "/srv/rescue";
	// 	Filesystem_Id = 77.1;
	// 	Protocols = 3;
	// 	Transports = TCP;
	// 	SecType = none, sys;
	// 	Squash = root_squash;
	// 	Access_Type = RO;
	// 	FSAL { Name = VFS; }
	// }
}

// A check before the first machine boots. Programs look at the reason, people at
// the sentence.
func ExampleNFS_Check() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	root := rootfs.NFS{Export: "files.example:/srv/rescue"}
	err := root.Check(ctx)
	var failed *rootfs.NFSError
	if errors.As(err, &failed) && failed.Reason == rootfs.NFSBadConfig {
		fmt.Println(failed)
	}
	// Output:
	// rootfs: nfs root files.example:/srv/rescue: must begin with a dotted IPv4 address: boot code resolves no names and mounts NFS over IPv4 only; correct NFS.Export
}

func ExampleFiles() {
	medium := fstest.MapFS{"sysresccd/x86_64/airootfs.sfs": {Data: []byte("hsqs..."), ModTime: time.Now()}}
	files := &rootfs.Files{
		Open: func(_ context.Context, name string) (fs.File, error) { return medium.Open(name) },
		Trace: &rootfs.Trace{
			Done: func(r *http.Request, name string, result rootfs.Result) {
				fmt.Println(r.Method, name, result.Status, result.Bytes, "of", result.Size, result.Err)
			},
		},
	}
	// Around it, a server of your own:
	//
	//	server := &http.Server{Handler: files, ReadHeaderTimeout: 10 * time.Second,
	//		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10} // and no WriteTimeout
	server := httptest.NewServer(files)
	defer server.Close()

	response, err := http.Get(server.URL + "//sysresccd/x86_64/airootfs.sfs")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	content, _ := io.ReadAll(response.Body)
	fmt.Println(response.Status, response.ContentLength, string(content))
	// Output:
	// GET sysresccd/x86_64/airootfs.sfs 200 7 of 7 <nil>
	// 200 OK 7 hsqs...
}

// A thousand machines on a network of a gigabit: fifty load at a time, with what
// the network carries, and nobody takes more than a tenth of it.
func ExampleLimits() {
	files := &rootfs.Files{
		Open: func(_ context.Context, name string) (fs.File, error) { return fstest.MapFS{}.Open(name) },
		Limits: rootfs.Limits{
			Rate:       110 << 20,
			ClientRate: 11 << 20,
			Downloads:  50,
		},
	}
	w := httptest.NewRecorder()
	files.ServeHTTP(w, httptest.NewRequest("GET", "/boot.ipxe", nil))
	fmt.Println(w.Code)
	// Output: 404
}
