package pxetest

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// shell is an iPXE without a network.
func shell(f Firmware) *ipxeShell {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // nothing waits
	m := &Machine{HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 0x1f}, Firmware: f}
	r := &run{ctx: ctx, m: m, boot: &Boot{}, link: nowhere{}, lease: Lease{
		Addr: netip.MustParsePrefix("192.0.2.100/24"), NextServer: netip.MustParseAddr("192.0.2.1"), HostName: "h"}}
	r.uuid, _ = m.uuid()
	return &ipxeShell{run: r, vars: make(map[string]ipxeValue), kernel: -1, failed: make(map[string]bool)}
}

// nowhere is a plug without a cable.
type nowhere struct{ link }

func (nowhere) ports() Ports                               { return Ports{DHCP: 67, TFTP: 69, HTTP: 80} }
func (nowhere) alone() bool                                { return true }
func (nowhere) configure(netip.Prefix, []netip.Addr) error { return nil }
func (nowhere) packetConn() (net.PacketConn, error)        { return nil, net.ErrClosed }
func (nowhere) openDHCP() (dhcpPort, error)                { return nil, net.ErrClosed }
func (nowhere) dial(context.Context, netip.AddrPort) (net.Conn, error) {
	return nil, net.ErrClosed
}

func TestIPXEExpansion(t *testing.T) {
	s := shell(UEFIx64)
	for _, cmd := range []string{"set sp:hex 20", "set sp ${sp:string}", "set a one two", "set n:int8 7", "set e ${nil}", "set x:ipv4 192.0.2.9"} {
		_, err := s.line(strings.Fields(cmd))
		require.NoError(t, err)
	}
	for word, want := range map[string]string{
		"plain":              "plain",
		"${a}":               "one two",
		"<${sp}>":            "< >",
		"${nil}":             "",
		"${e}":               "",
		"$${nil}{a}":         "one two", // what an escaper must know
		"${net0/mac}":        "02:00:00:00:00:1f",
		"${mac:hexhyp}":      "02-00-00-00-00-1f",
		"${netX/mac:hexraw}": "02000000001f",
		"${n}":               "7",
		"${x}":               "192.0.2.9",
		"${x:hex}":           "c0:00:02:09",
		"${a:uristring}":     "one+two",
		"${uuid}":            "7078656b-0000-4000-8000-02000000001f",
		"${ip}/${netmask}":   "192.0.2.100/255.255.255.0",
		"${next-server}":     "192.0.2.1",
		"${gateway}":         "",
		"${platform}":        "efi",
		"${buildarch}":       "x86_64",
		"${net${nil}0/ip}":   "192.0.2.100",
		"${unfinished":       "${unfinished",
		"}${a}":              "}one two",
	} {
		got, err := s.expand(word)
		require.NoError(t, err, word)
		require.Equal(t, want, got, word)
	}
	_, err := s.expand("${a:nothing}")
	require.ErrorContains(t, err, `unknown setting type "nothing"`)
	for _, bad := range []string{"set x:hex zz", "set x:ipv4 a", "set x:int8 many", "set x:what 1", "set"} {
		_, err := s.line(strings.Fields(bad))
		require.Error(t, err, bad)
	}
}

func TestIPXEControl(t *testing.T) {
	tests := []struct{ name, script, x string }{
		{"and or", "iseq a a && set x 1 || set x 2", "1"},
		{"or", "iseq a b || set x 2", "2"},
		{"and fails", "iseq a b && set x 1 ||", ""},
		{"chain of operators", "iseq a b || iseq c d || set x 3 && set y 1", "3"},
		{"semicolon", "iseq a b ; set x 1", "1"},
		{"comment", "set x 1 # set x 2", "1"},
		{"hash in a word", "set x a#b", "a#b"},
		{"goto", "goto over\nset x 1\n:over\nset y 1", ""},
		{"goto back", "goto start\n:again\ngoto end\n:start\nset x 1\ngoto again\n:end", "1"},
		{"label of a setting", "set where end\ngoto ${where}\nset x 1\n:end", ""},
		{"continuation", "set x a\\\nb", "ab"},
		{"no continuation", "set x a\\${nil}\nset y 1", "a\\"},
		{"CRLF", "set x 1\r\nset y 2\r", "1"},
		{"blanks", "  set \t x   1  2 ", "1 2"},
		{"isset", "isset ${mac} && set x yes || set x no", "yes"},
		{"not set", "isset ${nil} && set x yes || set x no", "no"},
		{"clear", "set x 1\nclear x", ""},
		{"text in a condition", "iseq ${platform} pcbios && set x bios || set x uefi", "bios"},
		{"first label counts", "goto a\n:a\nset x 1\ngoto end\n:a\nset x 2\n:end", "1"},
		{"chained failure", "chain http://192.0.2.1/none || set x 1", "1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := shell(BIOSPXE)
			if strings.Contains(tt.script, "http:") {
				s.ctx = t.Context()
			}
			_, err := s.script("#!ipxe\n"+tt.script, tftpSource(netip.MustParseAddr("192.0.2.1"), "boot.ipxe"))
			require.NoError(t, err)
			x, err := s.expand("${x}")
			require.NoError(t, err)
			require.Equal(t, tt.x, x)
		})
	}
}

