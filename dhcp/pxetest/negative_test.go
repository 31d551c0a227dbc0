package pxetest_test

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/dhcp/pxetest"
)

// prepared is a server from which every machine boots.
func prepared(t *testing.T) *fakeServer {
	s := newFakeServer(t)
	s.bootFile = chain("ipxe.efi", "http://192.0.2.1/boot.ipxe")
	params := s.media([]byte("root"))
	for _, name := range []string{"ipxe.efi", "lpxelinux.0", "ldlinux.c32"} {
		s.files[name] = []byte("loader")
	}
	s.files["boot.ipxe"] = ipxeScript("http://192.0.2.1/", params)
	s.files["pxelinux.cfg/default"] = pxelinuxConfig("http://192.0.2.1/", params)
	return s
}

func TestRefused(t *testing.T) {
	params := func(p string) func(*fakeServer) {
		return func(s *fakeServer) { s.files["boot.ipxe"] = ipxeScript("http://192.0.2.1/", p) }
	}
	script := func(text string) func(*fakeServer) {
		return func(s *fakeServer) { s.files["boot.ipxe"] = []byte("#!ipxe\n" + text) }
	}
	mangle := func(f func(request, reply *dhcpv4.DHCPv4)) func(*fakeServer) {
		return func(s *fakeServer) {
			s.mangle = func(request, reply *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
				f(request, reply)
				return reply
			}
		}
	}
	raw := func(f func(b []byte) []byte) func(*fakeServer) {
		return func(s *fakeServer) { s.raw = f }
	}
	tests := []struct {
		name    string
		change  func(*fakeServer)
		is      error
		stage   pxetest.Stage
		says    string
		takes   time.Duration // at least
		machine pxetest.Firmware
	}{
		{"silence", func(s *fakeServer) { s.mangle = func(_, _ *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 { return nil } },
			pxetest.ErrNoOffer, pxetest.StageDiscover, "within 1m0s", time.Minute, pxetest.UEFIx64},
		{"no boot file", func(s *fakeServer) { s.bootFile = chain("", "") },
			pxetest.ErrNoBootFile, pxetest.StageDiscover, "OFFER of 192.0.2.100 from 192.0.2.1:67 without a boot file (4 times)", time.Minute, pxetest.UEFIx64},
		{"wrong xid", mangle(func(_, r *dhcpv4.DHCPv4) { r.TransactionID[0] ^= 1 }),
			pxetest.ErrNoOffer, pxetest.StageDiscover, "transaction ID", time.Minute, pxetest.UEFIx64},
		{"chaddr padding", raw(func(b []byte) []byte { b[40] = 1; return b }),
			pxetest.ErrNoOffer, pxetest.StageDiscover, "chaddr is padded", time.Minute, pxetest.UEFIx64},
		{"no server identifier", mangle(func(_, r *dhcpv4.DHCPv4) { r.DeleteOption(dhcpv4.OptionServerIdentifier) }),
			pxetest.ErrNoOffer, pxetest.StageDiscover, "option 54", time.Minute, pxetest.UEFIx64},
		{"no lease time", mangle(func(_, r *dhcpv4.DHCPv4) { r.DeleteOption(dhcpv4.OptionIPAddressLeaseTime) }),
			pxetest.ErrNoOffer, pxetest.StageDiscover, "option 51", time.Minute, pxetest.UEFIx64},
		{"option length", mangle(func(_, r *dhcpv4.DHCPv4) {
			r.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionSubnetMask, []byte{255, 255}))
		}), pxetest.ErrNoOffer, pxetest.StageDiscover, "option 1 has length 2", time.Minute, pxetest.UEFIx64},
		{"somebody else's UUID", mangle(func(_, r *dhcpv4.DHCPv4) {
			r.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionClientMachineIdentifier, make([]byte, 17)))
		}), pxetest.ErrNoOffer, pxetest.StageDiscover, "UUID", time.Minute, pxetest.UEFIx64},
		{"op", mangle(func(_, r *dhcpv4.DHCPv4) { r.OpCode = dhcpv4.OpcodeBootRequest }),
			pxetest.ErrNoOffer, pxetest.StageDiscover, "op 1", time.Minute, pxetest.UEFIx64},
		{"no END", raw(func(b []byte) []byte {
			for i := 240; i < len(b); i += 2 + int(b[i+1]) {
				if b[i] == 255 {
					return b[:i]
				}
			}
			return b
		}), pxetest.ErrNoOffer, pxetest.StageDiscover, "no END", time.Minute, pxetest.UEFIx64},
		{"too long", mangle(func(_, r *dhcpv4.DHCPv4) {
			r.UpdateOption(dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(230), make([]byte, 1200)))
		}), pxetest.ErrNoOffer, pxetest.StageDiscover, "longer than the 1472", time.Minute, pxetest.UEFIx64},
		{"ACK of another address", mangle(func(q, r *dhcpv4.DHCPv4) {
			if q.MessageType() == dhcpv4.MessageTypeRequest {
				r.YourIPAddr = net.IP{192, 0, 2, 77}
			}
		}), pxetest.ErrNoAck, pxetest.StageLease, "192.0.2.100 was offered", time.Minute, pxetest.UEFIx64},
		{"NAK", mangle(func(q, r *dhcpv4.DHCPv4) {
			if q.MessageType() == dhcpv4.MessageTypeRequest {
				r.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeNak))
			}
		}), pxetest.ErrNAK, pxetest.StageLease, "3 times", 0, pxetest.UEFIx64},
		{"ACK without the boot file", func(s *fakeServer) {
			s.bootFile = func(r *dhcpv4.DHCPv4) string {
				if r.MessageType() == dhcpv4.MessageTypeRequest {
					return ""
				}
				return "ipxe.efi"
			}
		}, pxetest.ErrNoBootFile, pxetest.StageLease, "the ACK", 0, pxetest.UEFIx64},

		{"chain loop", func(s *fakeServer) { s.bootFile = chain("ipxe.efi", "ipxe.efi") },
			pxetest.ErrChainLoop, pxetest.StageLoader, `iPXE again, "ipxe.efi"`, 0, pxetest.UEFIx64},
		{"chain loop of a ROM", func(s *fakeServer) { s.bootFile = chain("", "undionly.kpxe") },
			pxetest.ErrChainLoop, pxetest.StageLoader, "script", 0, pxetest.IPXEROM},
		{"chain loop by script", script("chain http://192.0.2.1/boot.ipxe"),
			pxetest.ErrChainLoop, pxetest.StageConfig, "deeper than 16", 0, pxetest.UEFIx64},
		{"loader missing", func(s *fakeServer) { delete(s.files, "ipxe.efi") },
			fs.ErrNotExist, pxetest.StageLoader, "ipxe.efi", 0, pxetest.UEFIx64},
		{"loader empty", func(s *fakeServer) { s.files["ipxe.efi"] = nil },
			pxetest.ErrLoader, pxetest.StageLoader, "0 bytes", 0, pxetest.UEFIx64},
		{"loader for BIOSes", func(s *fakeServer) { s.bootFile = chain("lpxelinux.0", "") },
			pxetest.ErrLoader, pxetest.StageLoader, "not for UEFI", 0, pxetest.UEFIx64},
		{"loader for UEFI", nil, pxetest.ErrLoader, pxetest.StageLoader, "not for BIOSes", 0, pxetest.BIOSPXE},
		{"unknown loader", func(s *fakeServer) { s.bootFile = chain("setup.exe", "") },
			pxetest.ErrLoader, pxetest.StageLoader, "setup.exe", 0, pxetest.UEFIx64},
		{"URL for PXE firmware", func(s *fakeServer) { s.bootFile = chain("http://192.0.2.1/ipxe.efi", "") },
			pxetest.ErrLoader, pxetest.StageLoader, "TFTP", 0, pxetest.UEFIx64},
		{"not a script", func(s *fakeServer) { s.files["boot.ipxe"] = []byte("#!/bin/sh\n") },
			pxetest.ErrLoader, pxetest.StageConfig, "#!ipxe", 0, pxetest.UEFIx64},
		{"script missing", func(s *fakeServer) { delete(s.files, "boot.ipxe") },
			fs.ErrNotExist, pxetest.StageConfig, "404", 0, pxetest.UEFIx64},

		{"unknown command", script("echo hello\nfrobnicate now"),
			pxetest.ErrConfig, pxetest.StageConfig, `boot.ipxe:3: frobnicate now: unknown command "frobnicate"`, 0, pxetest.UEFIx64},
		{"endless loop", script(":again\ngoto again"),
			pxetest.ErrConfig, pxetest.StageConfig, "10000 commands", 0, pxetest.UEFIx64},
		{"no such label", script("goto nowhere"),
			pxetest.ErrConfig, pxetest.StageConfig, "no such label", 0, pxetest.UEFIx64},
		{"failed command", script("iseq a b\nboot"),
			pxetest.ErrConfig, pxetest.StageConfig, `"a" is not "b"`, 0, pxetest.UEFIx64},
		{"end without boot", script("echo bye"),
			pxetest.ErrConfig, pxetest.StageConfig, "without boot", 0, pxetest.UEFIx64},
		{"menu for ever", script("menu\nitem a A\nchoose x"),
			pxetest.ErrNoChoice, pxetest.StageMenu, "Machine.Choose", 0, pxetest.UEFIx64},
		{"shell", script("chain nowhere || shell"),
			pxetest.ErrNoChoice, pxetest.StageConfig, "shell", 0, pxetest.UEFIx64},
		{"kernel missing is tried twice", func(s *fakeServer) { delete(s.files, "vmlinuz") },
			fs.ErrNotExist, pxetest.StageKernel, "vmlinuz", 10 * time.Second, pxetest.UEFIx64},
		{"initrd not named", script("kernel http://192.0.2.1/vmlinuz\ninitrd http://192.0.2.1/ucode.img\nboot"),
			pxetest.ErrCommandLine, pxetest.StageInitrd, "initrd=ucode.img", 0, pxetest.UEFIx64},
		{"initrd not loaded", script("kernel http://192.0.2.1/vmlinuz initrd=other.img\nboot"),
			pxetest.ErrCommandLine, pxetest.StageKernel, "other.img", 0, pxetest.UEFIx64},
		{"recursive setting", script("set a:hex 247b613a737472696e677d\necho ${a:string}"),
			pxetest.ErrConfig, pxetest.StageConfig, "themselves", 0, pxetest.UEFIx64},
		{"growing setting", script("set a 0123456789abcdef\n:again\nset a ${a}${a}\ngoto again"),
			pxetest.ErrConfig, pxetest.StageConfig, "beyond", 0, pxetest.UEFIx64},

		{"kernel empty", func(s *fakeServer) { s.files["vmlinuz"] = nil },
			pxetest.ErrLoader, pxetest.StageStart, "empty", 0, pxetest.UEFIx64},
		{"command line too long", params("x=" + strings.Repeat("y", 2048)),
			pxetest.ErrCommandLine, pxetest.StageStart, "2047", 0, pxetest.UEFIx64},
		{"no ip", params("archisobasedir=sysresccd archiso_http_srv=http://192.0.2.1/"),
			pxetest.ErrNoNetwork, pxetest.StageStart, "ip=dhcp is needed", 0, pxetest.UEFIx64},
		{"no root", params("archisobasedir=sysresccd ip=dhcp"),
			pxetest.ErrNoRoot, pxetest.StageRoot, "archiso_http_srv", 0, pxetest.UEFIx64},
		{"no slash", params("archisobasedir=sysresccd ip=dhcp archiso_http_srv=http://192.0.2.1"),
			pxetest.ErrNoRoot, pxetest.StageRoot, "does not end in a slash", 0, pxetest.UEFIx64},
		{"wrong basedir", params("archisobasedir=arch ip=dhcp archiso_http_srv=http://192.0.2.1/"),
			fs.ErrNotExist, pxetest.StageRoot, "/arch/x86_64/airootfs.sfs", 0, pxetest.UEFIx64},
		{"shell in a parameter", params("archisobasedir=sysresccd ip=dhcp archiso_http_srv=http://192.0.2.1/$(reboot)/"),
			pxetest.ErrUnsafe, pxetest.StageRoot, "archiso_http_srv", 0, pxetest.UEFIx64},
		{"query in a parameter", params("archisobasedir=sysresccd ip=dhcp archiso_http_srv=http://192.0.2.1/?a=1&b=2/"),
			pxetest.ErrUnsafe, pxetest.StageRoot, "a shell", 0, pxetest.UEFIx64},
		{"host name for NFS", params("archisobasedir=sysresccd ip=dhcp archiso_nfs_srv=files.example:/srv"),
			pxetest.ErrNoRoot, pxetest.StageRoot, "dotted IPv4", 0, pxetest.UEFIx64},
		{"shell in DHCP", mangle(func(_, r *dhcpv4.DHCPv4) {
			r.UpdateOption(dhcpv4.OptHostName("a;reboot"))
		}), pxetest.ErrUnsafe, pxetest.StageNetwork, "option 12", 0, pxetest.UEFIx64},
		{"initramfs gets no lease", func(s *fakeServer) {
			s.mangle = func(q, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
				if q.ClassIdentifier() == "" {
					return nil
				}
				return r
			}
		}, pxetest.ErrNoNetwork, pxetest.StageNetwork, "within 20s", 20 * time.Second, pxetest.UEFIx64},
		{"checksum", func(s *fakeServer) {
			s.corrupt = func(name string, b []byte) []byte {
				if strings.HasSuffix(name, ".sfs") {
					return []byte("toor")
				}
				return b
			}
		}, pxetest.ErrChecksum, pxetest.StageChecksum, "airootfs.sha512 says", 0, pxetest.UEFIx64},
		{"checksum missing", func(s *fakeServer) { delete(s.files, "sysresccd/x86_64/airootfs.sha512") },
			pxetest.ErrChecksum, pxetest.StageChecksum, "404", 0, pxetest.UEFIx64},

		{"pxelinux without a configuration", func(s *fakeServer) {
			s.bootFile = chain("lpxelinux.0", "")
			delete(s.files, "pxelinux.cfg/default")
		}, pxetest.ErrNoConfig, pxetest.StageConfig, "pxelinux.cfg/C0000264", 0, pxetest.BIOSPXE},
		{"pxelinux without its module", func(s *fakeServer) {
			s.bootFile = chain("lpxelinux.0", "")
			delete(s.files, "ldlinux.c32")
		}, pxetest.ErrLoader, pxetest.StageLoader, "ldlinux.c32", 0, pxetest.BIOSPXE},
		{"pxelinux.0 and a URL", func(s *fakeServer) {
			s.bootFile = chain("pxelinux.0", "")
			s.files["pxelinux.0"] = []byte("loader")
		}, pxetest.ErrTransfer, pxetest.StageMenu, "no HTTP", 0, pxetest.BIOSPXE},
		{"BOOTIF in capitals", func(s *fakeServer) {
			s.bootFile = chain("lpxelinux.0", "")
			s.files["pxelinux.cfg/default"] = []byte("DEFAULT a\nLABEL a\nLINUX vmlinuz\nAPPEND archisobasedir=x ip=dhcp BOOTIF=01-02-00-00-00-00-0A\n")
		}, pxetest.ErrBootIF, pxetest.StageStart, "lower case", 0, pxetest.BIOSPXE},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				segment := pxetest.NewSegment(t)
				server := prepared(t)
				if tt.change != nil {
					tt.change(server)
				}
				server.on(segment)
				started := time.Now()
				got, err := segment.Machine(mac, tt.machine).Boot(t.Context())
				require.NotNil(t, got)
				require.ErrorIs(t, err, tt.is)
				require.ErrorContains(t, err, tt.says)
				var e *pxetest.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, tt.stage, e.Stage, "%v", err)
				require.Equal(t, mac, e.Machine.String())
				require.GreaterOrEqual(t, time.Since(started), tt.takes)
			})
		})
	}
}

