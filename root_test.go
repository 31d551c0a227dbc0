package pxe_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"math/big"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/dhcp/pxetest"
	"github.com/pxekit/pxe/internal/isowrite"
	"github.com/pxekit/pxe/rootfs"
	"github.com/pxekit/pxe/rootfs/nbd"
)

// image writes the medium to an ISO image and opens it.
func image(t *testing.T) (iso *asset.ISO, sum string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rescue.iso")
	description := isowrite.Image{VolumeID: "RESCUE1200", Files: isowrite.Bytes(medium())}
	content, err := description.Make()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, content, 0o600))
	iso, err = asset.OpenISO(path)
	require.NoError(t, err)
	t.Cleanup(func() { iso.Close() })
	digest := sha512.Sum512(content)
	return iso, hex.EncodeToString(digest[:])
}

// certificate returns a TLS configuration with a certificate made for the test.
func certificate(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pxe"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// What each transport makes of a boot: parameters, root and events.
func TestEveryTransportOfTheRootFileSystem(t *testing.T) {
	iso, sum := image(t)
	tests := map[string]struct {
		root     pxe.RootFSTransport
		tls      *tls.Config
		checksum bool
		param    string // what the command line must begin a parameter with
		want     pxetest.Root
		via      string // of the root's events; empty: the server does not see it
	}{
		"http":  {rootfs.HTTP{}, nil, true, "archiso_http_srv=http://192.0.2.1/~", pxetest.Root{Transport: "http", Verified: true}, "http"},
		"https": {rootfs.HTTP{TLS: true}, certificate(t), true, "archiso_http_srv=https://192.0.2.1/~", pxetest.Root{Transport: "https", Verified: true}, "https"},
		"tftp":  {rootfs.TFTP{}, nil, true, "archiso_http_srv=tftp://192.0.2.1/~", pxetest.Root{Transport: "tftp", Verified: true}, "tftp"},
		"nbd":   {&rootfs.NBD{Exports: pxe.ISOExports(iso)}, nil, false, "archiso_nbd_name=archiso~", pxetest.Root{Transport: "nbd", SHA512: sum}, "nbd"},
		"nbd by its label": {&rootfs.NBD{Exports: pxe.ISOExports(iso), Export: "RESCUE1200"}, nil, false,
			"archiso_nbd_name=RESCUE1200~", pxetest.Root{Transport: "nbd", SHA512: sum}, "nbd"},
		"nfs": {rootfs.NFS{Export: "192.0.2.9:/srv/rescue"}, nil, false, "archiso_nfs_srv=192.0.2.9:/srv/rescue", pxetest.Root{Transport: "nfs"}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var events recorder
			srv := rescueServer(&events)
			srv.Files = asset.Overlay(iso, medium())
			srv.Root, srv.TLS = test.root, test.tls
			srv.Booter = pxe.SystemRescue{Checksum: test.checksum}
			on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
				boot, err := segment.Machine("02:00:00:00:00:01", pxetest.IPXEROM).Boot(t.Context())
				require.NoError(t, err)
				require.Contains(t, boot.CommandLine, test.param)
				require.Equal(t, test.want.Transport, boot.Root.Transport)
				require.Equal(t, test.want.Verified, boot.Root.Verified)
				if test.want.SHA512 != "" {
					require.Equal(t, test.want.SHA512, boot.Root.SHA512)
				}
			})
			var begun, done int
			for _, e := range events.all() {
				if e.Stage != pxe.StageRoot {
					continue
				}
				require.Equal(t, test.via, e.Via)
				require.NotEmpty(t, e.Boot, "%s", e)
				require.NoError(t, e.Err)
				if e.Done {
					done++
					require.Equal(t, e.Size, e.Bytes, "%s", e)
				} else if e.Bytes == 0 {
					begun++
				}
			}
			require.Equal(t, begun, done)
			require.Equal(t, test.via != "", done > 0)
		})
	}
}

