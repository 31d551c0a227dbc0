package dhcp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/internal/lifecycle/lifecycletest"
)

func TestP010_Port4011AnswersToWhereItWasAskedFrom(t *testing.T) {
	for name, c := range map[string]struct {
		p    *dhcpv4.DHCPv4
		from string
		your string
	}{
		"EDK2":                       {request(mac(1), with(asUEFI, ciaddr("192.0.2.50"))...), "192.0.2.50:4011", "192.0.2.50"},
		"iPXE":                       {request(mac(1), with(asIPXE, ciaddr("192.0.2.50"), optAddr(54, serverIP))...), "192.0.2.50:68", "192.0.2.50"},
		"a port of its own":          {request(mac(1), with(asBIOS, ciaddr("192.0.2.50"))...), "192.0.2.50:2070", "192.0.2.50"},
		"INFORM":                     {message(dhcpv4.MessageTypeInform, mac(1), with(asBIOS, ciaddr("192.0.2.50"))...), "192.0.2.50:68", "192.0.2.50"},
		"without ciaddr":             {request(mac(1), asUEFI...), "192.0.2.50:4011", "192.0.2.50"},
		"names its DHCP server":      {request(mac(1), with(asUEFI, ciaddr("192.0.2.50"), optAddr(54, "192.0.2.9"))...), "192.0.2.50:4011", "192.0.2.50"},
		"giaddr does not matter":     {request(mac(1), with(asUEFI, ciaddr("192.0.2.50"), giaddr("203.0.113.1"))...), "192.0.2.50:4011", "192.0.2.50"},
		"nor does the broadcast bit": {request(mac(1), with(asUEFI, ciaddr("192.0.2.50"), broadcastFlag)...), "192.0.2.50:4011", "192.0.2.50"},
		"behind a NAT":               {request(mac(1), with(asUEFI, ciaddr("10.0.0.9"))...), "192.0.2.50:40000", "192.0.2.50"},
		"ciaddr is another's":        {request(mac(1), with(asUEFI, ciaddr("192.0.2.51"))...), "192.0.2.50:4011", "192.0.2.50"},
	} {
		for _, mode := range []Mode{Proxy, BootServer, Full} {
			t.Run(mode.String()+" "+name, func(t *testing.T) {
				s := newProxy(mode)
				x := askPXE(t, s, c.p, c.from)
				require.Equal(t, "ACK", x.kind(), "%s %v", x.reason, x.err)
				require.Equal(t, Delivery{Route: ByUnicast, To: netip.MustParseAddrPort(c.from), Interface: "eth1", From: addr(serverIP)}, x.d)
				require.Equal(t, addr(serverIP).AsSlice(), x.reply.Options[54], "iPXE compares it with the OFFER's")
				require.Equal(t, serverIP, x.reply.ServerIPAddr.String())
				require.Equal(t, "PXEClient", string(x.reply.Options[60]))
				require.NotEmpty(t, x.reply.BootFileName)
				require.Equal(t, x.reply.BootFileName, string(x.reply.Options[67]))
				require.True(t, x.reply.YourIPAddr.IsUnspecified())
				for _, code := range []uint8{1, 3, 6, 51, 58, 59} {
					require.NotContains(t, x.reply.Options, code)
				}
				require.Equal(t, c.your, x.r.YourAddr.String())
			})
		}
	}
	for name, c := range map[string]struct {
		p      *dhcpv4.DHCPv4
		from   string
		reason DropReason
	}{
		"no address yet":     {request(mac(1), asUEFI...), "0.0.0.0:68", RFCViolation},
		"no port":            {request(mac(1), asUEFI...), "192.0.2.50:0", RFCViolation},
		"from broadcast":     {request(mac(1), asUEFI...), "255.255.255.255:68", RFCViolation},
		"from a group":       {request(mac(1), asUEFI...), "224.0.0.1:68", RFCViolation},
		"from IPv6":          {request(mac(1), asUEFI...), "[2001:db8::1]:68", RFCViolation},
		"from a stranger":    {request(mac(1), with(asUEFI, ciaddr("192.0.2.50"))...), "203.0.113.9:53", NoNetwork},
		"a stranger, giaddr": {request(mac(1), with(asUEFI, giaddr("192.0.2.2"))...), "203.0.113.9:53", NoNetwork},
		"DISCOVER":           {discover(mac(1), asUEFI...), "192.0.2.50:4011", NotForUs},
		"RELEASE":            {message(dhcpv4.MessageTypeRelease, mac(1), with(asUEFI, ciaddr("192.0.2.50"))...), "192.0.2.50:4011", NotForUs},
		"DECLINE":            {message(dhcpv4.MessageTypeDecline, mac(1), with(asUEFI, optAddr(50, "192.0.2.50"))...), "192.0.2.50:4011", NotForUs},
	} {
		t.Run(name, func(t *testing.T) {
			for _, mode := range []Mode{Proxy, BootServer, Full} {
				x := askPXE(t, newProxy(mode), c.p, c.from)
				require.Equal(t, "silence", x.kind())
				require.Equal(t, c.reason, x.reason, "%v", x.err)
			}
		})
	}
}

