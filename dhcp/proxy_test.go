package dhcp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// What firmware says of itself, and one client that boots nothing.
var (
	asBIOS  = firmware("PXEClient:Arch:00000:UNDI:002001", 0)
	asUEFI  = firmware("PXEClient:Arch:00007:UNDI:003016", 7)
	asHTTP  = firmware("HTTPClient:Arch:00016:UNDI:003001", 16)
	asIPXE  = []dhcpv4.Modifier{optText(60, "PXEClient:Arch:00007:UNDI:003010"), opt(93, 0, 7), optText(77, "iPXE"), opt(175, 177, 1, 1)}
	asUBoot = firmware("U-Boot.armv8", 22) // by the Classify of newProxy
	asPlain = []dhcpv4.Modifier{optText(60, "MSFT 5.0"), opt(55, 1, 3, 6, 15)}
)

func firmware(class string, arch byte) []dhcpv4.Modifier {
	id := make([]byte, 17)
	id[16] = 9
	return []dhcpv4.Modifier{optText(60, class), opt(93, 0, arch), opt(97, id...), opt(57, 5, 0xc0)}
}

func with(a []dhcpv4.Modifier, b ...dhcpv4.Modifier) []dhcpv4.Modifier {
	return append(a[:len(a):len(a)], b...)
}

// newProxy is a server on eth1 beside another DHCP server, which has a boot file
// for everyone and takes port 4011 for served.
func newProxy(mode Mode, edit ...func(*Server)) *Server {
	s := &Server{
		Networks: []Network{{Interface: "eth1", Addr: netip.MustParsePrefix("192.0.2.1/24"), Mode: mode}},
		BootFile: bootByKind, Classify: knowUBoot, PXE: true,
	}
	for _, e := range edit {
		e(s)
	}
	return s
}

func knowUBoot(_ *Request, c Client) Client {
	if strings.HasPrefix(c.VendorClass, "U-Boot") {
		c.Kind = UBoot
	}
	return c
}

func bootByKind(_ context.Context, r *Request) (*BootFile, error) {
	switch {
	case r.Client.Kind == HTTPBoot:
		return &BootFile{Name: "http://192.0.2.1/snponly.efi"}, nil
	case r.Client.Kind == IPXE:
		return &BootFile{Name: "http://192.0.2.1/boot.ipxe"}, nil
	case r.Client.Kind == UBoot:
		return &BootFile{Name: "boot.scr"}, nil
	case r.Client.Arch == ArchX64:
		return &BootFile{Name: "snponly.efi"}, nil
	}
	return &BootFile{Name: "lpxelinux.0"}, nil
}

