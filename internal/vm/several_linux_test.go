package vm

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/bootcfg"
	"github.com/pxekit/pxe/dhcp"
)

// askSeveralAddresses asks a server at each of the addresses that its host has on one
// interface, in DHCP by unicast, TFTP and HTTP: it answers from that one. A client
// takes nothing from another, and a firewall in between lets nothing else pass.
func askSeveralAddresses(t *testing.T, ctx context.Context) {
	n := newNetwork(t, ctx, "br0", "192.0.2.1/24")
	for _, more := range []string{"192.0.2.7/24", "198.51.100.1/24"} {
		require.NoError(t, n.AddAddr(ctx, netip.MustParsePrefix(more)))
	}
	hello := []byte("hello")
	l := serveLibrary(t, ctx, &pxe.Server{
		Networks: []pxe.Network{
			{Interface: "br0", Addr: n.Addr(), Mode: dhcp.Full, Leases: &dhcp.Pool{
				First: netip.MustParseAddr("192.0.2.100"), Last: netip.MustParseAddr("192.0.2.100")}},
			{Interface: "br0", Addr: netip.MustParsePrefix("198.51.100.1/24"), Mode: dhcp.Full, Leases: &dhcp.Pool{
				First: netip.MustParseAddr("198.51.100.100"), Last: netip.MustParseAddr("198.51.100.100")}},
		},
		Files: asset.Memory{"hello": hello},
	}, nil)

	host := newPeer(t, ctx, n, "192.0.2.100/24", "198.51.100.100/24")
	// Our addresses, and whence they are asked.
	clients := map[string]string{
		"192.0.2.1": "192.0.2.100", "192.0.2.7": "192.0.2.100", "198.51.100.1": "198.51.100.100",
	}
	for server, client := range clients {
		t.Run(server, func(t *testing.T) {
			conn := host.listen(t, client+":68")
			inform, err := dhcpv4.NewInform(net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.ParseIP(client))
			require.NoError(t, err)
			answer := ask(t, conn, server+":67", server+":67", inform.ToBytes())
			ack, err := dhcpv4.FromBytes(answer)
			require.NoError(t, err)
			require.Equal(t, dhcpv4.MessageTypeAck, ack.MessageType())
			require.Equal(t, server, ack.ServerIdentifier().String())

			conn = host.listen(t, client+":0")
			data := ask(t, conn, server+":69", server+":*", []byte("\x00\x01hello\x00octet\x00"))
			require.Equal(t, append([]byte{0, 3, 0, 1}, hello...), data)

			require.Equal(t, hello, host.get(t, ctx, "http://"+server+"/hello"))
		})
	}

	// A lease is renewed where the client asks for it.
	hw := net.HardwareAddr{2, 0, 0, 0, 0, 2}
	conn := host.listen(t, ":68")
	for _, server := range []string{"192.0.2.1", "192.0.2.7"} {
		lease, err := dhcpv4.NewDiscovery(hw, dhcpv4.WithBroadcast(true))
		require.NoError(t, err)
		offer, err := dhcpv4.FromBytes(ask(t, conn, server+":67", server+":67", lease.ToBytes()))
		require.NoError(t, err)
		require.Equal(t, dhcpv4.MessageTypeOffer, offer.MessageType())
		require.Equal(t, server, offer.ServerIdentifier().String())
		request, err := dhcpv4.NewRequestFromOffer(offer)
		require.NoError(t, err)
		ack, err := dhcpv4.FromBytes(ask(t, conn, server+":67", server+":67", request.ToBytes()))
		require.NoError(t, err)
		require.Equal(t, dhcpv4.MessageTypeAck, ack.MessageType())
		renewal, err := dhcpv4.New(dhcpv4.WithHwAddr(hw), dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest),
			dhcpv4.WithClientIP(ack.YourIPAddr))
		require.NoError(t, err)
		ack, err = dhcpv4.FromBytes(ask(t, conn, server+":67", server+":67", renewal.ToBytes()))
		require.NoError(t, err)
		require.Equal(t, dhcpv4.MessageTypeAck, ack.MessageType())
		require.Equal(t, server, ack.ServerIdentifier().String())
	}
	require.NotEmpty(t, l.of(hw.String()))
	require.NoError(t, l.Close())

	require.NoError(t, conn.Close())
	askBootServer(t, ctx, host, clients)
}

