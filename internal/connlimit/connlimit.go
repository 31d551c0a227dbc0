// Package connlimit bounds how many connections an http.Server has at once,
// without hiding them: net/http sends files by sendfile only to connections that
// are a *net.TCPConn, and a listener that counts by wrapping them, as that of
// golang.org/x/net/netutil, makes it copy.
package connlimit

import (
	"net"
	"net/http"
	"sync"
)

// Listener returns a listener that accepts from l, for server alone, no more
// than n connections at once; further ones wait in the system's queue. It learns
// of their end by server.ConnState, which it sets (after calling what was there)
// and which must not be set afterwards. A connection that a handler hijacks is
// no longer counted. Call it before the server serves, once for each listener
// and server.
func Listener(l net.Listener, n int, server *http.Server) net.Listener {
	limited := &listener{Listener: l, places: make(chan struct{}, n), closed: make(chan struct{})}
	before := server.ConnState
	server.ConnState = func(conn net.Conn, state http.ConnState) {
		if before != nil {
			before(conn, state)
		}
		if state == http.StateClosed || state == http.StateHijacked {
			<-limited.places
		}
	}
	return limited
}

type listener struct {
	net.Listener
	places chan struct{} // holds one for every connection
	once   sync.Once
	closed chan struct{}
}

// Accept waits for a place first: a connection that nobody serves is better left
// to the system.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return conn, nil
}

// Close closes the listener below, and ends an Accept that waits for a place.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}
