package dhcp

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

func generic(code uint8, v ...byte) dhcpv4.Option {
	return dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(code), v)
}

func withOptions(o ...dhcpv4.Option) func(*Server) {
	return func(s *Server) { s.Networks[0].Options = append(s.Networks[0].Options, o...) }
}

func TestO004_TrailingNULsOfTextAreTakenOff(t *testing.T) {
	for class, want := range map[string]Kind{
		"PXEClient\x00": PXE, "HTTPClient\x00\x00": HTTPBoot, "U-Boot.armv8\x00": UBoot, "PXE\x00Client": Plain, "\x00": Plain,
	} {
		c := classify(discover(mac(1), optText(60, class)))
		require.Equal(t, want, c.Kind, "%q", class)
	}
	require.Equal(t, "PXEClient:Arch:00007", classify(discover(mac(1), optText(60, "PXEClient:Arch:00007\x00"))).VendorClass)
	for class, want := range map[string]Kind{
		"iPXE\x00": IPXE, "iPXE\x00\x00": IPXE, "\x04iPXE": IPXE, "\x05iPXE\x00": Plain, "\x00iPXE": Plain, "iPX\x00E": Plain,
	} {
		require.Equal(t, want, classify(discover(mac(1), optText(77, class))).Kind, "%q", class)
	}
}

func TestO004_NoTextIsSentWithANUL(t *testing.T) {
	for _, code := range []uint8{12, 14, 15, 17, 18, 40, 64, 66, 100, 101, 114, 209, 210} {
		t.Run(fmt.Sprint("option ", code), func(t *testing.T) {
			require.Error(t, newServer(withOptions(generic(code, 'a', 0))).Validate())
			s := newServer(withOptions(generic(code, 'a', 'b')))
			require.NoError(t, s.Validate())
			x := ask(t, s, discover(mac(1), opt(55, code)))
			require.Equal(t, "ab", string(x.reply.Options[code]))
		})
	}
	s := newServer(withBoot("x.efi"), func(s *Server) { s.Networks[0].Domain = "example.org" })
	x := ask(t, s, discover(mac(1), optText(60, "PXEClient"), opt(55, 15, 66, 67)))
	for _, code := range []uint8{15, 60, 66, 67} {
		v := x.reply.Options[code]
		require.NotEmpty(t, v, code)
		require.NotZero(t, v[len(v)-1], "option %d: %q", code, v)
	}
	require.NoError(t, newServer(withOptions(generic(44, 0, 0, 0, 0))).Validate(), "what is no text may end in a zero")
}

func TestO017_AutoConfigureIsNeverSent(t *testing.T) {
	err := newServer(withOptions(generic(116, 1))).Validate()
	require.ErrorContains(t, err, "option 116")
	pool := small(1)
	s := newServer(rich, withPool(pool))
	for _, mods := range [][]dhcpv4.Modifier{nil, {opt(116, 1)}, {opt(116, 0), opt(55, 1, 3, 116)}} {
		for _, x := range []result{
			ask(t, s, discover(mac(1), mods...)), ask(t, s, request(mac(1), append(mods, selecting("192.0.2.100"))...)),
		} {
			require.NotNil(t, x.reply, "%s %v", x.reason, x.err)
			require.NotContains(t, wireCodes(x.raw), byte(116), "an address is given")
		}
		x := ask(t, s, discover(mac(2), mods...))
		require.Equal(t, NoAddress, x.reason, "without an address there is no reply that it could be in")
	}
}

// TestO019_ClasslessRoutesOfEveryLength gives a route of each prefix length, and reads it as a
// client does.
func TestO019_ClasslessRoutesOfEveryLength(t *testing.T) {
	router := net.IP{192, 0, 2, 254}
	var all []*dhcpv4.Route
	for bits := range 33 {
		_, dest, err := net.ParseCIDR(fmt.Sprintf("203.0.113.255/%d", bits))
		require.NoError(t, err)
		all = append(all, &dhcpv4.Route{Dest: dest, Router: router})
		s := newServer(withOptions(dhcpv4.OptClasslessStaticRoute(all[bits])))
		x := ask(t, s, discover(mac(1), opt(55, 3, 121)))
		require.Equal(t, "OFFER", x.kind(), "%v", x.err)
		v := x.reply.Options[121]
		require.Len(t, v, 1+(bits+7)/8+4)
		require.EqualValues(t, bits, v[0])
		network := make([]byte, 4)
		copy(network, v[1:len(v)-4])
		mask := uint32(0)
		if bits > 0 {
			mask = ^uint32(0) << (32 - bits)
		}
		require.Equal(t, 0xcb0071ff&mask, binary.BigEndian.Uint32(network), "/%d", bits)
		require.Equal(t, []byte(router), v[len(v)-4:])
	}
	require.NoError(t, newServer(withOptions(dhcpv4.OptClasslessStaticRoute(all...))).Validate(), "several in one option")
}

func TestO019_ClasslessRoutesThatAreNotAreRefused(t *testing.T) {
	for name, v := range map[string][]byte{
		"33 bits":                    {33, 203, 0, 113, 0, 0, 192, 0, 2, 254},
		"no router":                  {24, 203, 0, 113},
		"router cut":                 {24, 203, 0, 113, 192, 0, 2},
		"an insignificant byte":      {24, 203, 0, 113, 0, 192, 0, 2, 254},
		"bits beyond the prefix":     {25, 203, 0, 113, 129, 192, 0, 2, 254},
		"the default route, cut":     {0, 192, 0, 2},
		"the second of two is short": {0, 192, 0, 2, 254, 8, 10},
		"empty":                      {},
	} {
		for _, code := range []uint8{121, 249} {
			require.Error(t, newServer(withOptions(generic(code, v...))).Validate(), "%s, option %d", name, code)
		}
	}
}

func TestO022_WhatSwitchesIPv4OffIsForThoseWhoAsk(t *testing.T) {
	portal := []byte("https://portal.example.org/api")
	v6only := []byte{0, 0, 7, 8}
	configured := withOptions(generic(108, v6only...), generic(114, portal...))
	onLease := func(s *Server) {
		s.Networks[0].Leases = inventory{lease: richLease{lease("192.0.2.50/32"), []dhcpv4.Option{generic(108, v6only...), generic(114, portal...)}}}
	}
	withFile := func(s *Server) {
		file := &BootFile{Name: "x", Options: []dhcpv4.Option{generic(108, v6only...), generic(114, portal...)}}
		s.BootFile = func(context.Context, *Request) (*BootFile, error) { return file, nil }
	}
	for name, edit := range map[string]func(*Server){"network": configured, "lease": onLease, "boot file": withFile} {
		t.Run(name, func(t *testing.T) {
			s := newServer(edit)
			for list, want := range map[string][]byte{"\x01\x03\x6c\x72": {108, 114}, "\x01\x6c": {108}, "\x01\x03": nil, "": nil} {
				mods := []dhcpv4.Modifier{optText(60, "PXEClient")}
				if list != "" {
					mods = append(mods, optText(55, list))
				}
				x := ask(t, s, discover(mac(1), mods...))
				require.Equal(t, "OFFER", x.kind(), "%v", x.err)
				var got []byte
				for _, code := range wireCodes(x.raw) {
					if onlyIfAsked(code) {
						got = append(got, code)
					}
				}
				require.Equal(t, want, got, "asked %x", list)
			}
		})
	}
	x := ask(t, newServer(rich), discover(mac(1), opt(55, 1, 108, 114)))
	require.NotContains(t, wireCodes(x.raw), byte(108), "not configured")
	require.NotContains(t, wireCodes(x.raw), byte(114))
}
