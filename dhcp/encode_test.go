package dhcp

import (
	"bytes"
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// wireCodes are the option codes of a packet as they stand on the wire.
func wireCodes(b []byte) (codes []byte) {
	for b = b[240:]; len(b) > 0 && b[0] != 255; {
		if b[0] == 0 {
			b = b[1:]
			continue
		}
		codes = append(codes, b[0])
		b = b[2+int(b[1]):]
	}
	return codes
}

// rich is a server with something for each option.
func rich(s *Server) {
	n := &s.Networks[0]
	n.Routers = []netip.Addr{addr("192.0.2.254")}
	n.DNS = []netip.Addr{addr("192.0.2.53"), addr("192.0.2.54")}
	n.Domain = "example.org"
	n.Options = []dhcpv4.Option{
		dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(42), []byte{192, 0, 2, 9}),
		dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(210), []byte("/prefix/")),
	}
}

func TestO003_D029_OrderOnTheWire(t *testing.T) {
	for name, c := range map[string]struct {
		list []byte
		want []byte
	}{
		"no list: everything":                {nil, []byte{53, 54, 51, 58, 59, 1, 3, 6, 15, 42, 210, 82}},
		"as the client asked":                {[]byte{210, 6, 3, 1, 15}, []byte{53, 54, 51, 58, 59, 1, 3, 210, 6, 15, 82}},
		"O-003 router asked for before mask": {[]byte{3, 1}, []byte{53, 54, 51, 58, 59, 1, 3, 82}},
		"asked for twice, given once":        {[]byte{6, 6, 6}, []byte{53, 54, 51, 58, 59, 1, 6, 82}},
		"asked for, not configured":          {[]byte{2, 12, 119, 252}, []byte{53, 54, 51, 58, 59, 1, 82}},
		"broadcast address on request":       {[]byte{28}, []byte{53, 54, 51, 58, 59, 1, 28, 82}},
		"the server's own codes in the list": {[]byte{82, 54, 53, 0, 255, 61, 50}, []byte{53, 54, 51, 58, 59, 1, 82}},
	} {
		t.Run(name, func(t *testing.T) {
			mods := []dhcpv4.Modifier{opt(82, 1, 2, 'x', 'y')}
			if c.list != nil {
				mods = append(mods, opt(55, c.list...))
			}
			require.Equal(t, c.want, wireCodes(ask(t, newServer(rich), discover(mac(1), mods...)).raw))
		})
	}
}

func TestD008_O009_SizeLimit(t *testing.T) {
	long := func(s *Server) {
		rich(s)
		for code := uint8(224); code < 234; code++ {
			s.Networks[0].Options = append(s.Networks[0].Options,
				dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(code), bytes.Repeat([]byte{code}, 200)))
		}
	}
	for name, c := range map[string]struct {
		mod   dhcpv4.Modifier
		limit int
	}{
		"absent: 576":          {func(*dhcpv4.DHCPv4) {}, 548},
		"below 576 is ignored": {opt(57, 1, 0), 548},
		"zero is ignored":      {opt(57, 0, 0), 548},
		"wrong length ignored": {opt(57, 5), 548},
		"of the client":        {opt(57, 4, 0), 996},
		"above Ethernet's":     {opt(57, 0xff, 0xff), 1472},
		"Ethernet's":           {opt(57, 5, 0xdc), 1472},
		"one below Ethernet's": {opt(57, 5, 0xdb), 1471},
	} {
		t.Run(name, func(t *testing.T) {
			x := ask(t, newServer(long), discover(mac(1), c.mod))
			require.LessOrEqual(t, len(x.raw), c.limit)
			require.Greater(t, len(x.raw), c.limit-203, "room is used")
			require.Subset(t, wireCodes(x.raw), []byte{53, 54, 51, 1, 3, 6, 15})
		})
	}
}

func TestD009_RepliesArePaddedToBOOTP(t *testing.T) {
	require.Len(t, ask(t, newServer(), discover(mac(1))).raw, 300)
	require.Len(t, ask(t, newServer(), request(mac(1), selecting("192.0.2.7"))).raw, 300)
}

