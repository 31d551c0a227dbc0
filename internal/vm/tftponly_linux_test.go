package vm

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/rootfs"
)

// initrdSize is what the initramfs is padded to: with pxelinux's 1408 bytes a block
// its transfer passes block 65535 and goes on with block 0.
const initrdSize = 128 << 20

// TestBootTFTPOnly boots where nothing but DHCP and TFTP is served: the loader, the
// kernel, an initramfs of 128 MiB and the root file system come over TFTP. The
// server is one that an embedder makes, without its HTTP socket.
func TestBootTFTPOnly(t *testing.T) {
	ctx := deadline(t)
	s := newSegment(t, ctx)
	padded, err := asset.Dir(padInitrd(t, s.medium))
	require.NoError(t, err)
	defer padded.Close()
	iso, err := asset.OpenISO(s.medium.ISO)
	require.NoError(t, err)
	defer iso.Close()

	server := startLibrary(t, ctx, s, &pxe.Server{
		Files:  asset.Overlay(padded, iso, asset.MediumLoaders(iso)),
		Root:   &rootfs.TFTP{},
		Booter: pxe.SystemRescue{Checksum: true, Extra: []string{"console=ttyS0", "quiet"}, Timeout: time.Second},
		Loader: dhcp.FamilyPXELinux,
	}, true)

	machine := s.boot(t, ctx, Machine{Firmware: BIOS, Memory: 1024, NICs: []NIC{s.nic(1)}})
	see(t, ctx, machine, `PXEKIT initramfs-content ok`)
	see(t, ctx, machine, `PXEKIT fetched tftp://192\.0\.2\.1/\S*sysresccd/x86_64/airootfs\.sfs \d+`)
	see(t, ctx, machine, `PXEKIT checksum ok`)
	require.Equal(t, s.medium.Content, see(t, ctx, machine, `PXEKIT root-content ok (\S+)`)[1])
	see(t, ctx, machine, `PXEKIT up`)

	require.NoError(t, server.Close())
	sizes := map[string]int64{}
	for _, e := range server.events(t) {
		if !e.Done || e.Size <= 0 {
			continue
		}
		require.Equal(t, "tftp", e.Via, "%v", e)
		if e.Err == nil {
			require.Equal(t, e.Size, e.Bytes, "%v", e)
			sizes[e.Name] = e.Bytes
		}
	}
	require.GreaterOrEqual(t, sizes[initrdFiles[2]], int64(initrdSize))
	require.Equal(t, s.medium.Root, sizes[rootFiles[0]])
}

// padInitrd makes a directory with the medium's initramfs in its place, made larger
// by an archive that does not compress and whose checksum the guest verifies.
func padInitrd(t *testing.T, medium *Medium) string {
	t.Helper()
	initrd, err := os.ReadFile(medium.Initrd)
	require.NoError(t, err)
	image := bytes.NewBuffer(initrd)
	image.Write(make([]byte, -image.Len()&511)) // archives begin at multiples of four
	padding := make([]byte, initrdSize-image.Len())
	_, err = rand.NewChaCha8([32]byte{}).Read(padding)
	require.NoError(t, err)
	c := newCPIOWriter(image)
	c.file("padding", 0o644, padding)
	c.file("padding.sha256", 0o644, fmt.Appendf(nil, "%x  padding\n", sha256.Sum256(padding)))
	require.NoError(t, c.close())

	dir := t.TempDir()
	name := filepath.Join(dir, initrdFiles[2])
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	require.NoError(t, os.WriteFile(name, image.Bytes(), 0o644))
	return dir
}
