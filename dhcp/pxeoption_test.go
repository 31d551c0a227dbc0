package dhcp

import (
	"bytes"
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// subOptions reads option 43 as a ROM does, and requires that nothing is left
// behind its end.
func subOptions(t testing.TB, b []byte) map[byte]string {
	t.Helper()
	got := map[byte]string{}
	for len(b) > 0 && b[0] != 255 {
		require.GreaterOrEqual(t, len(b), 2+int(b[1]))
		require.NotContains(t, got, b[0], "twice")
		got[b[0]] = string(b[2 : 2+int(b[1])])
		b = b[2+int(b[1]):]
	}
	require.Equal(t, []byte{255}, b, "P-014: ends with 255")
	return got
}

func addrs(n int) (list []netip.Addr) {
	for i := range n {
		list = append(list, netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}))
	}
	return list
}

func TestP012_P014_P015_PXEOptions(t *testing.T) {
	for name, c := range map[string]struct {
		o    PXEOptions
		want map[byte]string
	}{
		"nothing":       {PXEOptions{}, map[byte]string{}},
		"P-011 control": {PXEOptions{Control: PXENoBroadcast | PXENoMulticast | PXEListedOnly | PXEUseBootFile}, map[byte]string{6: "\x0f"}},
		"multicast":     {PXEOptions{Multicast: addr("224.1.1.1")}, map[byte]string{7: "\xe0\x01\x01\x01"}},
		"P-012 servers": {PXEOptions{Servers: []PXEServer{{0x8001, addrs(2)}, {1, addrs(1)}}},
			map[byte]string{8: "\x80\x01\x02\xc0\x00\x02\x01\xc0\x00\x02\x02" + "\x00\x01\x01\xc0\x00\x02\x01"}},
		"P-012 menu": {PXEOptions{Menu: []PXEMenuItem{{0, "Local"}, {0x8001, "Rescue"}}},
			map[byte]string{9: "\x00\x00\x05Local\x80\x01\x06Rescue"}},
		"P-012 prompt":       {PXEOptions{Prompt: &PXEPrompt{255, "Press F8"}}, map[byte]string{10: "\xffPress F8"}},
		"prompt of no words": {PXEOptions{Prompt: &PXEPrompt{}}, map[byte]string{10: "\x00"}},
		"P-013 item":         {PXEOptions{Item: &PXEBootItem{0x8001, 2}}, map[byte]string{71: "\x80\x01\x00\x02"}},
		"P-015 ports are little-endian": {PXEOptions{MTFTP: &PXEMTFTP{addr("224.1.1.2"), 1758, 0x0102, 3, 4}},
			map[byte]string{1: "\xe0\x01\x01\x02", 2: "\xde\x06", 3: "\x02\x01", 4: "\x03", 5: "\x04"}},
		"P-014 255 bytes": {PXEOptions{Menu: []PXEMenuItem{{1, strings.Repeat("x", 249)}}}, map[byte]string{9: "\x00\x01\xf9" + strings.Repeat("x", 249)}},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := c.o.Option()
			require.NoError(t, err)
			require.EqualValues(t, 43, o.Code.Code())
			b := o.Value.ToBytes()
			require.LessOrEqual(t, len(b), 255)
			require.Equal(t, c.want, subOptions(t, b))
		})
	}
	for name, c := range map[string]struct {
		o    PXEOptions
		text string
	}{
		"P-011 reserved bits":        {PXEOptions{Control: 16}, "reserved"},
		"P-012 servers of none":      {PXEOptions{Servers: []PXEServer{{Type: 1}}}, "0 addresses"},
		"P-012 256 servers":          {PXEOptions{Servers: []PXEServer{{1, addrs(256)}}}, "256 addresses"},
		"servers of IPv6":            {PXEOptions{Servers: []PXEServer{{1, []netip.Addr{addr("2001:db8::1")}}}}, "2001:db8::1"},
		"servers of nowhere":         {PXEOptions{Servers: []PXEServer{{1, []netip.Addr{{}}}}}, "IPv4"},
		"P-012 no description":       {PXEOptions{Menu: []PXEMenuItem{{Type: 1}}}, "Menu"},
		"description with an escape": {PXEOptions{Menu: []PXEMenuItem{{1, "\x1b[2J"}}}, "printable"},
		"description of 256":         {PXEOptions{Menu: []PXEMenuItem{{1, strings.Repeat("x", 256)}}}, "255"},
		"prompt with a NUL":          {PXEOptions{Prompt: &PXEPrompt{1, "a\x00"}}, "Prompt"},
		"no group":                   {PXEOptions{Multicast: addr(serverIP)}, "multicast"},
		"MTFTP without a group":      {PXEOptions{MTFTP: &PXEMTFTP{}}, "multicast"},
		"P-014 256 bytes":            {PXEOptions{Menu: []PXEMenuItem{{1, strings.Repeat("x", 250)}}}, "255"},
		"P-014 in all":               {PXEOptions{Servers: []PXEServer{{1, addrs(50)}}, Menu: []PXEMenuItem{{1, strings.Repeat("x", 50)}}}, "255"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.o.Option()
			require.ErrorContains(t, err, c.text)
			require.ErrorContains(t, err, "PXEOptions")
		})
	}
}

