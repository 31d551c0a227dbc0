package dhcp

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// taint is what a client must not get anywhere: to a shell, a boot script, a log
// and an HTML page it would mean something.
const taint = "\";$(touch /pwn)\n#!ipxe<b>%s"

// tainted are the fields and options of a packet with the taint in them, one by
// one and many at once, as far as the packet can still be one.
func tainted() (all [][]dhcpv4.Modifier) {
	names := func(p *dhcpv4.DHCPv4) { p.ServerHostName, p.BootFileName = taint, taint+taint }
	addresses := func(p *dhcpv4.DHCPv4) {
		p.YourIPAddr, p.ServerIPAddr = net.IP("pwn\n"), net.IP("$(a)")
		copy(p.TransactionID[:], "pwn\n")
		p.NumSeconds, p.Flags = 'p'<<8|'w', 'n'<<8|'$'
	}
	overload := func(p *dhcpv4.DHCPv4) {
		field := "\x0c" + string(rune(len(taint))) + taint + "\xff"
		p.ServerHostName, p.BootFileName = field, field
		opt(52, 3)(p)
	}
	many := []dhcpv4.Modifier{names, addresses} // as many as a packet holds
	all = append(all, []dhcpv4.Modifier{names}, []dhcpv4.Modifier{addresses}, []dhcpv4.Modifier{overload})
	for code := 1; code < 255; code++ {
		switch code {
		case 50, 52, 53, 54: // they say what the packet asks for
			continue
		}
		m := optText(uint8(code), taint)
		if many = append(many, m); len(many) == 80 || code == 254 {
			all = append(all, many, with(many, optText(60, "PXEClient"+taint)), with(many, optText(60, "HTTPClient"+taint)), with(many, optText(77, "iPXE")))
			many = nil
		}
		all = append(all, []dhcpv4.Modifier{m}, []dhcpv4.Modifier{m, optText(60, "PXEClient"+taint)},
			[]dhcpv4.Modifier{optText(uint8(code), string(rune(len(taint)))+taint), optText(77, "iPXE")})
	}
	uuid := opt(97, append([]byte{0}, taint[:16]...)...)
	return append(all, []dhcpv4.Modifier{uuid, optText(60, "PXEClient")})
}

// echoed are the options that go back to who sent them, as RFC 3046, RFC 4578, RFC
// 6842 and RFC 3011 demand.
func echoed(code uint8) bool { return code == 61 || code == 82 || code == 97 || code == 118 }

// texts keeps everything that is logged or traced, as it stands in a record.
type texts struct {
	mu  sync.Mutex
	all []string
}

func (l *texts) add(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, text)
}

func (l *texts) Enabled(context.Context, slog.Level) bool { return true }
func (l *texts) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *texts) WithGroup(string) slog.Handler            { return l }
func (l *texts) Handle(_ context.Context, r slog.Record) error {
	l.add(r.Message)
	r.Attrs(func(a slog.Attr) bool { l.add(a.Value.String()); return true })
	return nil
}

// TestTaintOfOneClientReachesNoOther: what a client sends comes back to itself in
// the options that are echoed, and goes nowhere else.
func TestTaintOfOneClientReachesNoOther(t *testing.T) {
	heard := &texts{}
	listening := func(s *Server) {
		s.Logger = slog.New(heard)
		s.Trace = &Trace{Dropped: func(d Drop) { heard.add(fmt.Sprint(d.Reason, d.Interface, d.HardwareAddr, d.Source, d.Err)) }}
	}
	offers := map[string]int{}
	for name, s := range map[string]*Server{
		"full":     newServer(rich, withBoot("http://192.0.2.1/x"), withRelays, listening),
		"strict":   newServer(rich, withPool(strict(100)), withBoot("lpxelinux.0"), listening),
		"no boot":  newServer(rich, listening, authoritative),
		"policies": newServer(rich, withChain(poolOf("192.0.2.100", "192.0.2.150"), poolOf("192.0.2.151", "192.0.2.199")), listening),
		"proxy":    newProxy(Proxy, listening),
	} {
		t.Run(name, func(t *testing.T) {
			victim := func() {
				t.Helper()
				for _, mods := range [][]dhcpv4.Modifier{asPlain, asBIOS, asIPXE} {
					x := ask(t, s, discover(mac(2), mods...))
					clean(t, x, nil)
					clean(t, ask(t, s, request(mac(2), with(mods, selecting("192.0.2.100"))...)), nil)
				}
				clean(t, ask(t, s, message(dhcpv4.MessageTypeInform, mac(2), ciaddr("192.0.2.180"), opt(55, 12, 15, 43, 60, 66, 67, 77, 81, 119))), nil)
			}
			for _, mods := range tainted() {
				offer := told(t, s, discover(mac(1), mods...))
				clean(t, offer, echoed)
				offers[offer.kind()]++
				a := offer.addr()
				if offer.reply == nil || s.Networks[0].Mode != Full {
					a = "192.0.2.100"
				}
				clean(t, told(t, s, request(mac(1), with(mods, selecting(a))...)), echoed)
				clean(t, told(t, s, request(mac(1), with(mods, optAddr(50, "192.0.2.7"))...)), echoed)
				clean(t, told(t, s, message(dhcpv4.MessageTypeInform, mac(1), with(mods, ciaddr(a))...)), echoed)
				clean(t, told(t, s, request(mac(1), with(mods, giaddr("192.0.2.2"), selecting(a))...)), echoed)
				told(t, s, release(1, a, mods...))
			}
			victim()
		})
	}
	require.Greater(t, offers["OFFER"], offers["silence"], "most of it is answered: %v", offers)
	heard.mu.Lock()
	defer heard.mu.Unlock()
	require.NotEmpty(t, heard.all)
	for _, text := range heard.all {
		require.NotContains(t, text, taint)
		require.False(t, strings.ContainsAny(text, "\n\x00"), "%q", text)
	}
}

// told is ask, which reports what is dropped as serving does.
func told(t testing.TB, s *Server, p *dhcpv4.DHCPv4) result {
	t.Helper()
	x := ask(t, s, p)
	if x.reason != "" {
		s.dropped(x.reason, x.r, x.err)
	}
	return x
}

// clean requires that a reply, if there is one, has nothing of the taint but in the
// options that may.
func clean(t testing.TB, x result, may func(uint8) bool) {
	t.Helper()
	if x.reply == nil {
		return
	}
	for code, v := range x.reply.Options {
		if may != nil && may(code) {
			continue
		}
		require.NotContains(t, string(v), "pwn", "option %d", code)
		require.NotContains(t, string(v), "$(", "option %d", code)
	}
	require.NotContains(t, x.reply.ServerHostName+x.reply.BootFileName, "pwn")
	if may == nil {
		require.NotContains(t, string(x.raw), "pwn")
	}
	require.NotContains(t, string(x.raw[12:24]), "$(", "ciaddr, yiaddr and siaddr")
}
