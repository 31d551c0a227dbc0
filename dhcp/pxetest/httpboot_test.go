package pxetest_test

import (
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/dhcp/pxetest"
)

// httpBoot is a server without TFTP.
func httpBoot(t *testing.T, segment *pxetest.Segment, change func(*fakeServer), handler http.Handler) *fakeServer {
	server := prepared(t)
	server.mangle = func(q, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
		if q.ClassIdentifier() != "" && q.ClassIdentifier()[0] == 'H' {
			r.UpdateOption(dhcpv4.OptClassIdentifier("HTTPClient"))
			r.BootFileName = "http://192.0.2.1/ipxe.efi"
		}
		return r
	}
	if change != nil {
		change(server)
	}
	sockets := segment.Sockets("192.0.2.1/24")
	go server.serveDHCP(sockets.DHCP)
	if handler == nil {
		handler = server
	}
	go http.Serve(sockets.HTTP, handler)
	return server
}

func TestHTTPBoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		segment := pxetest.NewSegment(t)
		var methods []string
		var server *fakeServer
		server = httpBoot(t, segment, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			methods = append(methods, r.Method+" "+r.URL.Path)
			server.ServeHTTP(w, r)
		}))
		got, err := segment.Machine(mac, pxetest.UEFIx64HTTP).Boot(t.Context())
		require.NoError(t, err)
		require.True(t, got.Root.Verified)
		require.Equal(t, "http://192.0.2.1/ipxe.efi", got.Loader)
		require.Equal(t, []string{"HEAD /ipxe.efi", "GET /ipxe.efi", "GET /autoexec.ipxe", "GET /boot.ipxe"}, methods[:4])
		for _, f := range got.Files {
			require.Equal(t, "http", f.Protocol)
		}
		p := server.packets()
		require.Equal(t, "HTTPClient:Arch:00016:UNDI:003016", p[0].ClassIdentifier())
		require.Equal(t, []byte{0, 16}, p[0].Options.Get(dhcpv4.OptionClientSystemArchitectureType))
		require.Equal(t, "PXEClient:Arch:00007:UNDI:003010", p[2].ClassIdentifier(), "iPXE")
	})
}

func TestHTTPBootRefused(t *testing.T) {
	mangle := func(f func(r *dhcpv4.DHCPv4)) func(*fakeServer) {
		return func(s *fakeServer) {
			before := s.mangle
			s.mangle = func(q, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
				if r = before(q, r); q.ClassIdentifier() == "HTTPClient:Arch:00016:UNDI:003016" {
					f(r)
				}
				return r
			}
		}
	}
	file := func(name string) func(*fakeServer) { return mangle(func(r *dhcpv4.DHCPv4) { r.BootFileName = name }) }
	for _, tt := range []struct {
		name    string
		change  func(*fakeServer)
		handler http.HandlerFunc
		is      error
		says    string
	}{
		{"no class", mangle(func(r *dhcpv4.DHCPv4) { r.DeleteOption(dhcpv4.OptionClassIdentifier) }), nil,
			pxetest.ErrNoBootFile, `with the boot file "http://192.0.2.1/ipxe.efi"`},
		{"the class of PXE", mangle(func(r *dhcpv4.DHCPv4) { r.UpdateOption(dhcpv4.OptClassIdentifier("PXEClient")) }), nil,
			pxetest.ErrNoBootFile, `class "PXEClient"`},
		{"a TFTP name", file("ipxe.efi"), nil, pxetest.ErrNoBootFile, `with the boot file "ipxe.efi"`},
		{"TFTP by URL", file("tftp://192.0.2.1/ipxe.efi"), nil, pxetest.ErrLoader, "has no TFTP"},
		{"missing", file("http://192.0.2.1/none.efi"), nil, nil, "404"},
		{"no UEFI program", file("http://192.0.2.1/boot.ipxe"), nil, pxetest.ErrLoader, "Content-Type"},
		{"redirected", nil, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x.efi", http.StatusFound) }, nil, "302"},
		{"no length", nil, func(w http.ResponseWriter, r *http.Request) { w.(http.Flusher).Flush() }, pxetest.ErrLoader, "no Content-Length"},
		{"another length", nil, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", map[string]string{"HEAD": "7", "GET": "6"}[r.Method])
			if r.Method == "GET" {
				w.Write([]byte("loader"))
			}
		}, pxetest.ErrLoader, "HEAD said 7"},
		{"TFTP later", func(s *fakeServer) {
			s.files["boot.ipxe"] = []byte("#!ipxe\nkernel tftp://192.0.2.1/vmlinuz\nboot")
		}, nil, pxetest.ErrTransfer, "does without TFTP"},
		{"a script by TFTP", func(s *fakeServer) { s.bootFile = chain("", "boot.ipxe") }, nil, pxetest.ErrTransfer, "does without TFTP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				segment := pxetest.NewSegment(t)
				var handler http.Handler
				if tt.handler != nil {
					handler = tt.handler
				}
				httpBoot(t, segment, tt.change, handler)
				_, err := segment.Machine(mac, pxetest.UEFIx64HTTP).Boot(t.Context())
				require.ErrorContains(t, err, tt.says)
				if tt.is != nil {
					require.ErrorIs(t, err, tt.is)
				}
			})
		})
	}
}