func TestP013_ABootServerAnswersForItsOwnItems(t *testing.T) {
	menu, err := PXEOptions{Control: PXEListedOnly, Item: &PXEBootItem{7, 0}}.Option()
	require.NoError(t, err)
	raw43 := func(v string) []dhcpv4.Option {
		return []dhcpv4.Option{dhcpv4.OptGeneric(dhcpv4.OptionVendorSpecificInformation, []byte(v))}
	}
	for name, c := range map[string]struct {
		asks   []byte // option 43
		file   BootFile
		reason DropReason
		says   map[byte]string
	}{
		"asks for nothing":             {nil, BootFile{Name: "f", Style: StylePlain}, "", nil},
		"asks for 0":                   {[]byte{71, 4, 0, 0, 0, 0, 255}, BootFile{Name: "f", Style: StylePlain}, "", map[byte]string{71: "\x00\x00\x00\x00"}},
		"asks for 0, told directly":    {[]byte{71, 4, 0, 0, 0, 0, 255}, BootFile{Name: "f", Style: StyleDirect}, "", map[byte]string{6: "\x08", 71: "\x00\x00\x00\x00"}},
		"asks for ours":                {[]byte{71, 4, 0x80, 1, 0, 3, 255}, BootFile{Name: "f", Item: 0x8001, Style: StylePlain}, "", map[byte]string{71: "\x80\x01\x00\x03"}},
		"among others":                 {[]byte{0, 6, 1, 8, 71, 4, 0x80, 1, 0, 0}, BootFile{Name: "f", Item: 0x8001, Style: StylePlain}, "", map[byte]string{71: "\x80\x01\x00\x00"}},
		"asks for another's":           {[]byte{71, 4, 0x80, 2, 0, 0, 255}, BootFile{Name: "f", Item: 0x8001}, NotForUs, nil},
		"asks for a type, we have 0":   {[]byte{71, 4, 0, 1, 0, 0, 255}, BootFile{Name: "f"}, NotForUs, nil},
		"asks for 0, we have a type":   {[]byte{71, 4, 0, 0, 0, 0, 255}, BootFile{Name: "f", Item: 1}, NotForUs, nil},
		"asks for credentials":         {[]byte{71, 4, 0, 0, 0x80, 0, 255}, BootFile{Name: "f"}, NotForUs, nil},
		"an item of a wrong length":    {[]byte{71, 2, 0, 9, 255}, BootFile{Name: "f", Style: StylePlain}, "", nil},
		"an item that is cut":          {[]byte{71, 4, 0}, BootFile{Name: "f", Style: StylePlain}, "", nil},
		"behind the end":               {[]byte{255, 71, 4, 0, 9, 0, 0}, BootFile{Name: "f", Style: StylePlain}, "", nil},
		"the embedder's own item":      {[]byte{71, 4, 0, 7, 0, 0, 255}, BootFile{Name: "f", Item: 7, Options: []dhcpv4.Option{menu}}, "", map[byte]string{6: "\x04", 71: "\x00\x07\x00\x00"}},
		"beside the embedder's option": {[]byte{71, 4, 0, 0, 0, 0, 255}, BootFile{Name: "f", Options: raw43("\x06\x01\x03\xff\x00\x00")}, "", map[byte]string{6: "\x03", 71: "\x00\x00\x00\x00"}},
		"which is no list":             {[]byte{71, 4, 0, 0, 0, 0, 255}, BootFile{Name: "f", Options: raw43("\x06\x09")}, Error, nil},
		"which has no room":            {[]byte{71, 4, 0, 0, 0, 0, 255}, BootFile{Name: "f", Options: raw43("\x09\xf8" + strings.Repeat("x", 248))}, Error, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newProxy(BootServer, func(s *Server) {
				s.BootFile = func(context.Context, *Request) (*BootFile, error) { return &c.file, nil }
			})
			mods := asBIOS
			if c.asks != nil {
				mods = with(mods, opt(43, c.asks...))
			}
			x := askPXE(t, s, request(mac(1), with(mods, ciaddr("192.0.2.50"))...), "192.0.2.50:68")
			require.Equal(t, c.reason, x.reason, "%v", x.err)
			if c.reason != "" {
				require.Nil(t, x.reply)
				return
			}
			require.Equal(t, "f", x.reply.BootFileName)
			require.Equal(t, "PXEClient", string(x.reply.Options[60]))
			if c.says == nil {
				require.NotContains(t, x.reply.Options, uint8(43))
				return
			}
			require.Equal(t, c.says, subOptions(t, x.reply.Options[43]))
		})
	}
}

