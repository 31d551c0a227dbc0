package dhcp

import (
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// The sub-options of option 82 that the server itself reads.
const (
	relayLinkSelection  = 5  // RFC 3527
	relayServerOverride = 11 // RFC 5107
	relaySourcePort     = 19 // RFC 8357
)

// RelayOption returns a sub-option of option 82 (RFC 3046): code 1 is the
// circuit, 2 the remote side that the client's packet came from. It is nil if
// there is none, and empty for one without a value; of several with one code it
// is the first. Nothing is read from where the list ceases to make sense.
//
// Its bytes are the relay's: quote them before logging. Without a
// [Request.RelayAddr] a switch added them, or the client itself did, and nobody
// should rely on them who does not know the switches.
func (r *Request) RelayOption(code uint8) []byte {
	b := r.Packet.Options.Get(dhcpv4.OptionRelayAgentInformation)
	for len(b) >= 2 && len(b) >= 2+int(b[1]) {
		n := 2 + int(b[1])
		if b[0] == code {
			return b[2:n:n]
		}
		b = b[n:]
	}
	return nil
}

// fromRelay is a sub-option that the server acts upon: only a relay's, that is
// of a packet with giaddr (RFC 3046 section 2.1).
func (r *Request) fromRelay(code uint8) []byte {
	if !r.RelayAddr().IsValid() {
		return nil
	}
	return r.RelayOption(code)
}

// hostOf reads the address of a host, or of a subnet, out of an option; the zero
// Addr if it is none.
func hostOf(b []byte) netip.Addr {
	if len(b) != 4 {
		return netip.Addr{}
	}
	if a := addrOf(b); a.IsValid() && !a.IsMulticast() && a != broadcastAddr() {
		return a
	}
	return netip.Addr{}
}

// linkSelected is the subnet that the relay names instead of its own address
// (RFC 3527).
func (r *Request) linkSelected() netip.Addr { return hostOf(r.fromRelay(relayLinkSelection)) }

// subnetSelected is the subnet that option 118 asks for (RFC 3011).
func (r *Request) subnetSelected() netip.Addr {
	return hostOf(r.Packet.Options.Get(dhcpv4.OptionSubnetSelection))
}

// serverIdentifier is option 54 of our replies: our address, or the relay's
// where it wants to see renewals too (RFC 5107).
func (r *Request) serverIdentifier() netip.Addr {
	if a := hostOf(r.fromRelay(relayServerOverride)); a.IsValid() {
		return a
	}
	return r.ServerID
}

// relayPort is the port that the relay listens on: normally the one for all
// relays, its own source port where it says so (RFC 8357).
func (r *Request) relayPort(normal uint16) uint16 {
	if r.fromRelay(relaySourcePort) != nil && r.Source.Port() != 0 {
		return r.Source.Port()
	}
	return normal
}
