package dhcp

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

const (
	// defaultDetectTime is more than the three seconds for which dnsmasq pings an
	// address before it offers it; ISC dhcpd does so for one second.
	defaultDetectTime = 5 * time.Second
	// maxDetected bounds what a hostile host can make us keep.
	maxDetected = 64
)

// Detection says how [Detect] looks for servers. The zero value is ready where
// there is one interface.
type Detection struct {
	// Interface is the one to look on ("eth1"). It takes a conn that is a
	// [LocalWriter] and a [LocalReader]; "" leaves the choice to the conn, and
	// takes answers from everywhere.
	Interface string
	// HardwareAddr is the client's that asks, six bytes. nil makes up one that is
	// locally administered. A switch that lets nobody ask for others needs the
	// interface's own.
	HardwareAddr net.HardwareAddr
	// Own are the addresses of servers that are known and left out, by the address
	// that they answer from or name themselves by: our own above all.
	Own []netip.Addr
	// Duration is how long answers are waited for. Zero: five seconds, since
	// servers try whether an address is free before they offer it.
	Duration time.Duration
	// ServerPort is the port that servers listen on. Zero: 67.
	ServerPort uint16
}

// Detect finds other DHCP servers, proxyDHCP servers and what else answers
// machines that boot over the network, on the segment of an interface and behind
// its relays. It asks with DISCOVERs, as a plain client, as a BIOS and an x64 UEFI
// machine by PXE and as one by UEFI HTTP Boot, twice each. It never takes an
// offer: servers hold an address for a minute or so and lease nothing.
//
// conn is bound to port 68 of no or any address, and may have the upgrades
// [LocalReader] and [LocalWriter]; nobody else may read from it. It must honour
// SetReadDeadline. Detect leaves it open, and without a deadline. On Linux a
// server on this host hears a broadcast of its own host, and is found too unless
// it is in d.Own.
//
// The result has one Detected for each server, sorted by address, 64 at most. If
// ctx ends before the time is over, or the conn fails, what was found until then
// comes with the error.
func Detect(ctx context.Context, conn net.PacketConn, d Detection) ([]Detected, error) {
	if err := d.validate(); err != nil {
		return nil, err
	}
	on := &detecting{Detection: d, conn: upgrade(conn), servers: make(map[netip.Addr]*Detected)}
	on.Duration = cmp.Or(d.Duration, defaultDetectTime)
	on.makeProbes()

	running, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	running, cancel := context.WithTimeout(running, on.Duration)
	defer cancel()
	woken := make(chan struct{})
	stop := context.AfterFunc(running, func() {
		defer close(woken)
		if conn.SetReadDeadline(time.Unix(1, 0)) != nil {
			_ = conn.Close() // or the read would not end
		}
	})
	sending := make(chan error, 1)
	go func() {
		err := on.send(running)
		if err != nil {
			fail(err)
		}
		sending <- err
	}()
	err := on.collect(running)
	cancel()
	if !stop() {
		<-woken
	}
	_ = conn.SetReadDeadline(time.Time{})
	return on.found(), errors.Join(err, <-sending, ctx.Err())
}

func (d *Detection) validate() error {
	if d.HardwareAddr != nil && len(d.HardwareAddr) != 6 {
		return fmt.Errorf("dhcp: detection: hardware address %s has %d bytes, not 6; leave it nil to have one made up", d.HardwareAddr, len(d.HardwareAddr))
	}
	if d.Duration < 0 {
		return fmt.Errorf("dhcp: detection: Duration is %s; use 0 for the default", d.Duration)
	}
	return nil
}

// detecting is one call of Detect.
type detecting struct {
	Detection
	conn    *upgraded
	hw      net.HardwareAddr
	probes  []probe
	servers map[netip.Addr]*Detected
}

// probe is a client that is played. The first in the list that gets a boot file
// is the one whose file is told.
type probe struct {
	kind   Kind
	xid    dhcpv4.TransactionID
	packet []byte
}

