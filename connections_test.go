package pxe

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/dhcp"
)

// download is a download from a server that stands still in the middle. It returns
// an error once its connection is gone.
func download(t *testing.T, c *connections) (ended <-chan error) {
	t.Helper()
	release := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "half ")
		w.(http.Flusher).Flush()
		<-release
		_, _ = io.WriteString(w, "more ")
	}))
	before := server.Config.ConnState
	server.Config.ConnState = func(conn net.Conn, state http.ConnState) {
		c.state(conn, state)
		if before != nil {
			before(conn, state)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	response, err := http.Get(server.URL)
	require.NoError(t, err)
	t.Cleanup(func() { response.Body.Close() })
	half := make([]byte, 5)
	_, err = io.ReadFull(response.Body, half)
	require.NoError(t, err)
	result := make(chan error, 1)
	go func() {
		_, err := io.ReadAll(response.Body)
		result <- err
	}()
	return result
}

var loopback = netip.MustParseAddr("127.0.0.1")

func TestConnectionsOfAMachineAreReset(t *testing.T) {
	var c connections
	ended := download(t, &c)
	c.reset(netip.MustParseAddr("127.0.0.2"))
	c.reset(netip.Addr{})
	require.Len(t, c.of[loopback], 1, "others' are let alone")
	c.reset(loopback)
	require.Error(t, <-ended)
	require.Eventually(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.of) == 0
	}, time.Minute, time.Millisecond)
}

// firmware is a message of the firmware at the loopback address.
func firmware(t *testing.T, kind dhcp.Kind, message dhcpv4.MessageType, xid byte, ciaddr net.IP) *dhcp.Request {
	t.Helper()
	packet, err := dhcpv4.New(dhcpv4.WithHwAddr(mac(1)), dhcpv4.WithMessageType(message), dhcpv4.WithClientIP(ciaddr))
	require.NoError(t, err)
	packet.TransactionID = transaction(xid)
	return &dhcp.Request{
		Packet: packet, Client: dhcp.Client{Kind: kind}, Received: time.Now(), YourAddr: loopback,
		Network: &dhcp.Network{Mode: dhcp.Full}, Prefix: netip.MustParsePrefix("127.0.0.0/8"),
	}
}

func TestABootThatBeginsEndsTheConnectionsOfTheOneBefore(t *testing.T) {
	for name, test := range map[string]struct {
		happens func(t *testing.T, v *services)
		reset   bool
	}{
		"switched off and on": {func(t *testing.T, v *services) {
			v.registry.ofMachine(mac(1)).delivered(StageLoader)
			v.registry.ofMachine(mac(1)).delivered(StageConfig)
			v.dhcpReceived(firmware(t, dhcp.PXE, dhcpv4.MessageTypeDiscover, 2, net.IPv4zero))
		}, true},
		"on again while the server was restarted": {func(t *testing.T, v *services) {
			v.registry = newRegistry(0)
			v.dhcpReceived(firmware(t, dhcp.PXE, dhcpv4.MessageTypeDiscover, 2, net.IPv4zero))
			ack(t, v, firmware(t, dhcp.PXE, dhcpv4.MessageTypeRequest, 2, net.IPv4zero))
		}, true},
		"switched off and on before it had its loader": {func(t *testing.T, v *services) {
			v.dhcpReceived(firmware(t, dhcp.IPXE, dhcpv4.MessageTypeDiscover, 2, net.IPv4zero))
			ack(t, v, firmware(t, dhcp.IPXE, dhcpv4.MessageTypeRequest, 2, net.IPv4zero))
		}, true},
		"the same, and its transactions are always the same": {func(t *testing.T, v *services) {
			for _, message := range []dhcpv4.MessageType{dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest} {
				r := firmware(t, dhcp.PXE, message, 1, net.IPv4zero)
				r.Received = r.Received.Add(sameMessage)
				if message == dhcpv4.MessageTypeDiscover {
					v.dhcpReceived(r)
				} else {
					ack(t, v, r)
				}
			}
		}, true},
		"the same messages again": {func(t *testing.T, v *services) {
			v.dhcpReceived(firmware(t, dhcp.IPXE, dhcpv4.MessageTypeDiscover, 1, net.IPv4zero))
			ack(t, v, firmware(t, dhcp.IPXE, dhcpv4.MessageTypeRequest, 1, net.IPv4zero))
		}, false},
		"firmware renews its lease": {func(t *testing.T, v *services) {
			ack(t, v, firmware(t, dhcp.PXE, dhcpv4.MessageTypeRequest, 3, loopback.AsSlice()))
		}, false},
		"the system asks for a lease": {func(t *testing.T, v *services) {
			v.dhcpReceived(firmware(t, dhcp.Plain, dhcpv4.MessageTypeDiscover, 4, net.IPv4zero))
			ack(t, v, firmware(t, dhcp.Plain, dhcpv4.MessageTypeRequest, 4, net.IPv4zero))
		}, false},
		"the next loader asks for a lease": {func(t *testing.T, v *services) {
			v.registry.ofMachine(mac(1)).delivered(StageLoader)
			v.dhcpReceived(firmware(t, dhcp.IPXE, dhcpv4.MessageTypeDiscover, 5, net.IPv4zero))
			ack(t, v, firmware(t, dhcp.IPXE, dhcpv4.MessageTypeRequest, 5, net.IPv4zero))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			v := &services{server: &Server{}, registry: newRegistry(0)}
			v.dhcpReceived(firmware(t, dhcp.PXE, dhcpv4.MessageTypeDiscover, 1, net.IPv4zero))
			ack(t, v, firmware(t, dhcp.PXE, dhcpv4.MessageTypeRequest, 1, net.IPv4zero))
			ended := download(t, &v.connections)
			test.happens(t, v)
			if test.reset {
				select {
				case err := <-ended:
					require.Error(t, err)
				case <-time.After(time.Minute):
					require.Fail(t, "it goes on")
				}
			} else {
				require.Len(t, v.connections.of[loopback], 1)
			}
		})
	}
}

// ack lets a request be acknowledged.
func ack(t *testing.T, v *services, r *dhcp.Request) {
	t.Helper()
	reply, err := dhcpv4.NewReplyFromRequest(r.Packet, dhcpv4.WithMessageType(dhcpv4.MessageTypeAck))
	require.NoError(t, err)
	v.dhcpReceived(r)
	v.dhcpSending(r, reply)
}