func TestIPXEOptions(t *testing.T) {
	spec := ipxeOptions{"name": "n:", "timeout": "t:", "autofree": "a"}
	for _, tt := range []struct {
		args    string
		options map[string]string
		rest    string
		bad     bool
	}{
		{args: "--name x url a=b --name", options: map[string]string{"name": "x"}, rest: "url a=b --name"},
		{args: "--name=x -t 5 -a url", options: map[string]string{"name": "x", "timeout": "5", "autofree": ""}, rest: "url"},
		{args: "-nx url", options: map[string]string{"name": "x"}, rest: "url"},
		{args: "-- --name", options: map[string]string{}, rest: "--name"},
		{args: "- url", options: map[string]string{}, rest: "- url"},
		{args: "--what", bad: true},
		{args: "-w", bad: true},
		{args: "--name", bad: true},
	} {
		options, rest, err := spec.parse(strings.Fields(tt.args))
		require.Equal(t, tt.bad, err != nil, tt.args)
		if !tt.bad {
			require.Equal(t, tt.options, options, tt.args)
			require.Equal(t, tt.rest, strings.Join(rest, " "))
		}
	}
}

func FuzzIPXEScript(f *testing.F) {
	f.Add("#!ipxe\nset sp:hex 20\nmenu -- x\nitem a A\nchoose --default a --timeout 100 x && goto ${x}\n:a\nexit")
	f.Add("#!ipxe\n:a\nset a ${a}x\niseq ${a} xxxx || goto a\nboot || shell")
	f.Add("#!ipxe\nkernel http://192.0.2.1/k a \\\n b || goto x\nchain ${url} ; sleep 1\n:x\nprompt --timeout 5 ||")
	f.Add("#!ipxe\nset a:hex 247b613a737472696e677d\necho ${a:string}\nimgargs x y\nsanboot --drive 0x80")
	f.Fuzz(func(t *testing.T, text string) {
		synctest.Test(t, func(t *testing.T) {
			// Without a network a script ends, whatever it is: told to boot the disk, or
			// with an error; never with a kernel. Its settings stay bounded.
			s := shell(UEFIx64)
			o, err := s.script(text, tftpSource(netip.MustParseAddr("192.0.2.1"), "boot.ipxe"))
			if err == nil {
				require.NotEqual(t, booted, o.kind)
			}
			require.LessOrEqual(t, s.commands, maxCommands+1)
			require.LessOrEqual(t, len(s.vars), maxSettings+2)
			for _, v := range s.vars {
				require.LessOrEqual(t, len(v.raw), maxValue)
			}
			require.Zero(t, s.boot.Kernel)
			require.Zero(t, s.depth)
		})
	})
}

// FuzzIPXEExpand: a word without "${" is left as it is; whatever comes out has
// nothing left to expand.
func FuzzIPXEExpand(f *testing.F) {
	for _, w := range []string{"a", "${mac}", "$${nil}{mac}", "${", "}", "${a:hex}", "${${ip}}"} {
		f.Add(w)
	}
	f.Fuzz(func(t *testing.T, word string) {
		got, err := shell(UEFIx64).expand(word)
		if err != nil {
			return
		}
		if !strings.Contains(word, "${") {
			require.Equal(t, word, got)
		}
		if i := strings.Index(got, "${"); i >= 0 {
			require.NotContains(t, got[i:], "}")
		}
	})
}
