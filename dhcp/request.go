package dhcp

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Request is one packet of a client, checked and classified. It is shared by
// the lease policy, the boot file hook and the trace hooks: none may change it
// or anything it points to, nor keep it after they return.
type Request struct {
	// Packet is the decoded packet. Options spread over several instances or
	// over the file and sname fields (option 52) are joined. Options whose
	// length cannot be right are taken out where the packet makes sense without
	// them (51, 57, 61).
	//
	// Its values are the client's bytes: quote them before logging, and never
	// call its Summary, String or DomainSearch methods, which expand compressed
	// names without a bound.
	Packet *dhcpv4.DHCPv4
	// Client says what kind of machine, and which stage of its boot, this is.
	Client Client
	// Network is the network the client is on: the one that its relay, or the
	// relay's address, selects, or else one of Interface. Where networks share
	// a link it is the one of the address that the client has or asks for; for
	// a DISCOVER it becomes the one of each policy that is asked, and then of
	// the one that had an address.
	Network *Network
	// Prefix is the subnet of Network with our own address in it: Network.Addr
	// where it is set, else what the conn said when the packet came in. For a
	// network of relays it is Network.Subnet.
	Prefix netip.Prefix
	// Interface is the interface that the packet came in on, "" if unknown.
	Interface string
	// Source and Destination are those of the IP header. Destination is the
	// zero Addr when the conn is no [LocalReader].
	Source      netip.AddrPort
	Destination netip.Addr
	// ServerID is our own address on this client's path: the one that the packet
	// was sent to, else the one on its network, or for a network of relays one
	// on Interface. It is option 54 of our replies, unless the relay puts itself
	// there (RFC 5107). It is never zero.
	ServerID netip.Addr
	// ServerAddr is our address as this client reaches it, to be put into
	// boot URLs and into siaddr: Network.ServerAddr if set, else ServerID.
	ServerAddr netip.Addr
	// PXEPort says that the packet came in at port 4011 ([Server.ServePXE]).
	PXEPort bool
	// YourAddr is the address about to be offered or acknowledged. It is set
	// when the boot file hook and the trace hooks Sending and Sent are called;
	// it is the zero Addr before, and for a NAK and an INFORM. Where we give no
	// address it is the one that the client has: at port 4011 that is known from
	// the start, to a proxy's OFFER hardly ever.
	YourAddr netip.Addr
	// Received is when the packet was read.
	Received time.Time

	// chaddr is the whole hardware address field: clients compare its padding.
	chaddr [16]byte
	// lister knows our other addresses on the interface; nil if the conn does not.
	lister AddrLister
	// places are where the client may be, one at least: the networks of its link.
	places []place
	// subnetHeeded: option 118 had a say in places, and is echoed.
	subnetHeeded bool
}

// Type is the DHCP message type (option 53).
func (r *Request) Type() dhcpv4.MessageType { return typeOf(r.Packet) }

// typeOf is what the codec's MessageType says, which allocates.
func typeOf(p *dhcpv4.DHCPv4) dhcpv4.MessageType {
	v := p.Options[uint8(dhcpv4.OptionDHCPMessageType)]
	if len(v) != 1 {
		return dhcpv4.MessageTypeNone
	}
	return dhcpv4.MessageType(v[0])
}

// HardwareAddr is the client's hardware address (chaddr, cut to hlen), which is
// empty for the rare client that has none and identifies itself by option 61.
func (r *Request) HardwareAddr() net.HardwareAddr { return r.Packet.ClientHWAddr }

// ClientID is option 61, nil if absent. It differs between the firmware, the
// loader and the operating system of one machine.
func (r *Request) ClientID() []byte { return r.Packet.Options.Get(dhcpv4.OptionClientIdentifier) }

// RequestedAddr is the address that the client asks for or says it uses: ciaddr
// if it is set, else option 50, else the zero Addr.
func (r *Request) RequestedAddr() netip.Addr {
	if a := addrOf(r.Packet.ClientIPAddr); a.IsValid() {
		return a
	}
	return optionAddr(r.Packet, dhcpv4.OptionRequestedIPAddress)
}

// RelayAddr is the address of the relay on the client's subnet (giaddr), and
// the zero Addr for a client on our own segment.
func (r *Request) RelayAddr() netip.Addr { return addrOf(r.Packet.GatewayIPAddr) }

// serverOption is the server that the client names in option 54.
func (r *Request) serverOption() netip.Addr {
	return optionAddr(r.Packet, dhcpv4.OptionServerIdentifier)
}

// ours reports whether a is one of this server's addresses: any of them may
// come back in option 54 (RFC 2131 section 4.1).
func (r *Request) ours(a netip.Addr) bool {
	if a == r.ServerID || a == r.ServerAddr || a == r.serverIdentifier() ||
		slices.ContainsFunc(r.places, func(p place) bool { return p.network.onLink() && a == p.prefix.Addr() }) {
		return true
	}
	if r.lister == nil {
		return false
	}
	prefixes, err := r.lister.InterfaceAddrs(r.Interface)
	return err == nil && slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Addr().Unmap() == a })
}

// key identifies the client over all stages of its boot: by the hardware
// address, which they share, and only where there is none by the client-id.
func (r *Request) key() string { return clientKey(r.HardwareAddr(), r.ClientID()) }

func clientKey(hw net.HardwareAddr, id []byte) string {
	if len(hw) > 0 {
		return "h" + string(hw)
	}
	return "i" + string(id)
}

// state is one of the four states in which a client sends a REQUEST.
type state int

const (
	stateNone      state = iota // none of them: RFC 2131 knows no such REQUEST
	stateSelecting              // chooses one of the offers
	stateReboot                 // verifies an address it remembers (INIT-REBOOT)
	stateBound                  // extends its lease (RENEWING or REBINDING)
)

// state tells the states apart as RFC 2131 section 4.3.2 does. A packet with
// both ciaddr and option 50, which is illegal, goes by its ciaddr.
func (r *Request) state() state {
	switch {
	case addrOf(r.Packet.ClientIPAddr).IsValid():
		return stateBound
	case !optionAddr(r.Packet, dhcpv4.OptionRequestedIPAddress).IsValid():
		return stateNone
	case r.Packet.Options.Has(dhcpv4.OptionServerIdentifier):
		return stateSelecting
	default:
		return stateReboot
	}
}

// addrOf returns an address field of a packet, and the zero Addr for 0.0.0.0.
func addrOf(ip net.IP) netip.Addr {
	a, ok := netip.AddrFromSlice(ip)
	if a = a.Unmap(); !ok || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

func optionAddr(p *dhcpv4.DHCPv4, code dhcpv4.OptionCode) netip.Addr {
	b := p.Options.Get(code)
	if len(b) != 4 {
		return netip.Addr{}
	}
	return addrOf(b)
}
