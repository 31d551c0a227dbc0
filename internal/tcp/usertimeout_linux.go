package tcp

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// SetUserTimeout bounds how long the system waits for the other end to take what
// was sent, a FIN included, even after conn was closed (TCP_USER_TIMEOUT, RFC 5482).
// Zero is the system's default, minutes. Linux only; elsewhere it does nothing.
func SetUserTimeout(conn net.Conn, d time.Duration) {
	c := below(conn)
	if c == nil {
		return
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	// It fails for a connection that has been closed, and then nothing is to do.
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	})
}
