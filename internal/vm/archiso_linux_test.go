package vm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/rootfs"
)

// TestBootArchiso boots the medium as plain archiso, whose hooks the guest has too,
// with the root file system over HTTPS: kernel and initramfs come over HTTP, for no
// boot loader knows the certificate.
func TestBootArchiso(t *testing.T) {
	ctx := deadline(t)
	s := newSegment(t, ctx)
	iso, err := asset.OpenISO(s.medium.ISO)
	require.NoError(t, err)
	defer iso.Close()
	server := startLibrary(t, ctx, s, &pxe.Server{
		Files: asset.Overlay(iso, asset.MediumLoaders(iso)),
		Root:  rootfs.HTTP{TLS: true},
		TLS:   certificate(t),
		Booter: pxe.Archiso{
			BaseDir: BaseDir, Kernel: kernelFiles[0], Initrds: initrdFiles, Checksum: true,
			Extra: []string{"console=ttyS0", "quiet"}, Timeout: time.Second,
		},
	}, false)

	machine := s.boot(t, ctx, Machine{Firmware: BIOS, NICs: []NIC{s.nic(1)}})
	see(t, ctx, machine, `PXEKIT fetched https://192\.0\.2\.1/~[a-z0-9]+/sysresccd/x86_64/airootfs\.sfs \d+`)
	see(t, ctx, machine, `PXEKIT checksum ok`)
	require.Contains(t, see(t, ctx, machine, `PXEKIT cmdline (.*)`)[1], "archiso_http_srv=https://192.0.2.1/~")
	require.Equal(t, s.medium.Content, see(t, ctx, machine, `PXEKIT root-content ok (\S+)`)[1])
	see(t, ctx, machine, `PXEKIT up`)

	delivered := map[string]string{}
	for _, e := range server.events(t) {
		if e.Done && e.Err == nil && e.Size > 0 && e.Bytes == e.Size {
			delivered[e.Name] = e.Via
		}
	}
	require.Equal(t, "http", delivered[kernelFiles[0]])
	for _, name := range rootFiles {
		require.Equal(t, "https", delivered[name], name)
	}
}

// certificate returns a TLS configuration with a certificate of the test's own.
func certificate(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}
