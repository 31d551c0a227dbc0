package pxe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/internal/udp"
)

// Sockets are what a Server serves on. Listen opens real ones; tests, socket
// activation and containers bring their own. A nil socket means that the
// service is not offered.
//
// A PacketConn may implement the upgrades that package dhcp documents, to say
// where a datagram came in and to answer by the same interface; a plain one
// works for a single network.
type Sockets struct {
	// DHCP receives what clients send to UDP port 67.
	DHCP net.PacketConn
	// PXE receives what clients send to UDP port 4011: networks in the modes Proxy
	// and BootServer need it.
	PXE net.PacketConn
	// TFTP receives what clients send to UDP port 69.
	TFTP net.PacketConn
	// OpenTransfer opens the socket of one TFTP transfer (its TID), on the
	// local address that the request was sent to. Nil opens a UDP socket with
	// an ephemeral port.
	OpenTransfer func(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.PacketConn, error)
	// HTTP, HTTPS and NBD accept connections to TCP ports 80, 443 and 10809.
	// HTTPS needs the Server's TLS, NBD a Root that is a
	// [rootfs.ListenerTransport]; Serve closes them at once without that.
	HTTP, HTTPS, NBD net.Listener
}

// Close closes the sockets that are there.
func (s Sockets) Close() error {
	var errs []error
	for _, conn := range []net.PacketConn{s.DHCP, s.PXE, s.TFTP} {
		if conn != nil {
			errs = append(errs, conn.Close())
		}
	}
	for _, l := range []net.Listener{s.HTTP, s.HTTPS, s.NBD} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
}

// Listen checks the configuration and opens the sockets it asks for. It is the
// only step that needs a privilege (ports below 1024; CAP_NET_RAW on Linux to
// answer clients that have no address yet by a frame of their own, and to probe
// addresses: without it they are answered by broadcast, and nothing is probed). The caller passes the sockets to Serve, which
// closes them, or closes them itself.
func (s *Server) Listen(ctx context.Context) (Sockets, error) {
	if err := s.Validate(); err != nil {
		return Sockets{}, err
	}
	if err := s.refuse(ctx); err != nil {
		return Sockets{}, err
	}
	var sockets Sockets
	if err := s.listen(ctx, &sockets); err != nil {
		return Sockets{}, errors.Join(err, sockets.Close())
	}
	return sockets, nil
}

func (s *Server) listen(ctx context.Context, sockets *Sockets) error {
	for _, n := range s.Networks {
		if n.Interface == "" {
			continue
		}
		addrs, err := udp.InterfaceAddrs(n.Interface)
		if err != nil {
			return fmt.Errorf("pxe: %w", err)
		}
		if len(addrs) == 0 && !n.Addr.IsValid() && !n.Subnet.IsValid() {
			return fmt.Errorf("pxe: interface %s has no IPv4 address: give it one, or set Addr of its Network", n.Interface)
		}
	}
	if s.dhcpPort() {
		dhcpConn, err := udp.Listen(ctx, orDefault(s.DHCPAddr, ":67"), true)
		if err != nil {
			return listenError("DHCP", "DHCPAddr", err)
		}
		sockets.DHCP = dhcpConn
	}
	if s.pxePort() {
		pxeConn, err := udp.Listen(ctx, orDefault(s.PXEAddr, ":4011"), false)
		if err != nil {
			return listenError("PXE", "PXEAddr", err)
		}
		sockets.PXE = pxeConn
	}
	tftpConn, err := udp.Listen(ctx, orDefault(s.TFTPAddr, ":69"), false)
	if err != nil {
		return listenError("TFTP", "TFTPAddr", err)
	}
	sockets.TFTP = tftpConn
	var lc net.ListenConfig
	for _, tcp := range []struct {
		service, field, addr, standard string
		wanted                         bool
		listener                       *net.Listener
	}{
		{"HTTP", "HTTPAddr", s.HTTPAddr, ":80", true, &sockets.HTTP},
		{"HTTPS", "HTTPSAddr", s.HTTPSAddr, ":443", s.TLS != nil, &sockets.HTTPS},
		{"NBD", "NBDAddr", s.NBDAddr, ":10809", s.rootServer() != nil, &sockets.NBD},
	} {
		if !tcp.wanted {
			continue
		}
		if *tcp.listener, err = lc.Listen(ctx, "tcp4", orDefault(tcp.addr, tcp.standard)); err != nil {
			return listenError(tcp.service, tcp.field, err)
		}
	}
	return nil
}

// dhcpPort reports whether any network needs port 67: a boot server may run beside the
// DHCP server on one host.
func (s *Server) dhcpPort() bool {
	return slices.ContainsFunc(s.Networks, func(n Network) bool { return n.Mode != dhcp.BootServer })
}

// pxePort reports whether any network needs port 4011, because another server
// gives out its addresses.
func (s *Server) pxePort() bool {
	return slices.ContainsFunc(s.Networks, func(n Network) bool { return n.Mode != dhcp.Full })
}

// nbdPort returns the port that NBDAddr asks for; the standard one where that
// leaves it open.
func (s *Server) nbdPort() uint16 {
	if port := portIn(s.NBDAddr); port > 0 {
		return port
	}
	return 10809
}

func orDefault(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// listenError adds the remedy to the two errors that everybody meets.
func listenError(service, field string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("pxe: %s socket: %w (run as root, grant CAP_NET_BIND_SERVICE, or set %s to a port above 1023)", service, err, field)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("pxe: %s socket: %w (another %s server runs on this host: stop it, or set %s)", service, err, service, field)
	}
	return fmt.Errorf("pxe: %s socket: %w", service, err)
}

// portOf returns the port a socket is bound to, or 0 when it has none.
func portOf(addr net.Addr) uint16 {
	switch a := addr.(type) {
	case *net.TCPAddr:
		return uint16(a.Port)
	case *net.UDPAddr:
		return uint16(a.Port)
	}
	return 0
}
