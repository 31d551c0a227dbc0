package pxetest_test

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/dhcp/pxetest"
)

// proxy is a proxyDHCP server and boot server that does what a test says.
type proxy struct {
	t testing.TB
	// offer changes the answer to a DISCOVER, which has no address and class
	// PXEClient; nil drops it. ack is the same for port 4011.
	offer, ack func(request, reply *dhcpv4.DHCPv4) *dhcpv4.DHCPv4

	mu    sync.Mutex
	asked []*dhcpv4.DHCPv4 // at port 4011
	from  []netip.AddrPort
}

func (p *proxy) serve(conn net.PacketConn, at4011 bool) {
	b := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(b)
		if err != nil {
			return
		}
		request, err := dhcpv4.FromBytes(b[:n])
		if err != nil {
			p.t.Errorf("the machine sent what the codec does not read: %v", err)
			continue
		}
		kind, change := dhcpv4.MessageTypeOffer, p.offer
		if at4011 {
			kind, change = dhcpv4.MessageTypeAck, p.ack
			p.mu.Lock()
			p.asked = append(p.asked, request)
			p.from = append(p.from, from.(*net.UDPAddr).AddrPort())
			p.mu.Unlock()
		} else if request.MessageType() != dhcpv4.MessageTypeDiscover || request.ClassIdentifier() == "" {
			continue
		}
		reply, err := dhcpv4.NewReplyFromRequest(request, dhcpv4.WithMessageType(kind),
			dhcpv4.WithServerIP(net.IP{192, 0, 2, 1}),
			dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IP{192, 0, 2, 1})),
			dhcpv4.WithOption(dhcpv4.OptClassIdentifier("PXEClient")),
			dhcpv4.WithOptionCopied(request, dhcpv4.OptionClientMachineIdentifier))
		require.NoError(p.t, err)
		reply = change(request, reply)
		if reply == nil {
			continue
		}
		to := from
		if !at4011 {
			to = &net.UDPAddr{IP: net.IPv4bcast, Port: 68}
		}
		conn.WriteTo(reply.ToBytes(), to)
	}
}

