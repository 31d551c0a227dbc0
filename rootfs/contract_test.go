package rootfs_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/pojntfx/go-nbd/pkg/backend"

	"github.com/pxekit/pxe/rootfs"
	"github.com/pxekit/pxe/rootfs/nbd"
	"github.com/pxekit/pxe/rootfs/rootfstest"
)

// image is what the NBD transports of these tests serve.
var image = noise(64 << 10)

func imageExport(name string) nbd.Export {
	return nbd.Export{Name: name, Open: func(context.Context) (backend.Backend, error) {
		return nbd.ReaderAt(bytes.NewReader(image), int64(len(image))), nil
	}}
}

// TestContract holds every transport of this package to what it demands of others.
func TestContract(t *testing.T) {
	client := rootfstest.Client(readNBD)
	tests := []struct {
		name    string
		create  func() rootfs.RootFSTransport
		options []rootfstest.Option
	}{
		{"HTTP", func() rootfs.RootFSTransport { return rootfs.HTTP{} }, nil},
		{"HTTPS", func() rootfs.RootFSTransport { return rootfs.HTTP{TLS: true} }, nil},
		{"HTTP elsewhere", func() rootfs.RootFSTransport {
			return rootfs.HTTP{Base: parse(t, "https://files.example:8443/rescue/")}
		}, nil},
		{"TFTP", func() rootfs.RootFSTransport { return rootfs.TFTP{} }, nil},
		{"TFTP elsewhere", func() rootfs.RootFSTransport { return rootfs.TFTP{Base: parse(t, "tftp://192.0.2.9/rescue/")} }, nil},
		{"NFS", func() rootfs.RootFSTransport { return rootfs.NFS{Export: "192.0.2.9:/srv/rescue"} }, nil},
		{"NFS live", func() rootfs.RootFSTransport {
			return rootfs.NFS{Export: "192.0.2.9:/srv/rescue", Options: []string{"soft", "rsize=32768"}, Live: true}
		}, nil},
		{"NBD", func() rootfs.RootFSTransport {
			return &rootfs.NBD{Exports: []nbd.Export{imageExport("archiso")}}
		}, []rootfstest.Option{client}},
		{"NBD live, two exports", func() rootfs.RootFSTransport {
			return &rootfs.NBD{Exports: []nbd.Export{imageExport("archiso"), imageExport("RESCUE1200")}, Export: "RESCUE1200", Live: true}
		}, []rootfstest.Option{client}},
		{"NBD elsewhere", func() rootfs.RootFSTransport {
			return rootfs.RemoteNBD{Addr: netip.MustParseAddrPort("192.0.2.9:10809")}
		}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			rootfstest.Test(t, test.create, test.options...)
		})
	}
}

// readNBD reads the image as a kernel would that mounts it: NBD_OPT_GO, two
// reads at once, NBD_CMD_DISC.
func readNBD(_ context.Context, conn net.Conn, u *url.URL) error {
	hello := make([]byte, 18) // two magic numbers and the server's flags
	if _, err := io.ReadFull(conn, hello); err != nil {
		return err
	}
	name := strings.TrimPrefix(u.Path, "/")
	option := binary.BigEndian.AppendUint32(nil, 3) // fixed newstyle, no zeroes
	option = append(option, "IHAVEOPT"...)
	option = binary.BigEndian.AppendUint32(option, 7) // NBD_OPT_GO
	option = binary.BigEndian.AppendUint32(option, uint32(4+len(name)+2))
	option = binary.BigEndian.AppendUint32(option, uint32(len(name)))
	option = append(option, name...)
	option = binary.BigEndian.AppendUint16(option, 0)
	if _, err := conn.Write(option); err != nil {
		return err
	}
	var size uint64
	for reply := uint32(3); reply != 1; { // NBD_REP_INFO, until NBD_REP_ACK
		header := make([]byte, 20)
		if _, err := io.ReadFull(conn, header); err != nil {
			return err
		}
		reply = binary.BigEndian.Uint32(header[12:])
		data := make([]byte, binary.BigEndian.Uint32(header[16:]))
		if _, err := io.ReadFull(conn, data); err != nil {
			return err
		}
		if reply != 1 && reply != 3 {
			return fmt.Errorf("the server refuses %q: %#x %s", name, reply, data)
		}
		if reply == 3 && binary.BigEndian.Uint16(data) == 0 { // NBD_INFO_EXPORT
			size = binary.BigEndian.Uint64(data[2:])
		}
	}
	if size != uint64(len(image)) {
		return fmt.Errorf("the export has %d bytes", size)
	}
	if err := nbdRead(conn); err != nil {
		return err
	}
	_, err := conn.Write(nbdRequest(2, 0, 0)) // NBD_CMD_DISC
	return err
}

func nbdRequest(command uint16, offset, length int) []byte {
	b := []byte{0x25, 0x60, 0x95, 0x13, 0, 0}
	b = binary.BigEndian.AppendUint16(b, command)
	b = binary.BigEndian.AppendUint64(b, uint64(offset)) // the cookie
	b = binary.BigEndian.AppendUint64(b, uint64(offset))
	return binary.BigEndian.AppendUint32(b, uint32(length))
}

// nbdRead asks for two ranges before it reads a reply, and takes them in any order.
func nbdRead(conn net.Conn) error {
	lengths := map[uint64]int{0: len(image), 1000: 1024}
	if _, err := conn.Write(append(nbdRequest(0, 0, len(image)), nbdRequest(0, 1000, 1024)...)); err != nil {
		return err
	}
	for range 2 {
		header := make([]byte, 16)
		if _, err := io.ReadFull(conn, header); err != nil {
			return err
		}
		offset := binary.BigEndian.Uint64(header[8:])
		got := make([]byte, lengths[offset])
		if _, err := io.ReadFull(conn, got); err != nil {
			return err
		}
		want := image[offset:][:lengths[offset]]
		if binary.BigEndian.Uint32(header[4:]) != 0 || len(want) == 0 || !bytes.Equal(got, want) {
			return fmt.Errorf("wrong reply about %d", offset)
		}
		delete(lengths, offset)
	}
	return nil
}
