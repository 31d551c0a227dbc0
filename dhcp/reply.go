package dhcp

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// roomForOptions is how many options most replies have at most, so that the map
// need not grow.
const roomForOptions = 14

// newReply starts a reply with what RFC 2131 table 3 has in all of them.
func newReply(r *Request, t dhcpv4.MessageType) *dhcpv4.DHCPv4 {
	p := &dhcpv4.DHCPv4{
		OpCode:        dhcpv4.OpcodeBootReply,
		HWType:        r.Packet.HWType,
		TransactionID: r.Packet.TransactionID,
		Flags:         r.Packet.Flags,
		GatewayIPAddr: r.Packet.GatewayIPAddr,
		ClientHWAddr:  r.Packet.ClientHWAddr,
		Options:       make(dhcpv4.Options, roomForOptions),
	}
	p.Options[53] = []byte{byte(t)}
	p.Options[54] = r.serverIdentifier().AsSlice()
	// RFC 6842 section 3: returned as it came, also in a NAK.
	if id := r.ClientID(); id != nil {
		p.Options[61] = id
	}
	// RFC 3046 section 2.2: the relay finds its way back by it.
	if relay := r.Packet.Options.Get(dhcpv4.OptionRelayAgentInformation); len(relay) > 0 {
		p.Options[82] = relay
	}
	return p
}

// newNAK makes a DHCPNAK. A relay must broadcast it: the client has no address
// that it may use (RFC 2131 section 4.3.2).
func newNAK(r *Request) *dhcpv4.DHCPv4 {
	p := newReply(r, dhcpv4.MessageTypeNak)
	if r.RelayAddr().IsValid() {
		p.SetBroadcast()
	}
	p.Options[56] = []byte("the address may not be used here")
	return p
}

// newOffer makes a DHCPOFFER or DHCPACK of a lease.
func newOffer(r *Request, t dhcpv4.MessageType, lease Lease) (*dhcpv4.DHCPv4, error) {
	p := newReply(r, t)
	prefix, err := leasePrefix(r, lease)
	if err != nil {
		return nil, err
	}
	p.YourIPAddr = prefix.Addr().AsSlice()
	if t == dhcpv4.MessageTypeAck {
		p.ClientIPAddr = r.Packet.ClientIPAddr
	}
	if err := addNetwork(p, r, prefix); err != nil {
		return nil, err
	}
	seconds := leaseSeconds(lease.Expiry(), r.Received)
	p.Options[51] = binary.BigEndian.AppendUint32(nil, seconds)
	if seconds >= 8 && seconds != math.MaxUint32 {
		p.Options[58] = binary.BigEndian.AppendUint32(nil, seconds/2)
		p.Options[59] = binary.BigEndian.AppendUint32(nil, seconds-seconds/8)
	}
	if o, ok := lease.(LeaseOptions); ok {
		if err := mergeOptions(p.Options, o.LeaseOptions(), wanted(r)); err != nil {
			return nil, fmt.Errorf("options of the lease of %s: %w", prefix.Addr(), err)
		}
	}
	return p, nil
}

// newInformAck answers a DHCPINFORM: everything but a lease.
func newInformAck(r *Request, client netip.Addr) (*dhcpv4.DHCPv4, error) {
	p := newReply(r, dhcpv4.MessageTypeAck)
	p.ClientIPAddr = client.AsSlice()
	return p, addNetwork(p, r, r.Prefix)
}

// addNetwork adds what belongs to the network, and siaddr, from which also
// clients that boot nothing read their server: the initramfs of archiso does.
func addNetwork(p *dhcpv4.DHCPv4, r *Request, prefix netip.Prefix) error {
	p.ServerIPAddr = r.ServerAddr.AsSlice()
	want := wanted(r)
	p.Options[1] = maskOf(prefix)
	if r.subnetHeeded {
		p.Options[118] = r.Packet.Options.Get(dhcpv4.OptionSubnetSelection)
	}
	if n := r.Network; n != nil {
		if len(n.Routers) > 0 && want(3) {
			p.Options[3] = joinAddrs(n.Routers)
		}
		if len(n.DNS) > 0 && want(6) {
			p.Options[6] = joinAddrs(n.DNS)
		}
		if n.Domain != "" && want(15) {
			p.Options[15] = []byte(n.Domain)
		}
		if err := mergeOptions(p.Options, n.Options, want); err != nil {
			return err
		}
	}
	if slices.Contains(r.Packet.Options.Get(dhcpv4.OptionParameterRequestList), 28) && p.Options[28] == nil {
		p.Options[28] = broadcastOf(prefix).AsSlice()
	}
	echoMachineID(p, r)
	return nil
}