func TestEncodeLeavesOutWhatMattersLeast(t *testing.T) {
	// A client-id of 240 bytes leaves 66 bytes for all else.
	id := opt(61, bytes.Repeat([]byte{7}, 240)...)
	x := ask(t, newServer(rich), discover(mac(1), id))
	require.Equal(t, []byte{53, 54, 51, 58, 59, 1, 3, 6, 15, 61}, wireCodes(x.raw))
	id = opt(61, bytes.Repeat([]byte{7}, 255)...)
	x = ask(t, newServer(rich), discover(mac(1), id, opt(82, 1, 1, 1)))
	require.Equal(t, []byte{53, 54, 51, 58, 1, 3, 6, 61, 82}, wireCodes(x.raw))
	require.Nil(t, x.reply.Options.Get(dhcpv4.OptionDomainName))
}

func TestO010_RelayOption(t *testing.T) {
	t.Run("echoed unread", func(t *testing.T) {
		for _, v := range [][]byte{{1, 2, 'a', 'b'}, {1, 200, 'x'}, {0}, {255, 255}, bytes.Repeat([]byte{0xa5}, 200)} {
			x := ask(t, newServer(rich), discover(mac(1), opt(82, v...)))
			require.Equal(t, v, x.reply.Options.Get(dhcpv4.OptionRelayAgentInformation), "O-012")
			nak := ask(t, newServer(rich), request(mac(1), selecting("192.0.2.7"), opt(82, v...)))
			require.Equal(t, "NAK", nak.kind())
			require.Equal(t, v, nak.reply.Options.Get(dhcpv4.OptionRelayAgentInformation), "D-060")
		}
		require.NotContains(t, wireCodes(ask(t, newServer(), discover(mac(1))).raw), byte(82))
		require.NotContains(t, wireCodes(ask(t, newServer(), discover(mac(1), opt(82))).raw), byte(82))
	})
	t.Run("no room: without it, and counted", func(t *testing.T) {
		s := newServer(rich)
		c := serve(t, s)
		c.put(discover(mac(1), opt(61, bytes.Repeat([]byte{7}, 240)...), opt(82, bytes.Repeat([]byte{1}, 100)...)))
		p, _ := c.next(t)
		require.False(t, p.Options.Has(dhcpv4.OptionRelayAgentInformation))
		require.NotEmpty(t, p.Options.Get(dhcpv4.OptionClientIdentifier))
		require.EqualValues(t, 1, s.Drops()[NoRoom])
	})
	t.Run("no room for what must be in it: no reply", func(t *testing.T) {
		s := newServer(func(s *Server) {
			s.BootFile = func(context.Context, *Request) (*BootFile, error) {
				return &BootFile{Name: "x", Options: []dhcpv4.Option{generic(43, slices.Concat([]byte{128, 80}, make([]byte, 80), []byte{optionEnd})...)}}, nil
			}
		})
		x := ask(t, s, discover(mac(1), optText(60, "PXEClient"), opt(61, bytes.Repeat([]byte{7}, 255)...)))
		require.Equal(t, NoRoom, x.reason)
		require.ErrorContains(t, x.err, "548")
	})
}

func TestO008_NothingThatFirmwareReadsIsSplitOrCut(t *testing.T) {
	r := &Request{Packet: discover(mac(1), opt(57, 5, 0xdc))}
	for name, c := range map[string]struct {
		edit func(*dhcpv4.DHCPv4)
		err  string
	}{
		"file of 127":            {func(p *dhcpv4.DHCPv4) { p.BootFileName = strings.Repeat("f", 127) }, ""},
		"file of 128":            {func(p *dhcpv4.DHCPv4) { p.BootFileName = strings.Repeat("f", 128) }, "127"},
		"sname of 63":            {func(p *dhcpv4.DHCPv4) { p.ServerHostName = strings.Repeat("s", 63) }, ""},
		"sname of 64":            {func(p *dhcpv4.DHCPv4) { p.ServerHostName = strings.Repeat("s", 64) }, "63"},
		"67 of 255":              {opt(67, bytes.Repeat([]byte{'u'}, 255)...), ""},
		"67 of 256":              {opt(67, bytes.Repeat([]byte{'u'}, 256)...), "255"},
		"60 of 256":              {opt(60, bytes.Repeat([]byte{'u'}, 256)...), "255"},
		"43 of 256":              {opt(43, bytes.Repeat([]byte{'u'}, 256)...), "255"},
		"O-007 others are split": {opt(224, bytes.Repeat([]byte{'u'}, 600)...), ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := newReply(r, dhcpv4.MessageTypeOffer)
			p.Options[54] = []byte{192, 0, 2, 1}
			c.edit(p)
			b, err := encode(p, r)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			back, err := dhcpv4.FromBytes(b)
			require.NoError(t, err)
			require.Equal(t, p.BootFileName, back.BootFileName)
			require.Equal(t, p.ServerHostName, back.ServerHostName)
			require.Equal(t, p.Options, back.Options)
		})
	}
}

