package dhcp

import (
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// describe writes a packet for people, and then its bytes.
func describe(b []byte, d Delivery) string {
	var w strings.Builder
	fmt.Fprintf(&w, "sent   %s by %s", d.To, d.Route)
	if d.HardwareAddr != nil {
		fmt.Fprintf(&w, " to %s", d.HardwareAddr)
	}
	fmt.Fprintf(&w, "\nop %d htype %d hlen %d hops %d xid %x secs %x flags %x\n", b[0], b[1], b[2], b[3], b[4:8], b[8:10], b[10:12])
	for i, name := range []string{"ciaddr", "yiaddr", "siaddr", "giaddr"} {
		fmt.Fprintf(&w, "%s %s\n", name, net.IP(b[12+4*i:16+4*i]))
	}
	fmt.Fprintf(&w, "chaddr %x\nsname  %q\nfile   %q\n", b[28:44], strings.TrimRight(string(b[44:108]), "\x00"), strings.TrimRight(string(b[108:236]), "\x00"))
	for o := b[240:]; len(o) > 0 && o[0] != 255; {
		if o[0] == 0 {
			w.WriteString("pad\n")
			o = o[1:]
			continue
		}
		v := o[2 : 2+int(o[1])]
		fmt.Fprintf(&w, "%3d    %x", o[0], v)
		if name := dhcpv4.GenericOptionCode(o[0]); name == 60 || name == 66 || name == 67 || name == 15 || name == 56 {
			fmt.Fprintf(&w, " %q", v)
		}
		w.WriteString("\n")
		o = o[2+len(v):]
	}
	return w.String() + "end\n\n" + hex.Dump(b)
}

func TestGolden(t *testing.T) {
	hw := mac(1)
	uuid := opt(97, append([]byte{0}, []byte("\x08\x59\x94\xb8\xa6\xd6\xa9\x41\x61\x1d\x74\xa6\xab\x80\xb8\x3d")...)...)
	pxeList := opt(55, 1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66, 67, 97, 128, 129, 130, 131, 132, 133, 134, 135)
	clients := map[string][]dhcpv4.Modifier{
		"bios": {pxeList, opt(57, 4, 236), uuid, opt(93, 0, 0), opt(94, 1, 2, 1), optText(60, "PXEClient:Arch:00000:UNDI:002001"), broadcastFlag},
		"uefi-x64": {pxeList, opt(57, 5, 184), uuid, opt(93, 0, 7), opt(94, 1, 3, 16), optText(60, "PXEClient:Arch:00007:UNDI:003016"),
			opt(61, append([]byte{0}, []byte("\x08\x59\x94\xb8\xa6\xd6\xa9\x41\x61\x1d\x74\xa6\xab\x80\xb8\x3d")...)...), broadcastFlag},
		"ipxe": {opt(55, 1, 3, 6, 7, 12, 15, 17, 26, 43, 60, 66, 67, 119, 128, 129, 130, 131, 132, 133, 134, 135, 175, 203), opt(57, 5, 192), uuid, opt(93, 0, 7),
			opt(94, 1, 3, 10), optText(60, "PXEClient:Arch:00007:UNDI:003010"), optText(77, "iPXE"), opt(61, append([]byte{1}, hw...)...),
			opt(175, 177, 5, 1, 128, 134, 16, 14, 24, 1, 1, 34, 1, 1, 25, 1, 1, 33, 1, 1, 16, 1, 2, 19, 1, 1, 17, 1, 1, 235, 3, 1, 0, 0, 23, 1, 1, 21, 1, 1, 18, 1, 1)},
		"klibc-ipconfig": {opt(55, 1, 3, 6, 12, 15, 17, 26, 28, 40, 119)},
	}
	for name, mods := range clients {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(rich, func(s *Server) {
					s.BootFile = func(_ context.Context, r *Request) (*BootFile, error) {
						switch {
						case r.Client.Kind == IPXE:
							return &BootFile{Name: "http://192.0.2.1/~0123456789abcdef/boot.ipxe"}, nil
						case r.Client.Arch == ArchX64:
							return &BootFile{Name: "snponly.efi"}, nil
						}
						return &BootFile{Name: "lpxelinux.0"}, nil
					}
				})
				offer := ask(t, s, discover(hw, mods...))
				require.NotNil(t, offer.reply, "%v", offer.err)
				ack := ask(t, s, request(hw, append(mods, selecting(offer.addr()))...))
				nak := ask(t, s, request(hw, append(mods, selecting("192.0.2.7"))...))
				for kind, x := range map[string]result{"offer": offer, "ack": ack, "nak": nak} {
					require.Equal(t, strings.ToUpper(kind), x.kind())
					file := filepath.Join("testdata", name+"-"+kind+".golden")
					got := describe(x.raw, x.d)
					if *update {
						require.NoError(t, os.MkdirAll("testdata", 0o755))
						require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
					}
					want, err := os.ReadFile(file)
					require.NoError(t, err)
					require.Equal(t, string(want), got, file)
				}
			})
		})
	}
}
