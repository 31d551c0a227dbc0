package dhcplint

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// packet is a BOOTP header with options behind it, not ended and not padded.
func packet(op byte, options ...[]byte) []byte {
	b := make([]byte, offsetOptions)
	b[0], b[1], b[2] = op, 1, 6
	copy(b[4:], "\x01\x02\x03\x04")
	copy(b[offsetChaddr:], "\x02\x00\x00\x00\x00\x01\x00\x00\x00\x07") // with something in the padding
	copy(b[offsetCookie:], "\x63\x82\x53\x63")
	return append(b, bytes.Join(options, nil)...)
}

// o is one instance of an option.
func o(code byte, v ...byte) []byte { return append([]byte{code, byte(len(v))}, v...) }

func oText(code byte, v string) []byte { return o(code, []byte(v)...) }

// finish ends and pads a packet.
func finish(b []byte) []byte {
	b = append(b, end)
	return append(b, make([]byte, max(0, minBOOTP-len(b)))...)
}

func put(b []byte, offset int, v ...byte) []byte { copy(b[offset:], v); return b }

var (
	machineID = append([]byte{0}, bytes.Repeat([]byte{0x11}, 16)...)
	serverID  = o(54, 192, 0, 2, 1)
	leaseTime = o(51, 0, 0, 14, 16)
	mask      = o(1, 255, 255, 255, 0)
	direct    = o(43, 6, 1, 8, 255)
	class     = oText(60, "PXEClient")
)

func discoverPacket() []byte {
	return finish(packet(1, o(53, 1), o(61, 0, 'i', 'd'), o(97, machineID...), o(57, 4, 0), o(82, 1, 1, 'c')))
}

func requestPacket() []byte {
	return finish(packet(1, o(53, 3), serverID, o(50, 192, 0, 2, 100)))
}

func informPacket() []byte { return put(finish(packet(1, o(53, 8))), offsetCiaddr, 192, 0, 2, 9) }

// offered is a good OFFER to discoverPacket, not ended; more stands before the
// relay's option.
func offered(more ...[]byte) []byte {
	b := packet(2, o(53, 2), serverID, leaseTime, o(58, 0, 0, 7, 8), o(59, 0, 0, 12, 78), mask, o(3, 192, 0, 2, 254), class, direct,
		o(61, 0, 'i', 'd'), oText(67, "lpxelinux.0"), []byte{pad}, o(97, machineID...), bytes.Join(more, nil), o(82, 1, 1, 'c'))
	put(b, offsetYiaddr, 192, 0, 2, 100)
	put(b, offsetSiaddr, 192, 0, 2, 1)
	copy(b[offsetSname:], "192.0.2.1")
	copy(b[offsetFile:], "lpxelinux.0")
	return b
}

// acked, refused and proxied are good packets of the other types, not ended.
func acked(more ...[]byte) []byte {
	b := packet(2, o(53, 5), serverID, leaseTime, mask, bytes.Join(more, nil))
	return put(put(b, offsetYiaddr, 192, 0, 2, 100), offsetSiaddr, 192, 0, 2, 1)
}

func refused(more ...[]byte) []byte {
	return packet(2, o(53, 6), serverID, oText(56, "no"), bytes.Join(more, nil))
}

func proxied(kind byte, more ...[]byte) []byte {
	b := packet(2, o(53, kind), serverID, class, direct, bytes.Join(more, nil))
	return put(b, offsetSiaddr, 192, 0, 2, 1)
}

// plainDiscover is a DISCOVER without anything to return.
func plainDiscover() []byte { return finish(packet(1, o(53, 1))) }

