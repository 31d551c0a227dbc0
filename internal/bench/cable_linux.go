package main

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/pxekit/pxe/internal/bench/dhcpload"
)

// The cable between the servers and DHCP clients: its ends, and who has which
// address of a network that has room for a million leases.
const (
	serverEnd   = "load0"
	clientEnd   = "load1"
	serverAddr  = "10.0.0.1"
	relayAddr   = "10.0.0.2" // what perfdhcp plays
	cableMask   = "/8"
	firstLeased = "10.16.0.0"
	lastLeased  = "10.31.255.255"
)

// cable is a pair of network interfaces. One is in the namespace of this process;
// the other one's namespace is that of a thread, or the kernel would see that both
// ends are its own and lead packets past the cable.
type cable struct {
	work    chan func()
	clients *dhcpload.Socket
	next    int // number of the first client that was none yet
}

// layCable lays the cable. It lies until this process ends.
func layCable(ctx context.Context) (*cable, error) {
	c := &cable{work: make(chan func())}
	started := make(chan error)
	var thread int
	go func() {
		runtime.LockOSThread() // for ever: the thread has become another one's
		thread = unix.Gettid()
		started <- unix.Unshare(unix.CLONE_NEWNET)
		for f := range c.work {
			f()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("a network namespace for DHCP clients: %w", err)
	}
	if err := ip(ctx, fmt.Sprintf("link add %s type veth peer name %s netns %d", serverEnd, clientEnd, thread),
		"addr add "+serverAddr+cableMask+" dev "+serverEnd, "link set "+serverEnd+" up"); err != nil {
		return nil, err
	}
	err := c.do(func() (err error) {
		if err = ip(ctx, "addr add "+relayAddr+cableMask+" dev "+clientEnd, "link set lo up", "link set "+clientEnd+" up"); err == nil {
			c.clients, err = dhcpload.Open(clientEnd)
		}
		return err
	})
	return c, err
}

// do runs f where the clients are. Programs that f starts are there too.
func (c *cable) do(f func() error) error {
	ended := make(chan error)
	c.work <- func() { ended <- f() }
	return <-ended
}

// play has clients of the far end, that no server knows yet, get their leases.
func (c *cable) play(ctx context.Context, l dhcpload.Load) (dhcpload.Result, error) {
	l.First = c.next
	c.next += l.Clients
	return c.clients.Run(ctx, l)
}
