package udp

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// neighbourTTL bounds how often the kernel's table is read: strangers may ask, and a
// table may be long.
const neighbourTTL = 50 * time.Millisecond

// Neighbours knows which machine has an address on one of this host's networks, as far
// as the kernel knows it. The zero value is ready; it is safe for concurrent use.
type Neighbours struct {
	mu    sync.Mutex
	read  time.Time
	table map[netip.Addr]net.HardwareAddr
}

// Lookup returns the hardware address of the machine that has an IPv4 address; nil if
// it is not known, as on systems that do not tell. Who has just sent us a datagram and
// was answered is known.
func (n *Neighbours) Lookup(addr netip.Addr) net.HardwareAddr {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now := time.Now(); now.Sub(n.read) >= neighbourTTL {
		n.read, n.table = now, neighbours()
	}
	return n.table[addr.Unmap()]
}
