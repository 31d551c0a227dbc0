package pxetest_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/dhcp/pxetest"
)

// chain serves each client of a boot what our servers serve it: a loader to the
// ROM, a script to iPXE, nothing to the initramfs.
func chain(loader, script string) func(*dhcpv4.DHCPv4) string {
	return func(r *dhcpv4.DHCPv4) string {
		switch {
		case strings.Contains(string(r.Options.Get(dhcpv4.OptionUserClassInformation)), "iPXE"):
			return script
		case strings.HasPrefix(r.ClassIdentifier(), "PXEClient"):
			return loader
		}
		return ""
	}
}

func pxelinuxConfig(base, params string) []byte {
	return fmt.Appendf(nil, `PROMPT 1
TIMEOUT 50
DEFAULT live
ONTIMEOUT live
DISPLAY %[1]sscreen.msg
F1 %[1]shelp.msg

LABEL live
  MENU LABEL SystemRescue
  LINUX %[1]svmlinuz
  APPEND %[2]s
  INITRD %[1]sucode.img,%[1]ssysresccd.img
  SYSAPPEND 2
LABEL disk
  MENU LABEL Local disk
  LOCALBOOT 0
`, base, params)
}

func ipxeScript(base, params string) []byte {
	return fmt.Appendf(nil, `#!ipxe

set sp:hex 20
set sp ${sp:string}
set wait 5000
:menu
menu -- A menu ${nil}# with a title
item boot-live SystemRescue ${sp}12
item boot-disk Local disk
item --gap -- ${sp}
choose --timeout ${wait} --default boot-live selected || goto cancelled
goto ${selected}

:boot-live
imgfree
set url %[1]svmlinuz
kernel ${url} initrd=initrd0 initrd=initrd1 %[2]s BOOTIF=01-${netX/mac:hexhyp} || goto failed
set url %[1]sucode.img
initrd --name initrd0 ${url} || goto failed
initrd --name initrd1 %[1]ssysresccd.img || goto failed
boot || goto failed

:boot-disk
iseq ${platform} pcbios || exit 1
sanboot --no-describe --drive 0x80 || goto failed
goto failed

:cancelled
:failed
prompt --timeout 10000 Press a key ... && shell ||
goto ${selected}
`, base, params)
}

func names(files []pxetest.File) []string {
	var l []string
	for _, f := range files {
		l = append(l, f.Name)
	}
	return l
}

func TestBoot(t *testing.T) {
	const loader = "0123456789"
	root := bytes.Repeat([]byte("squashfs"), 100_000)
	tests := []struct {
		name     string
		firmware pxetest.Firmware
		loader   string
		script   string
		byTFTP   bool // kernel and initramfs
		clients  []string
		fetched  []string // before the kernel
		missing  int
	}{
		{"BIOS lpxelinux", pxetest.BIOSPXE, "boot/lpxelinux.0", "", false, []string{"firmware", "initramfs"},
			[]string{"boot/lpxelinux.0", "boot/ldlinux.c32", "boot/pxelinux.cfg/01-02-00-00-00-00-01"}, 2},
		{"BIOS pxelinux by TFTP", pxetest.BIOSPXE, "boot/pxelinux.0", "", true, []string{"firmware", "initramfs"},
			[]string{"boot/pxelinux.0", "boot/ldlinux.c32", "boot/pxelinux.cfg/01-02-00-00-00-00-01"}, 2},
		{"BIOS undionly", pxetest.BIOSPXE, "undionly.kpxe", "http://192.0.2.1/boot.ipxe", false, []string{"firmware", "iPXE", "initramfs"},
			[]string{"undionly.kpxe", "http://192.0.2.1/boot.ipxe"}, 0},
		{"UEFI iPXE", pxetest.UEFIx64, "ipxe.efi", "http://192.0.2.1/boot.ipxe", false, []string{"firmware", "iPXE", "initramfs"},
			[]string{"ipxe.efi", "http://192.0.2.1/boot.ipxe"}, 1},
		{"UEFI snponly, script and kernel by TFTP", pxetest.UEFIx64, "snponly.efi", "boot.ipxe", true, []string{"firmware", "iPXE", "initramfs"},
			[]string{"snponly.efi", "boot.ipxe"}, 1},
		{"iPXE ROM", pxetest.IPXEROM, "", "http://192.0.2.1/boot.ipxe", false, []string{"iPXE", "initramfs"},
			[]string{"http://192.0.2.1/boot.ipxe"}, 0},
		{"iPXE ROM given lpxelinux", pxetest.IPXEROM, "", "boot/lpxelinux.0", false, []string{"iPXE", "initramfs"},
			[]string{"boot/lpxelinux.0", "boot/ldlinux.c32", "boot/pxelinux.cfg/01-02-00-00-00-00-01"}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := "http://192.0.2.1/"
				if tt.byTFTP {
					base = "tftp://192.0.2.1/"
				}
				segment := pxetest.NewSegment(t)
				server := newFakeServer(t)
				server.bootFile = chain(tt.loader, tt.script)
				params := server.media(root)
				for _, name := range []string{"boot/lpxelinux.0", "boot/pxelinux.0", "undionly.kpxe", "ipxe.efi", "snponly.efi", "boot/ldlinux.c32"} {
					server.files[name] = []byte(loader)
				}
				server.files["boot/pxelinux.cfg/01-02-00-00-00-00-01"] = pxelinuxConfig(base, params)
				server.files["boot.ipxe"] = ipxeScript(base, params)
				server.on(segment)

				machine := segment.Machine(mac, tt.firmware)
				var steps []pxetest.Step
				machine.Observe = func(s pxetest.Step) { steps = append(steps, s) }
				got, err := machine.Boot(t.Context())
				require.NoError(t, err)

				var clients []string
				for _, l := range got.Leases {
					clients = append(clients, l.Client)
					require.Equal(t, netip.MustParsePrefix("192.0.2.100/24"), l.Addr)
					require.Equal(t, server.addr, l.Server)
					require.Equal(t, server.addr, l.NextServer)
					require.Equal(t, time.Hour, l.Duration)
				}
				require.Equal(t, tt.clients, clients)
				require.Equal(t, "live", got.Entry)
				require.Equal(t, tt.fetched, names(got.Files)[:len(tt.fetched)])
				require.Len(t, got.Missing, tt.missing)
				require.Equal(t, tt.fetched[len(tt.fetched)-1], got.Config)
				require.Equal(t, int64(6), got.Kernel.Size)
				require.Len(t, got.Initrds, 2)
				require.Equal(t, int64(9000), got.Initrds[1].Size)
				require.Contains(t, got.Params, "BOOTIF=01-02-00-00-00-00-01")
				require.Contains(t, got.Params, "archiso_http_srv=http://192.0.2.1/")
				require.True(t, got.Root.Verified)
				require.Equal(t, "http", got.Root.Transport)
				require.Equal(t, int64(len(root)), got.Root.Bytes)
				require.Equal(t, "http://192.0.2.1/sysresccd/x86_64/airootfs.sfs", got.Root.URL)

				require.Equal(t, pxetest.StageDiscover, steps[0].Stage)
				last := steps[len(steps)-1]
				require.Equal(t, pxetest.StageChecksum, last.Stage)
				require.True(t, last.Done)
			})
		})
	}
}

