package dhcp

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

func TestStylesOfABootFile(t *testing.T) {
	const pi = "\x06\x01\x03\x0a\x04\x00PXE\x09\x14\x00\x00\x11Raspberry Pi Boot\xff" // as a ROM is known to take it
	long := strings.Repeat("x", 255)
	for name, c := range map[string]struct {
		mods []dhcpv4.Modifier
		file BootFile
		with map[uint8]string // "" for an option that must not be there
		err  string
	}{
		"NUL":                           {asBIOS, BootFile{Name: "f", Style: StyleNUL}, map[uint8]string{67: "f\x00", 60: "", 43: ""}, ""},
		"NUL has no room":               {asBIOS, BootFile{Name: long, Style: StyleNUL}, nil, "StyleNUL"},
		"no NUL, it fits":               {asBIOS, BootFile{Name: long, Style: StylePlain}, map[uint8]string{67: long}, ""},
		"Raspberry Pi":                  {asBIOS, BootFile{Name: "f", Style: StyleRaspberryPi}, map[uint8]string{43: pi, 60: "PXEClient", 67: "f"}, ""},
		"Pi and direct":                 {asBIOS, BootFile{Name: "f", Style: StyleRaspberryPi | StyleDirect}, map[uint8]string{43: pi}, ""},
		"class and direct":              {asUEFI, BootFile{Name: "f", Style: StyleClass | StyleDirect}, map[uint8]string{43: "\x06\x01\x08\xff", 60: "PXEClient"}, ""},
		"asking is a matter of proxies": {asUEFI, BootFile{Name: "f", Style: StyleAsk4011}, map[uint8]string{43: "", 60: "", 67: "f"}, ""},
		"not for iPXE":                  {asIPXE, BootFile{Name: "f", Style: StyleNUL | StyleRaspberryPi}, map[uint8]string{43: "", 60: "", 67: "f", 175: "\xb0\x01\x01"}, ""},
		"U-Boot":                        {asUBoot, BootFile{Name: long[:127]}, map[uint8]string{43: "", 60: "", 67: long[:127]}, ""},
		"U-Boot reads the header only":  {asUBoot, BootFile{Name: long[:128]}, nil, "header"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(func(s *Server) {
				s.Classify = knowUBoot
				s.BootFile = func(context.Context, *Request) (*BootFile, error) { return &c.file, nil }
			})
			if c.file.Style&StyleNUL != 0 {
				s.Quirks = []Quirk{{Style: StyleNUL}} // so that the judge of replies expects it
			}
			x := ask(t, s, discover(mac(1), c.mods...))
			if c.err != "" {
				require.Equal(t, Error, x.reason)
				require.ErrorContains(t, x.err, c.err)
				return
			}
			require.Equal(t, "OFFER", x.kind(), "%s %v", x.reason, x.err)
			for code, v := range c.with {
				if v == "" {
					require.NotContains(t, x.reply.Options, code)
				} else {
					require.Equal(t, v, string(x.reply.Options[code]), "option %d", code)
				}
			}
			if len(c.file.Name) < 128 {
				require.Equal(t, c.file.Name, x.reply.BootFileName)
			}
		})
	}
}

func TestH003_AHostNameComesWithItsNameServers(t *testing.T) {
	dns := func(s *Server) { s.Networks[0].DNS = []netip.Addr{addr("192.0.2.53")} }
	const byName = "http://boot.example.org/snponly.efi"
	notAsked := with(asHTTP, opt(55, 1, 3, 60, 67))
	own := func(s *Server) {
		s.BootFile = func(context.Context, *Request) (*BootFile, error) {
			return &BootFile{Name: byName, Options: []dhcpv4.Option{dhcpv4.OptDNS([]byte{192, 0, 2, 54})}}, nil
		}
	}
	for name, c := range map[string]struct {
		mods []dhcpv4.Modifier
		edit []func(*Server)
		want string // option 6
		err  string
	}{
		"with a server":              {asHTTP, []func(*Server){withBoot(byName), dns}, "\xc0\x00\x02\x35", ""},
		"though not asked for":       {notAsked, []func(*Server){withBoot(byName), dns}, "\xc0\x00\x02\x35", ""},
		"with the boot file's own":   {notAsked, []func(*Server){dns, own}, "\xc0\x00\x02\x36", ""},
		"without one":                {asHTTP, []func(*Server){withBoot(byName)}, "", "Network.DNS"},
		"an address needs none":      {asHTTP, []func(*Server){withBoot("http://192.0.2.1:8080/f.efi")}, "", ""},
		"nor is one forced upon it":  {notAsked, []func(*Server){withBoot("http://192.0.2.1/f.efi"), dns}, "", ""},
		"an IPv6 address needs none": {asHTTP, []func(*Server){withBoot("http://[2001:db8::1]/f.efi")}, "", ""},
		"iPXE sees to itself":        {asIPXE, []func(*Server){withBoot(byName)}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(c.edit...)
			x := ask(t, s, discover(mac(1), c.mods...))
			if c.err != "" {
				require.Equal(t, Error, x.reason)
				require.ErrorContains(t, x.err, c.err)
				require.ErrorContains(t, x.err, "boot.example.org")
				return
			}
			require.Equal(t, "OFFER", x.kind(), "%s %v", x.reason, x.err)
			require.Equal(t, c.want, string(x.reply.Options[6]))
			require.Equal(t, c.want != "", x.reply.Options.Has(dhcpv4.OptionDomainNameServer))
		})
	}
}