// TestHTTPBootByProxy: the URL comes from a proxy, the address from the router.
func TestHTTPBootByProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		segment := pxetest.NewSegment(t)
		p := &proxy{offer: func(q, r *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
			if q.ClassIdentifier() == "HTTPClient:Arch:00016:UNDI:003016" {
				r.UpdateOption(dhcpv4.OptClassIdentifier("HTTPClient"))
				return named("http://192.0.2.1/ipxe.efi")(q, r)
			}
			return named("http://192.0.2.1/boot.ipxe")(q, r)
		}, ack: silent}
		beside(t, segment, p)
		got, err := segment.Machine(mac, pxetest.UEFIx64HTTP).Boot(t.Context())
		require.NoError(t, err)
		require.True(t, got.Root.Verified)
		require.Equal(t, "192.0.2.1", got.Leases[0].Proxy.String())
		require.Equal(t, "192.0.2.254", got.Leases[0].Server.String())
	})
}

// TestFirmwareSays: what tells the new machines apart.
func TestFirmwareSays(t *testing.T) {
	for firmware, want := range map[pxetest.Firmware]struct {
		name, class, ipxe, loader string
	}{
		pxetest.UEFIIA32:  {"UEFI IA32", "PXEClient:Arch:00006:UNDI:003016", "PXEClient:Arch:00006:UNDI:003010", "ipxe-i386.efi"},
		pxetest.UEFIARM64: {"UEFI ARM64", "PXEClient:Arch:00011:UNDI:003016", "PXEClient:Arch:00011:UNDI:003010", "snponly-arm64.efi"},
	} {
		synctest.Test(t, func(t *testing.T) {
			segment := pxetest.NewSegment(t)
			server := prepared(t)
			server.bootFile = chain(want.loader, "http://192.0.2.1/boot.ipxe")
			server.files[want.loader] = []byte("loader")
			server.files["boot.ipxe"] = []byte("#!ipxe\nkernel vmlinuz ${buildarch}\nboot")
			server.on(segment)
			got, err := segment.Machine(mac, firmware).Boot(t.Context())
			require.NoError(t, err)
			require.Equal(t, want.name, firmware.String())
			p := server.packets()
			require.Equal(t, want.class, p[0].ClassIdentifier())
			require.Equal(t, want.ipxe, p[2].ClassIdentifier())
			require.Equal(t, map[pxetest.Firmware]string{pxetest.UEFIIA32: "i386", pxetest.UEFIARM64: "arm64"}[firmware], got.CommandLine)
			server.bootFile = chain("grubx64.efi", "")
			_, err = segment.Machine(mac, firmware).Boot(t.Context())
			require.ErrorIs(t, err, pxetest.ErrLoader)
			require.ErrorContains(t, err, "a program for x64")
		})
	}
	require.Equal(t, "UEFI x64 HTTP", pxetest.UEFIx64HTTP.String())
	require.Equal(t, "Firmware(99)", pxetest.Firmware(99).String())
}