// TestLostPackets: machines repeat what was lost, as long as real ones do.
func TestLostPackets(t *testing.T) {
	for _, firmware := range []pxetest.Firmware{pxetest.BIOSPXE, pxetest.UEFIx64, pxetest.IPXEROM} {
		t.Run(firmware.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				segment := pxetest.NewSegment(t)
				server := prepared(t)
				if firmware == pxetest.BIOSPXE {
					server.bootFile = chain("lpxelinux.0", "")
				}
				server.on(segment)
				seen := make(map[string]int)
				segment.Tap(func(f pxetest.Frame) bool {
					// The first of each kind of DHCP message from the machine is lost,
					// and its first TFTP request.
					if f.From.String() != mac || f.Destination.Port() > 69 {
						return true
					}
					key := fmt.Sprintf("%d %x", f.Destination.Port(), f.Payload[:2])
					if f.Destination.Port() == 67 {
						key = fmt.Sprintf("67 %d", f.Payload[242])
					}
					seen[key]++
					return seen[key] > 1
				})
				_, err := segment.Machine(mac, firmware).Boot(t.Context())
				require.NoError(t, err)
			})
		})
	}
}

func TestCancelledBoot(t *testing.T) {
	for _, after := range []time.Duration{0, time.Second, 10 * time.Second} {
		t.Run(after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				segment := pxetest.NewSegment(t)
				ctx, cancel := context.WithTimeout(t.Context(), after)
				defer cancel()
				started := time.Now()
				_, err := segment.Machine(mac, pxetest.UEFIx64).Boot(ctx)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Equal(t, after, time.Since(started))
			})
		})
	}
}

