package tftp

import (
	"io/fs"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

func TestT010_RequestsThatCannotBeRead(t *testing.T) {
	for _, test := range []struct {
		name   string
		packet string
		why    refusal
	}{
		{"empty", "", refusal{DropNotForUs, 0, true}},
		{"one byte", "\x00", refusal{DropNotForUs, 0, true}},
		{"nothing but the opcode", "\x00\x01", refusal{DropMalformed, CodeIllegal, false}},
		{"name without NUL", "\x00\x01name", refusal{DropMalformed, CodeIllegal, false}},
		{"no mode", "\x00\x01name\x00", refusal{DropMalformed, CodeIllegal, false}},
		{"mode without NUL", "\x00\x01name\x00octet", refusal{DropMalformed, CodeIllegal, false}},
		{"empty name", "\x00\x01\x00octet\x00", refusal{DropMalformed, CodeIllegal, false}},
		{"empty mode", "\x00\x01name\x00\x00", refusal{DropMode, CodeIllegal, false}},
		{"mail", "\x00\x01name\x00mail\x00", refusal{DropMode, CodeIllegal, false}},
		{"junk mode", "\x00\x01name\x00octetoctet\x00", refusal{DropMode, CodeIllegal, false}},
		{"DATA", "\x00\x03\x00\x01x", refusal{DropNotForUs, 0, true}},
		{"ACK", "\x00\x04\x00\x01", refusal{DropNotForUs, 0, true}},
		{"ERROR", "\x00\x05\x00\x01x\x00", refusal{DropNotForUs, 0, true}},
		{"OACK", "\x00\x06tsize\x001\x00", refusal{DropNotForUs, 0, true}},
		{"opcode of another byte order", "\x01\x00name\x00octet\x00", refusal{DropNotForUs, 0, true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, why, ok := parseRequest([]byte(test.packet))
			require.False(t, ok)
			require.Equal(t, test.why, why)
		})
	}
}

func TestT010_Modes(t *testing.T) {
	for sent, want := range map[string]string{
		"octet": ModeOctet, "OCTET": ModeOctet, "oCtEt": ModeOctet, "netascii": ModeNetASCII, "NetASCII": ModeNetASCII,
	} {
		r, _, ok := parseRequest(rrq("name", sent))
		require.True(t, ok, sent)
		require.Equal(t, want, r.Mode)
	}
}

func TestT011_WriteRequestIsRefused(t *testing.T) {
	_, why, ok := parseRequest(encodeRequest(opWRQ, "name", "octet"))
	require.False(t, ok)
	require.Equal(t, refusal{DropWrite, CodeAccessViolation, false}, why)
}

func TestT014_Options(t *testing.T) {
	for _, test := range []struct {
		name string
		tail string
		want []Option
	}{
		{"none", "", nil},
		{"names fold, values stay", "BlkSize\x001468\x00X-Y\x00Value\x00", []Option{{"blksize", "1468"}, {"x-y", "Value"}}},
		{"the first of a name wins", "tsize\x000\x00TSIZE\x001\x00", []Option{{"tsize", "0"}}},
		{"empty value", "multicast\x00\x00tsize\x000\x00", []Option{{"multicast", ""}, {"tsize", "0"}}},
		{"padding ends them", "tsize\x000\x00\x00\x00\x00", []Option{{"tsize", "0"}}},
		{"name without value", "tsize\x000\x00blksize\x00", []Option{{"tsize", "0"}}},
		{"value without NUL", "tsize\x000\x00blksize\x001468", []Option{{"tsize", "0"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, _, ok := parseRequest([]byte("\x00\x01name\x00octet\x00" + test.tail))
			require.True(t, ok)
			require.Equal(t, test.want, r.Options)
		})
	}
}

func TestT014_RequestsOver512OctetsAreRefused(t *testing.T) {
	fits := rrq(strings.Repeat("n", 512-2-1-6), "octet")
	require.Len(t, fits, 512)
	_, _, ok := parseRequest(fits)
	require.True(t, ok)
	_, why, ok := parseRequest(append(fits, 0))
	require.False(t, ok)
	require.Equal(t, refusal{DropMalformed, CodeIllegal, false}, why)
}

func TestT026_Names(t *testing.T) {
	for sent, want := range map[string]string{
		"name":                   "name",
		"/name":                  "name",
		"//name":                 "name",
		"/boot//x///y":           "boot/x/y",
		`boot\x64\wdsnbp.com`:    "boot/x64/wdsnbp.com",
		`\Boot\BCD`:              "Boot/BCD",
		"./name":                 "name",
		"a/./b":                  "a/b",
		"lpxelinux.0\xff":        "lpxelinux.0",
		"lpxelinux.0\xff\xff":    "lpxelinux.0",
		"lpxelinux.0\xfe":        "", // one ROM's habit is no licence for others
		"pxelinux.cfg/01-02-00":  "pxelinux.cfg/01-02-00",
		"with space":             "with space",
		"ünïcode":                "ünïcode",
		".hidden":                ".hidden",
		"a..b":                   "a..b",
		"..a":                    "..a",
		"a...":                   "a...",
		"console/lpt/com/com10":  "console/lpt/com/com10",
		"grub/x86_64-efi/fs.lst": "grub/x86_64-efi/fs.lst",
		"%s%n%2e%2e/":            "", // a directory
		"%2e%2e/x":               "%2e%2e/x",
		"boot:x":                 "boot:x",
		"~0123abcd/boot/vmlinuz": "~0123abcd/boot/vmlinuz",
		"\xffname":               "",
		"":                       "",
		"\xff":                   "",
		"/":                      "",
		".":                      "",
		"./":                     "",
		"dir/":                   "",
		`dir\`:                   "",
		"..":                     "",
		"../x":                   "",
		"/../x":                  "",
		"a/../b":                 "",
		"a/..":                   "",
		`..\x`:                   "",
		`a\..\..\x`:              "",
		"....//x":                "",
		"...":                    "",
		".../x":                  "",
		".. /x":                  "",
		". ./x":                  "",
		" /x":                    "",
		"C:":                     "",
		"C:/x":                   "",
		`c:\boot.ini`:            "",
		"c:x":                    "",
		"/C:/x":                  "",
		"a/z:b":                  "",
		`\\server\share\x`:       "",
		`\\?\C:\x`:               "",
		`\\.\PhysicalDrive0`:     "",
		"con":                    "",
		"NUL":                    "",
		"boot/Aux.cfg":           "",
		"com1":                   "",
		"LPT9.txt":               "",
		"com¹":                   "",
		"CONOUT$":                "",
		"nul:":                   "",
		"prn .x":                 "",
		"a\nb":                   "",
		"a\rb":                   "",
		"a\x1bb":                 "",
		"a\x7fb":                 "",
		"a\u0085b":               "",
		"a\xc0\xafb":             "",
		"a\xffb":                 "",
	} {
		name, ok := normalise(sent)
		require.Equal(t, want != "", ok, "%q became %q", sent, name)
		require.Equal(t, want, name, "%q", sent)
	}
}

func FuzzRequest(f *testing.F) {
	for _, p := range [][]byte{
		rrq("lpxelinux.0", "octet", "tsize", "0", "blksize", "1408"),
		rrq("/boot//x\\y\xff", "NETASCII", "BLKSIZE", "65464", "timeout", "255"),
		rrq("../../etc/passwd", "octet"),
		rrq(`C:\boot.ini`, "octet", "windowsize", "65535"),
		rrq("n", "octet", "tsize", "0", "tsize", "1", "", ""),
		encodeRequest(opWRQ, "n", "octet"),
		rrq("n", "mail"),
		{0, opRRQ}, {}, ackPacket(1), appendError(nil, 1, "x"),
	} {
		f.Add(p, 1468, int64(1000))
	}
	f.Fuzz(func(t *testing.T, packet []byte, limit int, size int64) {
		r, why, ok := parseRequest(packet)
		if !ok {
			if r != nil || why.reason == "" || !why.silent && why.code.String() == "Internal error" {
				t.Fatalf("refused as %+v with %+v", why, r)
			}
			return
		}
		if !fs.ValidPath(r.Name) || r.Name == "." || strings.ContainsFunc(r.Name, unicode.IsControl) || strings.Contains(r.Name, `\`) {
			t.Fatalf("name %q", r.Name)
		}
		checkReparse(t, r)
		checkTerms(t, r.Options, defaultBlockSize+int(uint(limit)%(maxBlockSize-defaultBlockSize+1)), size)
	})
}

// checkReparse: what was understood, written down, is understood the same.
func checkReparse(t *testing.T, r *Request) {
	var options []string
	for _, o := range r.Options {
		options = append(options, o.Name, o.Value)
	}
	again, why, ok := parseRequest(rrq(r.Name, r.Mode, options...))
	if !ok || again.Name != r.Name || again.Mode != r.Mode || len(again.Options) != len(r.Options) {
		t.Fatalf("%+v became %+v, %+v", r, again, why)
	}
	for i := range r.Options {
		if r.Options[i] != again.Options[i] {
			t.Fatalf("%+v became %+v", r.Options, again.Options)
		}
	}
}

// checkTerms: the answer holds only what was asked for and is within bounds.
func checkTerms(t *testing.T, options []Option, limit int, size int64) {
	terms := negotiate(options, limit, size)
	if terms.blockSize < minBlockSize || terms.blockSize > limit || terms.timeout < 0 || terms.timeout.Seconds() > 255 {
		t.Fatalf("%+v", terms)
	}
	rest := options
	for _, a := range terms.oack {
		asked, found := "", false
		for i, o := range rest {
			if o.Name == a.name {
				asked, found, rest = o.Value, true, rest[i+1:]
				break
			}
		}
		if !found {
			t.Fatalf("%+v was not asked for, or not in this order: %+v", a, options)
		}
		switch a.name {
		case "blksize":
			if n, ok := decimal(asked, minBlockSize, maxBlockSize); !ok || a.value > int64(n) || a.value != int64(terms.blockSize) {
				t.Fatalf("%q was answered by %d", asked, a.value)
			}
		case "timeout":
			if n, ok := decimal(asked, 1, 255); !ok || a.value != int64(n) {
				t.Fatalf("%q was answered by %d", asked, a.value)
			}
		case "tsize":
			if a.value != size || size < 0 {
				t.Fatalf("size %d was answered by %d", size, a.value)
			}
		default:
			t.Fatalf("%+v", a)
		}
	}
	if n := len(appendOACK(nil, terms.oack)); n > maxOACK {
		t.Fatalf("an OACK of %d bytes", n)
	}
}