// TestWhatMachinesSend checks the messages against what the real clients send.
func TestWhatMachinesSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		segment := pxetest.NewSegment(t)
		server := newFakeServer(t)
		server.bootFile = chain("ipxe.efi", "boot.ipxe")
		params := server.media([]byte("root"))
		server.files["ipxe.efi"] = []byte("loader")
		server.files["boot.ipxe"] = ipxeScript("http://192.0.2.1/", params)
		server.on(segment)
		_, err := segment.Machine(mac, pxetest.UEFIx64).Boot(t.Context())
		require.NoError(t, err)

		p := server.packets()
		require.Len(t, p, 6)
		for i, want := range []struct {
			broadcast, pxe, ipxe bool
		}{{true, true, false}, {true, true, false}, {false, true, true}, {false, true, true}, {false, false, false}, {false, false, false}} {
			require.Equal(t, want.broadcast, p[i].IsBroadcast(), i)
			for _, code := range []dhcpv4.OptionCode{dhcpv4.OptionClassIdentifier, dhcpv4.OptionClientSystemArchitectureType,
				dhcpv4.OptionClientNetworkInterfaceIdentifier, dhcpv4.OptionClientMachineIdentifier} {
				require.Equal(t, want.pxe, p[i].Options.Has(code), "%d: %v", i, code)
			}
			require.Equal(t, want.ipxe, p[i].Options.Has(dhcpv4.GenericOptionCode(175)), i)
			require.Equal(t, want.ipxe, p[i].Options.Has(dhcpv4.OptionUserClassInformation), i)
			require.Equal(t, mac, p[i].ClientHWAddr.String())
			if i%2 == 1 {
				require.Equal(t, p[i-1].TransactionID, p[i].TransactionID)
				require.Equal(t, "192.0.2.100", p[i].RequestedIPAddress().String())
			}
		}
		require.Equal(t, "PXEClient:Arch:00007:UNDI:003016", p[0].ClassIdentifier())
		require.Equal(t, []byte{1, 3, 6, 12, 15, 17, 26, 28, 40, 119}, p[4].Options.Get(dhcpv4.OptionParameterRequestList))
		// Probe of the size, then the transfer; what iPXE looks for first.
		require.Equal(t, []string{"ipxe.efi", "ipxe.efi", "autoexec.ipxe", "boot.ipxe"}, server.names()[:4])
	})
}

