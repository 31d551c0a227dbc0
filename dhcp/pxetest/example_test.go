package pxetest_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/pxekit/pxe/dhcp/pxetest"
)

// bench stands for *testing.T, which examples do not have.
type bench struct{ cleanups []func() }

func (b *bench) Helper()                           {}
func (b *bench) Cleanup(f func())                  { b.cleanups = append(b.cleanups, f) }
func (b *bench) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (b *bench) end() {
	for _, f := range b.cleanups {
		f()
	}
}

// A machine with iPXE in ROM boots from a server that is nothing but a DHCP answer
// and an HTTP handler.
func ExampleSegment_Machine() {
	t := new(bench)
	defer t.end()
	segment := pxetest.NewSegment(t)
	server := segment.Sockets("192.0.2.1/24")

	go http.Serve(server.HTTP, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/boot.ipxe":
			io.WriteString(w, "#!ipxe\n"+
				"kernel vmlinuz archisobasedir=sysresccd ip=dhcp archiso_nfs_srv=192.0.2.9:/srv/rescue\n"+
				"initrd sysresccd.img\n"+
				"boot\n")
		default:
			io.WriteString(w, "any bytes will do")
		}
	}))
	go func() {
		packet := make([]byte, 1500)
		for {
			n, _, err := server.DHCP.ReadFrom(packet)
			if err != nil {
				return
			}
			request, err := dhcpv4.FromBytes(packet[:n])
			if err != nil {
				continue
			}
			kind := dhcpv4.MessageTypeOffer
			if request.MessageType() == dhcpv4.MessageTypeRequest {
				kind = dhcpv4.MessageTypeAck
			}
			reply, err := dhcpv4.NewReplyFromRequest(request, dhcpv4.WithMessageType(kind),
				dhcpv4.WithYourIP(net.IP{192, 0, 2, 100}), dhcpv4.WithNetmask(net.CIDRMask(24, 32)),
				dhcpv4.WithLeaseTime(3600), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IP{192, 0, 2, 1})))
			if err != nil {
				continue
			}
			reply.BootFileName = "http://192.0.2.1/boot.ipxe"
			// iPXE need not wait for a proxy, two seconds (175.176).
			reply.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionEtherboot, []byte{176, 1, 1}))
			server.DHCP.WriteTo(reply.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: 68})
		}
	}()

	got, err := segment.Machine("02:00:00:00:00:01", pxetest.IPXEROM).Boot(context.Background())
	if err != nil {
		fmt.Println(err)
	}
	for _, l := range got.Leases {
		fmt.Println("lease:", l.Client, l.Addr)
	}
	for _, f := range got.Files {
		fmt.Println("file: ", f.Name)
	}
	fmt.Println("root: ", got.Root.URL)
	// Output:
	// lease: iPXE 192.0.2.100/24
	// lease: initramfs 192.0.2.100/24
	// file:  http://192.0.2.1/boot.ipxe
	// file:  http://192.0.2.1/vmlinuz
	// file:  http://192.0.2.1/sysresccd.img
	// root:  nfs://192.0.2.9/srv/rescue
}

// The router of an office gives addresses and no boot file; a machine says what it
// saw of it. A proxyDHCP server would be tested beside it.
func ExampleSegment_DHCPServer() {
	t := new(bench)
	defer t.end()
	segment := pxetest.NewSegment(t)
	router := segment.DHCPServer("192.0.2.254/24", "192.0.2.100", "192.0.2.199")
	router.SetOption(175, []byte{176, 1, 1}) // iPXE waits for no proxy

	_, err := segment.Machine("02:00:00:00:00:01", pxetest.IPXEROM).Boot(context.Background())
	fmt.Println(err)
	// Output: pxetest: 02:00:00:00:00:01 (iPXE ROM): loader: no OFFER with a boot file: nothing to boot for iPXE; saw: OFFER of 192.0.2.100 from 192.0.2.254:67 without a boot file
}

// A server on two networks hears both with one socket.
func ExampleHost_Attach() {
	t := new(bench)
	defer t.end()
	office, lab := pxetest.NewSegment(t), pxetest.NewSegment(t)
	server := office.Host("eth0", "192.0.2.1/24").Attach(lab, "eth1", "198.51.100.1/24")
	conn, err := server.ListenPacket(netip.MustParseAddrPort("0.0.0.0:67"))
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := lab.Host("eth0", "").ListenPacket(netip.MustParseAddrPort("0.0.0.0:68"))
	if err != nil {
		fmt.Println(err)
		return
	}
	client.WriteTo([]byte("hello"), &net.UDPAddr{IP: net.IPv4bcast, Port: 67})

	packet := make([]byte, 1500)
	n, from, to, ifname, err := conn.ReadFromLocal(packet)
	fmt.Printf("%s from %v to %v by %s, %v\n", packet[:n], from, to, ifname, err)
	// Output: hello from 0.0.0.0:68 to 255.255.255.255 by eth1, <nil>
}