func TestBootFile(t *testing.T) {
	pxe := optText(60, "PXEClient:Arch:00000:UNDI:002001")
	long := strings.Repeat("d/", 80) + "file"
	for name, c := range map[string]struct {
		mods    []dhcpv4.Modifier
		file    BootFile
		header  string
		sname   string
		next    string
		with    map[uint8]string
		without []byte
		err     string
	}{
		"P-011 P-014 BIOS: 43 says use the file": {
			mods: []dhcpv4.Modifier{pxe, opt(93, 0, 0)}, file: BootFile{Name: "lpxelinux.0"},
			header: "lpxelinux.0", sname: serverIP, next: serverIP,
			with: map[uint8]string{43: "\x06\x01\x08\xff", 60: "PXEClient", 66: serverIP, 67: "lpxelinux.0"}, without: []byte{175},
		},
		"BIOS that does not say so": {
			mods: []dhcpv4.Modifier{pxe}, file: BootFile{Name: "lpxelinux.0"},
			header: "lpxelinux.0", sname: serverIP, next: serverIP, with: map[uint8]string{43: "\x06\x01\x08\xff"},
		},
		"P-019 UEFI: neither 43 nor 60": {
			mods: []dhcpv4.Modifier{pxe, opt(93, 0, 7)}, file: BootFile{Name: "snponly.efi"},
			header: "snponly.efi", sname: serverIP, next: serverIP,
			with: map[uint8]string{66: serverIP, 67: "snponly.efi"}, without: []byte{43, 60, 175},
		},
		"iPXE: 175 says that no proxy comes": {
			mods: []dhcpv4.Modifier{pxe, optText(77, "iPXE")}, file: BootFile{Name: "http://192.0.2.1/boot.ipxe"},
			header: "http://192.0.2.1/boot.ipxe", next: serverIP,
			with: map[uint8]string{67: "http://192.0.2.1/boot.ipxe", 175: "\xb0\x01\x01"}, without: []byte{43, 60, 66},
		},
		"H-001 H-002 UEFI HTTP Boot": {
			mods: []dhcpv4.Modifier{optText(60, "HTTPClient:Arch:00016:UNDI:003001"), opt(93, 0, 16)}, file: BootFile{Name: "http://192.0.2.1/ipxe.efi"},
			header: "http://192.0.2.1/ipxe.efi", next: serverIP,
			with: map[uint8]string{60: "HTTPClient", 67: "http://192.0.2.1/ipxe.efi"}, without: []byte{43, 66, 175},
		},
		"H-002 UEFI HTTP Boot without a URL": {
			mods: []dhcpv4.Modifier{optText(60, "HTTPClient")}, file: BootFile{Name: "ipxe.efi"}, err: "absolute URL",
		},
		"O-006 long name: in the option only": {
			mods: []dhcpv4.Modifier{pxe}, file: BootFile{Name: long},
			header: "", sname: serverIP, next: serverIP, with: map[uint8]string{67: long},
		},
		"another next server": {
			mods: []dhcpv4.Modifier{pxe}, file: BootFile{Name: "f", ServerAddr: addr("198.51.100.9")},
			header: "f", sname: "198.51.100.9", next: "198.51.100.9", with: map[uint8]string{54: string([]byte{192, 0, 2, 1}), 66: "198.51.100.9"},
		},
		"its options win, asked for or not": {
			mods: []dhcpv4.Modifier{pxe, opt(55, 1)}, header: "f", sname: serverIP, next: serverIP,
			file: BootFile{Name: "f", Options: []dhcpv4.Option{
				dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(209), []byte("menu")),
				dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(43), []byte{6, 1, 3, 255}),
			}},
			with: map[uint8]string{209: "menu", 43: "\x06\x01\x03\xff"},
		},
		"P-020 a plain client gets nothing of it": {
			mods: nil, file: BootFile{Name: "f"}, next: serverIP, without: []byte{43, 60, 66, 67, 175},
		},
		"empty name":        {mods: []dhcpv4.Modifier{pxe}, err: "without a name"},
		"name of 256":       {mods: []dhcpv4.Modifier{pxe}, file: BootFile{Name: strings.Repeat("x", 256)}, err: "255"},
		"name with newline": {mods: []dhcpv4.Modifier{pxe}, file: BootFile{Name: "a\nb"}, err: "printable"},
		"name with NUL":     {mods: []dhcpv4.Modifier{pxe}, file: BootFile{Name: "a\x00"}, err: "printable"},
		"next server of IPv6": {
			mods: []dhcpv4.Modifier{pxe}, file: BootFile{Name: "f", ServerAddr: addr("2001:db8::1")}, err: "IPv4",
		},
		"an option of the server's own": {
			mods: []dhcpv4.Modifier{pxe}, err: "option 54",
			file: BootFile{Name: "f", Options: []dhcpv4.Option{dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(54), []byte{1, 2, 3, 4})}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(withPool(&Pool{First: addr("192.0.2.150"), Last: addr("192.0.2.150")}), func(s *Server) {
				s.BootFile = func(context.Context, *Request) (*BootFile, error) { return &c.file, nil }
			})
			for _, p := range []*dhcpv4.DHCPv4{discover(mac(1), c.mods...), request(mac(1), append(c.mods, selecting("192.0.2.150"))...)} {
				x := ask(t, s, p)
				if c.err != "" {
					require.Equal(t, Error, x.reason)
					require.ErrorContains(t, x.err, c.err)
					continue
				}
				require.NotNil(t, x.reply, "%s %v", x.reason, x.err)
				require.Equal(t, c.header, x.reply.BootFileName)
				require.Equal(t, c.sname, x.reply.ServerHostName)
				require.Equal(t, c.next, x.reply.ServerIPAddr.String())
				for code, v := range c.with {
					require.Equal(t, v, string(x.reply.Options[code]), "option %d", code)
				}
				for _, code := range c.without {
					require.NotContains(t, x.reply.Options, code)
				}
			}
		})
	}
}