func TestP007_ProxyOffer(t *testing.T) {
	direct := "\x06\x01\x08\xff"
	style := func(st Style) func(*Server) {
		return func(s *Server) {
			s.BootFile = func(ctx context.Context, r *Request) (*BootFile, error) {
				f, err := bootByKind(ctx, r)
				f.Style = st
				return f, err
			}
		}
	}
	for name, c := range map[string]struct {
		mods  []dhcpv4.Modifier
		edit  func(*Server)
		codes []byte // beside 53 and 54
		file  string
		class string
		v43   string
	}{
		"BIOS":                       {mods: asBIOS, codes: []byte{43, 60, 66, 67, 97}, file: "lpxelinux.0", class: "PXEClient", v43: direct},
		"UEFI asks at 4011":          {mods: asUEFI, codes: []byte{60, 97}, class: "PXEClient"},
		"UEFI told at once":          {mods: asUEFI, edit: style(StylePlain), codes: []byte{60, 66, 67, 97}, file: "snponly.efi", class: "PXEClient"},
		"BIOS told to ask":           {mods: asBIOS, edit: style(StyleAsk4011), codes: []byte{60, 97}, class: "PXEClient"},
		"H-005 HTTP Boot":            {mods: asHTTP, codes: []byte{60, 67, 97}, file: "http://192.0.2.1/snponly.efi", class: "HTTPClient"},
		"iPXE takes it at once":      {mods: asIPXE, codes: []byte{60, 67}, file: "http://192.0.2.1/boot.ipxe", class: "PXEClient"},
		"a style is for PXE only":    {mods: asIPXE, edit: style(StyleAsk4011), codes: []byte{60, 67}, file: "http://192.0.2.1/boot.ipxe", class: "PXEClient"},
		"RFC 6842 client-id":         {mods: with(asUEFI, opt(61, 1, 2, 3)), codes: []byte{60, 61, 97}, class: "PXEClient"},
		"P-002 neither 93 nor 94":    {mods: []dhcpv4.Modifier{optText(60, "PXEClient")}, codes: []byte{43, 60, 66, 67}, file: "lpxelinux.0", class: "PXEClient", v43: direct},
		"asks for a lease's options": {mods: with(asBIOS, opt(55, 1, 3, 6, 12, 15, 28, 51, 58, 59, 54)), codes: []byte{43, 60, 66, 67, 97}, file: "lpxelinux.0", class: "PXEClient", v43: direct},
	} {
		t.Run(name, func(t *testing.T) {
			s := newProxy(Proxy)
			if c.edit != nil {
				c.edit(s)
			}
			x := ask(t, s, discover(mac(1), c.mods...))
			require.Equal(t, "OFFER", x.kind(), "%s %v", x.reason, x.err)
			require.ElementsMatch(t, append([]byte{53, 54}, c.codes...), wireCodes(x.raw))
			require.Equal(t, make([]byte, 8), x.raw[12:20], "ciaddr and yiaddr")
			require.Equal(t, serverIP, x.reply.ServerIPAddr.String(), "P-019, and iPXE takes no offer without")
			require.Equal(t, addr(serverIP).AsSlice(), x.reply.Options[54])
			require.Equal(t, c.class, string(x.reply.Options[60]))
			require.Equal(t, c.file, x.reply.BootFileName)
			require.Equal(t, c.file, string(x.reply.Options[67]))
			require.Equal(t, c.v43, string(x.reply.Options[43]))
			require.Equal(t, x.r.Packet.Options[97], x.reply.Options[97])
			require.Equal(t, Delivery{Route: ByBroadcast, To: netip.MustParseAddrPort("255.255.255.255:68"), Interface: "eth1", From: addr(serverIP)}, x.d)
			require.False(t, x.r.YourAddr.IsValid())
		})
	}
}

func TestProxyOfferByRelay(t *testing.T) {
	x := ask(t, newProxy(Proxy), discover(mac(1), with(asBIOS, giaddr("192.0.2.2"), opt(82, 1, 2, 'a', 'b'))...))
	require.Equal(t, ByRelay, x.d.Route)
	require.Equal(t, "192.0.2.2:67", x.d.To.String())
	require.True(t, x.reply.IsBroadcast(), "the relay has no address to send it to")
	require.Equal(t, []byte{1, 2, 'a', 'b'}, x.reply.Options[82])
	x = ask(t, newProxy(Proxy), discover(mac(1), with(asBIOS, giaddr("203.0.113.2"))...))
	require.Equal(t, NoNetwork, x.reason)
}

