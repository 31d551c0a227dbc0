// Package udp is the real socket under the DHCP and TFTP servers: one wildcard
// UDP socket per port that knows where each datagram came in and can send by
// interface, from an address, or to a hardware address. It implements the
// PacketConn upgrades that package dhcp documents.
package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/ipv4"
)

// receiveBuffer is for machines that power up at once. Linux counts the whole
// buffer that a packet lies in, 1 to 4 KiB, and takes twice the number: a thousand
// packets find room at least. Its own choice is full after 50 to 200.
const receiveBuffer = 4 << 20

// Conn is an IPv4 UDP socket. Where the system cannot tell the ingress
// interface (Windows), names and destinations are empty. All methods are safe
// for concurrent use.
type Conn struct {
	*net.UDPConn
	sender     *net.UDPConn // tells what cannot be sent; nil: there is none
	interfaces interfaces
	frames     frames
}

// Listen opens the UDP socket on address, such as ":67". A second server on the
// same port is an error, never a silent share. With frames it also opens the
// means to send to a hardware address, which on Linux needs CAP_NET_RAW;
// without the privilege WriteFrame says so and everything else works.
func Listen(ctx context.Context, address string, withFrames bool) (*Conn, error) {
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(ctx, "udp4", address)
	if err != nil {
		return nil, err
	}
	c := &Conn{UDPConn: pc.(*net.UDPConn)}
	enlarge(c.UDPConn)
	c.sender = openSender(ctx, c.UDPConn)
	// Not supported on Windows: the socket then works for a single network.
	_ = ipv4.NewPacketConn(c.UDPConn).SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true)
	if withFrames {
		c.frames.open()
	}
	return c, nil
}

// ReadFromLocal reads one datagram and tells its sender, the address it was
// sent to, and the name of the interface it came in by.
func (c *Conn) ReadFromLocal(p []byte) (n int, from netip.AddrPort, to netip.Addr, ifname string, err error) {
	var oob [128]byte
	n, oobn, _, from, err := c.ReadMsgUDPAddrPort(p, oob[:])
	if err != nil {
		return n, from, to, "", err
	}
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	var cm ipv4.ControlMessage
	if cm.Parse(oob[:oobn]) == nil {
		to, _ = netip.AddrFromSlice(cm.Dst)
		to = to.Unmap()
		if cm.IfIndex > 0 {
			ifname = c.interfaces.name(cm.IfIndex)
		}
	}
	return n, from, to, ifname, nil
}

// WriteToLocal sends one datagram from our address from by the interface named
// ifname; a zero from and an empty ifname leave the choice to the system. If from is
// told, a datagram for which the system has no room is an error (ENOBUFS on Linux); if
// both are, a broadcast is sent as a frame then, where that can be done.
func (c *Conn) WriteToLocal(p []byte, dst netip.AddrPort, from netip.Addr, ifname string) (int, error) {
	var cm ipv4.ControlMessage
	conn := c.UDPConn
	if from.Is4() && !from.IsUnspecified() {
		cm.Src = from.AsSlice()
		if c.sender != nil {
			conn = c.sender
		}
	}
	var n int
	send := func(index int) (err error) {
		cm.IfIndex = index
		n, _, err = conn.WriteMsgUDPAddrPort(p, cm.Marshal(), dst)
		if errors.Is(err, syscall.ENOBUFS) {
			n, err = c.withoutRoom(err, p, dst, from, index)
		}
		return err
	}
	if ifname == "" {
		err := send(0)
		return n, err
	}
	err := c.by(ifname, send)
	return n, err
}

// withoutRoom sends a broadcast as a frame, for which the system needs no entry in
// its table of neighbours. Other datagrams, and those that cannot be sent so either,
// fail with why.
func (c *Conn) withoutRoom(why error, p []byte, dst netip.AddrPort, from netip.Addr, index int) (int, error) {
	if index > 0 && from.Is4() && dst.Addr() == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		src := netip.AddrPortFrom(from, c.LocalAddr().(*net.UDPAddr).AddrPort().Port())
		packet, err := appendIPv4UDP(nil, src, dst, p)
		if err == nil {
			err = c.frames.send(packet, net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, index)
		}
		if err == nil {
			return len(p), nil
		}
		why = fmt.Errorf("%w; as a frame: %w", why, err)
	}
	return 0, fmt.Errorf("%w (%s)", why, roomRemedy)
}

// WriteFrame sends one datagram by the interface named ifname to the hardware
// address hw, for a client that has no address yet and cannot answer ARP. The
// error is errors.ErrUnsupported where frames cannot be sent.
func (c *Conn) WriteFrame(p []byte, src, dst netip.AddrPort, hw net.HardwareAddr, ifname string) (int, error) {
	packet, err := appendIPv4UDP(nil, src, dst, p)
	if err != nil {
		return 0, err
	}
	err = c.by(ifname, func(index int) error { return c.frames.send(packet, hw, index) })
	if err != nil {
		return 0, fmt.Errorf("frame to %s by %s: %w", hw, ifname, err)
	}
	return len(p), nil
}

// by sends by the interface of this name, once more if that failed because the
// interface was deleted and made again with another index.
func (c *Conn) by(ifname string, send func(index int) error) error {
	index, err := c.interfaces.index(ifname)
	if err != nil {
		return err
	}
	if err = send(index); err == nil || errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.ENOBUFS) {
		return err
	}
	c.interfaces.forget()
	if again, failed := c.interfaces.index(ifname); failed == nil && again != index {
		return send(again)
	}
	return err
}

// InterfaceAddrs returns our IPv4 addresses on the interface named ifname,
// the primary one first; those of all interfaces for "".
func (c *Conn) InterfaceAddrs(ifname string) ([]netip.Prefix, error) {
	return c.interfaces.addrs(ifname)
}

// Close closes the socket and the means to send frames.
func (c *Conn) Close() error {
	err := c.UDPConn.Close()
	if c.sender != nil {
		err = errors.Join(err, c.sender.Close())
	}
	return errors.Join(err, c.frames.close())
}
