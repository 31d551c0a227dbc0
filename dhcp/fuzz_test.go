package dhcp

import (
	"bytes"
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// FuzzRequest takes raw bytes through decoding, classification, a pool, the
// encoder and routing. What must hold for every reply is checked by lint, which
// shares nothing with the encoder, and below.
func FuzzRequest(f *testing.F) {
	seeds := []*dhcpv4.DHCPv4{
		discover(mac(1)), discover(mac(1), optText(60, "PXEClient:Arch:00000"), opt(93, 0, 0), opt(97, make([]byte, 17)...)),
		discover(mac(1), optText(77, "iPXE"), opt(175, 177, 1, 1), giaddr("192.0.2.2"), opt(82, 1, 2, 'a', 'b')),
		discover(mac(1), optText(60, "HTTPClient"), opt(57, 5, 0xdc), opt(55, 1, 3, 6, 67, 60, 43)),
		discover(mac(3), opt(97, bytes.Repeat([]byte{0x11}, 17)...), optAddr(50, "192.0.2.150")),
		discover(mac(3), optText(61, fuzzID), opt(97, append([]byte{0}, bytes.Repeat([]byte{0x11}, 16)...)...)),
		request(mac(3), optText(61, fuzzID), selecting("192.0.2.150")), request(mac(3), selecting("192.0.2.150")),
		discover(nil, opt(61, 0, 1, 2)), discover(mac(1), opt(61, bytes.Repeat([]byte{1}, 300)...)),
		request(mac(1), selecting("192.0.2.100")), request(mac(1), optAddr(50, "192.0.2.101")), request(mac(1), ciaddr("192.0.2.102")),
		request(mac(1), selecting("203.0.113.1"), giaddr("192.0.2.2")),
		message(dhcpv4.MessageTypeRelease, mac(1), ciaddr("192.0.2.100")), message(dhcpv4.MessageTypeDecline, mac(1), optAddr(50, "192.0.2.100")),
		message(dhcpv4.MessageTypeInform, mac(1), ciaddr("192.0.2.9")),
	}
	for _, p := range seeds {
		f.Add(p.ToBytes())
	}
	f.Add(raw())
	f.Add(raw(61, 0, 82, 0, 97, 0))
	f.Add(edit(raw(52, 1, 3, 255), offsetFile, 60, 9, 'P', 'X', 'E', 'C', 'l', 'i', 'e', 'n', 't', 255))
	f.Add(edit(raw(255), 0, 2))

	until := time.Now().Add(1000 * time.Hour)
	pool := netip.MustParsePrefix("192.0.2.0/24")
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, s := range []*Server{fuzzServer(until), fuzzServer(until, authoritative)} {
			x := askRaw(t, s, b) // lint
			if x.reply == nil {
				continue
			}
			if b[0] != 1 {
				t.Fatal("a reply to what is no request")
			}
			limit := 548
			if v := x.r.Packet.Options.Get(dhcpv4.OptionMaximumDHCPMessageSize); len(v) == 2 {
				limit = min(max(576, int(v[0])<<8|int(v[1]))-28, 1472)
			}
			if len(x.raw) > limit {
				t.Fatalf("%d bytes, the client takes %d", len(x.raw), limit)
			}
			if sent, got := x.r.Packet.Options.Get(dhcpv4.OptionRelayAgentInformation), x.reply.Options.Get(dhcpv4.OptionRelayAgentInformation); len(got) > 0 && !bytes.Equal(sent, got) {
				t.Fatal("option 82 changed")
			}
			if !bytes.Equal(x.r.ClientID(), x.reply.Options.Get(dhcpv4.OptionClientIdentifier)) {
				t.Fatal("option 61 changed")
			}
			switch yiaddr := addrOf(x.reply.YourIPAddr); {
			case !yiaddr.IsValid():
				if x.kind() == "OFFER" {
					t.Fatal("an OFFER without an address")
				}
			case yiaddr.Less(addr("192.0.2.100")) || addr("192.0.2.199").Less(yiaddr):
				t.Fatalf("%s is not in the pool", yiaddr)
			case yiaddr == addr("192.0.2.150"):
				if id := string(x.r.ClientID()); x.r.Client.UUID != fuzzUUID && id != fuzzID {
					t.Fatalf("%s is reserved, not for UUID %q, client identifier %q", yiaddr, x.r.Client.UUID, id)
				}
			case x.r.Client.UUID == fuzzUUID && x.kind() == "OFFER" && usable(x.r, addr("192.0.2.150")):
				t.Fatalf("offered %s instead of the reserved address", yiaddr)
			}
			if !x.d.To.IsValid() || x.d.To.Addr().IsUnspecified() || x.d.From != addr(serverIP) {
				t.Fatalf("sent to %s from %s", x.d.To, x.d.From)
			}
			if x.d.Route != ByBroadcast && !pool.Contains(x.d.To.Addr()) {
				t.Fatalf("sent to %s, a stranger", x.d.To)
			}
		}
	})
}

