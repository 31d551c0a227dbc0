package dhcp

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func macOf(s string) net.HardwareAddr {
	a, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return a
}

// TestQuirkTable asks a server, so that the table, its order and its use are
// looked at together.
func TestQuirkTable(t *testing.T) {
	const bios, x64, arm64 = "PXEClient:Arch:00000:UNDI:002001", "PXEClient:Arch:00007:UNDI:003016", "PXEClient:Arch:00011:UNDI:003000"
	pi := StyleClass | StyleRaspberryPi
	for name, c := range map[string]struct {
		hw    net.HardwareAddr
		class string
		arch  []byte
		want  Client
	}{
		"BIOS":                        {mac(1), bios, []byte{0, 0}, Client{Kind: PXE, HasArch: true, Style: StyleClass | StyleDirect}},
		"BIOS that does not say":      {mac(1), "PXEClient", nil, Client{Kind: PXE, Style: StyleClass | StyleDirect}},
		"x64 UEFI":                    {mac(1), x64, []byte{0, 7}, Client{Kind: PXE, Arch: ArchX64, HasArch: true, Style: StyleAsk4011}},
		"unknown":                     {mac(1), "PXEClient", []byte{0, 200}, Client{Kind: PXE, Arch: 200, HasArch: true, Style: StyleAsk4011}},
		"Raspberry Pi 3":              {macOf("b8:27:eb:01:02:03"), bios, []byte{0, 0}, Client{Kind: PXE, Arch: ArchRPiBoot, HasArch: true, Style: pi}},
		"Raspberry Pi 5":              {macOf("88:a2:9e:01:02:03"), bios, []byte{0, 0}, Client{Kind: PXE, Arch: ArchRPiBoot, HasArch: true, Style: pi}},
		"Raspberry Pi without 93":     {macOf("dc:a6:32:01:02:03"), bios, nil, Client{Kind: PXE, Arch: ArchRPiBoot, HasArch: true, Style: pi}},
		"Raspberry Pi by its type":    {mac(1), "PXEClient:Arch:00041:UNDI:002001", []byte{0, 41}, Client{Kind: PXE, Arch: ArchRPiBoot, HasArch: true, Style: pi}},
		"Raspberry Pi that is UEFI":   {macOf("dc:a6:32:01:02:03"), arm64, []byte{0, 11}, Client{Kind: PXE, Arch: ArchARM64, HasArch: true, Style: StyleAsk4011}},
		"Raspberry Pi with Linux":     {macOf("dc:a6:32:01:02:03"), "udhcp 1.36.1", nil, Client{}},
		"Raspberry Pi with U-Boot":    {macOf("dc:a6:32:01:02:03"), "U-Boot.armv8", []byte{0, 22}, Client{Kind: UBoot, Arch: ArchUBootARM64, HasArch: true}},
		"one byte off":                {macOf("b8:27:ec:01:02:03"), bios, []byte{0, 0}, Client{Kind: PXE, HasArch: true, Style: StyleClass | StyleDirect}},
		"UEFI HTTP Boot has no Style": {mac(1), "HTTPClient:Arch:00016:UNDI:003001", []byte{0, 16}, Client{Kind: HTTPBoot, Arch: ArchX64HTTP, HasArch: true}},
	} {
		t.Run(name, func(t *testing.T) {
			p := discover(c.hw, optText(60, c.class))
			if c.arch != nil {
				opt(93, c.arch...)(p)
			}
			c.want.VendorClass = c.class
			require.Equal(t, c.want, ask(t, newServer(), p).r.Client)
		})
	}
	for _, q := range QuirkTable() {
		require.NoError(t, q.Validate())
		require.NotEmpty(t, q.Reason, "every row says why")
		require.NotZero(t, q.Style)
	}
	rows := QuirkTable()
	*rows[0].As, rows[0].Arches[0] = ArchX64, ArchX64
	require.Equal(t, ArchRPiBoot, *QuirkTable()[0].As, "the table is the caller's own")
	require.Equal(t, ArchBIOS, QuirkTable()[0].Arches[0])
}

func TestQuirksOfAServerComeFirst(t *testing.T) {
	x64 := ArchX64
	s := newServer(func(s *Server) {
		s.Quirks = []Quirk{
			{OUI: "02-00-00.00", VendorClass: "PXEClient:Arch:00000:UNDI:002001", Style: StyleNUL, As: &x64},
			{OUI: "B8.27EB-0", Style: StylePlain},
			{OUI: "not one", Style: StyleDirect},
		}
	})
	of := func(hw net.HardwareAddr, class string) Client {
		return ask(t, s, discover(hw, optText(60, class), opt(93, 0, 0))).r.Client
	}
	c := of(mac(1), "PXEClient:Arch:00000:UNDI:002001")
	require.Equal(t, StyleNUL, c.Style)
	require.Equal(t, ArchX64, c.Arch)
	require.Equal(t, StyleClass|StyleDirect, of(mac(1), "PXEClient:Arch:00000:UNDI:002002").Style, "another class")
	require.Equal(t, StyleClass|StyleDirect, of(mac(1<<16), "PXEClient:Arch:00000:UNDI:002001").Style, "another block of addresses")
	require.Equal(t, StylePlain, of(macOf("b8:27:eb:0f:00:00"), "PXEClient").Style, "half a byte")
	require.Equal(t, StyleClass|StyleRaspberryPi, of(macOf("b8:27:eb:10:00:00"), "PXEClient").Style)
	require.Equal(t, StyleClass|StyleDirect, ask(t, s, discover(nil, opt(61, 0, 1, 2), optText(60, "PXEClient"))).r.Client.Style, "a client without a hardware address has no maker")
}

func TestQuirkValidate(t *testing.T) {
	for _, oui := range []string{"", "b8:27:eb", "B8-27-EB", "b827.eb", "B827EB", "b8:27:eb:0", "b8:27:eb:01:02:03"} {
		require.NoError(t, Quirk{OUI: oui}.Validate(), oui)
	}
	for _, oui := range []string{":", "b8:27", "b8:27:e", "b8:27:eg", "b8 27 eb", "b8:27:eb:01:02:03:04", "é8:27:eb", "b8:27:eb\n"} {
		require.ErrorContains(t, Quirk{OUI: oui}.Validate(), "OUI", oui)
		_, matches := normalOUI(oui)
		require.False(t, matches)
	}
	require.ErrorContains(t, Quirk{Style: 1 << 7}.Validate(), "there is no Style 0x80")
	require.NoError(t, Quirk{Style: StyleNUL | StylePlain}.Validate())
}

func TestStyleString(t *testing.T) {
	for want, s := range map[string]Style{
		"none": 0, "plain": StylePlain, "class+direct": StyleClass | StyleDirect, "ask-4011": StyleAsk4011,
		"class+raspberry-pi": StyleClass | StyleRaspberryPi, "plain+nul+0xc0": StylePlain | StyleNUL | 0xc0,
	} {
		require.Equal(t, want, s.String())
	}
}

// BenchmarkClient is what a packet of firmware costs before anybody is asked.
func BenchmarkClient(b *testing.B) {
	s := newServer()
	r := &Request{Packet: discover(mac(1), pxeClient(1)...)}
	b.ReportAllocs()
	for b.Loop() {
		if s.client(r).Style == 0 {
			b.Fatal("no quirk")
		}
	}
}
