package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// answer decides what a request gets. A nil reply with an empty reason is a
// request that was acted upon and has no reply by the protocol.
func (s *Server) answer(ctx context.Context, r *Request) (*dhcpv4.DHCPv4, DropReason, error) {
	switch {
	case r.PXEPort:
		return s.bootServer(ctx, r)
	case r.Network.Mode != Full:
		return s.proxy(ctx, r)
	}
	switch r.Type() {
	case dhcpv4.MessageTypeDiscover:
		lease, err := s.discover(ctx, r)
		if err != nil {
			return nil, reasonOf(err), err
		}
		if lease == nil {
			return nil, Policy, nil
		}
		return s.grant(ctx, r, dhcpv4.MessageTypeOffer, lease)
	case dhcpv4.MessageTypeRequest:
		return s.request(ctx, r)
	case dhcpv4.MessageTypeRelease, dhcpv4.MessageTypeDecline:
		reason, err := s.giveBack(ctx, r)
		return nil, reason, err
	case dhcpv4.MessageTypeInform:
		return inform(r)
	}
	return nil, RFCViolation, nil // decode lets nothing else through
}

// request answers a DHCPREQUEST (RFC 2131 section 4.3.2).
func (s *Server) request(ctx context.Context, r *Request) (*dhcpv4.DHCPv4, DropReason, error) {
	state := r.state()
	if state == stateNone {
		return nil, RFCViolation, errors.New("dhcp: REQUEST with neither ciaddr nor option 50")
	}
	if r.Packet.Options.Has(dhcpv4.OptionServerIdentifier) && !r.ours(r.serverOption()) {
		r.withdraw(ctx)
		return nil, NotForUs, nil
	}
	if state == stateBound && r.Packet.Options.Has(dhcpv4.OptionRequestedIPAddress) {
		s.drops.Add(RFCViolation)
	}
	lease, err := r.Network.Leases.Request(ctx, r)
	switch {
	case errors.Is(err, ErrNAK):
		return refuse(r, state)
	case err != nil:
		return nil, reasonOf(err), err
	case lease == nil:
		return unknown(r, state)
	case lease.Prefix().Addr() != r.RequestedAddr():
		return refuse(r, state)
	}
	return s.grant(ctx, r, dhcpv4.MessageTypeAck, lease)
}

// refuse tells a client that it may not have the address it asked for. In
// SELECTING it asked us and nobody else; otherwise, unless we are the only
// server, an address of another network may be another server's to judge.
func refuse(r *Request, state state) (*dhcpv4.DHCPv4, DropReason, error) {
	if state != stateSelecting && !r.Network.Authoritative && !r.Prefix.Contains(r.RequestedAddr()) {
		return nil, Policy, fmt.Errorf("dhcp: %s is not of this network, and the network is not Authoritative", r.RequestedAddr())
	}
	return newNAK(r), "", nil
}

// unknown answers a client of which the policy knows nothing: silence, or from
// an authoritative server a NAK where the client's address is certainly wrong.
// A client in INIT-REBOOT with an address of this network must hear nothing
// even then.
func unknown(r *Request, state state) (*dhcpv4.DHCPv4, DropReason, error) {
	offNet := !r.Prefix.Contains(r.RequestedAddr())
	if r.Network.Authoritative && (state == stateBound || state == stateReboot && offNet) {
		return newNAK(r), "", nil
	}
	return nil, Policy, nil
}

// grant makes the OFFER or ACK of a lease, with the boot file of a machine that
// boots over the network.
func (s *Server) grant(ctx context.Context, r *Request, t dhcpv4.MessageType, lease Lease) (*dhcpv4.DHCPv4, DropReason, error) {
	reply, err := newOffer(r, t, lease)
	if err != nil {
		return nil, Error, err
	}
	r.YourAddr = lease.Prefix().Addr()
	file, err := s.bootFile(ctx, r)
	if err != nil {
		return nil, Error, err
	}
	if file == nil {
		return reply, "", nil
	}
	if err := addBootFile(reply, r, file); err != nil {
		return nil, Error, fmt.Errorf("boot file %q: %w", file.Name, err)
	}
	if err := addResolver(reply, r, file); err != nil {
		return nil, Error, fmt.Errorf("boot file %q: %w", file.Name, err)
	}
	return reply, "", nil
}

// bootFile asks what a machine boots; nil: nothing.
func (s *Server) bootFile(ctx context.Context, r *Request) (*BootFile, error) {
	if r.Client.Kind == Plain || s.BootFile == nil {
		return nil, nil
	}
	file, err := s.BootFile(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("boot file: %w", err)
	}
	if file != nil && file.Style != 0 && r.Client.Kind == PXE {
		r.Client.Style = file.Style // which tells whoever traces what was done
	}
	return file, nil
}

// giveBack handles DHCPRELEASE and DHCPDECLINE, which have no reply.
func (s *Server) giveBack(ctx context.Context, r *Request) (reason DropReason, err error) {
	if r.Packet.Options.Has(dhcpv4.OptionServerIdentifier) && !r.ours(r.serverOption()) {
		return NotForUs, nil
	}
	if !r.RequestedAddr().IsValid() {
		return RFCViolation, fmt.Errorf("dhcp: %s without an address", r.Type())
	}
	if r.Type() == dhcpv4.MessageTypeRelease {
		err = r.Network.Leases.Release(ctx, r)
	} else if err = r.Network.Leases.Decline(ctx, r); err == nil {
		s.log().Warn("dhcp: address declined: another machine uses it",
			"addr", r.RequestedAddr(), "client", r.HardwareAddr().String(), "interface", r.Interface)
	}
	if err != nil {
		return reasonOf(err), err
	}
	return "", nil
}

// inform answers a DHCPINFORM: the client has an address and wants the rest.
// Whoever does not have an address of this network is not answered, or a forged
// packet would send our replies anywhere.
func inform(r *Request) (*dhcpv4.DHCPv4, DropReason, error) {
	client := informAddr(r)
	if !client.IsValid() {
		return nil, RFCViolation, errors.New("dhcp: INFORM without an address")
	}
	if !r.Prefix.Contains(client) {
		return nil, NoNetwork, fmt.Errorf("dhcp: INFORM of %s, which is not in %s", client, r.Prefix.Masked())
	}
	reply, err := newInformAck(r, client)
	if err != nil {
		return nil, Error, err
	}
	return reply, "", nil
}

// informAddr is ciaddr, or the packet's source for a client that left it out.
func informAddr(r *Request) netip.Addr {
	if a := addrOf(r.Packet.ClientIPAddr); a.IsValid() {
		return a
	}
	if a := r.Source.Addr().Unmap(); a.Is4() && !a.IsUnspecified() && !r.RelayAddr().IsValid() {
		return a
	}
	return netip.Addr{}
}

// reasonOf names an error of a lease policy.
func reasonOf(err error) DropReason {
	switch {
	case errors.Is(err, ErrNoAddress):
		return NoAddress
	case errors.Is(err, ErrNotHolder), errors.Is(err, ErrNAK):
		return Policy
	case errors.Is(err, ErrLimit):
		return LimitExceeded
	}
	return Error
}