func TestP006_OnlyBootClientsAreAnswered(t *testing.T) {
	for name, c := range map[string]struct {
		mods  []dhcpv4.Modifier
		boots bool
	}{
		"BIOS": {asBIOS, true}, "UEFI": {asUEFI, true}, "HTTP Boot": {asHTTP, true}, "iPXE": {asIPXE, true},
		"Windows": {asPlain, false}, "no class": {nil, false}, "an empty class": {[]dhcpv4.Modifier{opt(60)}, false},
		"the class not at its beginning": {[]dhcpv4.Modifier{optText(60, "xPXEClient")}, false},
		"the class in another case":      {[]dhcpv4.Modifier{optText(60, "pxeclient")}, false},
		"the class cut short":            {[]dhcpv4.Modifier{optText(60, "PXEClien")}, false},
		"an architecture alone":          {[]dhcpv4.Modifier{opt(93, 0, 7)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			want := map[bool]string{true: "OFFER", false: "silence"}[c.boots]
			x := ask(t, newProxy(Proxy), discover(mac(1), c.mods...))
			require.Equal(t, want, x.kind(), "%s %v", x.reason, x.err)
			require.Equal(t, !c.boots, x.reason == NotForUs)
			for _, mode := range []Mode{Proxy, BootServer, Full} {
				want = map[bool]string{true: "ACK", false: "silence"}[c.boots]
				s := newProxy(mode)
				x = askPXE(t, s, request(mac(1), with(c.mods, ciaddr("192.0.2.50"))...), "192.0.2.50:4011")
				require.Equal(t, want, x.kind(), "%s: %s %v", mode, x.reason, x.err)
				require.Equal(t, !c.boots, x.reason == NotForUs)
			}
			x = ask(t, newProxy(BootServer), discover(mac(1), c.mods...))
			require.Equal(t, NotForUs, x.reason, "a boot server is asked at 4011 only")
		})
	}
}

func TestP023_OtherVendorsClassesAreIgnored(t *testing.T) {
	for _, class := range []string{
		"Cisco Systems, Inc. IP Phone CP-7960", "Polycom-SPIP550", "Hewlett-Packard JetDirect", "docsis3.0:052401010102",
		"anaconda-Linux 6.1", "udhcp 1.36.1", "dhcpcd-9.4.1", "AAPLBSDPC/i386", "ArubaAP", "HTTP", "PXE", strings.Repeat("A", 255), "%s%n", "\x00PXEClient",
	} {
		for _, mode := range []Mode{Proxy, BootServer} {
			s := newProxy(mode)
			mods := []dhcpv4.Modifier{optText(60, class), opt(43, 255, 0, 1, 200, 9), opt(77, 4, 'i')}
			require.Equal(t, NotForUs, ask(t, s, discover(mac(1), mods...)).reason, "%q", class)
			require.Equal(t, NotForUs, askPXE(t, s, request(mac(1), mods...), "192.0.2.50:68").reason, "%q", class)
		}
	}
}

func TestP008_AProxyGivesNoLease(t *testing.T) {
	type heard struct {
		kind Kind
		t    dhcpv4.MessageType
	}
	for _, mode := range []Mode{Proxy, BootServer} {
		for name, c := range map[string]struct {
			p      *dhcpv4.DHCPv4
			reason DropReason // "": it is heard
		}{
			"takes another's offer":               {request(mac(1), with(asUEFI, optAddr(54, "192.0.2.9"), optAddr(50, "192.0.2.50"))...), ""},
			"names us":                            {request(mac(1), with(asBIOS, selecting("192.0.2.50"))...), ""},
			"remembers an address":                {request(mac(1), with(asBIOS, optAddr(50, "203.0.113.7"))...), ""},
			"renews":                              {request(mac(1), with(asIPXE, ciaddr("192.0.2.50"))...), ""},
			"asks for nothing":                    {request(mac(1), asBIOS...), ""},
			"looks for boot servers by broadcast": {request(mac(1), with(asBIOS, ciaddr("192.0.2.50"), opt(43, 71, 4, 0, 0, 0, 0, 255))...), ""},
			"an initramfs":                        {request(mac(1), with(asPlain, optAddr(54, "192.0.2.9"), optAddr(50, "192.0.2.50"))...), ""},
			"plain DISCOVER":                      {discover(mac(1), asPlain...), NotForUs},
			"INFORM":                              {message(dhcpv4.MessageTypeInform, mac(1), with(asBIOS, ciaddr("192.0.2.50"))...), NotForUs},
			"plain INFORM":                        {message(dhcpv4.MessageTypeInform, mac(1), with(asPlain, ciaddr("192.0.2.50"))...), NotForUs},
			"RELEASE":                             {message(dhcpv4.MessageTypeRelease, mac(1), with(asBIOS, ciaddr("192.0.2.50"))...), NotForUs},
			"DECLINE":                             {message(dhcpv4.MessageTypeDecline, mac(1), with(asBIOS, optAddr(50, "192.0.2.50"))...), NotForUs},
		} {
			t.Run(mode.String()+" "+name, func(t *testing.T) {
				received, dropped := make(chan heard, 9), make(chan DropReason, 9)
				s := newProxy(mode)
				s.Trace = &Trace{
					Received: func(r *Request) { received <- heard{r.Client.Kind, r.Type()} },
					Dropped:  func(d Drop) { dropped <- d.Reason },
				}
				conn := serve(t, s)
				conn.put(c.p)
				if c.reason != "" {
					require.Equal(t, c.reason, <-dropped)
				} else {
					require.Equal(t, dhcpv4.MessageTypeRequest, (<-received).t)
				}
				require.NoError(t, s.Shutdown(t.Context()))
				require.Empty(t, conn.out)
				require.Empty(t, received)
				require.Empty(t, dropped)
				require.EqualValues(t, map[bool]int{true: 0, false: 1}[c.reason == ""], len(s.Drops()))
			})
		}
	}
}

