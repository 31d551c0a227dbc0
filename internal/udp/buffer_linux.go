package udp

import (
	"net"

	"golang.org/x/sys/unix"
)

// enlarge makes the socket's receive buffer larger, as far as it may: beyond
// net.core.rmem_max with CAP_NET_ADMIN only. A smaller one loses packets, which
// clients send again.
func enlarge(conn *net.UDPConn) {
	_ = conn.SetReadBuffer(receiveBuffer)
	if raw, err := conn.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer)
		})
	}
}