func TestGoodReplies(t *testing.T) {
	long := bytes.Repeat([]byte{7}, 300)
	tests := map[string]struct{ reply, request []byte }{
		"OFFER":                        {finish(offered()), discoverPacket()},
		"OFFER to nobody known":        {finish(offered()), nil},
		"ACK":                          {finish(acked()), requestPacket()},
		"NAK":                          {finish(refused()), requestPacket()},
		"NAK through a relay":          {put(put(finish(refused()), offsetFlags, 0x80), offsetGiaddr, 192, 0, 2, 2), put(requestPacket(), offsetGiaddr, 192, 0, 2, 2)},
		"ACK of an INFORM":             {put(finish(packet(2, o(53, 5), serverID, mask)), offsetCiaddr, 192, 0, 2, 9, 0, 0, 0, 0, 192, 0, 2, 1), informPacket()},
		"OFFER of a proxy":             {finish(proxied(2)), plainDiscover()},
		"ACK of a boot server":         {finish(proxied(5)), requestPacket()},
		"a lease that does not end":    {finish(put(acked(), 240+9, 51, 4, 255, 255, 255, 255)), requestPacket()},
		"an option in parts":           {finish(acked(o(119, long[:255]...), o(119, long[255:260]...))), requestPacket()},
		"reserved flags, as they came": {put(finish(acked()), offsetFlags, 0x80, 1), put(requestPacket(), offsetFlags, 0x80, 1)},
		"lengths of many":              {finish(acked(o(121, 24, 192, 0, 2, 192, 0, 2, 1), o(68), o(80), oText(209, "a"), o(208, 0xf1, 0, 0x74, 0x7e), o(77, 1, 'a'))), requestPacket()},
		"a menu":                       {finish(packet(2, o(53, 2), serverID, class, o(43, 6, 1, 3, 8, 7, 0, 0, 1, 192, 0, 2, 1, 9, 6, 0, 0, 3, 'P', 'X', 'E', 10, 4, 0, 'P', 'X', 'E', 0, 255))), nil},
	}
	for name, test := range tests {
		if name == "a menu" {
			put(test.reply, offsetSiaddr, 192, 0, 2, 1)
		}
		require.Empty(t, Reply(test.reply, test.request), name)
	}
	nul := finish(acked(oText(67, "pxelinux.0\x00")))
	require.Empty(t, Rules{NUL: true}.Reply(nul, requestPacket()))
	require.NotEmpty(t, Reply(nul, requestPacket()))
}

