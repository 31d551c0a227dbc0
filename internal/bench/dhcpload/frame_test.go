package dhcpload

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// answer is a server's frame to a client.
func answer(client uint32, kind dhcpv4.MessageType, edit func(*dhcpv4.DHCPv4)) []byte {
	hw := macOf(client)
	p := &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootReply, HWType: 1, ClientHWAddr: hw[:],
		ClientIPAddr: net.IPv4zero, YourIPAddr: net.IPv4(192, 0, 2, 10), ServerIPAddr: net.IPv4zero, GatewayIPAddr: net.IPv4zero,
		Options: dhcpv4.OptionsFromList(dhcpv4.OptMessageType(kind), dhcpv4.OptServerIdentifier(net.IPv4(192, 0, 2, 1))),
	}
	binary.BigEndian.PutUint32(p.TransactionID[:], client)
	if edit != nil {
		edit(p)
	}
	b := appendFrame(nil, mac{2, 0xff}, p.ToBytes())
	copy(b, hw[:])
	copy(b[ethernetLen+16:], []byte{192, 0, 2, 10})
	binary.BigEndian.PutUint16(b[ethernetLen+ipLen:], serverPort)
	binary.BigEndian.PutUint16(b[ethernetLen+ipLen+2:], clientPort)
	return b
}

func TestWhatAClientSends(t *testing.T) {
	offered := &reply{address: netip.MustParseAddr("192.0.2.10"), server: []byte{192, 0, 2, 1}}
	for _, c := range []struct {
		offer     *reply
		broadcast bool
		kind      dhcpv4.MessageType
	}{
		{nil, false, dhcpv4.MessageTypeDiscover},
		{nil, true, dhcpv4.MessageTypeDiscover},
		{offered, false, dhcpv4.MessageTypeRequest},
	} {
		b := appendFrame(nil, macOf(7), message(7, c.broadcast, c.offer))
		require.Equal(t, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 7, 8, 0}, b[:ethernetLen])
		var sum uint32
		for i := ethernetLen; i < ethernetLen+ipLen; i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
		require.EqualValues(t, 0xffff, sum>>16+sum&0xffff, "the header's checksum")
		p, err := dhcpv4.FromBytes(b[headersLen:])
		require.NoError(t, err)
		require.Equal(t, c.kind, p.MessageType())
		require.Equal(t, c.broadcast, p.IsBroadcast())
		require.Equal(t, net.HardwareAddr{2, 0, 0, 0, 0, 7}, p.ClientHWAddr)
		if c.offer != nil {
			require.Equal(t, "192.0.2.10", p.RequestedIPAddress().String())
			require.Equal(t, "192.0.2.1", p.ServerIdentifier().String())
		}
	}
}

func TestWhatAClientTakes(t *testing.T) {
	got, err := parseReply(answer(7, dhcpv4.MessageTypeOffer, nil))
	require.NoError(t, err)
	require.EqualValues(t, 7, got.xid)
	require.Equal(t, offer, got.kind)
	require.Equal(t, "192.0.2.10", got.address.String())
	require.Equal(t, []byte{192, 0, 2, 1}, got.server)
	require.True(t, got.delivered(false))
	require.False(t, got.delivered(true), "a client that wants broadcasts has no address")

	for name, edit := range map[string]func(*dhcpv4.DHCPv4){
		"a request":             func(p *dhcpv4.DHCPv4) { p.OpCode = dhcpv4.OpcodeBootRequest },
		"another client's":      func(p *dhcpv4.DHCPv4) { p.ClientHWAddr[5]++ },
		"no server is named":    func(p *dhcpv4.DHCPv4) { p.Options.Del(dhcpv4.OptionServerIdentifier) },
		"of another exchange's": func(p *dhcpv4.DHCPv4) { p.TransactionID[3]++ },
	} {
		_, err := parseReply(answer(7, dhcpv4.MessageTypeOffer, edit))
		require.Error(t, err, name)
		require.NotErrorIs(t, err, errOther, name)
	}
	whole := answer(7, dhcpv4.MessageTypeOffer, nil)
	for n := range len(whole) {
		_, err := parseReply(whole[:n])
		require.Error(t, err, "%d bytes", n)
	}
	_, err = parseReply(appendFrame(nil, macOf(7), message(7, false, nil)))
	require.ErrorIs(t, err, errOther, "what clients send")
}

func TestBroadcastReplies(t *testing.T) {
	b := answer(7, dhcpv4.MessageTypeOffer, nil)
	copy(b[ethernetLen+16:], []byte{255, 255, 255, 255})
	for name, to := range map[string]mac{"to everybody": everybody, "to the client, as Kea does": macOf(7)} {
		copy(b, to[:])
		got, err := parseReply(b)
		require.NoError(t, err)
		require.True(t, got.delivered(true), name)
		require.False(t, got.delivered(false), name)
	}
	stranger := macOf(8)
	copy(b, stranger[:])
	got, err := parseReply(b)
	require.NoError(t, err)
	require.False(t, got.delivered(true))
}

func TestPercentile(t *testing.T) {
	var times []time.Duration
	for i := range 100 {
		times = append(times, time.Duration(i+1))
	}
	require.EqualValues(t, 50, Percentile(times, 50))
	require.EqualValues(t, 99, Percentile(times, 99))
	require.EqualValues(t, 100, Percentile(times, 100))
	require.EqualValues(t, 1, Percentile(times[:1], 1))
	require.Zero(t, Percentile(nil, 99))
}
