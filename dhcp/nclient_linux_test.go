package dhcp

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/stretchr/testify/require"
)

// clientEnd is the other end of a fakeConn, as a client's socket.
type clientEnd struct {
	*fakeConn
	done chan struct{}
}

func (c clientEnd) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case s := <-c.out:
		return copy(p, s.b), net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr(serverIP), 67)), nil
	case <-c.done:
		return 0, nil, net.ErrClosed
	}
}

func (c clientEnd) WriteTo(p []byte, to net.Addr) (int, error) {
	dst := to.(*net.UDPAddr).AddrPort()
	c.in <- fakePacket{append([]byte(nil), p...), netip.MustParseAddrPort("0.0.0.0:68"), dst.Addr().Unmap(), "eth1"}
	return len(p), nil
}

func (c clientEnd) Close() error { close(c.done); return nil }

// TestIndependentClient lets somebody else's client judge the server.
func TestIndependentClient(t *testing.T) {
	s := newServer(rich, withBoot("lpxelinux.0"))
	conn := serve(t, s)
	client, err := nclient4.NewWithConn(clientEnd{conn, make(chan struct{})}, mac(1), nclient4.WithTimeout(5*time.Second))
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Close()) }()

	lease, err := client.Request(t.Context(), dhcpv4.WithOption(dhcpv4.OptClassIdentifier("PXEClient:Arch:00000:UNDI:002001")))
	require.NoError(t, err)
	require.Equal(t, "lpxelinux.0", lease.ACK.BootFileName)
	require.Equal(t, time.Hour, lease.ACK.IPAddressLeaseTime(0))
	require.Equal(t, "example.org", lease.ACK.DomainName())

	renewed, err := client.Renew(t.Context(), lease)
	require.NoError(t, err)
	require.Equal(t, lease.ACK.YourIPAddr.String(), renewed.ACK.YourIPAddr.String())

	ack, err := client.Inform(t.Context(), net.IPv4(192, 0, 2, 50))
	require.NoError(t, err)
	require.Equal(t, "192.0.2.254", ack.Router()[0].String())

	pool := s.Networks[0].Leases.(*Pool)
	require.NoError(t, client.Release(lease))
	require.Eventually(t, func() bool {
		b, err := pool.store.ByAddr(t.Context(), addr(lease.ACK.YourIPAddr.String()))
		return err == nil && b.State == Released
	}, 10*time.Second, time.Millisecond)
}
