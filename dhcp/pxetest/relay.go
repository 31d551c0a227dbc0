package pxetest

import (
	"encoding/binary"
	"net/netip"
)

// RelayAgent is a router between two segments that relays DHCP from the one where
// the clients are (RFC 1542 section 4.1, RFC 2131).
type RelayAgent struct {
	// Addr is its address on the clients' segment, with the mask, such as
	// "198.51.100.1/24". DHCP servers know the network by it (giaddr), and it is the
	// router that the clients must be told (option 3).
	Addr string
	// Servers is the segment of the DHCP servers, ServersAddr its address there, with
	// the mask.
	Servers     *Segment
	ServersAddr string
	// To are the DHCP servers to which it sends, at port 67. At least one.
	To []netip.Addr
	// Option82 is the content of the relay agent information option (RFC 3046) that
	// it adds to what clients send: sub-options, each a code, a length and so many
	// bytes. Empty: none is added. Replies must bring it back unchanged, as their
	// last option; others are dropped. It is taken out before the client sees it.
	Option82 []byte
}

// Relay puts a relay agent between this segment, that of the clients, and another.
// It routes all else between them: hosts on both know the way, machines know it if
// DHCP gives them the relay's address as their router. The result is the agent's
// computer; its Close takes it away.
func (s *Segment) Relay(a RelayAgent) *Host {
	s.t.Helper()
	h := newHost(s.t)
	near, err := netip.ParsePrefix(a.Addr)
	if err != nil || !near.Addr().Is4() {
		s.t.Fatalf("pxetest: RelayAgent.Addr %q is not an IPv4 address with a mask, such as 198.51.100.1/24", a.Addr)
		return h
	}
	far, err := netip.ParsePrefix(a.ServersAddr)
	if err != nil || !far.Addr().Is4() || a.Servers == nil || a.Servers == s {
		s.t.Fatalf("pxetest: RelayAgent.ServersAddr %q is not an IPv4 address with a mask on another segment, Servers", a.ServersAddr)
		return h
	}
	if len(a.To) == 0 || len(a.Option82) > 255 {
		s.t.Fatalf("pxetest: a RelayAgent needs To, the addresses of DHCP servers, and an Option82 of at most 255 bytes")
		return h
	}
	h.router = true
	h.attach(s, "clients", nil, []netip.Prefix{near})
	h.attach(a.Servers, "servers", nil, []netip.Prefix{far})
	s.addWay(way{near.Addr(), far.Masked()})
	a.Servers.addWay(way{far.Addr(), near.Masked()})
	conn, err := h.ListenPacket(netip.AddrPortFrom(netip.IPv4Unspecified(), dhcpServerPort))
	if err != nil {
		s.t.Fatalf("pxetest: %v", err)
		return h
	}
	r := &relay{conn: conn, addr: near.Addr(), to: a.To, option82: a.Option82}
	go r.run()
	return h
}

// relay is the agent at work.
type relay struct {
	conn     *PacketConn
	addr     netip.Addr
	to       []netip.Addr
	option82 []byte
}

// maxRelayHops is RFC 1542 section 4.1.1.
const maxRelayHops = 16

func (r *relay) run() {
	b := make([]byte, 1<<16)
	for {
		n, from, _, ifname, err := r.conn.ReadFromLocal(b)
		if err != nil {
			return
		}
		msg := b[:n]
		switch {
		case n < headerSize+4:
		case msg[0] == 1 && ifname == "clients":
			r.request(msg)
		case msg[0] == 2 && from.Port() == dhcpServerPort:
			r.reply(msg)
		}
	}
}

// request passes a client's message on.
func (r *relay) request(msg []byte) {
	if msg[3] >= maxRelayHops {
		return
	}
	msg[3]++
	if [4]byte(msg[24:28]) == [4]byte{} {
		copy(msg[24:28], r.addr.AsSlice())
		if end := endOf(msg); len(r.option82) > 0 && end >= 0 {
			msg = append(msg[:end:end], 82, byte(len(r.option82)))
			msg = append(msg, r.option82...)
			msg = append(msg, optEnd)
		}
	}
	for _, server := range r.to {
		// One that cannot be reached is lost like a packet.
		_, _ = r.conn.WriteToLocal(msg, netip.AddrPortFrom(server, dhcpServerPort), r.addr, "")
	}
}

// reply passes a server's message on, RFC 1542 section 4.1.2.
func (r *relay) reply(msg []byte) {
	if [4]byte(msg[24:28]) != r.addr.As4() {
		return
	}
	if len(r.option82) > 0 {
		end := endOf(msg)
		start := end - len(r.option82) - 2
		if start < headerSize+4 || msg[start] != 82 || string(msg[start+2:end]) != string(r.option82) {
			return
		}
		msg = append(msg[:start:start], optEnd)
	}
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte(msg[16:20])), dhcpClientPort)
	src := netip.AddrPortFrom(r.addr, dhcpServerPort)
	ciaddr := netip.AddrFrom4([4]byte(msg[12:16]))
	switch {
	case binary.BigEndian.Uint16(msg[10:])&broadcastFlag != 0 || to.Addr().IsUnspecified() && ciaddr.IsUnspecified():
		to = netip.AddrPortFrom(broadcastAddr(), dhcpClientPort)
		_, _ = r.conn.WriteToLocal(msg, to, r.addr, "clients")
	case to.Addr().IsUnspecified():
		_, _ = r.conn.WriteToLocal(msg, netip.AddrPortFrom(ciaddr, dhcpClientPort), r.addr, "clients")
	default:
		_, _ = r.conn.WriteFrame(msg, src, to, msg[28:34], "clients")
	}
}

// endOf is where the END of the options is; -1 without one.
func endOf(msg []byte) int {
	for i := headerSize + 4; i < len(msg); {
		switch {
		case msg[i] == optEnd:
			return i
		case msg[i] == 0:
			i++
		case i+1 < len(msg):
			i += 2 + int(msg[i+1])
		default:
			return -1
		}
	}
	return -1
}
