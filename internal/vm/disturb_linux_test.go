package vm

import (
	"context"
	"github.com/pxekit/pxe/internal/udp"
	"github.com/stretchr/testify/require"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/pxekit/pxe/dhcp"
)

// upgradedConn is the socket that the library opens, with all that it can.
type upgradedConn interface {
	net.PacketConn
	dhcp.LocalReader
	dhcp.LocalWriter
	dhcp.FrameWriter
	dhcp.AddrLister
}

// disturbedConn delivers what was received twice, and each time late: later than what
// was received after it, now and then.
type disturbedConn struct {
	upgradedConn
	received chan reception
	ended    chan struct{} // closed when the socket has no more
	err      error         // then: why
	pending  sync.WaitGroup
}

// reception is one datagram and what the socket tells of it.
type reception struct {
	data   []byte
	from   netip.AddrPort
	to     netip.Addr
	ifname string
}

// mostDelay is below the time after which clients ask again, so that what arrives in
// another order was sent in one breath.
const mostDelay = 200 * time.Millisecond

// disturb wraps the DHCP socket that [pxe.Server.Listen] opened. The same seed makes
// the same delays.
func disturb(conn net.PacketConn, seed uint64) net.PacketConn {
	c := &disturbedConn{upgradedConn: conn.(upgradedConn), received: make(chan reception, 1024), ended: make(chan struct{})}
	go c.pump(rand.New(rand.NewPCG(seed, seed)))
	return c
}

func (c *disturbedConn) pump(random *rand.Rand) {
	buf := make([]byte, 4096)
	for {
		n, from, to, ifname, err := c.upgradedConn.ReadFromLocal(buf)
		if err != nil {
			c.err = err
			c.pending.Wait()
			close(c.ended)
			return
		}
		r := reception{append([]byte(nil), buf[:n]...), from, to, ifname}
		for range 2 {
			c.pending.Add(1)
			time.AfterFunc(time.Duration(random.Int64N(int64(mostDelay))), func() {
				defer c.pending.Done()
				select {
				case c.received <- r:
				default: // as a socket whose buffer is full
				}
			})
		}
	}
}

// ReadFromLocal gives what was received, in its new order. Once the socket was told to
// end, by its deadline or by Close, so does this.
func (c *disturbedConn) ReadFromLocal(p []byte) (int, netip.AddrPort, netip.Addr, string, error) {
	select {
	case r := <-c.received:
		return copy(p, r.data), r.from, r.to, r.ifname, nil
	case <-c.ended:
		return 0, netip.AddrPort{}, netip.Addr{}, "", c.err
	}
}

// disturbedPair is a socket that sends to a disturbed one.
func disturbedPair(t *testing.T, ctx context.Context) (net.Conn, *disturbedConn) {
	t.Helper()
	conn, err := udp.Listen(ctx, "127.0.0.1:0", false)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	sender, err := net.Dial("udp4", conn.LocalAddr().String())
	require.NoError(t, err)
	t.Cleanup(func() { sender.Close() })
	return sender, disturb(conn, 1).(*disturbedConn)
}