// Each row is a reply that one rule forbids, and what is said of it.
func TestBadReplies(t *testing.T) {
	long := bytes.Repeat([]byte{7}, 300)
	edited := func(offset int, v ...byte) func() []byte {
		return func() []byte { return put(finish(offered()), offset, v...) }
	}
	more := func(options ...[]byte) func() []byte { return func() []byte { return finish(offered(options...)) } }
	ackMore := func(options ...[]byte) func() []byte { return func() []byte { return finish(acked(options...)) } }
	whole := func(b []byte) func() []byte { return func() []byte { return b } }
	tests := map[string]struct {
		reply   func() []byte
		request []byte
		want    string
	}{
		"no header":            {whole(make([]byte, 239)), discoverPacket(), "size: 239 bytes are no header"},
		"a request":            {edited(0, 1), discoverPacket(), "op: 1"},
		"htype":                {edited(1, 6), discoverPacket(), "htype: 06"},
		"hlen":                 {edited(2, 7), discoverPacket(), "hlen: 07"},
		"hlen beyond chaddr":   {edited(2, 17), nil, "hlen: 17 bytes"},
		"hops":                 {edited(3, 1), discoverPacket(), "hops: 1"},
		"xid":                  {edited(4, 9), discoverPacket(), "xid: 09020304"},
		"secs":                 {edited(9, 1), discoverPacket(), "secs"},
		"flags":                {edited(11, 1), discoverPacket(), "flags: reserved"},
		"flags of nobody":      {edited(11, 1), nil, "flags: reserved"},
		"broadcast":            {edited(10, 0x80), discoverPacket(), "flags: a broadcast bit"},
		"no broadcast":         {edited(10, 0), put(discoverPacket(), 10, 0x80), "flags: the broadcast bit is lost"},
		"ciaddr in an OFFER":   {edited(offsetCiaddr, 192, 0, 2, 100), discoverPacket(), "ciaddr: 192.0.2.100 in an OFFER"},
		"yiaddr":               {edited(offsetYiaddr, 224), discoverPacket(), "yiaddr: 224.0.2.100 is not"},
		"the network's own":    {edited(offsetYiaddr+3, 0), discoverPacket(), "yiaddr: 192.0.2.0 is the own"},
		"the broadcast":        {edited(offsetYiaddr+3, 255), discoverPacket(), "yiaddr: 192.0.2.255 is the own"},
		"siaddr":               {edited(offsetSiaddr, 0, 0, 0, 0), discoverPacket(), "siaddr: 0.0.0.0"},
		"giaddr":               {edited(offsetGiaddr, 192, 0, 2, 2), discoverPacket(), "giaddr: c0000202"},
		"chaddr":               {edited(offsetChaddr+5, 9), discoverPacket(), "chaddr:"},
		"padding of chaddr":    {edited(offsetChaddr+9, 0), discoverPacket(), "chaddr:"},
		"sname":                {edited(offsetSname+20, 'x'), discoverPacket(), "sname: bytes behind its NUL"},
		"sname not ended":      {edited(offsetSname, bytes.Repeat([]byte{'a'}, 64)...), discoverPacket(), "sname: no NUL"},
		"file":                 {edited(offsetFile+100, 'x'), discoverPacket(), "file: bytes behind its NUL"},
		"file not ended":       {edited(offsetFile, bytes.Repeat([]byte{'a'}, 128)...), discoverPacket(), "file: no NUL"},
		"control in file":      {edited(offsetFile, '\n'), discoverPacket(), "file: \"\\npxelinux.0\" is not printable"},
		"cookie":               {edited(offsetCookie, 0), discoverPacket(), "cookie: 00825363"},
		"behind END":           {whole(put(finish(acked()), 299, 1)), requestPacket(), "end: bytes other than zero"},
		"more padding":         {whole(append(finish(acked()), 0)), requestPacket(), "end: 1 bytes more than needed"},
		"short":                {whole(finish(acked())[:290]), requestPacket(), "size: 290 bytes"},
		"more than a frame":    {whole(finish(offered(o(121, bytes.Repeat([]byte{0, 192, 0, 2, 1}, 51)...), o(224, long[:255]...), o(225, long[:255]...), o(226, long[:255]...), o(227, long[:255]...)))), nil, "size: 1625 bytes, an Ethernet frame"},
		"more than 57":         {more(o(224, long[:255]...), o(225, long[:255]...), o(226, long[:255]...)), discoverPacket(), "the client takes 996"},
		"more than 576":        {more(o(224, long[:255]...)), finish(packet(1, o(53, 1), o(61, 0, 'i', 'd'), o(97, machineID...), o(57, 1, 0), o(82, 1, 1, 'c'))), "the client takes 548"},
		"no END":               {whole(append(acked(), make([]byte, 41)...)), requestPacket(), "options: no END"},
		"an option cut":        {whole(append(acked(), 3, 200)), requestPacket(), "options: option 3 runs past the end"},
		"a code at the end":    {whole(append(acked(), 3)), requestPacket(), "options: option 3 runs past the end"},
		"a pad":                {ackMore([]byte{pad}), requestPacket(), "pad: at offset"},
		"a second pad":         {ackMore(oText(67, "x"), []byte{pad, pad}), requestPacket(), "pad: at offset"},
		"twice":                {ackMore(o(6, 192, 0, 2, 1), o(6, 192, 0, 2, 2)), requestPacket(), "order: option 6 is there twice"},
		"in two places":        {ackMore(o(6, 192, 0, 2, 1), oText(15, "x"), o(6, 192, 0, 2, 2)), requestPacket(), "order: option 6 is in two places"},
		"an empty part":        {ackMore(o(224, long[:255]...), o(224)), requestPacket(), "order: option 224 is there twice"},
		"43 in parts":          {ackMore(o(43, long[:255]...), o(43, 255)), requestPacket(), "order: option 43 in parts"},
		"60 in parts":          {ackMore(oText(60, strings.Repeat("x", 255)), oText(60, "x")), requestPacket(), "order: option 60 in parts"},
		"67 in parts":          {ackMore(oText(67, strings.Repeat("x", 255)), oText(67, "x")), requestPacket(), "order: option 67 in parts"},
		"54 not second":        {whole(put(finish(packet(2, o(53, 6), oText(56, "x"), serverID)), 0, 2)), requestPacket(), "order: does not begin"},
		"router before mask":   {whole(finish(put(put(packet(2, o(53, 5), serverID, leaseTime, o(3, 192, 0, 2, 1), mask), offsetYiaddr, 192, 0, 2, 100), offsetSiaddr, 192, 0, 2, 1))), requestPacket(), "order: router (3) before mask"},
		"82 not last":          {whole(finish(append(offered(), o(224, 1)...))), discoverPacket(), "order: option 82 is not the last"},
		"82 of nobody":         {ackMore(o(82, 1, 1, 'c')), requestPacket(), "echo: option 82"},
		"82 changed":           {whole(put(finish(offered()), len(offered())-1, 'd')), discoverPacket(), "echo: option 82 is 010164"},
		"61 missing":           {whole(finish(acked())), finish(packet(1, o(53, 3), o(50, 192, 0, 2, 100), o(61, 0, 1))), "echo: option 61 is missing"},
		"61 changed":           {ackMore(o(61, 0, 2)), finish(packet(1, o(53, 3), o(50, 192, 0, 2, 100), o(61, 0, 1))), "echo: option 61 is 0002"},
		"97 of nobody":         {ackMore(o(97, machineID...)), requestPacket(), "echo: option 97"},
		"118 of nobody":        {ackMore(o(118, 192, 0, 2, 0)), requestPacket(), "echo: option 118"},
		"97 cut":               {ackMore(o(97, machineID[:16]...)), nil, "length: option 97 has 16 bytes"},
		"97 of another type":   {ackMore(o(97, append([]byte{1}, machineID[1:]...)...)), nil, "form: option 97"},
		"router of 5 bytes":    {ackMore(o(3, 192, 0, 2, 1, 1)), requestPacket(), "length: option 3 has 5"},
		"no router":            {ackMore(o(3)), requestPacket(), "length: option 3 has 0"},
		"a static route":       {ackMore(o(33, 192, 0, 2, 1)), requestPacket(), "length: option 33 has 4"},
		"MTU":                  {ackMore(o(26, 5)), requestPacket(), "length: option 26 has 1"},
		"T1":                   {ackMore(o(58, 1)), requestPacket(), "length: option 58 has 1"},
		"61 of one byte":       {ackMore(o(61, 1)), nil, "length: option 61 has 1"},
		"a user class":         {ackMore(oText(77, "iPXE")), requestPacket(), "form: option 77"},
		"an architecture":      {ackMore(o(93, 0, 0, 7)), requestPacket(), "length: option 93 has 3"},
		"UNDI":                 {ackMore(o(94, 1, 2)), requestPacket(), "length: option 94 has 2"},
		"magic of PXELINUX":    {ackMore(o(208, 0xf1, 0, 0x74, 0x7f)), requestPacket(), "form: option 208"},
		"reboot time":          {ackMore(o(211, 1)), requestPacket(), "length: option 211 has 1"},
		"rapid commit":         {ackMore(o(80, 1)), requestPacket(), "length: option 80 has 1"},
		"a route cut":          {ackMore(o(121, 24, 192, 0, 2, 192, 0)), requestPacket(), "form: option 121"},
		"a mask with a hole":   {whole(finish(put(acked(), 240+15, 1, 4, 255, 0, 255, 0))), requestPacket(), "form: option 1"},
		"43 without END":       {ackMore(class, o(43, 6, 1, 8)), requestPacket(), "form: option 43"},
		"43 cut":               {ackMore(class, o(43, 6, 2, 8)), requestPacket(), "form: option 43"},
		"43 beyond END":        {ackMore(class, o(43, 6, 1, 8, 255, 255)), requestPacket(), "form: option 43"},
		"a boot item cut":      {ackMore(class, o(43, 71, 2, 0, 0, 255)), requestPacket(), "form: option 43"},
		"a menu cut":           {ackMore(class, o(43, 9, 4, 0, 0, 2, 'P', 255)), requestPacket(), "form: option 43"},
		"NUL in the name":      {ackMore(oText(67, "a\x00b")), requestPacket(), "text: option 67"},
		"NUL behind the name":  {ackMore(oText(67, "a\x00")), requestPacket(), "text: option 67"},
		"NUL in 66":            {ackMore(oText(66, "192.0.2.1\x00")), requestPacket(), "text: option 66"},
		"NUL in 60":            {ackMore(oText(60, "PXEClient\x00")), requestPacket(), "text: option 60"},
		"a line in the domain": {ackMore(oText(15, "a\nb")), requestPacket(), "text: option 15"},
		"no type":              {whole(finish(put(packet(2, serverID, leaseTime, mask), offsetYiaddr, 192, 0, 2, 100))), requestPacket(), "type: no message type"},
		"a client's type":      {whole(put(finish(acked()), 242, 3)), nil, "type: message 3"},
		"no server":            {whole(put(finish(acked()), 245, 0, 0, 0, 0)), requestPacket(), "54: "},
		"50 in a reply":        {ackMore(o(50, 192, 0, 2, 100)), requestPacket(), "option 50 in a reply"},
		"52 in a reply":        {ackMore(o(52, 1)), requestPacket(), "option 52 in a reply"},
		"55 in a reply":        {ackMore(o(55, 1)), requestPacket(), "option 55 in a reply"},
		"57 in a reply":        {ackMore(o(57, 5, 0)), requestPacket(), "option 57 in a reply"},
		"no lease time":        {whole(finish(put(put(packet(2, o(53, 5), serverID, mask), offsetYiaddr, 192, 0, 2, 100), offsetSiaddr, 192, 0, 2, 1))), requestPacket(), "option 51 is not in"},
		"no mask":              {whole(finish(put(put(packet(2, o(53, 5), serverID, leaseTime), offsetYiaddr, 192, 0, 2, 100), offsetSiaddr, 192, 0, 2, 1))), requestPacket(), "option 1 is not in"},
		"T1 after T2":          {ackMore(o(58, 0, 0, 1, 0), o(59, 0, 0, 0, 255)), requestPacket(), "times: T1 256"},
		"T2 after the end":     {ackMore(o(59, 0, 1, 0, 0)), requestPacket(), "times: T1 65536"},
		"an ACK to DISCOVER":   {whole(finish(acked())), plainDiscover(), "type: message 5 to message 1"},
		"an OFFER to REQUEST":  {whole(finish(offered())), requestPacket(), "type: message 2 to message 3"},
		"a NAK to INFORM":      {whole(finish(refused())), informPacket(), "type: message 6 to message 8"},
		"a reply to RELEASE":   {whole(finish(refused())), finish(packet(1, o(53, 7))), "type: message 6 to message 7"},
		"another address":      {whole(put(finish(acked()), offsetYiaddr, 192, 0, 2, 101)), requestPacket(), "yiaddr: the ACK of 192.0.2.101"},
		"another ciaddr":       {whole(put(finish(acked()), offsetCiaddr, 192, 0, 2, 9)), requestPacket(), "ciaddr: 192.0.2.9"},
		"an address to INFORM": {whole(finish(acked())), informPacket(), "yiaddr: 192.0.2.100 to an INFORM"},
		"a lease to INFORM":    {whole(put(finish(acked()), offsetYiaddr, 0, 0, 0, 0)), informPacket(), "option 51 in the ACK of an INFORM"},
		"a lease of a proxy":   {whole(finish(proxied(2, leaseTime))), plainDiscover(), "option 51 in the OFFER of a proxy"},
		"a mask of a proxy":    {whole(finish(proxied(2, mask))), plainDiscover(), "option 1 in the OFFER of a proxy"},
		"a proxy of no class":  {whole(finish(put(packet(2, o(53, 2), serverID), offsetSiaddr, 192, 0, 2, 1))), plainDiscover(), "option 60 is not in the OFFER of a proxy"},
		"an ACK of no class":   {whole(finish(put(packet(2, o(53, 5), serverID), offsetSiaddr, 192, 0, 2, 1))), requestPacket(), "option 60 is not in the ACK of a boot server"},
		"an address in a NAK":  {whole(put(finish(refused()), offsetSiaddr, 192, 0, 2, 1)), requestPacket(), "address: ciaddr, yiaddr or siaddr in a NAK"},
		"a name in a NAK":      {whole(put(finish(refused()), offsetSname, 'x')), requestPacket(), "text: sname or file in a NAK"},
		"a lease in a NAK":     {whole(finish(refused(leaseTime))), requestPacket(), "option 51 in a NAK"},
		"to a reply":           {whole(finish(acked())), finish(acked()), "request: op 2"},
		"to a cut request":     {whole(finish(acked())), packet(1, o(53, 3), []byte{50, 9}), "request: option 50 runs past the end"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			findings := Reply(test.reply(), test.request)
			require.Contains(t, strings.Join(findings, "\n"), test.want)
		})
	}
}

