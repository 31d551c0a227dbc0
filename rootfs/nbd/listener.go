package nbd

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// accept takes connections until the listener is closed or fails.
func (s *Server) accept(ctx context.Context, l net.Listener, draining <-chan struct{}, conns *sync.WaitGroup) error {
	pause := time.Duration(0)
	for {
		nc, err := l.Accept()
		select {
		case <-draining:
			if err == nil {
				nc.Close()
			}
			return ErrServerClosed
		default:
		}
		if err != nil {
			if !exhausted(err) {
				return fmt.Errorf("nbd: accepting connections on %s: %w", l.Addr(), err)
			}
			// Descriptors or memory are short: they come back as connections
			// end, while a Serve that returned would end the running ones.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(pause):
			case <-draining:
				return ErrServerClosed
			}
			continue
		}
		pause = 0
		c := newConn(s, nc, draining)
		evicted, ok := s.table.admit(c, orDefault(s.MaxConnections, defaultConnections),
			orDefault(s.MaxConnectionsPerClient, defaultConnectionsPerClient))
		if evicted != nil {
			evicted.net.Close()
		}
		if !ok {
			nc.Close()
			s.drop(DropLimit, c.client, nil)
			continue
		}
		conns.Go(func() { c.serve(ctx) })
	}
}

// exhausted says whether an accept failed for want of what others may give back.
func exhausted(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// table holds the connections of a server. It is bounded by the limits it is
// asked with. The zero value is ready.
type table struct {
	mu          sync.Mutex
	conns       int
	clients     map[netip.Addr]int // none of them zero
	negotiating list.List          // of *conn, the oldest first
	evicted     int                // connections that have lost their place and still run
}

// admit gives a connection its place, or says that there is none. evicted, if
// not nil, has lost its place to it; the caller must close it.
func (t *table) admit(c *conn, limit, perClient int) (evicted *conn, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	addr := c.client.Addr()
	if addr.IsValid() && t.clients[addr] >= perClient {
		return nil, false
	}
	if t.conns >= limit {
		// Those evicted end at once, unless an Open is stuck. Their number is
		// bounded, too.
		oldest := t.negotiating.Front()
		if oldest == nil || t.evicted >= limit {
			return nil, false
		}
		evicted = oldest.Value.(*conn)
		t.remove(evicted)
		evicted.evicted = true
		t.evicted++
	}
	t.conns++
	if t.clients == nil {
		t.clients = make(map[netip.Addr]int)
	}
	t.clients[addr]++
	c.negotiating = t.negotiating.PushBack(c)
	return evicted, true
}

// settle notes that a connection has negotiated; false says that it has lost
// its place before.
func (t *table) settle(c *conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.evicted {
		return false
	}
	t.negotiating.Remove(c.negotiating)
	c.negotiating = nil
	return true
}

// leave ends a connection that was admitted; true says that it had lost its
// place before.
func (t *table) leave(c *conn) (evicted bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.evicted {
		t.evicted--
		return true
	}
	t.remove(c)
	return false
}

func (t *table) remove(c *conn) {
	t.conns--
	addr := c.client.Addr()
	if t.clients[addr]--; t.clients[addr] == 0 {
		delete(t.clients, addr)
	}
	if c.negotiating != nil {
		t.negotiating.Remove(c.negotiating)
		c.negotiating = nil
	}
}