// TestARPRule: a reply that is sent to the offered address by unicast does not
// reach a machine which has no address yet.
func TestARPRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		segment := pxetest.NewSegment(t)
		host := segment.Host("eth0", "192.0.2.1/24").Sockets()
		server := prepared(t)
		// Without the upgrade for frames: plain UDP to yiaddr.
		go func() {
			b := make([]byte, 1500)
			for {
				n, _, err := host.DHCP.ReadFrom(b)
				if err != nil {
					return
				}
				request, err := dhcpv4.FromBytes(b[:n])
				if err != nil {
					continue
				}
				reply := server.reply(request)
				host.DHCP.WriteTo(reply.ToBytes(), &net.UDPAddr{IP: reply.YourIPAddr, Port: 68})
			}
		}()
		_, err := segment.Machine(mac, pxetest.IPXEROM).Boot(t.Context())
		require.ErrorIs(t, err, pxetest.ErrNoOffer)
		require.NotContains(t, err.Error(), "saw")
	})
}

type fatal struct{ text string }

func (f *fatal) Helper()        {}
func (f *fatal) Cleanup(func()) {}
func (f *fatal) Fatalf(format string, args ...any) {
	f.text = fmt.Sprintf(format, args...)
}

func TestMisuse(t *testing.T) {
	var f fatal
	s := pxetest.NewSegment(&f)
	s.Machine("02:00", pxetest.UEFIx64)
	require.Contains(t, f.text, `"02:00" is not the hardware address`)
	s.Machine(mac, 0)
	require.Contains(t, f.text, "no such firmware: Firmware(0)")
	s.Sockets("192.0.2.1")
	require.Contains(t, f.text, "such as 192.0.2.1/24")
	h := s.Host("eth0", "192.0.2.2/24")
	h.Sockets()
	h.Sockets()
	require.Contains(t, f.text, "in use")
}
