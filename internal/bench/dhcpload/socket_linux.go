package dhcpload

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// receiveBuffer has room for the replies to some thousand clients.
const receiveBuffer = 16 << 20

// Socket is one end of the cable. Open it, use it for one [Load] after the other,
// and close it.
type Socket struct{ file *os.File }

// Open opens the interface of this name in the caller's network namespace. The
// caller must be locked to its thread if that has one of its own; the Socket may
// be used everywhere.
func Open(ifname string) (*Socket, error) {
	ifi, err := net.InterfaceByName(ifname)
	if err != nil {
		return nil, fmt.Errorf("dhcpload: %s: %w", ifname, err)
	}
	const protocol = unix.ETH_P_IP>>8 | unix.ETH_P_IP<<8&0xff00 // in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, fmt.Errorf("dhcpload: packet socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), "packet socket on "+ifname)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer); err != nil {
		return nil, fmt.Errorf("dhcpload: receive buffer: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: ifi.Index}); err != nil {
		return nil, fmt.Errorf("dhcpload: %s: %w", ifname, err)
	}
	return &Socket{file}, nil
}

// Close closes the socket.
func (s *Socket) Close() error { return s.file.Close() }
