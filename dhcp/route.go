package dhcp

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// The ports of RFC 2131 section 4.1.
const (
	defaultServerPort = 67
	defaultClientPort = 68
)

func portOr(port, otherwise uint16) uint16 {
	if port == 0 {
		return otherwise
	}
	return port
}

// route says where a reply goes (RFC 2131 section 4.1). A request from a port
// other than 67 or 68 is still answered to the client's port.
func (s *Server) route(r *Request, reply *dhcpv4.DHCPv4) Delivery {
	d := Delivery{Interface: r.Interface, From: r.ServerID}
	port := portOr(s.ClientPort, defaultClientPort)
	to := func(route Route, a netip.Addr, port uint16) Delivery {
		d.Route, d.To = route, netip.AddrPortFrom(a, port)
		return d
	}
	relay := r.RelayAddr()
	ciaddr := addrOf(reply.ClientIPAddr)
	switch {
	case r.Type() == dhcpv4.MessageTypeInform:
		// Section 4.3.5: straight to the address that the client has.
		return to(ByUnicast, ciaddr, port)
	case relay.IsValid():
		return to(ByRelay, relay, r.relayPort(portOr(s.RelayPort, defaultServerPort)))
	case typeOf(reply) == dhcpv4.MessageTypeNak:
		return to(ByBroadcast, broadcastAddr(), port)
	case ciaddr.IsValid():
		return to(ByUnicast, ciaddr, port)
	case reply.IsBroadcast() || !ethernet(reply):
		return to(ByBroadcast, broadcastAddr(), port)
	}
	d.HardwareAddr = reply.ClientHWAddr
	return to(ByFrame, addrOf(reply.YourIPAddr), port)
}

func broadcastAddr() netip.Addr { return netip.AddrFrom4([4]byte{255, 255, 255, 255}) }

// ethernet reports whether a frame can be addressed to the client.
func ethernet(p *dhcpv4.DHCPv4) bool {
	return p.HWType == iana.HWTypeEthernet && len(p.ClientHWAddr) == 6
}

// send writes a reply the way that d says, by broadcast if a frame cannot be
// sent, and returns how it went out.
func (c *upgraded) send(b []byte, d Delivery, serverPort uint16) (Delivery, error) {
	if d.Route == ByFrame {
		if c.frames != nil {
			_, err := c.frames.WriteFrame(b, netip.AddrPortFrom(d.From, serverPort), d.To, d.HardwareAddr, d.Interface)
			if err == nil {
				return d, nil
			}
			d.Err = err
		}
		d.Route, d.HardwareAddr = ByBroadcast, nil
		d.To = netip.AddrPortFrom(broadcastAddr(), d.To.Port())
	}
	var err error
	if c.writer != nil {
		_, err = c.writer.WriteToLocal(b, d.To, d.From, d.Interface)
	} else {
		_, err = c.WriteTo(b, net.UDPAddrFromAddrPort(d.To))
	}
	if err != nil {
		return d, fmt.Errorf("dhcp: sending to %s: %w", d.To, err)
	}
	return d, nil
}

// upgraded is a conn with what it can do beyond a PacketConn, nil where it
// cannot.
type upgraded struct {
	net.PacketConn
	reader LocalReader
	writer LocalWriter
	frames FrameWriter
	lister AddrLister
	prober AddrProber
}

func upgrade(conn net.PacketConn) *upgraded {
	c := &upgraded{PacketConn: conn}
	c.reader, _ = conn.(LocalReader)
	c.writer, _ = conn.(LocalWriter)
	c.frames, _ = conn.(FrameWriter)
	c.lister, _ = conn.(AddrLister)
	c.prober, _ = conn.(AddrProber)
	return c
}

// read reads one datagram, with what the conn can tell about it.
func (c *upgraded) read(b []byte) (n int, from netip.AddrPort, to netip.Addr, ifname string, err error) {
	if c.reader != nil {
		n, from, to, ifname, err = c.reader.ReadFromLocal(b)
	} else {
		var addr net.Addr
		n, addr, err = c.ReadFrom(b)
		if udp, ok := addr.(*net.UDPAddr); ok {
			from = udp.AddrPort()
		}
	}
	return n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), to.Unmap(), ifname, err
}
