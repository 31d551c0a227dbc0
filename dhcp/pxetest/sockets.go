package pxetest

import (
	"context"
	"net"
	"net/netip"
)

// The ports at which machines ask.
const (
	dhcpServerPort = 67
	dhcpClientPort = 68
	pxePort        = 4011
	tftpPort       = 69
	httpPort       = 80
	httpsPort      = 443
	nbdPort        = 10809
)

// Sockets puts a boot server's computer on the segment and opens what it serves
// on: DHCP on port 67 and 4011, TFTP on 69, HTTP on 80, HTTPS on 443 and NBD on 10809, at
// the address of prefix, such as "192.0.2.1/24". Its interface is called eth0; for another name, or several
// interfaces, use Host and its Sockets.
//
// The result is an unnamed struct type on purpose: it can be assigned to
// pxe.Sockets without this package knowing that package, so
//
//	go srv.Serve(segment.Sockets("192.0.2.1/24"))
//
// works as it stands.
func (s *Segment) Sockets(prefix string) struct {
	DHCP, PXE, TFTP  net.PacketConn
	OpenTransfer     func(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.PacketConn, error)
	HTTP, HTTPS, NBD net.Listener
} {
	s.t.Helper()
	return s.Host("eth0", prefix).Sockets()
}

// Sockets opens what a boot server serves on, on this host; see Segment.Sockets.
func (h *Host) Sockets() struct {
	DHCP, PXE, TFTP  net.PacketConn
	OpenTransfer     func(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.PacketConn, error)
	HTTP, HTTPS, NBD net.Listener
} {
	h.t.Helper()
	var s struct {
		DHCP, PXE, TFTP  net.PacketConn
		OpenTransfer     func(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.PacketConn, error)
		HTTP, HTTPS, NBD net.Listener
	}
	dhcp, err := h.ListenPacket(netip.AddrPortFrom(netip.IPv4Unspecified(), dhcpServerPort))
	if err != nil {
		h.t.Fatalf("pxetest: %v", err)
		return s
	}
	tftp, err := h.ListenPacket(netip.AddrPortFrom(netip.IPv4Unspecified(), tftpPort))
	if err != nil {
		h.t.Fatalf("pxetest: %v", err)
		return s
	}
	pxe, err := h.ListenPacket(netip.AddrPortFrom(netip.IPv4Unspecified(), pxePort))
	if err != nil {
		h.t.Fatalf("pxetest: %v", err)
		return s
	}
	s.DHCP, s.PXE, s.TFTP = dhcp, pxe, tftp
	for port, listener := range map[uint16]*net.Listener{httpPort: &s.HTTP, httpsPort: &s.HTTPS, nbdPort: &s.NBD} {
		*listener, err = h.Listen(netip.AddrPortFrom(netip.IPv4Unspecified(), port))
		if err != nil {
			h.t.Fatalf("pxetest: %v", err)
			return s
		}
	}
	s.OpenTransfer = func(_ context.Context, local netip.Addr, _ netip.AddrPort) (net.PacketConn, error) {
		c, err := h.ListenPacket(netip.AddrPortFrom(local, 0))
		if err != nil {
			return nil, err // not a nil *PacketConn in a non-nil interface
		}
		return c, nil
	}
	return s
}