func TestP016_BothPortsOfOneServerAgree(t *testing.T) {
	for name, mods := range map[string][]dhcpv4.Modifier{"BIOS": asBIOS, "UEFI": asUEFI, "HTTP Boot": asHTTP, "iPXE": asIPXE, "U-Boot": asUBoot} {
		t.Run(name, func(t *testing.T) {
			s := newServer(func(s *Server) { s.BootFile, s.Classify = bootByKind, knowUBoot })
			offer := ask(t, s, discover(mac(1), mods...))
			lease := ask(t, s, request(mac(1), with(mods, selecting(offer.addr()))...))
			x := askPXE(t, s, request(mac(1), with(mods, ciaddr(lease.addr()))...), lease.addr()+":4011")
			require.Equal(t, "ACK", x.kind(), "%s %v", x.reason, x.err)
			for _, y := range []result{offer, lease} {
				require.Equal(t, y.reply.BootFileName, x.reply.BootFileName)
				require.Equal(t, y.reply.ServerHostName, x.reply.ServerHostName)
				require.Equal(t, y.reply.ServerIPAddr, x.reply.ServerIPAddr)
				for _, code := range []uint8{43, 54, 66, 67} {
					require.Equal(t, y.reply.Options[code], x.reply.Options[code], "option %d", code)
				}
			}
			require.NotContains(t, x.reply.Options, uint8(175), "only who gives the address says that no proxy comes")
		})
	}
	t.Run("that there is nothing to boot", func(t *testing.T) {
		s := newServer(func(s *Server) {
			s.BootFile = func(context.Context, *Request) (*BootFile, error) { return nil, nil }
		})
		a := dora(t, s, mac(1), asBIOS...)
		x := askPXE(t, s, request(mac(1), with(asBIOS, ciaddr(a))...), a+":68")
		require.Equal(t, Policy, x.reason)
		require.Nil(t, x.reply)
	})
}

func TestPort4011AndPort67AreNotDuplicatesOfEachOther(t *testing.T) {
	entered, leave := make(chan bool, 9), make(chan struct{})
	s := newServer(func(s *Server) {
		s.BootFile = func(_ context.Context, r *Request) (*BootFile, error) {
			entered <- r.PXEPort
			<-leave
			return &BootFile{Name: "f"}, nil
		}
	})
	c, pxe := newFakeConn(t), newFakeConn(t)
	done := make(chan error, 2)
	go func() { done <- s.Serve(c) }()
	go func() { done <- s.ServePXE(pxe) }()
	p := request(mac(1), with(asBIOS, ciaddr("192.0.2.100"))...)
	at := fakePacket{p.ToBytes(), netip.MustParseAddrPort("192.0.2.100:68"), addr(serverIP), "eth1"}
	pxe.in <- at
	require.True(t, <-entered)
	pxe.in <- at // this is one
	require.Eventually(t, func() bool { return s.Drops()[Duplicate] == 1 }, 10*time.Second, time.Millisecond)
	c.in <- at // a renewal, and it waits for its turn
	c.in <- at // this is its duplicate
	require.Eventually(t, func() bool { return s.Drops()[Duplicate] >= 2 }, 10*time.Second, time.Millisecond)
	close(leave)
	ack, sent := pxe.next(t)
	require.Equal(t, "192.0.2.100:68", sent.dst.String())
	require.Equal(t, "f", ack.BootFileName)
	require.NoError(t, s.Shutdown(t.Context()))
	require.Empty(t, c.out, "the pool knows no such lease")
	require.Empty(t, pxe.out)
	require.Equal(t, map[DropReason]uint64{Duplicate: 2, Policy: 1}, s.Drops())
	require.ErrorIs(t, <-done, ErrServerClosed)
	require.ErrorIs(t, <-done, ErrServerClosed)
}

func TestServePXELifecycle(t *testing.T) {
	lifecycletest.Test(t, func(testing.TB) lifecycletest.Subject {
		s, c := newProxy(Proxy), newFakeConn(t)
		return lifecycletest.Subject{
			Serve: func() error { return s.ServePXE(c) }, Shutdown: s.Shutdown, Close: s.Close,
			Closed: c.isClosed,
			Fail:   func() { c.fail(errors.New("gone")) }, FailName: "socket 0.0.0.0:67",
		}
	})
	t.Run("what is wrong is said before anything is read", func(t *testing.T) {
		c := newFakeConn(t)
		require.ErrorContains(t, (&Server{}).ServePXE(c), "no network")
		require.True(t, c.isClosed())
	})
}

