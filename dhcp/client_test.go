package dhcp

import (
	"bytes"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

func TestClassify(t *testing.T) {
	zeros := make([]byte, 17)
	ones := append([]byte{0}, []byte(strings.Repeat("\xff", 16))...)
	uuid := []byte{0, 0x08, 0x59, 0x94, 0xb8, 0xa6, 0xd6, 0xa9, 0x41, 0x61, 0x1d, 0x74, 0xa6, 0xab, 0x80, 0xb8, 0x3d}
	for name, c := range map[string]struct {
		mods []dhcpv4.Modifier
		want Client
	}{
		"nothing":                             {nil, Client{}},
		"P-001 one type":                      {[]dhcpv4.Modifier{opt(93, 0, 7)}, Client{Arch: ArchX64, HasArch: true}},
		"P-001 a list: first that has a name": {[]dhcpv4.Modifier{opt(93, 0, 99, 0, 9, 0, 7)}, Client{Arch: ArchEBC, HasArch: true}},
		"P-001 a list of strangers":           {[]dhcpv4.Modifier{opt(93, 1, 0, 2, 0)}, Client{Arch: 256, HasArch: true}},
		"P-001 odd length":                    {[]dhcpv4.Modifier{opt(93, 0, 7, 0)}, Client{}},
		"P-001 empty":                         {[]dhcpv4.Modifier{opt(93)}, Client{}},
		"P-002 94 is not needed":              {[]dhcpv4.Modifier{optText(60, "PXEClient"), opt(93, 0, 0)}, Client{Kind: PXE, HasArch: true, VendorClass: "PXEClient"}},
		"P-002 94 longer than it may be":      {[]dhcpv4.Modifier{optText(60, "HTTPClient"), opt(94, 1, 3, 16, 9)}, Client{Kind: HTTPBoot, VendorClass: "HTTPClient"}},
		"P-002 94 makes no boot client":       {[]dhcpv4.Modifier{opt(94, 1, 3, 16)}, Client{}},
		"P-002 94 of any length":              {[]dhcpv4.Modifier{optText(60, "PXEClient"), opt(94, 1)}, Client{Kind: PXE, VendorClass: "PXEClient"}},
		"P-003 UUID":                          {[]dhcpv4.Modifier{opt(97, uuid...)}, Client{UUID: "b8945908-d6a6-41a9-611d-74a6ab80b83d"}},
		"P-003 UUID of type 1":                {[]dhcpv4.Modifier{opt(97, append([]byte{1}, uuid[1:]...)...)}, Client{}},
		"P-003 UUID short":                    {[]dhcpv4.Modifier{opt(97, uuid[:16]...)}, Client{}},
		"P-003 UUID empty":                    {[]dhcpv4.Modifier{opt(97)}, Client{}},
		"P-003 UUID zeros":                    {[]dhcpv4.Modifier{opt(97, zeros...)}, Client{}},
		"P-003 UUID of high bytes":            {[]dhcpv4.Modifier{opt(97, append([]byte{0}, bytes.Repeat([]byte{0x81}, 16)...)...)}, Client{UUID: "81818181-8181-8181-8181-818181818181"}},
		"P-003 UUID ones":                     {[]dhcpv4.Modifier{opt(97, ones...)}, Client{}},
		"P-006 class by prefix":               {[]dhcpv4.Modifier{optText(60, "PXEClient:Arch:00007:UNDI:003016")}, Client{Kind: PXE, VendorClass: "PXEClient:Arch:00007:UNDI:003016"}},
		"P-006 HTTPClient by prefix":          {[]dhcpv4.Modifier{optText(60, "HTTPClient:Arch:00016")}, Client{Kind: HTTPBoot, VendorClass: "HTTPClient:Arch:00016"}},
		"D-030 class in other case":           {[]dhcpv4.Modifier{optText(60, "pxeclient")}, Client{VendorClass: "pxeclient"}},
		"D-030 class in the middle":           {[]dhcpv4.Modifier{optText(60, "notPXEClient")}, Client{VendorClass: "notPXEClient"}},
		"I-001 175":                           {[]dhcpv4.Modifier{optText(60, "PXEClient"), opt(175, 0xb1, 1, 1, 0xeb, 3, 1, 0, 0)}, Client{Kind: IPXE, VendorClass: "PXEClient", Features: Features{Known: true, Version: "1.0.0"}}},
		"I-001 175 with pads and end":         {[]dhcpv4.Modifier{opt(175, 0, 0xb1, 1, 1, 255, 9)}, Client{Kind: IPXE, Features: Features{Known: true}}},
		"I-001 175 cut in its second option":  {[]dhcpv4.Modifier{optText(60, "PXEClient"), opt(175, 19, 1, 1, 0xb1, 9)}, Client{Kind: IPXE, VendorClass: "PXEClient", Features: Features{Known: true, HTTP: true}}},
		"I-001 175 ill-formed":                {[]dhcpv4.Modifier{opt(175, 0xb1, 9)}, Client{}},
		"I-001 175 empty":                     {[]dhcpv4.Modifier{opt(175)}, Client{}},
		"I-001 175 only pads":                 {[]dhcpv4.Modifier{opt(175, 0, 0, 255)}, Client{}},
		"I-002 raw user class":                {[]dhcpv4.Modifier{optText(60, "PXEClient"), optText(77, "iPXE")}, Client{Kind: IPXE, VendorClass: "PXEClient", UserClass: "iPXE"}},
		"O-016 RFC 3004":                      {[]dhcpv4.Modifier{optText(77, "\x04iPXE")}, Client{Kind: IPXE, UserClass: "\x04iPXE"}},
		"O-016 RFC 3004, second":              {[]dhcpv4.Modifier{optText(77, "\x01x\x04iPXE")}, Client{Kind: IPXE, UserClass: "\x01x\x04iPXE"}},
		"O-016 other class":                   {[]dhcpv4.Modifier{optText(77, "iPXE2")}, Client{UserClass: "iPXE2"}},
		"O-016 cut":                           {[]dhcpv4.Modifier{optText(77, "\x05iPXE")}, Client{UserClass: "\x05iPXE"}},
		"P-022 iPXE over HTTP boot":           {[]dhcpv4.Modifier{optText(60, "HTTPClient"), optText(77, "iPXE")}, Client{Kind: IPXE, VendorClass: "HTTPClient", UserClass: "iPXE"}},
		"U-Boot":                              {[]dhcpv4.Modifier{optText(60, "U-Boot.armv8"), opt(93, 0, 22), opt(94, 1, 0, 0)}, Client{Kind: UBoot, Arch: ArchUBootARM64, HasArch: true, VendorClass: "U-Boot.armv8"}},
		"U-Boot of before 2016":               {[]dhcpv4.Modifier{optText(60, "U-boot.armv7.highbank"), opt(93, 1, 0)}, Client{Kind: UBoot, Arch: 256, HasArch: true, VendorClass: "U-boot.armv7.highbank"}},
		"U-Boot by its architecture":          {[]dhcpv4.Modifier{opt(93, 0, 24)}, Client{Kind: UBoot, Arch: ArchUBootARM64HTTP, HasArch: true}},
		"U-Boot in the middle":                {[]dhcpv4.Modifier{optText(60, "Not U-Boot")}, Client{VendorClass: "Not U-Boot"}},
		"U-Boot that poses as UEFI":           {[]dhcpv4.Modifier{optText(60, "PXEClient:Arch:00011:UNDI:003000"), opt(93, 0, 11), opt(94, 1, 0, 0)}, Client{Kind: PXE, Arch: ArchARM64, HasArch: true, VendorClass: "PXEClient:Arch:00011:UNDI:003000"}},
		"iPXE started by U-Boot":              {[]dhcpv4.Modifier{optText(77, "iPXE"), opt(93, 0, 22)}, Client{Kind: IPXE, Arch: ArchUBootARM64, HasArch: true, UserClass: "iPXE"}},
		"H-004 by class and not by type":      {[]dhcpv4.Modifier{optText(60, "PXEClient:Arch:00016"), opt(93, 0, 16)}, Client{Kind: PXE, Arch: ArchX64HTTP, HasArch: true, VendorClass: "PXEClient:Arch:00016"}},
		"BIOS over HTTP":                      {[]dhcpv4.Modifier{optText(60, "HTTPClient:Arch:00020:UNDI:002001"), opt(93, 0, 20)}, Client{Kind: HTTPBoot, Arch: ArchBIOSHTTP, HasArch: true, VendorClass: "HTTPClient:Arch:00020:UNDI:002001"}},
		"P-023 a telephone":                   {[]dhcpv4.Modifier{optText(60, "Cisco Systems, Inc. IP Phone CP-7945G")}, Client{VendorClass: "Cisco Systems, Inc. IP Phone CP-7945G"}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, classify(discover(mac(1), c.mods...))) })
	}
}

