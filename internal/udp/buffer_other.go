//go:build !linux

package udp

import "net"

// enlarge makes the socket's receive buffer larger, as far as it may. A smaller
// one loses packets, which clients send again.
func enlarge(conn *net.UDPConn) { _ = conn.SetReadBuffer(receiveBuffer) }