// askBootServer asks a boot server at port 4011, where clients have an address already
// and come to the one that an offer has named.
func askBootServer(t *testing.T, ctx context.Context, host testPeer, clients map[string]string) {
	t.Helper()
	serveLibrary(t, ctx, &pxe.Server{
		Networks: []pxe.Network{{Interface: "br0", Mode: dhcp.BootServer}},
		Files:    asset.Memory{"lpxelinux.0": []byte("loader")},
		Booter: pxe.BooterFunc(func(context.Context, *pxe.Machine) (*bootcfg.Menu, error) {
			return &bootcfg.Menu{Entries: []bootcfg.Entry{{Name: "disk", Local: true}}}, nil
		}),
	}, nil)
	for server, client := range clients {
		conn := host.listen(t, client+":68")
		request, err := dhcpv4.New(
			dhcpv4.WithHwAddr(net.HardwareAddr{2, 0, 0, 0, 0, 3}),
			dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest),
			dhcpv4.WithClientIP(net.ParseIP(client)),
			dhcpv4.WithOption(dhcpv4.OptClassIdentifier("PXEClient:Arch:00000:UNDI:002001")),
			dhcpv4.WithOption(dhcpv4.OptClientArch(0)),
			dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionClientMachineIdentifier, append([]byte{0}, bytes.Repeat([]byte{7}, 16)...))),
		)
		require.NoError(t, err)
		ack, err := dhcpv4.FromBytes(ask(t, conn, server+":4011", server+":4011", request.ToBytes()))
		require.NoError(t, err)
		require.Equal(t, dhcpv4.MessageTypeAck, ack.MessageType())
		require.Equal(t, server, ack.ServerIdentifier().String())
		require.Equal(t, server, ack.ServerIPAddr.String())
		require.Equal(t, "lpxelinux.0", ack.BootFileName)
		require.NoError(t, conn.Close())
	}
}

// askLimit is far above what an answer takes on a segment that loses nothing.
const askLimit = time.Minute

// ask sends a datagram and returns the first answer. That must come from the address
// and port from; the port "*" is any.
func ask(t *testing.T, conn net.PacketConn, to, from string, datagram []byte) []byte {
	t.Helper()
	server, err := net.ResolveUDPAddr("udp4", to)
	require.NoError(t, err)
	_, err = conn.WriteTo(datagram, server)
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(askLimit)))
	buf := make([]byte, 2048)
	n, source, err := conn.ReadFrom(buf)
	require.NoError(t, err, "nothing came from %s", to)
	host, port, err := net.SplitHostPort(source.String())
	require.NoError(t, err)
	wantHost, wantPort, err := net.SplitHostPort(from)
	require.NoError(t, err)
	require.Equal(t, wantHost, host)
	if wantPort != "*" {
		require.Equal(t, wantPort, port)
	}
	return bytes.Clone(buf[:n])
}

// testPeer is a host beside the server, on one segment, for as long as the test runs.
type testPeer struct{ *Peer }

func newPeer(t *testing.T, ctx context.Context, n *Network, addr string, more ...string) testPeer {
	t.Helper()
	p, err := NewPeer(ctx)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	name, err := p.Plug(ctx, n, netip.MustParsePrefix(addr))
	require.NoError(t, err)
	for _, a := range more {
		require.NoError(t, p.run(ctx, "ip", "addr", "add", a, "dev", name))
	}
	return testPeer{p}
}

// listen opens a UDP socket of the host's.
func (p testPeer) listen(t *testing.T, addr string) net.PacketConn {
	t.Helper()
	var conn net.PacketConn
	require.NoError(t, p.Do(func() (err error) {
		conn, err = net.ListenPacket("udp4", addr)
		return err
	}))
	t.Cleanup(func() { conn.Close() })
	return conn
}

// get fetches a URL from the host.
func (p testPeer) get(t *testing.T, ctx context.Context, url string) []byte {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(_ context.Context, _, addr string) (conn net.Conn, err error) {
			to, err := net.ResolveTCPAddr("tcp4", addr)
			if err != nil {
				return nil, err
			}
			return conn, p.Do(func() (err error) {
				conn, err = net.DialTCP("tcp4", nil, to)
				return err
			})
		}}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return body
}
