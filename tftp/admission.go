package tftp

import (
	"net/netip"
	"sync"
)

// session identifies a live transfer by its client and its request, byte for
// byte: a client that sends the same again repeats itself, while one that asks
// for the same file with other options has given up its first attempt, which
// some do without saying so.
type session struct {
	remote  netip.AddrPort
	request string
}

// admission holds the live transfers of a server. It is bounded by the limits
// it is asked with. The zero value is ready.
type admission struct {
	mu      sync.Mutex
	live    map[session]struct{}
	clients map[netip.Addr]int // transfers by client address, none of them 0
}

// enter admits a session, or says why not.
func (a *admission) enter(s session, limit, perClient int) (DropReason, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.live[s]; ok {
		return DropDuplicate, false
	}
	if len(a.live) >= limit || a.clients[s.remote.Addr()] >= perClient {
		return DropLimit, false
	}
	if a.live == nil {
		a.live = make(map[session]struct{})
		a.clients = make(map[netip.Addr]int)
	}
	a.live[s] = struct{}{}
	a.clients[s.remote.Addr()]++
	return "", true
}

// leave ends a session that was admitted.
func (a *admission) leave(s session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.live, s)
	if a.clients[s.remote.Addr()]--; a.clients[s.remote.Addr()] == 0 {
		delete(a.clients, s.remote.Addr())
	}
}