// echoMachineID returns option 97 (RFC 4578 section 2.3).
func echoMachineID(p *dhcpv4.DHCPv4, r *Request) {
	if id := machineID(r.Packet.Options.Get(dhcpv4.OptionClientMachineIdentifier)); id != nil {
		p.Options[97] = id
	}
}

// newBootReply starts the OFFER or ACK of a server that gives no address: there
// is neither a lease in it nor anything of the network (PXE 2.1 section 2.2.3),
// but the class without which firmware does not take it for an answer, and which
// [addBootFile] corrects for HTTP Boot.
func newBootReply(r *Request, t dhcpv4.MessageType) *dhcpv4.DHCPv4 {
	p := newReply(r, t)
	p.ServerIPAddr = r.ServerAddr.AsSlice()
	p.Options[60] = []byte(classPXE)
	echoMachineID(p, r)
	return p
}

// wanted tells which options the client asks for: those of option 55, all if it
// sends none.
func wanted(r *Request) func(uint8) bool {
	list := r.Packet.Options.Get(dhcpv4.OptionParameterRequestList)
	return func(code uint8) bool {
		return slices.Contains(list, code) || len(list) == 0 && !onlyIfAsked(code)
	}
}

// unforbidden is wanted for options that go to clients unasked.
func unforbidden(r *Request) func(uint8) bool {
	list := r.Packet.Options.Get(dhcpv4.OptionParameterRequestList)
	return func(code uint8) bool { return !onlyIfAsked(code) || slices.Contains(list, code) }
}

// onlyIfAsked reports whether only clients that ask for an option know what to do
// with it: 108 switches IPv4 off (RFC 8925), 114 names a captive portal (RFC 8910).
func onlyIfAsked(code uint8) bool { return code == 108 || code == 114 }

// leasePrefix is the leased address with the mask that the client gets.
func leasePrefix(r *Request, lease Lease) (netip.Prefix, error) {
	prefix := lease.Prefix()
	addr := prefix.Addr()
	switch {
	case !addr.Is4() || addr.IsUnspecified() || addr.IsMulticast():
		return prefix, fmt.Errorf("dhcp: the lease policy gave %s, which is no IPv4 address for a client", prefix)
	case addr == r.ServerID || addr == r.serverIdentifier() || addr == r.Prefix.Addr():
		return prefix, fmt.Errorf("dhcp: the lease policy gave %s, which is this server's own address", addr)
	case prefix.Bits() < addr.BitLen():
		return prefix, nil
	case !r.Prefix.Contains(addr):
		return prefix, fmt.Errorf("dhcp: the lease policy gave %s, which is outside of the network %s; set the mask of the lease if that is meant", addr, r.Prefix.Masked())
	}
	return netip.PrefixFrom(addr, r.Prefix.Bits()), nil
}

// leaseSeconds is the time from the request to the expiry, for option 51, whose
// greatest value means for ever.
func leaseSeconds(expiry, received time.Time) uint32 {
	if expiry.IsZero() {
		return math.MaxUint32
	}
	d := expiry.Sub(received)
	return uint32(min(max(d/time.Second, 0), math.MaxUint32-1))
}

func maskOf(p netip.Prefix) []byte {
	return binary.BigEndian.AppendUint32(nil, ^uint32(0)<<(32-p.Bits()))
}

// broadcastOf is the last address of a prefix.
func broadcastOf(p netip.Prefix) netip.Addr {
	return addr4(number(p.Masked().Addr()) | ^(^uint32(0) << (32 - p.Bits())))
}

func number(a netip.Addr) uint32 { b := a.As4(); return binary.BigEndian.Uint32(b[:]) }

func addr4(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

func joinAddrs(addrs []netip.Addr) []byte {
	var b []byte
	for _, a := range addrs {
		b = append(b, a.AsSlice()...)
	}
	return b
}