func TestO009_FirmwareMayEndTheNameInPlace(t *testing.T) {
	s := newServer(withBoot("snponly.efi"), rich)
	b := bytes.Clone(ask(t, s, discover(mac(1), optText(60, "PXEClient"), opt(93, 0, 7))).raw)
	before, err := dhcpv4.FromBytes(b)
	require.NoError(t, err)
	i := bytes.Index(b[240:], append([]byte{67, 11}, "snponly.efi"...))
	require.Positive(t, i)
	b[240+i+13] = 0
	after, err := dhcpv4.FromBytes(b)
	require.NoError(t, err)
	require.Equal(t, before.Options, after.Options)
}

func TestP003_MachineIdentifierIsEchoedWhenWellFormed(t *testing.T) {
	id := append([]byte{0}, bytes.Repeat([]byte{0xab}, 16)...)
	for name, c := range map[string]struct{ sent, want []byte }{
		"well formed": {id, id}, "all zeros too": {make([]byte, 17), make([]byte, 17)},
		"absent": {nil, nil}, "empty": {[]byte{}, nil}, "short": {id[:16], nil}, "long": {append(id, 1), nil}, "type 1": {append([]byte{1}, id[1:]...), nil},
	} {
		t.Run(name, func(t *testing.T) {
			var mods []dhcpv4.Modifier
			if c.sent != nil {
				mods = append(mods, opt(97, c.sent...))
			}
			x := ask(t, newServer(), discover(mac(1), mods...))
			require.Equal(t, c.want, x.reply.Options[97])
			require.Equal(t, c.want != nil, x.reply.Options.Has(dhcpv4.OptionClientMachineIdentifier))
		})
	}
}

func TestBootFileHook(t *testing.T) {
	asked := 0
	s := newServer(func(s *Server) {
		s.BootFile = func(_ context.Context, r *Request) (*BootFile, error) {
			asked++
			if r.Client.UserClass == "iPXE" {
				return nil, context.DeadlineExceeded
			}
			return nil, nil
		}
	})
	require.Equal(t, "OFFER", ask(t, s, discover(mac(1))).kind())
	require.Zero(t, asked, "a plain client is none of its business")
	x := ask(t, s, discover(mac(1), optText(60, "PXEClient")))
	require.Equal(t, "OFFER", x.kind())
	require.Equal(t, 1, asked)
	require.Empty(t, x.reply.BootFileName)
	require.NotContains(t, x.reply.Options, uint8(60), "P-009: PXEClient without a file sends the client to port 4011")
	x = ask(t, s, discover(mac(1), optText(77, "iPXE")))
	require.Equal(t, Error, x.reason)
	require.ErrorIs(t, x.err, context.DeadlineExceeded)
	require.Equal(t, "NAK", ask(t, s, request(mac(1), optText(60, "PXEClient"), selecting("192.0.2.7"))).kind())
	require.Equal(t, 2, asked, "no lease, no boot file")
}
