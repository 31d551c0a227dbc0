package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// ServePXE is [Server.Serve] for port 4011, where firmware asks for its boot file
// when it has its address from elsewhere: after an OFFER of ours in mode Proxy,
// or because another server's options send it here. Networks of all modes are
// answered there; those of mode Full say the same as at port 67.
//
// It may run beside Serve, and shares the lifecycle, the limits and the hooks
// with it. conn may have the same upgrades; replies leave from conn, whose port
// clients check.
//
// Only clients are answered whose source address lies in a network that is
// served, so that nobody can have replies sent to strangers.
func (s *Server) ServePXE(conn net.PacketConn) error { return s.serve(conn, true) }

// locatePXE is locate for port 4011. The client has its address by then and sends
// from it, through routers where it is far away: its source says which network
// it is on. giaddr says nothing, since relays leave this port alone.
func (s *Server) locatePXE(r *Request, lister AddrLister) (DropReason, error) {
	client := r.Source.Addr()
	if !client.Is4() || client.IsUnspecified() || client.IsMulticast() || client == broadcastAddr() || r.Source.Port() == 0 {
		return RFCViolation, fmt.Errorf("dhcp: asked at port 4011 from %s, which cannot be answered", r.Source)
	}
	r.lister = lister
	reason, err := NotForUs, error(nil)
	// Another interface than the network's is the way of a client behind a
	// router; the network of the interface itself goes before.
	for _, direct := range []bool{true, false} {
		for i := range s.Networks {
			n := &s.Networks[i]
			at := n.Interface == r.Interface || n.Interface == "" || r.Interface == "" && len(s.Networks) == 1
			if at != direct {
				continue
			}
			if !at && (reason == NotForUs || n.Subnet.IsValid()) {
				continue // not an interface that is served, or not that of this subnet
			}
			p, e := placeOf(r, n, client)
			switch {
			case e != nil:
				reason, err = NoServerAddr, errors.Join(err, e)
			case p.prefix.Contains(client):
				r.settlePXE(p)
				return "", nil
			case reason == NotForUs:
				reason = NoNetwork
			}
		}
	}
	if reason == NoNetwork {
		err = fmt.Errorf("dhcp: asked at port 4011 by %s, which is in none of the networks served", client)
	}
	return reason, err
}

// settlePXE enters the place of a client that has its address already.
func (r *Request) settlePXE(p place) {
	if r.Interface == "" {
		r.Interface = p.network.Interface
	}
	r.places = []place{p}
	r.enter(p)
	r.YourAddr = r.Source.Addr() // what ciaddr says nobody has proved
}

// bootServer answers at port 4011 (PXE 2.1 section 2.2.4): an ACK with the boot
// file and without an address. Whom option 54 names does not matter: whoever
// asks here asks us, and firmware may name the server of its lease.
func (s *Server) bootServer(ctx context.Context, r *Request) (*dhcpv4.DHCPv4, DropReason, error) {
	item, asked := r.BootItem()
	if asked && item.Layer&pxeCredentials != 0 {
		return nil, NotForUs, fmt.Errorf("dhcp: asks for the credentials of boot item %d; there are none", item.Type)
	}
	file, err := s.bootFile(ctx, r)
	if err != nil {
		return nil, Error, err
	}
	if file == nil {
		return nil, Policy, nil
	}
	if asked && item.Type != file.Item {
		// Note 6 of PXE 2.1 section 2.5: it waits for the server that has it.
		return nil, NotForUs, fmt.Errorf("dhcp: asks for boot item %d, this server has %d", item.Type, file.Item)
	}
	reply := newBootReply(r, dhcpv4.MessageTypeAck)
	reply.ClientIPAddr = r.Packet.ClientIPAddr
	err = addBootFile(reply, r, file)
	if err == nil && asked {
		err = addBootItem(reply, item)
	}
	if err != nil {
		return nil, Error, fmt.Errorf("boot file %q: %w", file.Name, err)
	}
	return reply, "", nil
}

// deliverPXE sends a reply to where the request came from: EDK2 asks from port
// 4011, others from 68.
func deliverPXE(r *Request) Delivery {
	return Delivery{Route: ByUnicast, To: r.Source, Interface: r.Interface, From: r.ServerID}
}
