package dhcp

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// detectOffer answers a DISCOVER as another server would.
func detectOffer(discover *dhcpv4.DHCPv4, server string, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	p := message(dhcpv4.MessageTypeOffer, discover.ClientHWAddr, append([]dhcpv4.Modifier{optAddr(54, server)}, mods...)...)
	p.OpCode, p.TransactionID = dhcpv4.OpcodeBootReply, discover.TransactionID
	return p
}

func offeredAddr(a string) dhcpv4.Modifier {
	return func(p *dhcpv4.DHCPv4) { p.YourIPAddr = addr(a).AsSlice() }
}
func offeredNext(a string) dhcpv4.Modifier {
	return func(p *dhcpv4.DHCPv4) { p.ServerIPAddr = addr(a).AsSlice() }
}
func offeredFile(name string) dhcpv4.Modifier {
	return func(p *dhcpv4.DHCPv4) { p.BootFileName = name }
}

// detect runs Detect against servers that answer packets, in the time of a bubble.
func detect(t *testing.T, d Detection, answer func(*dhcpv4.DHCPv4) [][]byte) (found []Detected, sent []fakeSent, err error) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeConn(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				select {
				case s := <-c.out:
					sent = append(sent, s)
					p, err := dhcpv4.FromBytes(s.b)
					require.NoError(t, err)
					for _, b := range answer(p) {
						c.in <- fakePacket{b, netip.AddrPortFrom(addr("192.0.2.77"), 67), broadcastAddr(), "eth1"}
					}
				case <-ctx.Done():
					return
				}
			}
		}()
		found, err = Detect(ctx, c, d)
		cancel()
		<-done
		require.False(t, c.isClosed(), "the conn is the caller's")
		c.in <- fakePacket{b: []byte{1}}
		_, _, readErr := c.ReadFrom(make([]byte, 1))
		require.NoError(t, readErr, "no deadline is left behind")
	})
	return found, sent, err
}

func kindOfProbe(p *dhcpv4.DHCPv4) Kind { return classify(p).Kind }

func TestDetectFindsEveryKindOfServer(t *testing.T) {
	found, sent, err := detect(t, Detection{Interface: "eth1", Own: []netip.Addr{addr("192.0.2.1")}}, func(p *dhcpv4.DHCPv4) (replies [][]byte) {
		say := func(server string, mods ...dhcpv4.Modifier) {
			replies = append(replies, detectOffer(p, server, mods...).ToBytes())
		}
		say("192.0.2.1", offeredAddr("192.0.2.100")) // known
		say("192.0.2.2", offeredAddr("192.0.2.100"), giaddr("192.0.2.254"))
		say("192.0.2.3", offeredAddr("192.0.2.101"), offeredNext("192.0.2.9"), offeredFile("pxelinux.0"))
		switch c := classify(p); c.Kind {
		case PXE:
			say("192.0.2.4", optText(60, "PXEClient"), opt(43, 6, 1, 8, 255))
			name := map[Arch]string{ArchBIOS: "undionly.kpxe", ArchX64: "snponly.efi"}[c.Arch]
			say("192.0.2.5", optText(60, "PXEClient"), optText(67, name+"\x00"), optText(66, "192.0.2.5"))
		case HTTPBoot:
			say("192.0.2.5", optText(60, "HTTPClient"), optText(67, "http://192.0.2.5/x.efi"))
			say("192.0.2.6", optText(60, "HTTPClient"), optText(67, "http://192.0.2.6/\n\x1b[2J.efi"))
			say("192.0.2.2", offeredAddr("192.0.2.100"), optText(67, "http://192.0.2.2/no-class.efi"))
		}
		return replies
	})
	require.NoError(t, err)
	var texts []string
	for _, d := range found {
		texts = append(texts, d.String())
		require.Equal(t, netip.MustParseAddrPort("192.0.2.77:67"), d.Source)
	}
	require.Equal(t, []string{
		`192.0.2.2 gives out addresses through the relay 192.0.2.254`,
		`192.0.2.3 gives out addresses and boot files ("pxelinux.0" from 192.0.2.9)`,
		`192.0.2.4 gives out boot files`,
		`192.0.2.5 gives out boot files ("undionly.kpxe" from 192.0.2.5)`,
		`192.0.2.6 gives out boot files ("http://192.0.2.6/\n\x1b[2J.efi")`,
	}, texts)
	require.Equal(t, Detected{ServerID: addr("192.0.2.3"), Source: found[1].Source, DHCP: true, Addr: addr("192.0.2.101"),
		PXE: true, BootFile: "pxelinux.0", NextServer: addr("192.0.2.9")}, found[1], "no HTTP Boot without the class")
	require.True(t, found[3].PXE && found[3].HTTPBoot && !found[3].DHCP)
	require.Equal(t, "192.0.2.3 gives out nothing", Detected{ServerID: addr("192.0.2.3")}.String())

	require.Len(t, sent, 8, "four clients, twice")
	kinds := map[Kind]int{}
	for _, s := range sent {
		require.Equal(t, netip.MustParseAddrPort("255.255.255.255:67"), s.dst)
		require.Equal(t, "eth1", s.ifname)
		p, err := dhcpv4.FromBytes(s.b)
		require.NoError(t, err)
		require.Equal(t, dhcpv4.MessageTypeDiscover, p.MessageType(), "nothing is leased")
		require.True(t, p.IsBroadcast())
		require.Equal(t, byte(2), p.ClientHWAddr[0]&3, "of one host, locally administered")
		require.Equal(t, sent[0].b[28:34], []byte(p.ClientHWAddr), "servers hold one address")
		kinds[kindOfProbe(p)]++
	}
	require.Equal(t, map[Kind]int{Plain: 2, PXE: 4, HTTPBoot: 2}, kinds)
}

