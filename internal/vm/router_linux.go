package vm

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/net/ipv6"
)

// routerAddr is the link-local address from which a Network's router speaks.
const routerAddr = "fe80::1"

// router answers router solicitations with "there is nothing here": a router
// advertisement without lifetime, prefix or DHCPv6. iPXE configures IPv6 beside
// IPv4 and goes on when both are settled; with no answer at all that takes it 17
// seconds of every boot.
type router struct {
	conn net.PacketConn
	done chan struct{}
}

func startRouter(bridge string) (*router, error) {
	iface, err := net.InterfaceByName(bridge)
	if err != nil {
		return nil, fmt.Errorf("vm: router on %s: %w", bridge, err)
	}
	conn, err := net.ListenPacket("ip6:ipv6-icmp", "::")
	if err != nil {
		return nil, fmt.Errorf("vm: router on %s: %w", bridge, err)
	}
	p := ipv6.NewPacketConn(conn)
	var only ipv6.ICMPFilter
	only.SetAll(true)
	only.Accept(ipv6.ICMPTypeRouterSolicitation)
	err = errors.Join(
		p.JoinGroup(iface, &net.IPAddr{IP: net.IPv6linklocalallrouters}),
		p.SetICMPFilter(&only),
		p.SetMulticastInterface(iface),
		p.SetMulticastHopLimit(255), // others are ignored: RFC 4861 section 6.1.2
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("vm: router on %s: %w", bridge, err), conn.Close())
	}
	r := &router{conn: conn, done: make(chan struct{})}
	go r.serve(&net.IPAddr{IP: net.IPv6linklocalallnodes, Zone: bridge})
	return r, nil
}

func (r *router) serve(nodes net.Addr) {
	defer close(r.done)
	// Type, code, checksum (by the kernel), hop limit, flags, lifetime, timers.
	advertisement := []byte{134, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	buf := make([]byte, 1500)
	for {
		if _, _, err := r.conn.ReadFrom(buf); err != nil {
			return
		}
		// A lost answer is like a lost question: it is asked again.
		_, _ = r.conn.WriteTo(advertisement, nodes)
	}
}

func (r *router) close() error {
	err := r.conn.Close()
	<-r.done
	return err
}