// FuzzPXEOptions: whatever is asked for comes out as one list of sub-options that
// a ROM can walk, or not at all; and whatever a client sends is read without
// leaving its bounds.
func FuzzPXEOptions(f *testing.F) {
	f.Add(uint8(3), uint16(1), "Rescue", uint8(10), "Press F8", 2, []byte{71, 4, 0, 1, 0, 0, 255})
	f.Add(uint8(8), uint16(0x8000), strings.Repeat("x", 250), uint8(0), "", 0, []byte{9, 200, 1})
	f.Add(uint8(0), uint16(7), "x", uint8(0), "", 0, []byte{6, 1, 3, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, control uint8, item uint16, text string, timeout uint8, prompt string, servers int, b []byte) {
		o := PXEOptions{Control: PXEControl(control), Menu: []PXEMenuItem{{item, text}}, Prompt: &PXEPrompt{timeout, prompt}, Item: &PXEBootItem{item, 0}}
		if servers > 0 {
			o.Servers = []PXEServer{{item, addrs(servers % 300)}}
		}
		if option, err := o.Option(); err == nil {
			v := option.Value.ToBytes()
			got := subOptions(t, v)
			require.LessOrEqual(t, len(v), 255)
			require.Equal(t, string([]byte{timeout})+prompt, got[10])
			require.True(t, strings.HasSuffix(got[9], text))
			require.Equal(t, len(v), 1+pxeEnd(v))
		}
		before := bytes.Clone(b)
		reply := &dhcpv4.DHCPv4{Options: dhcpv4.Options{43: b}}
		own := pxeSubOption(b, pxeBootItem) != nil
		if addBootItem(reply, PXEBootItem{item, 0}) == nil && !own {
			require.Equal(t, PXEBootItem{item, 0}.bytes(), pxeSubOption(reply.Options[43], pxeBootItem))
			require.EqualValues(t, optionEnd, reply.Options[43][len(reply.Options[43])-1])
		}
		require.Equal(t, before, b, "the embedder's bytes are not written to")
	})
}
