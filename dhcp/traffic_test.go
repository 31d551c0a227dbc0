package dhcp

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// traffic makes exchanges of all kinds of clients with servers of all modes, by
// chance: options, relays, sizes, states. Each reply is judged by lint.
type traffic struct {
	*rand.Rand
	server *Server
	left   int // exchanges until the next server
}

func newTraffic(seed uint64) *traffic { return &traffic{Rand: rand.New(rand.NewPCG(seed, 5))} }

// next returns an exchange that got a reply.
func (g *traffic) next(t testing.TB) result {
	t.Helper()
	for range 1000 {
		if g.left--; g.left < 0 {
			g.server, g.left = g.newServer(), 100
		}
		if x := g.exchange(t); x.raw != nil {
			return x
		}
	}
	t.Fatal("a thousand requests without a reply")
	return result{}
}

func (g *traffic) oneIn(n int) bool { return g.IntN(n) == 0 }

func (g *traffic) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return b
}

func (g *traffic) word(n int) string {
	b := g.bytes(n)
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyz0123456789"[b[i]%36]
	}
	return string(b)
}

// newServer is a server of some mode with options that are valid.
func (g *traffic) newServer() *Server {
	mode := []Mode{Full, Full, Full, Proxy, BootServer}[g.IntN(5)]
	s := newProxy(mode)
	n := &s.Networks[0]
	n.Addr = netip.MustParsePrefix("192.0.2.1/16")
	if mode == Full {
		n.Leases = &Pool{First: addr("192.0.8.0"), Last: addr("192.0.15.255")}
		n.Authoritative = g.oneIn(2)
		for range g.IntN(4) {
			n.Routers = append(n.Routers, addr4(0xc0000204+g.Uint32N(100)))
			n.DNS = append(n.DNS, addr4(0xc6336401+g.Uint32N(100)))
		}
		if g.oneIn(2) {
			n.Domain = g.word(1+g.IntN(60)) + ".example.org"
		}
		n.Options = g.options()
	}
	if g.oneIn(3) {
		n.ServerAddr = addr("198.51.100.7")
	}
	style := Style(1 << g.IntN(len(styleNames)))
	if mode == Full && g.oneIn(3) {
		style |= StyleNUL
	}
	s.Quirks = []Quirk{{OUI: "02:00:00", Style: style}}
	own, long := g.options(), g.oneIn(4)
	s.BootFile = func(ctx context.Context, r *Request) (*BootFile, error) {
		f, err := bootByKind(ctx, r)
		f.Options = own
		if long && r.Client.Kind != UBoot {
			f.Name += "/" + strings.Repeat("x", 200)
		}
		return f, err
	}
	return s
}

// options are some that an embedder may send, each of a form that its RFC has.
func (g *traffic) options() (all []dhcpv4.Option) {
	add := func(v []byte, codes ...uint8) {
		if g.oneIn(4) {
			all = append(all, dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(codes[g.IntN(len(codes))]), v))
		}
	}
	add(g.bytes(4), 2, 16, 24, 32, 35, 38, 108)
	add(g.bytes(4*(1+g.IntN(8))), 4, 5, 7, 8, 9, 10, 11, 41, 42, 44, 45, 48, 49, 65, 69, 72, 150)
	add([]byte(g.word(1+g.IntN(60))), 12, 14, 18, 62, 64, 100, 101, 114, 209, 210)
	add([]byte("192.0.2.9:/srv/"+g.word(g.IntN(200))), 17)
	add([]byte{1}, 19, 20, 27, 29, 30, 31, 34, 36, 39, 116)
	add([]byte{8}, 23, 37, 46)
	add(g.bytes(2), 13, 22, 26)
	add(bytes.Repeat([]byte{198, 51, 100, 1, 192, 0, 2, 254}, 1+g.IntN(5)), 33)
	add(nil, 80)
	add([]byte("\x07example\x03org\x00"), 119)
	// One instance: tshark 4.0 does not join those of RFC 3396.
	add(bytes.Repeat([]byte{24, 198, 51, 100, 192, 0, 2, 254}, 1+g.IntN(31)), 121)
	add([]byte{0xf1, 0, 0x74, 0x7e}, 208)
	add(g.bytes(4), 211)
	add(g.bytes(1+g.IntN(600)), 224, 225, 230, 240, 254)
	return all
}

