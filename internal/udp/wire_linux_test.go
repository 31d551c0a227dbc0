package udp

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// patience bounds the wait for a packet that must come.
const patience = 30 * time.Second

// wire is a DHCP client as its network card sees it: frames in, frames out, and
// any hardware address. No kernel answers for it.
type wire struct {
	fd     int
	ifname string
}

// frame is a DHCP packet as it came by the wire.
type frame struct {
	to       net.HardwareAddr
	src, dst netip.AddrPort
	dhcp     *dhcpv4.DHCPv4
}

func (f frame) server() string { return f.dhcp.ServerIdentifier().String() }

func newWire(t *testing.T, ifname string) *wire {
	t.Helper()
	ifi, err := net.InterfaceByName(ifname)
	require.NoError(t, err)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	require.NoError(t, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_IP), Ifindex: ifi.Index}))
	second := unix.Timeval{Sec: 1}
	require.NoError(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &second))
	return &wire{fd, ifname}
}

// send sends a packet to an address, in a broadcast frame, which also carries
// what is for one host.
func (w *wire) send(t *testing.T, p *dhcpv4.DHCPv4, src, dst string) {
	t.Helper()
	b := slices.Concat([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, p.ClientHWAddr, []byte{8, 0})
	b, err := appendIPv4UDP(b, netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst), p.ToBytes())
	require.NoError(t, err)
	_, err = unix.Write(w.fd, b)
	require.NoError(t, err)
}

// shout sends a packet as clients without an address do.
func (w *wire) shout(t *testing.T, p *dhcpv4.DHCPv4) {
	w.send(t, p, "0.0.0.0:68", "255.255.255.255:67")
}

// receive returns the next reply that has come, and false when there is none
// within a second.
func (w *wire) receive(t *testing.T) (frame, bool) {
	t.Helper()
	buf := make([]byte, 2048)
	for range 1000 {
		n, from, err := unix.Recvfrom(w.fd, buf, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENETDOWN) {
			return frame{}, false
		}
		require.NoError(t, err)
		if from.(*unix.SockaddrLinklayer).Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if f, ok := parseFrame(buf[:n]); ok {
			return f, true
		}
	}
	t.Fatal("a thousand frames, and no DHCP")
	return frame{}, false
}

// next is the next reply, which must come.
func (w *wire) next(t *testing.T) frame {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if f, ok := w.receive(t); ok {
			return f
		}
	}
	t.Fatalf("no reply on %s", w.ifname)
	return frame{}
}

// parseFrame reads a DHCP reply out of an Ethernet frame.
func parseFrame(b []byte) (f frame, ok bool) {
	if len(b) < 14+20+8 || b[14]>>4 != 4 || b[14+9] != 17 {
		return f, false
	}
	udp := b[14+int(b[14]&15)*4:]
	if len(udp) < 8 {
		return f, false
	}
	packet, err := dhcpv4.FromBytes(udp[8:])
	if err != nil || packet.OpCode != dhcpv4.OpcodeBootReply {
		return f, false
	}
	src, _ := netip.AddrFromSlice(b[26:30])
	dst, _ := netip.AddrFromSlice(b[30:34])
	return frame{
		to:  net.HardwareAddr(slices.Clone(b[:6])),
		src: netip.AddrPortFrom(src, binary.BigEndian.Uint16(udp)), dst: netip.AddrPortFrom(dst, binary.BigEndian.Uint16(udp[2:])),
		dhcp: packet,
	}, true
}

// client is a machine on a wire.
type client struct {
	*wire
	hw net.HardwareAddr
}

func (c client) message(kind dhcpv4.MessageType, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	p, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(c.hw), dhcpv4.WithMessageType(kind)}, mods...)...)
	if err != nil {
		panic(err) // no randomness for the transaction
	}
	return p
}

// next is the next reply to this client, which must come.
func (c client) next(t *testing.T) frame {
	t.Helper()
	for range 1000 {
		if f := c.wire.next(t); f.dhcp.ClientHWAddr.String() == c.hw.String() {
			return f
		}
	}
	t.Fatal("a thousand replies to others")
	return frame{}
}

// lease gets an address from DISCOVER to ACK, and returns the last frame. Replies
// must come by broadcast or by a frame to the client, as the client says.
func (c client) lease(t *testing.T, broadcast bool) frame {
	t.Helper()
	flag := dhcpv4.WithBroadcast(broadcast)
	c.shout(t, c.message(dhcpv4.MessageTypeDiscover, flag))
	offer := c.next(t)
	require.Equal(t, dhcpv4.MessageTypeOffer, offer.dhcp.MessageType())
	c.shout(t, c.message(dhcpv4.MessageTypeRequest, flag,
		dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(offer.dhcp.YourIPAddr)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(offer.dhcp.ServerIdentifier()))))
	ack := c.next(t)
	require.Equal(t, dhcpv4.MessageTypeAck, ack.dhcp.MessageType())
	for _, f := range []frame{offer, ack} {
		require.Equal(t, c.hw.String(), f.dhcp.ClientHWAddr.String())
		require.EqualValues(t, 67, f.src.Port())
		require.EqualValues(t, 68, f.dst.Port())
		require.Equal(t, f.server(), f.src.Addr().String())
		if broadcast {
			require.Equal(t, "255.255.255.255", f.dst.Addr().String())
			require.Equal(t, "ff:ff:ff:ff:ff:ff", f.to.String())
		} else {
			require.Equal(t, f.dhcp.YourIPAddr.String(), f.dst.Addr().String())
			require.Equal(t, c.hw.String(), f.to.String())
		}
	}
	return ack
}

// renew extends a lease by unicast, and returns the reply.
func (c client) renew(t *testing.T, ifname string, ack frame, server string) frame {
	t.Helper()
	own := ack.dhcp.YourIPAddr
	// Nobody answers ARP on the wire.
	ip(t, "neigh replace "+own.String()+" lladdr "+c.hw.String()+" nud permanent dev "+ifname)
	c.send(t, c.message(dhcpv4.MessageTypeRequest, dhcpv4.WithClientIP(own)), own.String()+":68", server+":67")
	again := c.next(t)
	require.Equal(t, dhcpv4.MessageTypeAck, again.dhcp.MessageType())
	require.Equal(t, own.String(), again.dst.Addr().String())
	require.Equal(t, c.hw.String(), again.to.String())
	return again
}
