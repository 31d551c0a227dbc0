package dhcp_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/pxekit/pxe/dhcp"
)

// A server on a socket that was opened elsewhere. Here both ends are on
// loopback, and the client talks as a relay does, so that no privilege and no
// broadcast are needed.
func ExampleServer() {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0") // in real life port 67
	if err != nil {
		log.Fatal(err)
	}
	client, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	srv := &dhcp.Server{
		Networks: []dhcp.Network{{
			Addr:   netip.MustParsePrefix("127.0.0.1/8"),
			Mode:   dhcp.Full,
			Leases: &dhcp.Pool{First: netip.MustParseAddr("127.0.0.100"), Last: netip.MustParseAddr("127.0.0.100")},
		}},
		BootFile: func(ctx context.Context, r *dhcp.Request) (*dhcp.BootFile, error) {
			return &dhcp.BootFile{Name: "lpxelinux.0"}, nil
		},
		RelayPort: uint16(client.LocalAddr().(*net.UDPAddr).Port),
	}
	done := make(chan error)
	go func() { done <- srv.Serve(conn) }()

	discover, err := dhcpv4.NewDiscovery(net.HardwareAddr{2, 0, 0, 0, 0, 1},
		dhcpv4.WithGatewayIP(net.IPv4(127, 0, 0, 1)),
		dhcpv4.WithOption(dhcpv4.OptClassIdentifier("PXEClient:Arch:00000:UNDI:002001")))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := client.WriteTo(discover.ToBytes(), conn.LocalAddr()); err != nil {
		log.Fatal(err)
	}
	buf := make([]byte, 1500)
	n, _, err := client.ReadFrom(buf)
	if err != nil {
		log.Fatal(err)
	}
	offer, err := dhcpv4.FromBytes(buf[:n])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(offer.MessageType(), offer.YourIPAddr, "boots", offer.BootFileName)

	if err := srv.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(errors.Is(<-done, dhcp.ErrServerClosed))
	// Output:
	// OFFER 127.0.0.100 boots lpxelinux.0
	// true
}

// A proxy beside another DHCP server: Serve answers at port 67, ServePXE at port
// 4011, which is all that is shown here.
func ExampleServer_ServePXE() {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0") // in real life port 4011
	if err != nil {
		log.Fatal(err)
	}
	client, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	srv := &dhcp.Server{
		Networks: []dhcp.Network{{Addr: netip.MustParsePrefix("127.0.0.1/8"), Mode: dhcp.Proxy}},
		BootFile: func(ctx context.Context, r *dhcp.Request) (*dhcp.BootFile, error) {
			return &dhcp.BootFile{Name: "snponly.efi"}, nil
		},
	}
	done := make(chan error)
	go func() { done <- srv.ServePXE(conn) }()

	request, err := dhcpv4.New(
		dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest), dhcpv4.WithHwAddr(net.HardwareAddr{2, 0, 0, 0, 0, 1}),
		dhcpv4.WithClientIP(net.IPv4(127, 0, 0, 1)),
		dhcpv4.WithOption(dhcpv4.OptClassIdentifier("PXEClient:Arch:00007:UNDI:003016")))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := client.WriteTo(request.ToBytes(), conn.LocalAddr()); err != nil {
		log.Fatal(err)
	}
	buf := make([]byte, 1500)
	n, _, err := client.ReadFrom(buf)
	if err != nil {
		log.Fatal(err)
	}
	ack, err := dhcpv4.FromBytes(buf[:n])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ack.MessageType(), "without an address:", ack.YourIPAddr, "boots", ack.BootFileName, "from", ack.ServerIPAddr)

	if err := srv.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(errors.Is(<-done, dhcp.ErrServerClosed))
	// Output:
	// ACK without an address: 0.0.0.0 boots snponly.efi from 127.0.0.1
	// true
}

// A menu that a BIOS shows by itself, in a boot file's options. What is chosen is
// asked for at port 4011, where [dhcp.BootFile.Item] answers for it.
func ExamplePXEOptions() {
	menu, err := dhcp.PXEOptions{
		Control: dhcp.PXENoBroadcast | dhcp.PXENoMulticast | dhcp.PXEListedOnly,
		Servers: []dhcp.PXEServer{{Type: 0x8001, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}},
		Menu:    []dhcp.PXEMenuItem{{Type: 0, Text: "Local disk"}, {Type: 0x8001, Text: "Rescue"}},
		Prompt:  &dhcp.PXEPrompt{Timeout: 10, Text: "Press F8 for a menu"},
	}.Option()
	if err != nil {
		log.Fatal(err)
	}
	file := dhcp.BootFile{Name: "lpxelinux.0", Style: dhcp.StyleClass, Options: []dhcpv4.Option{menu}}
	fmt.Println(len(file.Options[0].Value.ToBytes()), "bytes of option 43")
	// Output: 59 bytes of option 43
}