// TestDetectFindsThisServer lets the project's own server answer.
func TestDetectFindsThisServer(t *testing.T) {
	hw := macOf("02:00:00:00:00:09")
	s := newServer(withBoot("lpxelinux.0"))
	answer := func(p *dhcpv4.DHCPv4) [][]byte {
		require.Equal(t, hw, p.ClientHWAddr)
		if x := ask(t, s, p); x.reply != nil {
			return [][]byte{x.raw}
		}
		return nil
	}
	found, _, err := detect(t, Detection{HardwareAddr: hw}, answer)
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.True(t, netip.MustParsePrefix("192.0.2.0/24").Contains(found[0].Addr))
	require.Equal(t, []Detected{{ServerID: addr(serverIP), Source: found[0].Source, DHCP: true, Addr: found[0].Addr, PXE: true,
		BootFile: "lpxelinux.0", NextServer: addr(serverIP)}}, found)
	require.Equal(t, `192.0.2.1 gives out addresses and boot files ("lpxelinux.0" from 192.0.2.1)`, found[0].String())

	for name, own := range map[string]string{"by its name": serverIP, "by where it answers from": "192.0.2.77"} {
		found, _, err = detect(t, Detection{HardwareAddr: hw, Own: []netip.Addr{addr(own)}}, answer)
		require.NoError(t, err, name)
		require.Empty(t, found, name)
	}
}