func silent(_, _ *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 { return nil }

func vendor(b ...byte) dhcpv4.Option {
	return dhcpv4.OptGeneric(dhcpv4.OptionVendorSpecificInformation, b)
}

// direct says: boot this file, do not search.
func direct(name string) func(_, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	return func(_, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
		r.BootFileName = name
		r.UpdateOption(vendor(6, 1, 8, 255))
		return r
	}
}

// named answers with a boot file alone.
func named(name string) func(_, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	return func(_, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
		r.BootFileName = name
		return r
	}
}

// loaderOf is what each client of a boot is answered at port 4011.
func loaderOf(loader, script string) func(q, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	return func(q, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
		r.BootFileName = chain(loader, script)(q)
		return r
	}
}

func bare(_, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 { return r }

// beside serves files and a proxy on 192.0.2.1, beside an office router.
func beside(t *testing.T, segment *pxetest.Segment, p *proxy) (*fakeServer, *pxetest.DHCPServer) {
	server := prepared(t)
	server.files["undionly.kpxe"] = []byte("loader")
	sockets := segment.Sockets("192.0.2.1/24")
	p.t = t
	go p.serve(sockets.DHCP, false)
	go p.serve(sockets.PXE, true)
	go server.serveTFTP(sockets.TFTP, sockets.OpenTransfer)
	server.serveHTTP(sockets.HTTP)
	return server, segment.DHCPServer("192.0.2.254/24", "192.0.2.100", "192.0.2.199")
}

func TestProxy(t *testing.T) {
	const script = "http://192.0.2.1/boot.ipxe"
	both := func(loader string) *proxy { return &proxy{offer: bare, ack: loaderOf(loader, script)} }
	menu := append([]byte{6, 1, 3, 8, 7, 0, 17, 1, 192, 0, 2, 1, 9, 6, 0, 17, 3}, "Net"...)
	for _, tt := range []struct {
		name     string
		firmware pxetest.Firmware
		proxy    *proxy
		ports    []uint16 // from which port 4011 was asked
		discover time.Duration
	}{
		{"EDK2 asks 4011", pxetest.UEFIx64, both("ipxe.efi"), []uint16{4011, 68}, 4 * time.Second},
		{"a ROM takes the proxy's file", pxetest.BIOSPXE, &proxy{offer: direct("lpxelinux.0"), ack: silent}, nil, 4 * time.Second},
		{"a ROM asks 4011", pxetest.BIOSPXE, both("undionly.kpxe"), []uint16{68, 68}, 4 * time.Second},
		{"a ROM asks the server of the menu", pxetest.BIOSPXE,
			&proxy{offer: func(_, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 { r.UpdateOption(vendor(append(menu, 255)...)); return r },
				ack: named("lpxelinux.0")}, []uint16{68}, 4 * time.Second},
		{"iPXE takes the proxy's file", pxetest.IPXEROM, &proxy{offer: named(script), ack: silent}, nil, 0},
		{"iPXE asks 4011", pxetest.IPXEROM, &proxy{offer: bare, ack: named(script)}, []uint16{68}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				segment := pxetest.NewSegment(t)
				_, router := beside(t, segment, tt.proxy)
				m := segment.Machine(mac, tt.firmware)
				started, offered := time.Now(), time.Duration(-1)
				m.Observe = func(s pxetest.Step) {
					if s.Stage == pxetest.StageLease && offered < 0 {
						offered = time.Since(started)
					}
				}
				got, err := m.Boot(t.Context())
				require.NoError(t, err)
				require.True(t, got.Root.Verified)
				require.Equal(t, tt.discover, offered)
				l := got.Leases[0]
				require.Equal(t, "192.0.2.254", l.Server.String())
				require.Equal(t, "192.0.2.1", l.Proxy.String())
				require.Equal(t, "192.0.2.1", l.NextServer.String())
				require.Equal(t, []byte("PXEClient"), l.ProxyOptions[60])
				require.Equal(t, router.Leases()[mac], l.Addr.Addr())
				require.False(t, got.Leases[len(got.Leases)-1].Proxy.IsValid(), "the initramfs")

				var ports []uint16
				for i, q := range tt.proxy.asked {
					ports = append(ports, tt.proxy.from[i].Port())
					require.Equal(t, dhcpv4.MessageTypeRequest, q.MessageType())
					require.Equal(t, l.Addr.Addr().String(), q.ClientIPAddr.String())
					require.Equal(t, l.Addr.Addr(), tt.proxy.from[i].Addr())
					require.Contains(t, q.ClassIdentifier(), "PXEClient:Arch:")
					require.False(t, q.IsBroadcast())
				}
				require.Equal(t, tt.ports, ports)
				if tt.name == "a ROM asks the server of the menu" {
					require.Equal(t, []byte{71, 4, 0, 17, 0, 0, 255}, tt.proxy.asked[0].Options.Get(dhcpv4.OptionVendorSpecificInformation))
				}
			})
		})
	}
}

