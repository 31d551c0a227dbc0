package pxetest

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// TestAgainstCodec: the machine's codec and the one that servers use agree.
func TestAgainstCodec(t *testing.T) {
	hw := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	for _, x := range []*exchange{romExchange(hw, [16]byte{1}), edk2Exchange(UEFIx64, hw, [16]byte{1}), httpExchange(hw, [16]byte{1}),
		ipxeExchange(BIOSPXE, hw, [16]byte{1}), ipxeExchange(UEFIx64, hw, [16]byte{1}), initramfsExchange(hw)} {
		r := request{xid: 0x01020304, secs: 7, flags: x.flags, hw: hw, minSize: x.minSize,
			options: append([]option{{optMessageType, []byte{msgDiscover}}}, x.options...)}
		b := r.encode()
		require.GreaterOrEqual(t, len(b), x.minSize)
		p, err := dhcpv4.FromBytes(b)
		require.NoError(t, err)
		require.Equal(t, dhcpv4.MessageTypeDiscover, p.MessageType())
		require.Equal(t, hw, p.ClientHWAddr)
		require.Equal(t, dhcpv4.TransactionID{1, 2, 3, 4}, p.TransactionID)
		require.Equal(t, uint16(7), p.NumSeconds)
		for _, o := range x.options {
			require.Equal(t, o.data, p.Options[o.code])
		}

		answer, err := dhcpv4.NewReplyFromRequest(p,
			dhcpv4.WithMessageType(dhcpv4.MessageTypeAck),
			dhcpv4.WithYourIP(net.IP{192, 0, 2, 100}),
			dhcpv4.WithServerIP(net.IP{192, 0, 2, 1}),
			dhcpv4.WithNetmask(net.CIDRMask(25, 32)),
			dhcpv4.WithRouter(net.IP{192, 0, 2, 126}),
			dhcpv4.WithDNS(net.IP{192, 0, 2, 2}, net.IP{192, 0, 2, 3}),
			dhcpv4.WithLeaseTime(3600),
			dhcpv4.WithOption(dhcpv4.OptHostName("host\x00")),
			dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IP{192, 0, 2, 9})),
			dhcpv4.WithOption(dhcpv4.OptBootFileName("by-option")))
		require.NoError(t, err)
		got, err := decodeReply(answer.ToBytes(), x.maxSize)
		require.NoError(t, err)
		l := got.lease("x", false)
		l.Options = nil
		require.Empty(t, l.file)
		require.Equal(t, l.NextServer, l.ackServer)
		l.ackServer = netip.Addr{}
		require.Equal(t, Lease{Client: "x", Addr: netip.MustParsePrefix("192.0.2.100/25"),
			Server: netip.MustParseAddr("192.0.2.9"), NextServer: netip.MustParseAddr("192.0.2.1"),
			BootFile: "by-option", Routers: []netip.Addr{netip.MustParseAddr("192.0.2.126")},
			DNS:      []netip.Addr{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")},
			HostName: "host", Duration: time.Hour}, l)
		answer.BootFileName = "by-header"
		got, err = decodeReply(answer.ToBytes(), x.maxSize)
		require.NoError(t, err)
		require.Equal(t, "by-header", got.bootFile(false))
	}
}

func FuzzDecodeReply(f *testing.F) {
	p, err := dhcpv4.New(dhcpv4.WithMessageType(dhcpv4.MessageTypeOffer), dhcpv4.WithYourIP(net.IP{192, 0, 2, 100}),
		dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithLeaseTime(60),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IP{192, 0, 2, 1})))
	require.NoError(f, err)
	p.OpCode = dhcpv4.OpcodeBootReply
	f.Add(p.ToBytes())
	f.Add(p.ToBytes()[:250])
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeReply(b, firmwareMaxSize)
		if err != nil {
			return
		}
		// What is accepted can be read through without a panic, and the server's own
		// codec takes it and sees the same address and message type.
		if r.options[optLeaseTime] != nil {
			r.lease("x", true)
		}
		q, err := dhcpv4.FromBytes(b)
		require.NoError(t, err)
		require.Equal(t, r.yiaddr.String(), q.YourIPAddr.String())
		require.Equal(t, r.options[optMessageType], []byte(q.Options[optMessageType]))
	})
}