func TestUBootIsNotMisledByAProxy(t *testing.T) {
	for _, mode := range []Mode{Proxy, BootServer} {
		x := ask(t, newProxy(mode), discover(mac(1), asUBoot...))
		require.Equal(t, "silence", x.kind())
		require.Equal(t, NotForUs, x.reason)
	}
}

func TestP009_NobodyIsSentToAPortWhereNobodyListens(t *testing.T) {
	dropped := make(chan Drop, 9)
	s := newProxy(Proxy)
	s.PXE = false
	s.Trace = &Trace{Dropped: func(d Drop) { dropped <- d }}
	c := serve(t, s)
	c.put(discover(mac(1), asUEFI...))
	d := <-dropped
	require.Equal(t, Error, d.Reason)
	require.ErrorContains(t, d.Err, "ServePXE")
	c.put(discover(mac(2), asBIOS...))
	require.Equal(t, "lpxelinux.0", c.nextFor(t, mac(2)).BootFileName, "who does not ask there is served")
}

func TestProxyWithoutABootFile(t *testing.T) {
	failure := errors.New("no such machine")
	for name, c := range map[string]struct {
		file   *BootFile
		err    error
		reason DropReason
		text   string
	}{
		"boots nothing from here": {nil, nil, Policy, ""},
		"the hook fails":          {nil, failure, Error, "no such machine"},
		"a bad name":              {&BootFile{Name: "a\nb"}, nil, Error, "printable"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newProxy(Proxy, func(s *Server) {
				s.BootFile = func(context.Context, *Request) (*BootFile, error) { return c.file, c.err }
			})
			for _, x := range []result{
				ask(t, s, discover(mac(1), asBIOS...)),
				ask(t, s, discover(mac(1), asUEFI...)), // also where the OFFER would not name it
				askPXE(t, s, request(mac(1), asUEFI...), "192.0.2.50:4011"),
			} {
				require.Equal(t, "silence", x.kind())
				require.Equal(t, c.reason, x.reason)
				if c.text != "" {
					require.ErrorContains(t, x.err, c.text)
				}
			}
		})
	}
}

func TestP019_FirmwareIsSentToOurOwnAddress(t *testing.T) {
	for name, edit := range map[string]func(*Server){
		"the network's files": func(s *Server) { s.Networks[0].ServerAddr = addr("192.0.2.77") },
		"this file": func(s *Server) {
			s.BootFile = func(context.Context, *Request) (*BootFile, error) {
				return &BootFile{Name: "snponly.efi", ServerAddr: addr("192.0.2.77")}, nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newProxy(Proxy, edit)
			x := ask(t, s, discover(mac(1), asUEFI...))
			require.Equal(t, serverIP, x.reply.ServerIPAddr.String(), "EDK2 asks siaddr before option 54")
			x = askPXE(t, s, request(mac(1), with(asUEFI, ciaddr("192.0.2.50"))...), "192.0.2.50:4011")
			require.Equal(t, "192.0.2.77", x.reply.ServerIPAddr.String(), "and then loads from where the file is")
			require.Equal(t, "192.0.2.77", string(x.reply.Options[66]))
			require.Equal(t, addr(serverIP).AsSlice(), x.reply.Options[54])
			x = ask(t, s, discover(mac(1), asBIOS...))
			require.Equal(t, "192.0.2.77", x.reply.ServerIPAddr.String(), "BIOS loads at once")
		})
	}
}

