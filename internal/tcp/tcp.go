// Package tcp sets what package net leaves out about TCP connections.
package tcp

import (
	"crypto/tls"
	"net"
)

// below returns the TCP connection under conn, and nil if that is something else.
func below(conn net.Conn) *net.TCPConn {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	c, _ := conn.(*net.TCPConn)
	return c
}

// Reset closes conn by a reset, as the other end has no part in it any more:
// nothing of it stays behind, and what was not yet delivered is thrown away. A
// connection that is no TCP is closed as usual.
func Reset(conn net.Conn) {
	if c := below(conn); c != nil {
		_ = c.SetLinger(0) // it may be closed already
		_ = c.Close()
		return
	}
	_ = conn.Close()
}
