package pxetest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/dhcp/pxetest"
)

// TestStockMenu boots as SystemRescue's own menu on the medium does: options 209
// and 210, a menu module, included files, SYSAPPEND 3.
func TestStockMenu(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		segment := pxetest.NewSegment(t)
		server := newFakeServer(t)
		server.bootFile = chain("sysresccd/boot/syslinux/lpxelinux.0", "")
		server.mangle = func(_, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
			r.UpdateOption(dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(209), []byte("boot/syslinux/sysresccd.cfg")))
			r.UpdateOption(dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(210), []byte("sysresccd/")))
			return r
		}
		server.media([]byte("root"))
		for name, content := range map[string]string{
			"boot/syslinux/lpxelinux.0":   "loader",
			"/boot/syslinux/ldlinux.c32":  "module",
			"/boot/syslinux/menu.c32":     "module",
			"/boot/syslinux/libutil.c32":  "module",
			"boot/syslinux/sysresccd.cfg": "UI menu.c32\nTIMEOUT 900\nSYSAPPEND 3\nINCLUDE boot/syslinux/head.cfg\nLABEL rescue\nMENU LABEL ^Rescue\nTEXT HELP\nlong\nENDTEXT\nLINUX boot/vmlinuz\nINITRD ::ucode.img,192.0.2.1::sysresccd.img\nAPPEND archisobasedir=sysresccd archiso_http_srv=http://${pxeserver}/ ip=dhcp\n",
			"boot/syslinux/head.cfg":      "MENU TITLE Rescue\nMENU COLOR title 1\nLABEL first\nLOCALBOOT -1\nMENU DEFAULT\n",
			"boot/vmlinuz":                "kernel",
		} {
			server.files["sysresccd/"+name] = []byte(content)
		}
		server.on(segment)
		machine := segment.Machine(mac, pxetest.BIOSPXE)
		started := time.Now()
		got, err := machine.Boot(t.Context())
		require.NoError(t, err)
		require.True(t, got.Local, "the default of the menu")
		require.Equal(t, "first", got.Entry)
		require.Equal(t, (4+8+90)*time.Second, time.Since(started), "the ROM waits for a proxy")

		machine.Choose = "Rescue"
		got, err = machine.Boot(t.Context())
		require.NoError(t, err)
		require.Equal(t, "rescue", got.Entry)
		require.Equal(t, "sysresccd/boot/syslinux/sysresccd.cfg", got.Config)
		require.Contains(t, got.Params, "ip=192.0.2.100:192.0.2.1:192.0.2.254:255.255.255.0")
		require.Contains(t, got.Params, "BOOTIF=01-02-00-00-00-00-01")
		// The static ip= comes last and wins: no second exchange, and ${pxeserver} is
		// its second field.
		require.Len(t, got.Leases, 1)
		require.Equal(t, "http://192.0.2.1/sysresccd/x86_64/airootfs.sfs", got.Root.URL)
		require.Equal(t, []string{"sysresccd/ldlinux.c32", "sysresccd//boot/isolinux/ldlinux.c32", "sysresccd//isolinux/ldlinux.c32"}, got.Missing[:3])
	})
}

// TestScripts: what iPXE scripts do beyond a plain menu.
func TestScripts(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		firmware     pxetest.Firmware
		line, config string
	}{
		{"imgargs and names", "imgfetch --name k vmlinuz\nimgselect -n kern vmlinuz\ninitrd --name=i ucode.img\nimgfree\nkernel --name kern vmlinuz a\ninitrd --name=i ucode.img\nimgargs kern initrd=i b\nboot kern",
			pxetest.UEFIx64, "initrd=i b", "boot.ipxe"},
		{"chained", "chain --autofree sub/next.ipxe || shell", pxetest.UEFIx64, "chained", "sub/next.ipxe"},
		{"chained script leaves", "chain leave.ipxe\nkernel vmlinuz after\nboot", pxetest.UEFIx64, "after", "leave.ipxe"},
		{"chained script fails", "chain fail.ipxe || kernel vmlinuz rescued\nboot", pxetest.UEFIx64, "rescued", "fail.ipxe"},
		{"a kernel by chain", "chain vmlinuz direct", pxetest.IPXEROM, "direct", "boot.ipxe"},
		{"absolute path", "kernel /vmlinuz root\nboot", pxetest.IPXEROM, "root", "boot.ipxe"},
		{"dhcp again", "dhcp net0 && kernel vmlinuz ip=${net0/ip}:${dhcp-server}:${gateway}:${netmask}\nboot", pxetest.IPXEROM,
			"ip=192.0.2.100:192.0.2.1:192.0.2.254:255.255.255.0", "boot.ipxe"},
		{"prompt", "prompt --timeout 100 hit a key && shell || kernel vmlinuz unpressed\nsleep 3\nboot", pxetest.IPXEROM, "unpressed", "boot.ipxe"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				segment := pxetest.NewSegment(t)
				server := newFakeServer(t)
				server.bootFile = chain("snponly.efi", "boot.ipxe")
				server.media(nil)
				server.files["snponly.efi"] = []byte("loader")
				server.files["boot.ipxe"] = []byte("#!ipxe\n" + tt.script)
				server.files["sub/next.ipxe"] = []byte("#!ipxe\nkernel ../vmlinuz chained\nboot")
				server.files["leave.ipxe"] = []byte("#!ipxe\nexit")
				server.files["fail.ipxe"] = []byte("#!ipxe\niseq a b")
				server.on(segment)
				got, err := segment.Machine(mac, tt.firmware).Boot(t.Context())
				require.NoError(t, err)
				require.Equal(t, tt.line, got.CommandLine)
				require.Equal(t, tt.config, strings.TrimPrefix(got.Config, "tftp://192.0.2.1/"))
			})
		})
	}
}

