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
			if !passing(err) {
				return fmt.Errorf("nbd: accepting connections on %s: %w", l.Addr(), err)
			}
			// A Serve that returned would end the running connections.
			s.drop(DropAccept, netip.AddrPort{}, err)
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

// passing says whether an accept failed for one connection only, or for want of
// what others give back, so that the listener is still good (accept(2), Error
// handling).
func passing(err error) bool {
	for _, errno := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		// The connection was gone when it was taken, or netfilter forbids it.
		syscall.EINTR, syscall.EAGAIN, syscall.ECONNABORTED, syscall.ECONNRESET, syscall.ETIMEDOUT, syscall.EPERM,
		// Errors that were pending on it.
		syscall.ENETDOWN, syscall.EPROTO, syscall.ENOPROTOOPT, syscall.EHOSTDOWN,
		syscall.EHOSTUNREACH, syscall.EOPNOTSUPP, syscall.ENETUNREACH,
		// Linux' ENONET, and Windows' ERROR_NETNAME_DELETED, which says the same.
		64,
		// Windows: WSAEMFILE, WSAENETDOWN, WSAECONNRESET, WSAENOBUFS. The numbers
		// mean nothing elsewhere.
		10024, 10050, 10054, 10055,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// clientOf is what the connections of one client are counted by. Who has an
// IPv6 address has the other 2^64 of its network, too, so those count as one
// client. In the server's own network they do not: there that would be all
// machines together.
func clientOf(client, local netip.Addr) netip.Addr {
	if !client.Is6() || client.IsLinkLocalUnicast() {
		return client
	}
	network, err := client.WithZone("").Prefix(64)
	if err != nil || network.Contains(local) {
		return client
	}
	return network.Addr()
}

// table holds the connections of a server. It is bounded by the limits it is
// asked with. The zero value is ready.
type table struct {
	mu          sync.Mutex
	conns       int
	clients     map[netip.Addr]int // by clientOf; none of them zero
	negotiating list.List          // of *conn, the oldest first
	evicted     int                // connections that have lost their place and still run
}

// admit gives a connection its place, or says that there is none. evicted, if
// not nil, has lost its place to it; the caller must close it.
func (t *table) admit(c *conn, limit, perClient int) (evicted *conn, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	crowded := c.counted.IsValid() && t.clients[c.counted] >= perClient
	if crowded || t.conns >= limit {
		oldest := t.negotiating.Front()
		for crowded && oldest != nil && oldest.Value.(*conn).counted != c.counted {
			oldest = oldest.Next() // they are no more than limit
		}
		// Those evicted end at once, unless an Open is stuck. Their number is
		// bounded, too.
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
	t.clients[c.counted]++
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
	if t.clients[c.counted]--; t.clients[c.counted] == 0 {
		delete(t.clients, c.counted)
	}
	if c.negotiating != nil {
		t.negotiating.Remove(c.negotiating)
		c.negotiating = nil
	}
}