func TestDetectHearsNothingElse(t *testing.T) {
	edited := func(f func(b []byte)) func(*dhcpv4.DHCPv4) []byte {
		return func(p *dhcpv4.DHCPv4) []byte {
			b := detectOffer(p, "192.0.2.9", offeredAddr("192.0.2.100")).ToBytes()
			f(b)
			return b
		}
	}
	modified := func(mods ...dhcpv4.Modifier) func(*dhcpv4.DHCPv4) []byte {
		return func(p *dhcpv4.DHCPv4) []byte {
			return detectOffer(p, "192.0.2.9", append([]dhcpv4.Modifier{offeredAddr("192.0.2.100")}, mods...)...).ToBytes()
		}
	}
	for name, c := range map[string]struct {
		reply func(*dhcpv4.DHCPv4) []byte
		found bool
	}{
		"an offer":                {edited(func([]byte) {}), true},
		"a request":               {edited(func(b []byte) { b[0] = 1 }), false},
		"another transaction":     {edited(func(b []byte) { b[4] ^= 1 }), false},
		"another client":          {edited(func(b []byte) { b[28] ^= 4 }), false},
		"another length":          {edited(func(b []byte) { b[2] = 16 }), false},
		"a length beyond chaddr":  {edited(func(b []byte) { b[2] = 255 }), false},
		"no cookie":               {edited(func(b []byte) { b[236] = 0 }), false},
		"an ACK":                  {modified(opt(53, 5)), false},
		"BOOTP":                   {modified(func(p *dhcpv4.DHCPv4) { p.Options.Del(dhcpv4.OptionDHCPMessageType) }), false},
		"a type of two bytes":     {modified(opt(53, 2, 2)), false},
		"overload of rubbish":     {modified(opt(52, 9)), false},
		"short":                   {func(p *dhcpv4.DHCPv4) []byte { return detectOffer(p, "192.0.2.9").ToBytes()[:239] }, false},
		"no END":                  {func(p *dhcpv4.DHCPv4) []byte { return bytes.TrimRight(modified()(p), "\x00\xff") }, true},
		"an option past the end":  {func(p *dhcpv4.DHCPv4) []byte { return append(bytes.TrimRight(modified()(p), "\x00\xff"), 60, 200) }, false},
		"longer than any":         {func(p *dhcpv4.DHCPv4) []byte { return append(modified()(p), make([]byte, maxPacket)...) }, false},
		"no name but an address":  {modified(opt(54)), true},
		"a name that is none":     {modified(optAddr(54, "0.0.0.0")), true},
		"nothing":                 {func(*dhcpv4.DHCPv4) []byte { return nil }, false},
		"a name of 255 and more":  {modified(optText(67, strings.Repeat("x", 300))), true},
		"options in the name":     {edited(func(b []byte) { copy(b[108:], []byte{67, 200}) }), true},
		"an address of six bytes": {modified(opt(54, 1, 2, 3, 4, 5, 6)), true},
	} {
		t.Run(name, func(t *testing.T) {
			found, _, err := detect(t, Detection{}, func(p *dhcpv4.DHCPv4) [][]byte { return [][]byte{c.reply(p)} })
			require.NoError(t, err)
			require.Equal(t, c.found, len(found) == 1, "%v", found)
			for _, d := range found {
				require.LessOrEqual(t, len(d.BootFile), 255)
				require.Contains(t, []string{"192.0.2.9", "192.0.2.77"}, d.ServerID.String())
			}
		})
	}
}

func TestDetectIsBounded(t *testing.T) {
	n := 0
	found, _, err := detect(t, Detection{Duration: time.Minute}, func(p *dhcpv4.DHCPv4) (replies [][]byte) {
		for range 100 {
			n++
			replies = append(replies, detectOffer(p, netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}).String(), offeredAddr("192.0.2.100")).ToBytes())
		}
		return replies
	})
	require.NoError(t, err)
	require.Len(t, found, maxDetected)
}

func TestDetectOnAnotherInterface(t *testing.T) {
	found, sent, err := detect(t, Detection{Interface: "eth2", ServerPort: 6767}, func(p *dhcpv4.DHCPv4) [][]byte {
		return [][]byte{detectOffer(p, "192.0.2.9", offeredAddr("192.0.2.100")).ToBytes()} // comes in on eth1
	})
	require.NoError(t, err)
	require.Empty(t, found)
	require.Equal(t, "eth2", sent[0].ifname)
	require.EqualValues(t, 6767, sent[0].dst.Port())
}