// A pool without a server: what the server asks it for one client.
func ExamplePool() {
	machine := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	pool := &dhcp.Pool{
		First:        netip.MustParseAddr("192.0.2.100"),
		Last:         netip.MustParseAddr("192.0.2.199"),
		Reservations: []dhcp.Reservation{{HardwareAddr: machine, Addr: netip.MustParseAddr("192.0.2.10")}},
	}
	packet, err := dhcpv4.NewDiscovery(machine)
	if err != nil {
		log.Fatal(err)
	}
	lease, err := pool.Discover(context.Background(), &dhcp.Request{Packet: packet})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(lease.HardwareAddr(), "is offered", lease.Prefix().Addr())
	// Output: 02:00:00:00:00:01 is offered 192.0.2.10
}

// inventory gives addresses to the machines it knows, and to no others.
type inventory map[string]netip.Prefix

func (inv inventory) lease(r *dhcp.Request) (dhcp.Lease, error) {
	prefix, ok := inv[r.HardwareAddr().String()]
	if !ok {
		return nil, nil // not ours: the client hears nothing
	}
	return dhcp.Binding{HW: r.HardwareAddr(), ID: r.ClientID(), Addr: prefix}, nil // without an end
}

func (inv inventory) Discover(_ context.Context, r *dhcp.Request) (dhcp.Lease, error) {
	return inv.lease(r)
}

func (inv inventory) Request(_ context.Context, r *dhcp.Request) (dhcp.Lease, error) {
	return inv.lease(r) // the server refuses a client that asks for another one
}

func (inv inventory) Release(context.Context, *dhcp.Request) error { return nil }

func (inv inventory) Decline(_ context.Context, r *dhcp.Request) error {
	return fmt.Errorf("another machine uses the address of %s", r.HardwareAddr())
}

// A program with an inventory of its own decides who gets which address, and
// the server keeps nothing.
func ExampleLeasePolicy() {
	srv := &dhcp.Server{Networks: []dhcp.Network{{
		Interface: "eth1",
		Addr:      netip.MustParsePrefix("192.0.2.1/24"),
		Mode:      dhcp.Full,
		Leases:    inventory{"02:00:00:00:00:01": netip.MustParsePrefix("192.0.2.10/24")},
	}}}
	fmt.Println(srv.Validate())
	// Output: <nil>
}

// The machines of an inventory get the addresses it has for them, and all others
// one of a range. An inventory that also implements [dhcp.Member] may stand
// anywhere in the chain.
func ExampleChain() {
	chain := dhcp.Chain{
		inventory{"02:00:00:00:00:01": netip.MustParsePrefix("192.0.2.10/24")},
		&dhcp.Pool{
			First: netip.MustParseAddr("192.0.2.100"),
			Last:  netip.MustParseAddr("192.0.2.100"),
		},
	}
	srv := &dhcp.Server{Networks: []dhcp.Network{{
		Interface: "eth1",
		Addr:      netip.MustParsePrefix("192.0.2.1/24"),
		Mode:      dhcp.Full,
		Leases:    chain,
	}}}
	if err := srv.Validate(); err != nil {
		log.Fatal(err)
	}
	for n := range byte(3) {
		packet, err := dhcpv4.NewDiscovery(net.HardwareAddr{2, 0, 0, 0, 0, n})
		if err != nil {
			log.Fatal(err)
		}
		lease, err := chain.Discover(context.Background(), &dhcp.Request{Packet: packet})
		if err != nil {
			fmt.Println(packet.ClientHWAddr, "is offered nothing:", errors.Is(err, dhcp.ErrNoAddress))
			continue
		}
		fmt.Println(packet.ClientHWAddr, "is offered", lease.Prefix().Addr())
	}
	// Output:
	// 02:00:00:00:00:00 is offered 192.0.2.100
	// 02:00:00:00:00:01 is offered 192.0.2.10
	// 02:00:00:00:00:02 is offered nothing: true
}

// A reservation by UUID is for a machine whose network card may be exchanged. It
// holds for the system that is booted too, which does not send the UUID.
func ExampleReservation() {
	const uuid = "01234567-89ab-cdef-0123-456789abcdef"
	pool := &dhcp.Pool{Reservations: []dhcp.Reservation{{
		UUID:    uuid,
		Addr:    netip.MustParseAddr("192.0.2.10"),
		Options: []dhcpv4.Option{dhcpv4.OptHostName("node1")},
	}}}
	packet, err := dhcpv4.New(
		dhcpv4.WithHwAddr(net.HardwareAddr{2, 0, 0, 0, 0, 1}),
		dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(192, 0, 2, 1))),
		dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.IPv4(192, 0, 2, 10))))
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range []*dhcp.Request{
		{Packet: packet, Client: dhcp.Client{UUID: uuid}}, // the firmware
		{Packet: packet}, // the system
	} {
		lease, err := pool.Request(context.Background(), r)
		if err != nil {
			log.Fatal(err)
		}
		options := lease.(dhcp.LeaseOptions).LeaseOptions()
		fmt.Println(lease.Prefix().Addr(), options[0].Value)
	}
	// Output:
	// 192.0.2.10 node1
	// 192.0.2.10 node1
}
