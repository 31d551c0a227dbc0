package pxe

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/pxekit/pxe/internal/tcp"
)

// A connection that is left over from a machine's last life keeps its port from the
// next one, and boot loaders use the same ports each time: GRUB counts from 21550,
// lpxelinux from 49152. The system answers their SYN as that of an established
// connection (RFC 5961 section 4.2), expecting a reset that GRUB does not send, and
// the boot stands still until the old connection is given up, in minutes. So none is
// left over: not when a loader closes it and starts a kernel with its window shut,
// as GRUB does, so that our FIN never gets there; and not when the machine was
// switched off in the middle of a transfer.

// goodbye is how long a client may take to hear that its connection is closed.
const goodbye = 3 * time.Second

// connections are those of the HTTP servers, by the address of the other end. The
// zero value is ready.
type connections struct {
	mu sync.Mutex
	of map[netip.Addr]map[net.Conn]bool
}

// state is http.Server's ConnState.
func (c *connections) state(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		c.add(conn)
	case http.StateActive:
		tcp.SetUserTimeout(conn, 0)
	case http.StateIdle:
		// What comes next is another request, or the end.
		tcp.SetUserTimeout(conn, goodbye)
	case http.StateClosed, http.StateHijacked:
		c.remove(conn)
	}
}

func remoteOf(conn net.Conn) netip.Addr {
	remote, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
	return remote.Addr().Unmap().WithZone("")
}

func (c *connections) add(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	addr := remoteOf(conn)
	if c.of == nil {
		c.of = make(map[netip.Addr]map[net.Conn]bool)
	}
	if c.of[addr] == nil {
		c.of[addr] = make(map[net.Conn]bool)
	}
	c.of[addr][conn] = true
}

func (c *connections) remove(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	addr := remoteOf(conn)
	delete(c.of[addr], conn)
	if len(c.of[addr]) == 0 {
		delete(c.of, addr)
	}
}

// reset ends the connections of a machine that begins anew.
func (c *connections) reset(addr netip.Addr) {
	c.mu.Lock()
	old := c.of[addr]
	delete(c.of, addr)
	c.mu.Unlock()
	for conn := range old {
		tcp.Reset(conn)
	}
}