// TestDetectTakesTheTimeThatItWasGiven: no less, since servers try an address
// before they offer it, and no more.
func TestDetectTakesTheTimeThatItWasGiven(t *testing.T) {
	for given, want := range map[time.Duration]time.Duration{0: 5 * time.Second, time.Hour: time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			found, err := Detect(t.Context(), newFakeConn(t), Detection{Duration: given})
			require.NoError(t, err)
			require.Empty(t, found)
			require.Equal(t, want, time.Since(start))
		})
	}
}

func TestDetectFails(t *testing.T) {
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		d       Detection
		prepare func(*fakeConn)
		want    string
		is      error
	}{
		"hardware address": {Detection{HardwareAddr: net.HardwareAddr{1, 2, 3}}, nil, "has 3 bytes, not 6", nil},
		"duration":         {Detection{Duration: -1}, nil, "Duration is -1ns", nil},
		"cannot send":      {Detection{}, func(c *fakeConn) { c.writeErr = boom }, "dhcp: detection: dhcp: sending to 255.255.255.255:67", boom},
		"cannot read":      {Detection{}, func(c *fakeConn) { c.fail(boom) }, "dhcp: detection: reading from socket 0.0.0.0:67", boom},
		"closed":           {Detection{}, func(c *fakeConn) { _ = c.Close() }, "dhcp: detection: ", net.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := newFakeConn(t)
				if c.prepare != nil {
					c.prepare(conn)
				}
				_, err := Detect(t.Context(), conn, c.d)
				require.ErrorContains(t, err, c.want)
				if c.is != nil {
					require.ErrorIs(t, err, c.is)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		conn := newFakeConn(t)
		conn.fail(syscall.ENETDOWN, syscall.ECONNREFUSED)
		_, err := Detect(t.Context(), conn, Detection{})
		require.NoError(t, err, "what passes is waited for")
	})
	synctest.Test(t, func(t *testing.T) {
		conn := newFakeConn(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() {
			s := <-conn.out
			p, err := dhcpv4.FromBytes(s.b)
			require.NoError(t, err)
			conn.in <- fakePacket{detectOffer(p, "192.0.2.9").ToBytes(), netip.MustParseAddrPort("192.0.2.9:67"), broadcastAddr(), "eth1"}
		}()
		found, err := Detect(ctx, conn, Detection{})
		require.ErrorIs(t, err, context.DeadlineExceeded, "the caller must know that it was not all")
		require.Len(t, found, 1)
	})
}

// FuzzDetect gives a search any answer to each of its clients.
func FuzzDetect(f *testing.F) {
	on := &detecting{}
	on.HardwareAddr = mac(1)
	on.makeProbes()
	for i, p := range on.probes {
		d, err := dhcpv4.FromBytes(p.packet)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(i, detectOffer(d, "192.0.2.9", offeredAddr("192.0.2.100"), offeredFile("a"), optText(60, "PXEClient")).ToBytes())
		f.Add(i, detectOffer(d, "192.0.2.9", opt(52, 3), optText(60, "HTTPClient"), optText(67, "http://\x1b/")).ToBytes())
	}
	f.Add(0, []byte{})
	f.Fuzz(func(t *testing.T, i int, b []byte) {
		on.servers = make(map[netip.Addr]*Detected)
		if len(b) > 34 { // let the fuzzer find the rest
			copy(b[4:8], on.probes[uint(i)%uint(len(on.probes))].xid[:])
			copy(b[28:34], on.hw)
		}
		before := bytes.Clone(b)
		on.heard(b, netip.MustParseAddrPort("192.0.2.77:67"))
		require.Equal(t, before, b)
		for id, d := range on.servers {
			require.Equal(t, id, d.ServerID)
			require.True(t, id.Is4() && !id.IsUnspecified())
			require.Equal(t, d.DHCP, d.Addr.IsValid())
			require.LessOrEqual(t, len(d.BootFile), 255)
			require.NotContains(t, d.BootFile, "\x00")
			for _, r := range d.String() {
				require.True(t, r >= ' ' && r <= '~', "%q", d.String())
			}
		}
	})
}