func FuzzClient(f *testing.F) {
	f.Add([]byte("PXEClient:Arch:00000"), []byte("iPXE"), []byte{0, 7}, make([]byte, 17), []byte{177, 1, 1})
	f.Add([]byte("HTTPClient"), []byte("\x04iPXE"), []byte{0, 99, 0, 16}, []byte{}, []byte{255})
	f.Add([]byte("U-Boot.armv8"), []byte(""), []byte{0, 22}, []byte{}, []byte{})
	f.Add([]byte(""), []byte("\xff"), []byte{1}, []byte{1}, []byte{8, 200})
	f.Fuzz(func(t *testing.T, vendor, user, arch, uuid, etherboot []byte) {
		p := discover(mac(1), opt(60, vendor...), opt(77, user...), opt(93, arch...), opt(97, uuid...), opt(175, etherboot...))
		c := classify(p)
		require.Equal(t, c, classify(p))
		require.Equal(t, strings.TrimRight(string(vendor), "\x00"), c.VendorClass)
		require.Equal(t, string(user), c.UserClass)
		require.Equal(t, len(arch) > 0 && len(arch)%2 == 0, c.HasArch)
		if c.UUID != "" {
			require.Len(t, uuid, 17)
			require.Regexp(t, `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`, c.UUID)
		}
		if c.Kind != IPXE {
			require.Zero(t, c.Features)
		}
		switch c.Kind {
		case UBoot:
			require.True(t, strings.HasPrefix(string(vendor), "U-") || c.Arch >= 21 && c.Arch <= 24)
		case PXE:
			require.True(t, strings.HasPrefix(string(vendor), "PXEClient"))
		case HTTPBoot:
			require.True(t, strings.HasPrefix(string(vendor), "HTTPClient"))
		case IPXE:
			require.True(t, strings.Contains(string(user), "iPXE") || len(etherboot) >= 2)
		case Plain:
			require.NotEqual(t, "iPXE", strings.TrimRight(string(user), "\x00"))
		}
	})
}

// FuzzUserClass compares how option 77 is read with RFC 3004 and with what iPXE
// sends, written down another way.
func FuzzUserClass(f *testing.F) {
	for _, class := range []string{"", "iPXE", "iPXE\x00", "\x04iPXE", "\x03abc\x04iPXE\x01x", "\x05iPXE", "\x00\x04iPXE", "\xffiPXE"} {
		f.Add([]byte(class))
	}
	f.Fuzz(func(t *testing.T, class []byte) {
		want := string(bytes.TrimRight(class, "\x00")) == "iPXE"
		for at := 0; at < len(class) && class[at] != 0; at += 1 + int(class[at]) {
			end := at + 1 + int(class[at])
			if end > len(class) {
				break
			}
			want = want || string(class[at+1:end]) == "iPXE"
		}
		require.Equal(t, want, userClassIs(string(class), "iPXE"))
		require.Equal(t, want, classify(discover(mac(1), opt(77, class...))).Kind == IPXE)
	})
}