// TestHTTPClients: what each client makes of answers that are not plain.
func TestHTTPClients(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/vmlinuz", http.StatusFound) },
		"loop":     func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) },
		"chunked": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "ker")
			w.(http.Flusher).Flush()
			fmt.Fprint(w, "nel")
		},
		"short": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "kernel")
		},
		"forbidden": func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusForbidden) },
		"busy":      func(w http.ResponseWriter, r *http.Request) { http.Error(w, "busy", http.StatusServiceUnavailable) },
		"vmlinuz":   func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "kernel") },
	}
	for _, tt := range []struct {
		answer   string
		firmware pxetest.Firmware // BIOSPXE: lpxelinux, IPXEROM: iPXE
		says     string
	}{
		{"vmlinuz", pxetest.BIOSPXE, ""},
		{"redirect", pxetest.IPXEROM, ""},
		{"redirect", pxetest.BIOSPXE, "302"},
		{"loop", pxetest.IPXEROM, "302"},
		{"chunked", pxetest.IPXEROM, ""},
		{"short", pxetest.IPXEROM, "6 of 100 bytes came"},
		{"short", pxetest.BIOSPXE, "6 of 100 bytes came"},
		{"forbidden", pxetest.IPXEROM, "403"},
		{"busy", pxetest.IPXEROM, "503"},
		{"busy then ready", pxetest.IPXEROM, ""},
	} {
		t.Run(fmt.Sprintf("%s %v", tt.answer, tt.firmware), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				segment := pxetest.NewSegment(t)
				server := newFakeServer(t)
				server.bootFile = chain("lpxelinux.0", "boot.ipxe")
				url := "http://192.0.2.1/" + strings.ReplaceAll(tt.answer, " ", "-")
				server.files["lpxelinux.0"] = []byte("loader")
				server.files["ldlinux.c32"] = []byte("module")
				server.files["pxelinux.cfg/default"] = fmt.Appendf(nil, "DEFAULT a\nLABEL a\nLINUX %s\n", url)
				server.files["boot.ipxe"] = fmt.Appendf(nil, "#!ipxe\nkernel %s\nboot", url)
				sockets := segment.Sockets("192.0.2.1/24")
				go server.serveDHCP(sockets.DHCP)
				go server.serveTFTP(sockets.TFTP, sockets.OpenTransfer)
				asked := 0
				go http.Serve(sockets.HTTP, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					asked++
					name := strings.TrimPrefix(r.URL.Path, "/")
					if name == "busy-then-ready" {
						name = "vmlinuz"
						if asked == 1 {
							w.Header().Set("Retry-After", "30")
							name = "busy"
						}
					}
					answers[name](w, r)
				}))
				started := time.Now()
				got, err := segment.Machine(mac, tt.firmware).Boot(t.Context())
				if tt.says != "" {
					require.ErrorContains(t, err, tt.says)
					return
				}
				require.NoError(t, err)
				require.Equal(t, int64(6), got.Kernel.Size)
				if tt.answer == "busy then ready" {
					require.Equal(t, 30*time.Second, time.Since(started))
				}
			})
		})
	}
}

// TestTFTPRoot: archiso_http_srv=tftp://... goes to curl.
func TestTFTPRoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		segment := pxetest.NewSegment(t)
		server := newFakeServer(t)
		server.bootFile = chain("", "boot.ipxe")
		server.media([]byte(strings.Repeat("root", 1000)))
		server.files["boot.ipxe"] = ipxeScript("tftp://192.0.2.1/", "archisobasedir=sysresccd ip=dhcp checksum archiso_http_srv=tftp://192.0.2.1/")
		server.on(segment)
		machine := segment.Machine(mac, pxetest.IPXEROM)
		machine.UUID = "00112233-4455-6677-8899-aabbccddeeff"
		got, err := machine.Boot(t.Context())
		require.NoError(t, err)
		require.Equal(t, "tftp", got.Root.Transport)
		require.Equal(t, int64(4000), got.Root.Bytes)
		require.True(t, got.Root.Verified)
		require.Equal(t, []byte{0, 0, 0x11, 0x22}, server.packets()[0].Options.Get(dhcpv4.OptionClientMachineIdentifier)[:4])

		machine.UUID = "no"
		_, err = machine.Boot(t.Context())
		require.ErrorContains(t, err, "not a UUID")
		_, err = (&pxetest.Machine{HardwareAddr: machine.HardwareAddr, Firmware: pxetest.UEFIx64}).Boot(t.Context())
		require.ErrorContains(t, err, "Segment or a Loopback")
	})
}
