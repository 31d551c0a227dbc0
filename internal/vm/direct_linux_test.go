package vm

import (
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDirectBoot shows that the guest itself works: kernel and initramfs without a
// network boot, the address on the command line, the root file system from a plain
// HTTP server.
func TestDirectBoot(t *testing.T) {
	ctx := deadline(t)
	s := newSegment(t, ctx)
	listener, err := net.Listen("tcp", "192.0.2.1:8080")
	require.NoError(t, err)
	server := &http.Server{Handler: http.FileServer(http.Dir(s.medium.Tree))}
	go server.Serve(listener)
	defer server.Close()

	machine := s.boot(t, ctx, Machine{
		NICs:   []NIC{s.nic(1)},
		Kernel: s.medium.Kernel,
		Initrd: s.medium.Initrd,
		Params: params("http://${pxeserver}:8080/", "checksum",
			"ip=dhcp", "ip=192.0.2.77:192.0.2.1::255.255.255.0", "BOOTIF=01-02-00-00-00-00-01"),
	})
	require.Equal(t, "192.0.2.77", see(t, ctx, machine, `PXEKIT ip (\S+)`)[1])
	require.Equal(t, "192.0.2.1", see(t, ctx, machine, `PXEKIT pxeserver (\S+)`)[1])
	see(t, ctx, machine, `PXEKIT fetched http://192.0.2.1:8080/sysresccd/x86_64/airootfs.sfs \d+`)
	see(t, ctx, machine, `PXEKIT checksum ok`)
	see(t, ctx, machine, `PXEKIT root-mounted squashfs`)
	require.Equal(t, s.medium.Content, see(t, ctx, machine, `PXEKIT root-content ok (\S+)`)[1])
	require.Equal(t, "192.0.2.77", see(t, ctx, machine, `PXEKIT os-ip (\S+)`)[1])
	see(t, ctx, machine, `PXEKIT up`)

	require.NoError(t, server.Close())
	see(t, ctx, machine, `PXEKIT server-gone`)
	see(t, ctx, machine, `PXEKIT root-content-after-server-gone ok`)
}