func TestServePXEOverLoopback(t *testing.T) {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	client, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer client.Close()
	s := newProxy(BootServer, func(s *Server) { s.Networks[0] = Network{Addr: netip.MustParsePrefix("127.0.0.1/8"), Mode: BootServer} })
	done := make(chan error, 1)
	go func() { done <- s.ServePXE(conn) }()
	_, err = client.WriteTo(request(mac(1), with(asUEFI, ciaddr("127.0.0.1"))...).ToBytes(), conn.LocalAddr())
	require.NoError(t, err)
	require.NoError(t, client.SetReadDeadline(time.Now().Add(time.Minute)))
	b := make([]byte, 1500)
	n, from, err := client.ReadFrom(b)
	require.NoError(t, err)
	require.Equal(t, conn.LocalAddr().String(), from.String(), "the port that it was asked at")
	ack, err := dhcpv4.FromBytes(b[:n])
	require.NoError(t, err)
	require.Equal(t, "snponly.efi", ack.BootFileName)
	require.Equal(t, "127.0.0.1", ack.ServerIPAddr.String())
	require.NoError(t, s.Shutdown(t.Context()))
	require.ErrorIs(t, <-done, ErrServerClosed)
}

func TestNetworksAtPort4011(t *testing.T) {
	lister := newFakeConn(t)
	lister.addrs = map[string][]netip.Prefix{
		"eth1": {netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("203.0.113.1/28")},
		"eth2": {netip.MustParsePrefix("198.51.100.1/24")},
		"eth3": nil,
	}
	fixed := []Network{
		{Interface: "eth1", Addr: netip.MustParsePrefix("192.0.2.1/24"), Mode: Proxy},
		{Interface: "eth2", Addr: netip.MustParsePrefix("198.51.100.1/24"), Mode: Proxy, ServerAddr: addr("198.51.100.7")},
	}
	asked := []Network{{Interface: "eth1", Mode: Proxy}, {Interface: "eth2", Mode: Proxy}}
	relayed := []Network{{Interface: "eth1", Mode: Proxy}, {Subnet: netip.MustParsePrefix("10.1.0.0/16"), Mode: Proxy}}
	only := []Network{{Interface: "eth1", Mode: Proxy}, {Interface: "eth2", Subnet: netip.MustParsePrefix("10.1.0.0/16"), Mode: Proxy}}
	for name, c := range map[string]struct {
		nets             []Network
		ifname, from, to string
		reason           DropReason
		id, addr         string
	}{
		"on its interface":           {fixed, "eth1", "192.0.2.50:4011", "192.0.2.1", "", "192.0.2.1", "192.0.2.1"},
		"files elsewhere":            {fixed, "eth2", "198.51.100.50:68", "198.51.100.1", "", "198.51.100.1", "198.51.100.7"},
		"through a router":           {fixed, "eth1", "198.51.100.50:68", "198.51.100.1", "", "198.51.100.1", "198.51.100.7"},
		"a stranger":                 {fixed, "eth1", "10.1.2.3:68", "192.0.2.1", NoNetwork, "", ""},
		"interface not configured":   {fixed, "eth9", "192.0.2.50:68", "192.0.2.1", NotForUs, "", ""},
		"asked at another of ours":   {fixed, "eth1", "192.0.2.50:68", "192.0.2.9", "", "192.0.2.9", "192.0.2.9"},
		"by the subnet's broadcast":  {fixed, "eth1", "192.0.2.50:68", "192.0.2.255", "", "192.0.2.1", "192.0.2.1"},
		"second address":             {asked, "eth1", "203.0.113.5:68", "203.0.113.1", "", "203.0.113.1", "203.0.113.1"},
		"beside the second address":  {asked, "eth1", "203.0.113.99:68", "203.0.113.1", NoNetwork, "", ""},
		"behind a relay":             {relayed, "eth1", "10.1.2.3:4011", "192.0.2.1", "", "192.0.2.1", "192.0.2.1"},
		"behind a relay, by another": {relayed, "eth9", "10.1.2.3:4011", "192.0.2.9", "", "192.0.2.9", "192.0.2.9"},
		"not behind that relay":      {relayed, "eth1", "10.2.2.3:4011", "192.0.2.1", NoNetwork, "", ""},
		"its own interface only":     {only, "eth1", "10.1.2.3:4011", "192.0.2.1", NoNetwork, "", ""},
		"on its own interface":       {only, "eth2", "10.1.2.3:4011", "198.51.100.1", "", "198.51.100.1", "198.51.100.1"},
		"no address of ours":         {[]Network{{Interface: "eth3", Mode: Proxy}}, "eth3", "192.0.2.50:68", "", NoServerAddr, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newProxy(Proxy)
			s.Networks = c.nets
			var to netip.Addr
			if c.to != "" {
				to = addr(c.to)
			}
			r := &Request{Interface: c.ifname, Source: netip.MustParseAddrPort(c.from), Destination: to, PXEPort: true}
			x := askRequest(t, s, request(mac(1), asUEFI...).ToBytes(), r, lister)
			require.Equal(t, c.reason, x.reason, "%v", x.err)
			if c.reason != "" {
				require.Nil(t, x.reply)
				return
			}
			require.Equal(t, c.id, net.IP(x.reply.Options[54]).String())
			require.Equal(t, c.id, x.d.From.String())
			require.Equal(t, c.addr, x.reply.ServerIPAddr.String())
			require.Equal(t, c.from, x.d.To.String())
			require.Equal(t, c.ifname, x.d.Interface)
			require.True(t, x.r.Prefix.Contains(x.d.To.Addr()))
		})
	}
}
