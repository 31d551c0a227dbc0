//go:build !linux

package tcp

import (
	"net"
	"time"
)

// SetUserTimeout does nothing: only Linux is known to keep such connections.
func SetUserTimeout(net.Conn, time.Duration) {}
