package pxetest

import (
	"encoding/binary"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// DHCPServer is another DHCP server on a segment, such as the router of an office
// has: it gives addresses, itself as the router and DNS server, and no boot file. It
// answers any client, at once, and its leases do not end.
//
// The Set methods make it what a neighbour's server may be: slow, or meaning to
// boot machines itself. They take effect with the next message.
//
// All methods are safe for concurrent use.
type DHCPServer struct {
	host   *Host
	conn   *PacketConn
	prefix netip.Prefix
	last   netip.Addr

	mu       sync.Mutex
	next     netip.Addr // the first that was never given out
	leases   map[hwAddr]netip.Addr
	delay    time.Duration
	bootFile string
	siaddr   netip.Addr
	options  map[uint8][]byte
}

// DHCPServer puts a computer on the segment that hands out the addresses from first
// to last. prefix is its own address, with the mask.
func (s *Segment) DHCPServer(prefix, first, last string) *DHCPServer {
	s.t.Helper()
	d := &DHCPServer{host: s.Host("eth0", prefix), leases: make(map[hwAddr]netip.Addr), options: make(map[uint8][]byte)}
	var err, err2, err3 error
	d.prefix, err = netip.ParsePrefix(prefix)
	d.next, err2 = netip.ParseAddr(first)
	d.last, err3 = netip.ParseAddr(last)
	if err != nil || err2 != nil || err3 != nil || !d.prefix.Contains(d.next) || !d.prefix.Contains(d.last) || d.last.Less(d.next) {
		s.t.Fatalf("pxetest: the DHCP server %q cannot give out %q to %q: give addresses of its own network, first and last", prefix, first, last)
		return d
	}
	d.conn, err = d.host.ListenPacket(netip.AddrPortFrom(netip.IPv4Unspecified(), dhcpServerPort))
	if err != nil {
		s.t.Fatalf("pxetest: %v", err)
		return d
	}
	go d.run()
	return d
}

// SetBootFile makes it name a boot file, in the header as well as in option 67, on
// the server next (siaddr; the zero Addr: itself). "" is no file: then next alone is
// told, as GRUB behind a proxy needs it; or nothing for the zero Addr.
func (d *DHCPServer) SetBootFile(name string, next netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bootFile, d.siaddr = name, next
	if !next.IsValid() && name != "" {
		d.siaddr = d.prefix.Addr()
	}
}

// SetOption makes it send an option, at most 255 bytes, to everybody, in place of
// what it would send by itself: 60 with "PXEClient" and 43 are what misconfigured
// servers have. nil takes the option away.
func (d *DHCPServer) SetOption(code uint8, data []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.options[code] = slices.Clone(data)
}

// SetDelay makes its answers come so late.
func (d *DHCPServer) SetDelay(delay time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.delay = delay
}

// Leases are the addresses that it gave out, by hardware addresses in lower case.
func (d *DHCPServer) Leases() map[string]netip.Addr {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := make(map[string]netip.Addr)
	for hw, addr := range d.leases {
		m[net.HardwareAddr(hw[:]).String()] = addr
	}
	return m
}

// Close switches it off.
func (d *DHCPServer) Close() error { return d.host.Close() }

func (d *DHCPServer) run() {
	b := make([]byte, 1<<16)
	for {
		n, _, err := d.conn.ReadFrom(b)
		if err != nil {
			return
		}
		request := slices.Clone(b[:n])
		out := d.answer(request)
		if out == nil {
			continue
		}
		d.mu.Lock()
		delay := d.delay
		d.mu.Unlock()
		if delay == 0 {
			d.send(request, out)
			continue
		}
		time.AfterFunc(delay, func() { d.send(request, out) })
	}
}

// answer is the reply to a message, nil for none.
func (d *DHCPServer) answer(msg []byte) []byte {
	if len(msg) < headerSize+4 || msg[0] != 1 || msg[2] != 6 {
		return nil
	}
	asked, err := decodeOptions(msg[headerSize+4:])
	if err != nil {
		return nil
	}
	if id := asked[optServerID]; id != nil && string(id) != string(d.prefix.Addr().AsSlice()) {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	addr, ok := d.lease(hwAddr(msg[28:34]))
	if !ok {
		return nil
	}
	out := slices.Clone(msg[:headerSize+4])
	out[0], out[3] = 2, 0
	clear(out[12:24])
	clear(out[44:headerSize])
	kind := byte(msgOffer)
	switch asked[optMessageType][0] {
	case msgDiscover:
	case msgRequest:
		kind = msgAck
		wants := asked[optRequested]
		if wants == nil {
			wants = msg[12:16]
		}
		if string(wants) != string(addr.AsSlice()) {
			return append(out, d.encode(map[uint8][]byte{
				optMessageType: {msgNak}, optServerID: d.prefix.Addr().AsSlice(),
			})...)
		}
	default:
		return nil
	}
	copy(out[16:20], addr.AsSlice())
	self := d.prefix.Addr().AsSlice()
	options := map[uint8][]byte{
		optMessageType: {kind}, optServerID: self, optRouter: self, optDNS: self,
		optMask:      maskOf(d.prefix.Bits()).AsSlice(),
		optLeaseTime: binary.BigEndian.AppendUint32(nil, 24*60*60),
	}
	if d.siaddr.IsValid() {
		copy(out[20:24], d.siaddr.AsSlice())
	}
	if d.bootFile != "" {
		copy(out[108:headerSize-1], d.bootFile)
		options[optBootFile] = []byte(d.bootFile)
	}
	maps.Copy(options, d.options)
	return append(out, d.encode(options)...)
}

// lease wants mu held.
func (d *DHCPServer) lease(hw hwAddr) (netip.Addr, bool) {
	if addr, ok := d.leases[hw]; ok {
		return addr, true
	}
	if d.last.Less(d.next) || !d.next.IsValid() {
		return netip.Addr{}, false
	}
	addr := d.next
	d.leases[hw], d.next = addr, addr.Next()
	return addr, true
}

// encode writes the message type first and the rest by code.
func (d *DHCPServer) encode(options map[uint8][]byte) []byte {
	b := []byte{optMessageType, 1, options[optMessageType][0]}
	for _, code := range slices.Sorted(maps.Keys(options)) {
		if data := options[code]; code != optMessageType && data != nil && len(data) <= 255 {
			b = append(append(b, code, byte(len(data))), data...)
		}
	}
	return append(b, optEnd)
}

// send brings the reply where the client hears it, RFC 2131 section 4.1.
func (d *DHCPServer) send(request, out []byte) {
	src := netip.AddrPortFrom(d.prefix.Addr(), dhcpServerPort)
	relay := netip.AddrFrom4([4]byte(request[24:28]))
	yours := netip.AddrFrom4([4]byte(out[16:20]))
	// What cannot be sent is lost, as a packet may be.
	switch {
	case !relay.IsUnspecified():
		_, _ = d.conn.WriteToLocal(out, netip.AddrPortFrom(relay, dhcpServerPort), src.Addr(), "")
	case yours.IsUnspecified() || binary.BigEndian.Uint16(request[10:])&broadcastFlag != 0:
		_, _ = d.conn.WriteToLocal(out, netip.AddrPortFrom(broadcastAddr(), dhcpClientPort), src.Addr(), "eth0")
	default:
		_, _ = d.conn.WriteFrame(out, src, netip.AddrPortFrom(yours, dhcpClientPort), request[28:34], "eth0")
	}
}