func TestOverloadedRequests(t *testing.T) {
	reply := finish(acked(o(61, 0, 1)))
	for overload, edits := range map[byte][2][]byte{1: {append(o(61, 0, 1), end), nil}, 2: {nil, append(o(61, 0, 1), end)}, 3: {o(61, 0), o(61, 1)}} {
		b := finish(packet(1, o(53, 3), o(50, 192, 0, 2, 100), o(52, overload)))
		put(b, offsetFile, edits[0]...)
		put(b, offsetSname, edits[1]...)
		require.Empty(t, Reply(reply, b), overload)
	}
	require.NotEmpty(t, Reply(reply, put(requestPacket(), offsetFile, o(61, 0, 1)...)), "the field is a name")
}

// FuzzReply holds the linter to what it says of itself: it changes nothing, what
// is good is good without its request, and what is good is not with one byte more.
func FuzzReply(f *testing.F) {
	f.Add(finish(offered()), discoverPacket())
	f.Add(finish(acked(oText(67, "x"), []byte{pad})), requestPacket())
	f.Add(finish(refused()), requestPacket())
	f.Add(finish(proxied(5)), informPacket())
	f.Add([]byte{}, []byte{})
	f.Add(packet(2, []byte{53}), packet(1, o(52, 3)))
	f.Fuzz(func(t *testing.T, reply, request []byte) {
		before, asked := bytes.Clone(reply), bytes.Clone(request)
		findings := Reply(reply, request)
		if !bytes.Equal(before, reply) || !bytes.Equal(asked, request) {
			t.Fatal("a packet was changed")
		}
		alone := Reply(reply, nil)
		if request == nil || len(findings) > 0 {
			return
		}
		for _, finding := range alone {
			if !strings.HasPrefix(finding, "flags: reserved") && !strings.HasPrefix(finding, "length: option 82") {
				t.Fatalf("good with its request, and without it: %s", finding)
			}
		}
		if len(Reply(append(before, 0), request)) == 0 {
			t.Fatal("a byte behind the end is not noticed")
		}
	})
}