func TestRootTransports(t *testing.T) {
	tests := []struct {
		name, params string
		want         pxetest.Root
		leases       int
	}{
		{"nfs", "archisobasedir=sysresccd ip=dhcp archiso_nfs_srv=192.0.2.9:/srv/rescue",
			pxetest.Root{Transport: "nfs", URL: "nfs://192.0.2.9/srv/rescue"}, 3},
		{"nbd", "archisobasedir=sysresccd ip=dhcp archiso_nbd_srv=192.0.2.9",
			pxetest.Root{Transport: "nbd", URL: "nbd://192.0.2.9:10809/archiso"}, 3},
		{"the last hook wins", "archiso_nfs_srv=192.0.2.9:/srv archiso_nbd_srv=192.0.2.9 ip=192.0.2.100:192.0.2.1::255.255.255.0",
			pxetest.Root{Transport: "nfs", URL: "nfs://192.0.2.9/srv"}, 2},
		{"no archiso", "quiet", pxetest.Root{}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				segment := pxetest.NewSegment(t)
				server := newFakeServer(t)
				server.bootFile = chain("ipxe.efi", "boot.ipxe")
				server.media(nil)
				server.files["ipxe.efi"] = []byte("loader")
				server.files["boot.ipxe"] = ipxeScript("http://192.0.2.1/", tt.params)
				server.on(segment)
				got, err := segment.Machine(mac, pxetest.UEFIx64).Boot(t.Context())
				require.NoError(t, err)
				require.Equal(t, tt.want, got.Root)
				require.Len(t, got.Leases, tt.leases)
			})
		})
	}
}

// TestPXEServer: pxelinux leaves ${pxeserver} alone, and the initramfs puts the
// next server there.
func TestPXEServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		segment := pxetest.NewSegment(t)
		server := newFakeServer(t)
		server.bootFile = chain("lpxelinux.0", "")
		server.media([]byte("root"))
		server.files["lpxelinux.0"] = []byte("loader")
		server.files["ldlinux.c32"] = []byte("module")
		server.files["pxelinux.cfg/default"] = pxelinuxConfig("", "archisobasedir=sysresccd ip=dhcp archiso_http_srv=http://${pxeserver}/")
		server.on(segment)
		got, err := segment.Machine(mac, pxetest.BIOSPXE).Boot(t.Context())
		require.NoError(t, err)
		require.Equal(t, "http://192.0.2.1/sysresccd/x86_64/airootfs.sfs", got.Root.URL)
		require.False(t, got.Root.Verified)
		require.Equal(t, []string{
			"pxelinux.cfg/7078656b-0000-4000-8000-020000000001", "pxelinux.cfg/01-02-00-00-00-00-01",
			"pxelinux.cfg/C0000264", "pxelinux.cfg/C000026", "pxelinux.cfg/C00002", "pxelinux.cfg/C0000",
			"pxelinux.cfg/C000", "pxelinux.cfg/C00", "pxelinux.cfg/C0", "pxelinux.cfg/C", "screen.msg",
		}, got.Missing)
	})
}

func TestChoose(t *testing.T) {
	for _, tt := range []struct {
		name, choose string
		firmware     pxetest.Firmware
	}{
		{"pxelinux by name", "disk", pxetest.BIOSPXE},
		{"pxelinux by title", "Local disk", pxetest.BIOSPXE},
		{"iPXE BIOS by name", "disk", pxetest.IPXEROM},
		{"iPXE UEFI by label", "boot-disk", pxetest.UEFIx64},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				segment := pxetest.NewSegment(t)
				server := newFakeServer(t)
				server.bootFile = func(r *dhcpv4.DHCPv4) string {
					if tt.firmware == pxetest.UEFIx64 {
						return chain("ipxe.efi", "boot.ipxe")(r)
					}
					return chain("lpxelinux.0", "boot.ipxe")(r)
				}
				for _, name := range []string{"lpxelinux.0", "ldlinux.c32", "ipxe.efi"} {
					server.files[name] = []byte("loader")
				}
				server.files["pxelinux.cfg/default"] = pxelinuxConfig("", "quiet")
				server.files["boot.ipxe"] = ipxeScript("", "quiet")
				server.on(segment)
				machine := segment.Machine(mac, tt.firmware)
				machine.Choose = tt.choose
				got, err := machine.Boot(t.Context())
				require.NoError(t, err)
				require.True(t, got.Local)
				require.Equal(t, "disk", got.Entry)
				require.Zero(t, got.Kernel)

				machine.Choose = "no such"
				_, err = machine.Boot(t.Context())
				require.ErrorIs(t, err, pxetest.ErrNoChoice)
				require.ErrorContains(t, err, `["live" "disk"]`)
			})
		})
	}
}

func TestManyMachines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		segment := pxetest.NewSegment(t)
		server := newFakeServer(t)
		server.bootFile = chain("ipxe.efi", "boot.ipxe")
		params := server.media([]byte("root"))
		server.files["ipxe.efi"] = []byte("loader")
		server.files["boot.ipxe"] = ipxeScript("http://192.0.2.1/", params)
		server.on(segment)
		const n = 50
		results := make(chan error, n)
		for i := range n {
			m := segment.Machine(fmt.Sprintf("02:00:00:00:01:%02x", i), pxetest.UEFIx64)
			go func() {
				_, err := m.Boot(t.Context())
				results <- err
			}()
		}
		for range n {
			require.NoError(t, <-results)
		}
	})
}
