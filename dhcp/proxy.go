package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// unwanted says which packets the mode of their network leaves alone, before
// they take a place among the clients in work: on a network with another DHCP
// server most are none of our business.
func unwanted(r *Request) DropReason {
	boots, t := r.Client.Kind != Plain, r.Type()
	switch {
	case r.Client.Kind == UBoot && r.Network.Mode != Full:
		// It would take a proxy's OFFER for one of an address, and REQUEST 0.0.0.0.
	case r.PXEPort:
		// PXE 2.1 section 2.5.3: both are answered with an ACK.
		if boots && (t == dhcpv4.MessageTypeRequest || t == dhcpv4.MessageTypeInform) {
			return ""
		}
	case r.Network.Mode == Full:
		return ""
	case t == dhcpv4.MessageTypeRequest:
		// Heard and not answered, also of plain clients: such is the initramfs of
		// a machine that boots from us, and here it says which address it takes.
		return ""
	case r.Network.Mode == Proxy && t == dhcpv4.MessageTypeDiscover && boots:
		return ""
	}
	return NotForUs
}

// proxy answers at port 67 where another server gives out the addresses. What
// unwanted lets through besides DISCOVER is only heard.
func (s *Server) proxy(ctx context.Context, r *Request) (*dhcpv4.DHCPv4, DropReason, error) {
	if r.Type() != dhcpv4.MessageTypeDiscover {
		return nil, "", nil
	}
	if a := addrOf(r.Packet.ClientIPAddr); r.Prefix.Contains(a) {
		r.YourAddr = a
	}
	file, err := s.bootFile(ctx, r)
	if err != nil {
		return nil, Error, err
	}
	if file == nil {
		return nil, Policy, nil // an OFFER would keep the machine from what it boots otherwise
	}
	reply := newBootReply(r, dhcpv4.MessageTypeOffer)
	if r.RelayAddr().IsValid() {
		// There is no address that a relay could send it to.
		reply.SetBroadcast()
	}
	if r.Client.Kind == PXE && r.Client.Style&StyleAsk4011 != 0 {
		err = s.sendTo4011(reply, r, file)
	} else {
		err = addBootFile(reply, r, file)
	}
	if err != nil {
		return nil, Error, fmt.Errorf("boot file %q: %w", file.Name, err)
	}
	return reply, "", nil
}

// sendTo4011 makes an OFFER out of which firmware learns only whom to ask for its
// boot file. UEFI asks at siaddr before option 54, so that it must be our own
// address wherever the files are.
func (s *Server) sendTo4011(reply *dhcpv4.DHCPv4, r *Request, f *BootFile) error {
	if err := f.check(r.Client); err != nil {
		return err // now rather than when it asks
	}
	if !s.PXE {
		return errors.New("dhcp: the client would ask for it at port 4011, where nobody listens; call ServePXE and say so in Server.PXE, or set a Style without StyleAsk4011")
	}
	reply.ServerIPAddr = r.ServerID.AsSlice()
	return nil
}

// deliver says where a reply goes: at port 67 what a proxy sends to its own
// segment is broadcast, because the client has no address and is given none.
func (s *Server) deliver(r *Request, reply *dhcpv4.DHCPv4) Delivery {
	switch {
	case r.PXEPort:
		return deliverPXE(r)
	case r.Network.Mode == Full || r.RelayAddr().IsValid():
		return s.route(r, reply)
	}
	port := portOr(s.ClientPort, defaultClientPort)
	return Delivery{Route: ByBroadcast, To: netip.AddrPortFrom(broadcastAddr(), port), Interface: r.Interface, From: r.ServerID}
}