// fuzzServer is a server on which machine 1 has 192.0.2.102 and machine 2 has
// 192.0.2.100. It is made anew for each input, so that failures are repeatable.
func fuzzServer(until time.Time, edit ...func(*Server)) *Server {
	store := &MemoryStore{}
	for i, a := range []string{"192.0.2.102/32", "192.0.2.100/32"} {
		b := Binding{HW: mac(i + 1), Addr: netip.MustParsePrefix(a), Until: until, State: Bound}
		if _, err := store.Claim(context.Background(), b); err != nil {
			panic(err)
		}
	}
	s := newServer(append(edit, rich, withBoot("http://192.0.2.1/boot"))...)
	s.Networks[0].Leases = &Pool{
		First: addr("192.0.2.100"), Last: addr("192.0.2.199"), Store: store,
		Reservations: []Reservation{{UUID: fuzzUUID, ClientID: []byte(fuzzID), Addr: addr("192.0.2.150")}},
	}
	return s
}

// FuzzProxy takes raw bytes to both ports where another server gives out the
// addresses: no reply may have anything of a lease, go to a client that does not
// boot over the network, or leave the network.
func FuzzProxy(f *testing.F) {
	for _, mods := range [][]dhcpv4.Modifier{asBIOS, asUEFI, asHTTP, asIPXE, asUBoot, asPlain} {
		f.Add(discover(mac(1), mods...).ToBytes(), uint32(0), uint16(68))
		f.Add(discover(mac(1), with(mods, giaddr("192.0.2.2"), opt(82, 1, 2, 'a', 'b'), ciaddr("192.0.2.50"))...).ToBytes(), uint32(0), uint16(67))
		f.Add(request(mac(1), with(mods, ciaddr("192.0.2.50"), opt(43, 71, 4, 0, 0, 0, 0, 255))...).ToBytes(), uint32(0xc0000232), uint16(4011))
		f.Add(message(dhcpv4.MessageTypeInform, mac(1), with(mods, optAddr(54, serverIP), optAddr(50, "192.0.2.7"))...).ToBytes(), uint32(0xcb007109), uint16(53))
		f.Add(message(dhcpv4.MessageTypeRelease, mac(1), mods...).ToBytes(), uint32(0xc0000232), uint16(68))
	}
	f.Add(raw(60, 9, 'P', 'X', 'E', 'C', 'l', 'i', 'e', 'n', 't', 255), uint32(0), uint16(68))
	network := netip.MustParsePrefix("192.0.2.0/24")
	f.Fuzz(func(t *testing.T, b []byte, source uint32, port uint16) {
		for _, mode := range []Mode{Proxy, BootServer} {
			for _, pxePort := range []bool{false, true} {
				r := &Request{Interface: "eth1", Source: netip.AddrPortFrom(addr4(source), port), Destination: addr(serverIP), PXEPort: pxePort}
				x := askRequest(t, newProxy(mode), b, r, nil) // lint
				if x.reply == nil {
					continue
				}
				if x.r.Client.Kind == Plain {
					t.Fatal("a reply to a plain client")
				}
				if want := map[bool]string{false: "OFFER", true: "ACK"}[pxePort]; x.kind() != want || mode == BootServer && !pxePort {
					t.Fatalf("%s by a %s, port 4011: %v", x.kind(), mode, pxePort)
				}
				if !x.reply.YourIPAddr.IsUnspecified() {
					t.Fatalf("gave %s", x.reply.YourIPAddr)
				}
				for _, code := range []byte{1, 3, 6, 12, 15, 28, 51, 58, 59} {
					if _, ok := x.reply.Options[code]; ok {
						t.Fatalf("option %d", code)
					}
				}
				if class := string(x.reply.Options[60]); class != "PXEClient" && class != "HTTPClient" {
					t.Fatalf("class %q", class)
				}
				switch to := x.d.To; {
				case pxePort && to != r.Source, pxePort && x.d.Route != ByUnicast:
					t.Fatalf("sent to %s by %s", to, x.d.Route)
				case x.d.Route == ByBroadcast && to == netip.AddrPortFrom(broadcastAddr(), 68):
				case x.d.Route == ByRelay && to.Port() != 67, !network.Contains(to.Addr()):
					t.Fatalf("sent to %s by %s", to, x.d.Route)
				}
			}
		}
	})
}

// Who may have 192.0.2.150.
const (
	fuzzUUID = "11111111-1111-1111-1111-111111111111"
	fuzzID   = "\x00reserved"
)
