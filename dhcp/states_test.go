package dhcp

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// moment is a packet of RFC 2131 section 4.3 that depends on what the server
// knows of its client, and what it must get from a server that is not
// authoritative, and from one that is.
type moment struct {
	name   string
	packet func(a string) *dhcpv4.DHCPv4
	// known has a lease of a, unknown has none and asks for a free address, and
	// moved has a lease on the network of relays and comes with its address from there.
	known, unknown, moved [2]string
}

func both(kind string) [2]string { return [2]string{kind, kind} }

var moments = []moment{
	{"INIT", func(a string) *dhcpv4.DHCPv4 { return discover(nil, optAddr(50, a)) },
		both("OFFER"), both("OFFER"), both("OFFER")},
	{"SELECTING", func(a string) *dhcpv4.DHCPv4 { return request(nil, selecting(a)) },
		// It chose us, so that no other server will answer it.
		both("ACK"), both("ACK"), both("NAK")},
	{"INIT-REBOOT", func(a string) *dhcpv4.DHCPv4 { return request(nil, optAddr(50, a)) },
		both("ACK"), both("silence"), [2]string{"silence", "NAK"}},
	{"RENEWING", func(a string) *dhcpv4.DHCPv4 { return request(nil, ciaddr(a)) },
		both("ACK"), [2]string{"silence", "NAK"}, [2]string{"silence", "NAK"}},
	{"REBINDING", func(a string) *dhcpv4.DHCPv4 { return request(nil, ciaddr(a)) },
		both("ACK"), [2]string{"silence", "NAK"}, [2]string{"silence", "NAK"}},
}

// TestEveryStateOfEveryClient is RFC 2131 section 4.3 by the clients that there
// are, directly and by a relay, with the broadcast flag and without, each with a
// client identifier and without.
func TestEveryStateOfEveryClient(t *testing.T) {
	for _, m := range moments {
		for who, want := range map[string][2]string{"known": m.known, "unknown": m.unknown, "moved": m.moved} {
			for auth := range 2 {
				for bits := range 8 {
					relayed, broadcast, withID := bits&1 != 0, bits&2 != 0, bits&4 != 0
					name := fmt.Sprintf("%s, %s, authoritative %d, relayed %v, broadcast %v, identifier %v", m.name, who, auth, relayed, broadcast, withID)
					t.Run(name, func(t *testing.T) {
						answerAt(t, m, who, want[auth], auth == 1, relayed, broadcast, withID)
					})
				}
			}
		}
	}
}

func answerAt(t *testing.T, m moment, who, want string, auth, relayed, broadcast, withID bool) {
	s := newServer(withRelays, func(s *Server) { s.Networks[0].Authoritative = auth })
	hw, lister := mac(7), newFakeConn(t)
	var mods []dhcpv4.Modifier
	if withID {
		mods = append(mods, opt(61, 255, 1, 2, 3))
	}
	a := "192.0.2.150"
	switch who {
	case "known":
		require.Equal(t, a, dora(t, s, hw, append(mods, optAddr(50, a))...))
	case "moved":
		there := append(mods, giaddr("198.51.100.1"))
		a = ask82(t, s, discover(hw, there...)).addr()
		require.Contains(t, a, "198.51.100.")
		require.Equal(t, "ACK", ask82(t, s, request(hw, append(there, selecting(a))...)).kind())
	}

	p := m.packet(a)
	p.ClientHWAddr = hw
	for _, mod := range mods {
		mod(p)
	}
	from, to := netip.MustParseAddrPort("0.0.0.0:68"), broadcastAddr()
	switch {
	case relayed:
		giaddr("192.0.2.2")(p)
		from, to = netip.MustParseAddrPort("192.0.2.2:67"), addr(serverIP)
	case m.name == "RENEWING" && who != "moved":
		// A moved one would reach the network that it comes from: no longer this test's.
		from, to = netip.AddrPortFrom(addr(a), 68), addr(serverIP)
	}
	if broadcast {
		p.SetBroadcast()
	}
	x := askFrom(t, s, p.ToBytes(), from, to, "eth1", lister)
	require.Equal(t, want, x.kind(), "%s %v", x.reason, x.err)
	if want == "silence" {
		require.Equal(t, Policy, x.reason)
		return
	}

	require.Equal(t, withID, x.reply.Options.Has(dhcpv4.OptionClientIdentifier), "RFC 6842: with it if the client sent it")
	require.Equal(t, p.Options[61], x.reply.Options[61])
	require.Equal(t, broadcast || want == "NAK" && relayed, x.reply.IsBroadcast(), "a relay broadcasts a NAK only when told so")
	require.Equal(t, serverIP, x.d.From.String())
	switch {
	case relayed:
		require.Equal(t, Delivery{Route: ByRelay, To: netip.MustParseAddrPort("192.0.2.2:67"), Interface: "eth1", From: addr(serverIP)}, x.d)
	case want == "NAK", broadcast && !addrOf(p.ClientIPAddr).IsValid():
		require.Equal(t, ByBroadcast, x.d.Route)
		require.Equal(t, "255.255.255.255:68", x.d.To.String())
	case addrOf(p.ClientIPAddr).IsValid():
		require.Equal(t, ByUnicast, x.d.Route)
		require.Equal(t, a+":68", x.d.To.String())
	default:
		require.Equal(t, ByFrame, x.d.Route)
		require.Equal(t, x.addr()+":68", x.d.To.String())
		require.Equal(t, hw, x.d.HardwareAddr)
	}
	switch want {
	case "NAK":
		require.True(t, x.reply.YourIPAddr.IsUnspecified())
		require.NotEmpty(t, x.reply.Options[56])
	case "ACK":
		require.Equal(t, a, x.addr())
		require.Equal(t, p.ClientIPAddr.String(), x.reply.ClientIPAddr.String())
	default:
		require.Contains(t, x.addr(), "192.0.2.", "of the network where the client is")
		require.Equal(t, who != "moved", x.addr() == a)
	}
}