// A root file system elsewhere: the machine is sent there.
func TestRootsElsewhere(t *testing.T) {
	base, err := url.Parse("tftp://192.0.2.8/rescue/")
	require.NoError(t, err)
	var events recorder
	srv := rescueServer(&events)
	srv.Root, srv.Booter = rootfs.TFTP{Base: base}, pxe.SystemRescue{}
	on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
		machine := segment.Machine("02:00:00:00:00:01", pxetest.IPXEROM)
		boot, err := machine.Boot(t.Context())
		require.ErrorIs(t, err, pxetest.ErrNoRoot, "nobody is there")
		require.Contains(t, boot.Params, "archiso_http_srv=tftp://192.0.2.8/rescue/")
	})
}

// An NBD server elsewhere is none of ours: nothing is served here.
func TestRemoteNBDOpensNothing(t *testing.T) {
	var events recorder
	srv := rescueServer(&events)
	srv.Root = rootfs.RemoteNBD{Addr: netip.MustParseAddrPort("192.0.2.8:10809")}
	srv.DHCPAddr, srv.TFTPAddr, srv.HTTPAddr, srv.NBDAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	sockets, err := srv.Listen(t.Context())
	require.NoError(t, err)
	require.Nil(t, sockets.NBD)
	require.NoError(t, sockets.Close())
	on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
		boot, err := segment.Machine("02:00:00:00:00:01", pxetest.IPXEROM).Boot(t.Context())
		require.NoError(t, err)
		require.Equal(t, pxetest.Root{Transport: "nbd", URL: "nbd://192.0.2.8:10809/archiso"}, boot.Root)
	})
}

// A file of a source as an export, for systems that mount one as their root.
func TestFileExport(t *testing.T) {
	files := medium()
	var events recorder
	srv := rescueServer(&events)
	srv.Root = &rootfs.NBD{Export: "root", Exports: []nbd.Export{pxe.FileExport("root", files, "sysresccd/x86_64/airootfs.sfs")}}
	on(t, srv, func(t *testing.T, segment *pxetest.Segment) {
		boot, err := segment.Machine("02:00:00:00:00:01", pxetest.IPXEROM).Boot(t.Context())
		require.NoError(t, err)
		require.Equal(t, int64(len(files["sysresccd/x86_64/airootfs.sfs"])), boot.Root.Bytes)
	})
	require.Nil(t, pxe.ISOExports(nil))
}

// A transport that another server has shut down serves no more: that is an error
// of this server, not its orderly end.
func TestATransportIsForOneServer(t *testing.T) {
	iso, _ := image(t)
	root := &rootfs.NBD{Exports: pxe.ISOExports(iso)}
	require.NoError(t, root.Close())
	var events recorder
	srv := rescueServer(&events)
	srv.Root = root
	synctest.Test(t, func(t *testing.T) {
		segment := newSegment(t)
		err := srv.Serve(segment.Sockets("192.0.2.1/24"))
		require.ErrorContains(t, err, "NBD service: closed by someone else")
		require.NotErrorIs(t, err, pxe.ErrServerClosed)
	})
}

func TestWhatATransportNeedsIsChecked(t *testing.T) {
	var events recorder
	srv := rescueServer(&events)
	srv.Root = &rootfs.NBD{}
	require.ErrorContains(t, srv.Validate(), "NBD.Exports is empty")
	iso, _ := image(t)
	srv.Root = &rootfs.NBD{Exports: pxe.ISOExports(iso), Export: "rescue"}
	require.ErrorContains(t, srv.Validate(), `has no "rescue"`)
	srv.Root, srv.NBDAddr = &rootfs.NBD{Exports: pxe.ISOExports(iso)}, ":10810"
	require.ErrorContains(t, srv.Validate(), "serve NBD on port 10809")
	srv.Root, srv.NBDAddr = rootfs.HTTP{TLS: true}, ""
	require.ErrorContains(t, srv.Validate(), "give the server an HTTPS listener and a TLS configuration")
	srv.TLS = &tls.Config{}
	require.ErrorContains(t, srv.Validate(), "TLS has no certificate")
}