// exchange sends one packet.
func (g *traffic) exchange(t testing.TB) result {
	s, mode := g.server, g.server.Networks[0].Mode
	mods := g.client()
	hw := mac(g.IntN(1 << 12))
	if g.oneIn(30) {
		hw = nil
		mods = append(mods, opt(61, append([]byte{0}, g.bytes(8)...)...))
	}
	mods = append(mods, xid(g.Uint32()))
	if g.oneIn(4) {
		mods = append(mods, broadcastFlag)
	}
	if mode == BootServer || g.oneIn(5) {
		if mods = append(mods, ciaddr("192.0.2.50")); g.oneIn(3) {
			mods = append(mods, opt(43, 71, 4, 0, byte(g.IntN(2)), 0, 0, 255))
		}
		kind := []dhcpv4.MessageType{dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeInform}[g.IntN(2)]
		return askPXE(t, s, message(kind, hw, mods...), "192.0.2.50:4011")
	}
	if g.oneIn(4) {
		mods = append(mods, giaddr("192.0.2.2"))
		if g.oneIn(2) {
			mods = append(mods, opt(82, append([]byte{1, 8}, g.bytes(8)...)...))
		}
	}
	if mode != Full {
		return ask(t, s, discover(hw, mods...))
	}
	switch g.IntN(6) {
	case 0:
		return ask(t, s, message(dhcpv4.MessageTypeInform, hw, with(mods, ciaddr("192.0.2.77"))...))
	case 1:
		return ask(t, s, request(hw, with(mods, selecting("192.0.2.7"))...)) // NAK
	case 2:
		return ask(t, s, discover(hw, mods...))
	}
	offer := ask(t, s, discover(hw, mods...))
	if offer.raw == nil {
		return offer
	}
	ack := ask(t, s, request(hw, with(mods, selecting(offer.addr()))...))
	if ack.raw != nil && g.oneIn(3) {
		return ask(t, s, request(hw, with(mods, ciaddr(offer.addr()))...)) // renews
	}
	return ack
}

// client is what some client says of itself.
func (g *traffic) client() (mods []dhcpv4.Modifier) {
	mods = with([][]dhcpv4.Modifier{asBIOS, asUEFI, asHTTP, asIPXE, asUBoot, asPlain}[g.IntN(6)])
	if g.oneIn(2) {
		mods = append(mods, opt(97, append([]byte{0}, g.bytes(16)...)...))
	}
	if g.oneIn(2) {
		// Any, an address, or RFC 4361's: IAID and DUID-LL. Others than these tshark
		// takes for malformed, as they are; they are returned as they came.
		ids := [][]byte{append([]byte{0}, g.bytes(1+g.IntN(20))...), append([]byte{1}, g.bytes(6)...), append([]byte{255, 0, 0, 0, 1, 0, 3, 0, 1}, g.bytes(6)...)}
		mods = append(mods, opt(61, ids[g.IntN(len(ids))]...))
	}
	if g.oneIn(3) {
		mods = append(mods, opt(55, g.bytes(1+g.IntN(100))...))
	}
	if g.oneIn(2) {
		mods = append(mods, opt(57, byte(g.IntN(7)), byte(g.Uint32())))
	}
	if g.oneIn(4) {
		mods = append(mods, opt(51, g.bytes(4)...))
	}
	if g.oneIn(8) {
		mods = append(mods, opt(118, 192, 0, 0, 0))
	}
	return mods
}

// FuzzEveryReplyIsWellFormed has the judge of replies look at what the encoder
// makes of servers, options and clients that are thrown together.
func FuzzEveryReplyIsWellFormed(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		g := newTraffic(seed)
		for range 20 {
			g.next(t) // lint
		}
	})
}