func TestD012_NothingIsSentThatAnswersNoPacket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newServer(withBoot("x")), newFakeConn(t)
		done := make(chan error, 1)
		go func() { done <- s.Serve(c) }()
		doraOn(t, c, mac(1))
		c.put(discover(mac(2))) // and never takes the offer
		c.next(t)
		c.put(release(1, "192.0.2.100"))
		c.put(request(mac(3), optAddr(50, "192.0.2.150")))
		synctest.Wait()
		time.Sleep(48 * time.Hour) // lease, renewal and hold end
		synctest.Wait()
		require.Empty(t, c.out, "no retransmission, no FORCERENEW, nothing at the end of a lease")
		require.NoError(t, s.Shutdown(t.Context()))
		require.Empty(t, c.out)
		<-done
	})
}

func TestD012_EachRetransmissionIsAnsweredOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := serve(t, newServer())
		for range 5 {
			c.put(discover(mac(1)))
			synctest.Wait()
			require.Len(t, c.out, 1)
			<-c.out
		}
	})
}

// Without an address there is no reply, and the embedder hears of each client that
// went without.
func TestD025_ExhaustionIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dropped := make(chan Drop, 10)
		s := newServer(withPool(small(1)), func(s *Server) { s.Trace = &Trace{Dropped: func(d Drop) { dropped <- d }} })
		c := serve(t, s)
		a := doraOn(t, c, mac(1))
		c.put(discover(mac(2)))
		d := <-dropped
		require.Equal(t, NoAddress, d.Reason)
		require.Equal(t, mac(2), d.HardwareAddr)
		require.Equal(t, "eth1", d.Interface)
		require.ErrorIs(t, d.Err, ErrNoAddress)
		synctest.Wait()
		require.Empty(t, c.out, "neither OFFER nor NAK")
		require.EqualValues(t, 1, s.Drops()[NoAddress])
		c.put(release(1, a))
		synctest.Wait()
		require.Equal(t, a, doraOn(t, c, mac(2)))
		require.Empty(t, dropped)
	})
}

// A declined address and one that was given back: from the holder only, without a
// reply, over a relay as on the link.
func TestDeclineAndReleaseByWhomTheyMayCome(t *testing.T) {
	for _, kind := range []dhcpv4.MessageType{dhcpv4.MessageTypeRelease, dhcpv4.MessageTypeDecline} {
		for name, c := range map[string]struct {
			who    int
			mods   []dhcpv4.Modifier
			reason DropReason
		}{
			"the holder":                        {1, []dhcpv4.Modifier{optAddr(54, serverIP)}, ""},
			"the holder, by relay":              {1, []dhcpv4.Modifier{optAddr(54, serverIP), giaddr("192.0.2.2")}, ""},
			"the holder, with a new identifier": {1, []dhcpv4.Modifier{optAddr(54, serverIP), opt(61, 9, 9)}, ""},
			"the holder, without option 54":     {1, nil, ""},
			"of another server":                 {1, []dhcpv4.Modifier{optAddr(54, "192.0.2.3")}, NotForUs},
			"another client":                    {2, []dhcpv4.Modifier{optAddr(54, serverIP)}, Policy},
			"an unknown client":                 {3, []dhcpv4.Modifier{optAddr(54, serverIP)}, Policy},
			"another client with its identifier": {
				2, []dhcpv4.Modifier{optAddr(54, serverIP), opt(61, 1, 1)}, Policy},
		} {
			t.Run(fmt.Sprint(kind, " of ", name), func(t *testing.T) {
				store := &MemoryStore{}
				pool := small(10)
				pool.Store = store
				log := make(lines, 10)
				s := newServer(withPool(pool), func(s *Server) { s.Logger = slog.New(slog.NewTextHandler(log, nil)) })
				a := dora(t, s, mac(1), opt(61, 1, 1))
				dora(t, s, mac(2))
				mods := append(c.mods, ciaddr(a))
				if kind == dhcpv4.MessageTypeDecline {
					mods = append(c.mods, optAddr(50, a))
				}
				x := ask(t, s, message(kind, mac(c.who), mods...))
				require.Equal(t, c.reason, x.reason, "%v", x.err)
				require.Nil(t, x.reply)
				states := map[BindingState]int{}
				for _, b := range bindings(t, store) {
					states[b.State]++
				}
				want := map[BindingState]int{Bound: 2}
				if c.reason == "" {
					want = map[BindingState]int{Bound: 1, map[dhcpv4.MessageType]BindingState{4: Declined, 7: Released}[kind]: 1}
				}
				require.Equal(t, want, states)
				if kind == dhcpv4.MessageTypeDecline && c.reason == "" {
					require.Contains(t, <-log, "addr="+a+" client=02:00:00:00:00:01 interface=eth1")
				}
				require.Empty(t, log)
			})
		}
	}
}