// TestProxyRefused: what real firmware does not take.
func TestProxyRefused(t *testing.T) {
	late := func(d time.Duration) func(*fakeServer, *pxetest.DHCPServer) {
		return func(_ *fakeServer, r *pxetest.DHCPServer) { r.SetDelay(d) }
	}
	for _, tt := range []struct {
		name     string
		firmware pxetest.Firmware
		proxy    *proxy
		change   func(*fakeServer, *pxetest.DHCPServer)
		is       error
		stage    pxetest.Stage
		says     string
	}{
		{"EDK2 loses a proxy with discovery options", pxetest.UEFIx64, &proxy{offer: direct("ipxe.efi"), ack: silent}, nil,
			pxetest.ErrNoBootFile, pxetest.StageDiscover, "EDK2 lose"},
		{"EDK2 asks 4011 whatever the OFFER names", pxetest.UEFIx64, &proxy{offer: named("ipxe.efi"), ack: silent}, nil,
			pxetest.ErrBootServer, pxetest.StageBootServer, "192.0.2.1 is silent for 10s"},
		{"no class", pxetest.UEFIx64, &proxy{offer: func(_, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
			r.DeleteOption(dhcpv4.OptionClassIdentifier)
			return r
		}, ack: silent}, nil, pxetest.ErrNoBootFile, pxetest.StageDiscover, `offers no address, and its class (option 60) is ""`},
		{"no server identifier", pxetest.BIOSPXE, &proxy{offer: func(_, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
			r.DeleteOption(dhcpv4.OptionServerIdentifier)
			return r
		}, ack: silent}, nil, pxetest.ErrNoBootFile, pxetest.StageDiscover, "without a server identifier"},
		{"the ACK names nothing", pxetest.UEFIx64, &proxy{offer: bare, ack: bare}, nil,
			pxetest.ErrBootServer, pxetest.StageBootServer, "the ACK from 192.0.2.1:4011 names none"},
		{"another transaction", pxetest.UEFIx64, &proxy{offer: bare, ack: func(_, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
			r.TransactionID[0] ^= 1
			return named("ipxe.efi")(nil, r)
		}}, nil, pxetest.ErrBootServer, pxetest.StageBootServer, "transaction ID"},
		{"somebody else's UUID", pxetest.BIOSPXE, &proxy{offer: bare, ack: func(_, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
			r.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionClientMachineIdentifier, make([]byte, 17)))
			return named("lpxelinux.0")(nil, r)
		}}, nil, pxetest.ErrBootServer, pxetest.StageBootServer, "somebody else's UUID"},
		{"an OFFER at 4011", pxetest.BIOSPXE, &proxy{offer: bare, ack: func(_, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
			r.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeOffer))
			return named("lpxelinux.0")(nil, r)
		}}, nil, pxetest.ErrBootServer, pxetest.StageBootServer, "message type 2"},
		{"a direct OFFER without a file", pxetest.BIOSPXE, &proxy{offer: direct(""), ack: silent}, nil,
			pxetest.ErrNoBootFile, pxetest.StageDiscover, "and has none"},
		{"discovery by broadcast", pxetest.BIOSPXE, &proxy{offer: func(_, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
			r.UpdateOption(vendor(6, 1, 0, 9, 4, 0, 1, 1, 'x', 255))
			return r
		}, ack: silent}, nil, pxetest.ErrNoBootFile, pxetest.StageDiscover, "not played"},
		{"a malformed option 43", pxetest.BIOSPXE, &proxy{offer: func(_, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
			r.UpdateOption(vendor(6, 9, 8))
			return r
		}, ack: silent}, nil, pxetest.ErrNoBootFile, pxetest.StageDiscover, "item 6 runs past its end"},
		{"iPXE does without a proxy that is silent at 4011", pxetest.IPXEROM, &proxy{offer: bare, ack: silent}, nil,
			pxetest.ErrNoBootFile, pxetest.StageLoader, "192.0.2.1 is silent for 4s"},
		{"iPXE asks 4011 where the OFFER has no siaddr", pxetest.IPXEROM, &proxy{offer: func(_, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
			r.ServerIPAddr = nil
			return named("boot.ipxe")(nil, r)
		}, ack: silent}, nil, pxetest.ErrNoBootFile, pxetest.StageLoader, "192.0.2.1 is silent for 4s"},
		{"iPXE at 4011 wants the server that offered", pxetest.IPXEROM, &proxy{offer: bare, ack: func(_, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
			r.UpdateOption(dhcpv4.OptServerIdentifier(net.IP{192, 0, 2, 9}))
			return named("boot.ipxe")(nil, r)
		}}, nil, pxetest.ErrNoBootFile, pxetest.StageLoader, "server identifier 192.0.2.9, but 192.0.2.1 was asked at port 4011"},
		{"a proxy alone", pxetest.UEFIx64, &proxy{offer: bare, ack: silent}, late(10 * time.Minute),
			pxetest.ErrNoBootFile, pxetest.StageDiscover, "proxy OFFER from 192.0.2.1:67 without a boot file"},
		{"a router of class PXEClient leads to itself", pxetest.BIOSPXE, &proxy{offer: direct("lpxelinux.0"), ack: silent},
			func(_ *fakeServer, r *pxetest.DHCPServer) { r.SetOption(60, []byte("PXEClient")) },
			pxetest.ErrBootServer, pxetest.StageBootServer, "192.0.2.254 is silent"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				segment := pxetest.NewSegment(t)
				server, router := beside(t, segment, tt.proxy)
				if tt.change != nil {
					tt.change(server, router)
				}
				_, err := segment.Machine(mac, tt.firmware).Boot(t.Context())
				require.ErrorIs(t, err, tt.is)
				require.ErrorContains(t, err, tt.says)
				var e *pxetest.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, tt.stage, e.Stage)
			})
		})
	}
}

