package pxe_test

import (
	"context"
	"log"
	"net"
	"net/netip"
	"os/signal"
	"syscall"
	"time"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/bootcfg"
	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/rootfs"
)

// A rescue appliance: every machine on eth1 gets an address and boots
// SystemRescue out of its ISO.
func Example_appliance() {
	run := func(ctx context.Context) error {
		iso, err := asset.OpenISO("systemrescue-12.00-amd64.iso")
		if err != nil {
			return err
		}
		defer iso.Close()
		srv := &pxe.Server{
			Networks: []pxe.Network{{
				Interface: "eth1", Mode: dhcp.Full,
				Leases: &dhcp.Pool{
					First: netip.MustParseAddr("192.0.2.100"),
					Last:  netip.MustParseAddr("192.0.2.199"),
				},
			}},
			Files:   asset.Overlay(iso, asset.MediumLoaders(iso), asset.SystemLoaders()),
			Root:    &rootfs.HTTP{},
			Booter:  pxe.SystemRescue{Checksum: true, Keymap: "de"},
			OnEvent: func(e pxe.Event) { log.Println(e) },
		}
		sockets, err := srv.Listen(ctx) // the only step that needs privilege
		if err != nil {
			return err
		}
		context.AfterFunc(ctx, func() { srv.Close() }) // or Shutdown, which lets downloads finish
		return srv.Serve(sockets)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log.Print(run(ctx))
}

// inventory is a provisioning tool's own database: it decides addresses and what
// each machine boots, and nothing of the library's is stored.
type inventory struct {
	machines map[string]netip.Prefix
}

func (inv *inventory) Boot(_ context.Context, m *pxe.Machine) (*bootcfg.Menu, error) {
	if _, known := inv.machines[m.HardwareAddr.String()]; !known {
		return nil, nil // nothing to boot from us
	}
	return bootcfg.SystemRescue{Timeout: time.Second}.Menu(m.Root)
}

func (inv *inventory) Discover(_ context.Context, r *dhcp.Request) (dhcp.Lease, error) {
	addr, known := inv.machines[r.HardwareAddr().String()]
	if !known {
		return nil, nil // silence
	}
	return dhcp.Binding{
		HW: r.HardwareAddr(), ID: r.ClientID(), Addr: addr, Until: time.Now().Add(time.Hour),
	}, nil
}

func (inv *inventory) Request(ctx context.Context, r *dhcp.Request) (dhcp.Lease, error) {
	return inv.Discover(ctx, r)
}

func (inv *inventory) Release(context.Context, *dhcp.Request) error { return nil }

func (inv *inventory) Decline(_ context.Context, r *dhcp.Request) error {
	log.Printf("%s is used by another machine than %s", r.RequestedAddr(), r.HardwareAddr())
	return nil
}

// A provisioning tool: its inventory takes the place of the pool and decides
// what boots; the root file system comes from an NFS server elsewhere.
func Example_provisioning() {
	inv := &inventory{machines: map[string]netip.Prefix{
		"02:00:00:00:00:01": netip.MustParsePrefix("192.0.2.10/24"),
	}}
	images, err := asset.Dir("/srv/images")
	if err != nil {
		log.Print(err)
		return
	}
	defer images.Close()
	srv := &pxe.Server{
		Networks: []pxe.Network{{Interface: "eth1", Mode: dhcp.Full, Leases: inv}},
		Booter:   inv,
		Files:    images,
		Root:     rootfs.NFS{Export: "192.0.2.9:/srv/rescue"},
	}
	log.Print(srv.Validate())
}

// Sockets may come from anywhere: from systemd, from a parent process, or as
// here on ports that need no privilege.
func ExampleServer_Serve() {
	srv := &pxe.Server{
		Networks: []pxe.Network{{
			Addr: netip.MustParsePrefix("127.0.0.1/8"), Mode: dhcp.Full,
			Leases: &dhcp.Pool{First: netip.MustParseAddr("127.0.0.100"), Last: netip.MustParseAddr("127.0.0.199")},
		}},
		Files: asset.Memory{"hello.txt": []byte("hello")},
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Print(err)
		return
	}
	served := make(chan error)
	go func() { served <- srv.Serve(pxe.Sockets{HTTP: listener}) }()
	srv.Shutdown(context.Background())
	log.Print(<-served) // pxe: server closed
}