func TestP018_NobodyWaitsForAnotherClientsBootFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newProxy(Proxy)
		s.BootFile = func(ctx context.Context, r *Request) (*BootFile, error) {
			if r.HardwareAddr().String() == mac(1).String() {
				time.Sleep(time.Minute)
			}
			return bootByKind(ctx, r)
		}
		c := newFakeConn(t)
		done := make(chan error, 1)
		go func() { done <- s.Serve(c) }()
		start := time.Now()
		c.put(discover(mac(1), asIPXE...))
		for i := range 100 {
			c.put(discover(mac(i+2), asIPXE...))
		}
		for range 100 {
			p, _ := c.next(t)
			require.NotEqual(t, mac(1).String(), p.ClientHWAddr.String())
			require.Zero(t, time.Since(start), "iPXE waits for two seconds")
		}
		time.Sleep(2 * time.Minute)
		p, _ := c.next(t)
		require.Equal(t, mac(1).String(), p.ClientHWAddr.String())
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-done, ErrServerClosed)
	})
}

func TestH005_ProxyOfferToHTTPBoot(t *testing.T) {
	boot := func(name string) func(*Server) { return withBoot(name) }
	x := ask(t, newProxy(Proxy, boot("http://boot.example.org/snponly.efi")), discover(mac(1), asHTTP...))
	require.Equal(t, "OFFER", x.kind(), "%v", x.err)
	require.Equal(t, net.IPv4zero.String(), x.reply.YourIPAddr.String())
	require.Equal(t, "HTTPClient", string(x.reply.Options[60]))
	require.Equal(t, "http://boot.example.org/snponly.efi", string(x.reply.Options[67]))
	require.NotContains(t, x.reply.Options, uint8(6), "the name servers are the other server's: EDK2 takes them from its offer")
	x = ask(t, newProxy(Proxy, boot("snponly.efi")), discover(mac(1), asHTTP...))
	require.Equal(t, Error, x.reason)
	require.ErrorContains(t, x.err, "absolute URL")
}

func TestModesAreValidated(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*Server)
		text string
	}{
		"good":          {func(*Server) {}, ""},
		"next server":   {func(s *Server) { s.Networks[0].ServerAddr = addr("192.0.2.77") }, ""},
		"Leases":        {func(s *Server) { s.Networks[0].Leases = &Pool{} }, "Leases is set"},
		"Routers":       {func(s *Server) { s.Networks[0].Routers = []netip.Addr{addr(serverIP)} }, "Routers is set"},
		"DNS":           {func(s *Server) { s.Networks[0].DNS = []netip.Addr{addr(serverIP)} }, "DNS is set"},
		"Domain":        {func(s *Server) { s.Networks[0].Domain = "example.org" }, "Domain is set"},
		"Authoritative": {authoritative, "Authoritative is set"},
		"Options": {func(s *Server) {
			s.Networks[0].Options = []dhcpv4.Option{dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(210), []byte("/"))}
		}, "BootFile.Options"},
		"no BootFile": {func(s *Server) { s.BootFile = nil }, "BootFile is not set"},
	} {
		for _, mode := range []Mode{Proxy, BootServer} {
			err := newProxy(mode, c.edit).Validate()
			if c.text == "" {
				require.NoError(t, err, name)
				continue
			}
			require.ErrorContains(t, err, c.text, name)
			require.ErrorContains(t, err, mode.String(), name)
		}
	}
}