// TestNeighbour: what a DHCP server with a boot file of its own does to machines.
func TestNeighbour(t *testing.T) {
	p := &proxy{offer: bare, ack: loaderOf("ipxe.efi", "http://192.0.2.1/boot.ipxe")}
	for _, tt := range []struct {
		firmware pxetest.Firmware
		server   string // who told the loader
	}{
		{pxetest.UEFIx64, "192.0.2.1"},   // a proxy comes before a plain OFFER
		{pxetest.IPXEROM, "192.0.2.254"}, // the DHCP server's word comes first
	} {
		t.Run(tt.firmware.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				segment := pxetest.NewSegment(t)
				_, router := beside(t, segment, p)
				router.SetBootFile("of-the-router", netip.Addr{})
				got, _ := segment.Machine(mac, tt.firmware).Boot(t.Context())
				require.Equal(t, tt.server, got.Leases[0].NextServer.String())
				require.Equal(t, tt.server != "192.0.2.1", got.Loader == "of-the-router")
			})
		})
	}
}

// TestIPXEWaitsForAProxy: two seconds, unless it is told that there is none.
func TestIPXEWaitsForAProxy(t *testing.T) {
	for _, tt := range []struct {
		delay time.Duration
		alone bool
		proxy string
	}{{time.Second, false, "192.0.2.1"}, {10 * time.Second, false, ""}, {0, true, ""}} {
		synctest.Test(t, func(t *testing.T) {
			segment := pxetest.NewSegment(t)
			p := &proxy{ack: silent, offer: func(_, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
				time.Sleep(tt.delay)
				return named("http://192.0.2.1/boot.ipxe")(nil, r)
			}}
			_, router := beside(t, segment, p)
			if tt.alone {
				router.SetOption(175, []byte{176, 1, 1})
			}
			got, err := segment.Machine(mac, pxetest.IPXEROM).Boot(t.Context())
			if tt.proxy != "" {
				require.NoError(t, err)
				require.Equal(t, tt.proxy, got.Leases[0].Proxy.String())
				return
			}
			require.ErrorIs(t, err, pxetest.ErrNoBootFile)
			time.Sleep(time.Minute) // until the late proxy is done
		})
	}
}

// TestCancelledAtBootServer: giving up while port 4011 is silent.
func TestCancelledAtBootServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		segment := pxetest.NewSegment(t)
		beside(t, segment, &proxy{offer: bare, ack: silent})
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
		defer cancel()
		started := time.Now()
		_, err := segment.Machine(mac, pxetest.UEFIx64).Boot(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 6*time.Second, time.Since(started))
	})
}