func (on *detecting) makeProbes() {
	on.hw = on.HardwareAddr
	if on.hw == nil {
		on.hw = make(net.HardwareAddr, 6)
		_, _ = rand.Read(on.hw)       // never fails
		on.hw[0] = on.hw[0]&^1&^2 | 2 // of one host, locally administered
	}
	uuid := make([]byte, 17)
	_, _ = rand.Read(uuid[1:])
	for _, c := range []struct {
		kind  Kind
		class string
		arch  Arch
		undi  []byte // option 94
	}{
		{PXE, classPXE + ":Arch:00000:UNDI:002001", ArchBIOS, []byte{1, 2, 1}},
		{PXE, classPXE + ":Arch:00007:UNDI:003016", ArchX64, []byte{1, 3, 16}},
		{HTTPBoot, classHTTP + ":Arch:00016:UNDI:003016", ArchX64HTTP, []byte{1, 3, 16}},
		{Plain, "", 0, nil},
	} {
		p := &dhcpv4.DHCPv4{
			OpCode: dhcpv4.OpcodeBootRequest, HWType: iana.HWTypeEthernet, ClientHWAddr: on.hw,
			ClientIPAddr: net.IPv4zero, YourIPAddr: net.IPv4zero, ServerIPAddr: net.IPv4zero, GatewayIPAddr: net.IPv4zero,
			Options: dhcpv4.Options{
				53: {byte(dhcpv4.MessageTypeDiscover)},
				55: {1, 3, 6, 15, 28, 43, 54, 60, 66, 67, 97},
				57: {5, 0xc0}, // 1472
			},
		}
		_, _ = rand.Read(p.TransactionID[:])
		p.SetBroadcast() // we have no address that an answer could be sent to
		if c.kind != Plain {
			p.Options[60], p.Options[93] = []byte(c.class), []byte{0, byte(c.arch)}
			p.Options[94], p.Options[97] = c.undi, uuid
		}
		on.probes = append(on.probes, probe{c.kind, p.TransactionID, p.ToBytes()})
	}
}

// send sends the probes at once and in the middle of the time.
func (on *detecting) send(ctx context.Context) error {
	to := Delivery{
		Route: ByBroadcast, Interface: on.Interface,
		To: netip.AddrPortFrom(broadcastAddr(), portOr(on.ServerPort, defaultServerPort)),
	}
	again := time.NewTimer(on.Duration / 2)
	defer again.Stop()
	for range 2 {
		for _, p := range on.probes {
			if ctx.Err() != nil {
				return nil
			}
			if _, err := on.conn.send(p.packet, to, 0); err != nil {
				return fmt.Errorf("dhcp: detection: %w", err)
			}
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// collect reads answers until ctx ends.
func (on *detecting) collect(ctx context.Context) error {
	buf := make([]byte, maxPacket+1)
	for {
		n, from, _, ifname, err := on.conn.read(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			if on.Interface == "" || ifname == "" || ifname == on.Interface {
				on.heard(buf[:n], from)
			}
		case !transient(err):
			return fmt.Errorf("dhcp: detection: reading from socket %s: %w", on.conn.LocalAddr(), err)
		default:
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
}

// heard notes what a packet tells, if it is an offer for us.
func (on *detecting) heard(b []byte, from netip.AddrPort) {
	p, rank := on.parse(b)
	if p == nil {
		return
	}
	id := optionAddr(p, dhcpv4.OptionServerIdentifier)
	if !id.IsValid() {
		id = from.Addr()
	}
	if !id.Is4() || id.IsUnspecified() || slices.Contains(on.Own, id) || slices.Contains(on.Own, from.Addr()) {
		return
	}
	server := on.servers[id]
	if server == nil {
		if len(on.servers) == maxDetected {
			return
		}
		server = &Detected{ServerID: id, Source: from, rank: len(on.probes)}
		on.servers[id] = server
	}
	server.add(p, on.probes[rank].kind, rank)
}

// parse reads a DHCPOFFER that answers one of our probes, and says which. It
// returns nil for everything else, whatever its bytes.
func (on *detecting) parse(b []byte) (p *dhcpv4.DHCPv4, rank int) {
	if len(b) < offsetOptions || len(b) > maxPacket || string(b[offsetCookie:offsetOptions]) != magicCookie ||
		b[0] != byte(dhcpv4.OpcodeBootReply) || int(b[2]) != len(on.hw) ||
		string(b[offsetChaddr:offsetChaddr+len(on.hw)]) != string(on.hw) {
		return nil, 0
	}
	rank = slices.IndexFunc(on.probes, func(p probe) bool { return string(b[4:8]) == string(p.xid[:]) })
	if rank < 0 {
		return nil, 0
	}
	if n, ended := scanOptions(b[offsetOptions:]); n < 0 {
		return nil, 0
	} else if !ended {
		b = append(b[:len(b):len(b)], optionEnd) // the codec refuses what has none
	}
	p, err := dhcpv4.FromBytes(b)
	if err != nil || joinOverloaded(p, b) != nil || p.MessageType() != dhcpv4.MessageTypeOffer {
		return nil, 0
	}
	return p, rank
}

func (on *detecting) found() []Detected {
	var list []Detected
	for _, server := range on.servers {
		list = append(list, *server)
	}
	slices.SortFunc(list, func(a, b Detected) int { return a.ServerID.Compare(b.ServerID) })
	return list
}
