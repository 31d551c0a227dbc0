package dhcp

import (
	"context"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// What was done for a machine is for whoever looks for the reason when it does not
// boot: the quirk's style, or the boot file's where that says otherwise.
func TestC001_TheTraceTellsTheStyleThatWasUsed(t *testing.T) {
	for name, c := range map[string]struct {
		mode Mode
		mods []dhcpv4.Modifier
		own  Style // of the boot file
		want Style
	}{
		"BIOS":                          {Full, asBIOS, 0, StyleClass | StyleDirect},
		"BIOS, told otherwise":          {Full, asBIOS, StylePlain, StylePlain},
		"UEFI, told otherwise":          {Full, asUEFI, StyleClass | StyleNUL, StyleClass | StyleNUL},
		"UEFI beside another":           {Proxy, asUEFI, 0, StyleAsk4011},
		"UEFI beside another, at once":  {Proxy, asUEFI, StylePlain, StylePlain},
		"BIOS beside another, at 4011":  {Proxy, asBIOS, StyleAsk4011, StyleAsk4011},
		"a style has no meaning: HTTP":  {Full, asHTTP, StyleDirect, 0},
		"a style has no meaning: iPXE":  {Proxy, asIPXE, StyleAsk4011, 0},
		"a style has no meaning: plain": {Full, asPlain, StyleDirect, 0},
	} {
		t.Run(name, func(t *testing.T) {
			told := make(chan Style, 2)
			tell := func(r *Request) { told <- r.Client.Style }
			s := newProxy(c.mode, func(s *Server) {
				s.BootFile = func(ctx context.Context, r *Request) (*BootFile, error) {
					f, err := bootByKind(ctx, r)
					f.Style = c.own
					return f, err
				}
				s.Trace = &Trace{
					Sending: func(r *Request, _ *dhcpv4.DHCPv4) { tell(r) },
					Sent:    func(r *Request, _ *dhcpv4.DHCPv4, _ Delivery) { tell(r) },
				}
				if c.mode == Full {
					s.Networks = newServer().Networks
				}
			})
			conn := newFakeConn(t)
			conn.unjudged = c.want&StyleNUL != 0 // which the judge takes for a mistake
			served := make(chan error, 1)
			go func() { served <- s.Serve(conn) }()
			conn.put(discover(mac(1), c.mods...))
			conn.next(t)
			require.Equal(t, c.want, <-told, "sending")
			require.Equal(t, c.want, <-told, "sent")
			require.NoError(t, s.Close())
			<-served
		})
	}
}

// The same boot file stands in the header and in option 67, for firmware that reads
// one or the other, in the OFFER and in the ACK.
func TestC004_TheBootFileStandsInBothPlaces(t *testing.T) {
	for name, c := range map[string]struct {
		mods   []dhcpv4.Modifier
		file   string
		header bool
	}{
		"BIOS": {asBIOS, "lpxelinux.0", true}, "UEFI": {asUEFI, "snponly.efi", true}, "U-Boot": {asUBoot, "boot.scr", true},
		"HTTP Boot": {asHTTP, "http://192.0.2.1/snponly.efi", true}, "iPXE": {asIPXE, "http://192.0.2.1/boot.ipxe", true},
		"the longest for the header": {asUEFI, strings.Repeat("x", 127), true},
		"too long for the header":    {asUEFI, strings.Repeat("x", 128), false},
		"asks for neither":           {with(asBIOS, opt(55, 1, 3)), "lpxelinux.0", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(withBoot(c.file))
			offer := ask(t, s, discover(mac(1), c.mods...))
			require.Equal(t, "OFFER", offer.kind(), "%s %v", offer.reason, offer.err)
			ack := ask(t, s, request(mac(1), with(c.mods, selecting(offer.addr()))...))
			require.Equal(t, "ACK", ack.kind(), "%s %v", ack.reason, ack.err)
			for _, x := range []result{offer, ack} {
				require.Equal(t, c.file, string(x.reply.Options[67]))
				require.NotContains(t, x.reply.Options, uint8(52), "the header holds no options")
				if c.header {
					require.Equal(t, c.file, x.reply.BootFileName)
					require.Zero(t, x.raw[108+len(c.file)], "and ends in a NUL")
				} else {
					require.Empty(t, x.reply.BootFileName, "rather nothing than a piece of it")
				}
			}
		})
	}
}
