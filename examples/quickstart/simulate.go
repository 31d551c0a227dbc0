package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/dhcp/pxetest"
	"github.com/pxekit/pxe/rootfs"
)

// The simulated machine lives on loopback, where addresses cost nothing.
var (
	serverAddr   = netip.MustParsePrefix("127.0.0.1/8")
	firstMachine = netip.MustParseAddr("127.0.0.100")
	lastMachine  = netip.MustParseAddr("127.0.0.199")
)

const machineMAC = "02:00:00:00:00:01"

// bootSimulated boots a simulated machine of the given firmware from a real
// Server over real sockets.
func bootSimulated(ctx context.Context, screen *screen, media string, firmware pxetest.Firmware) error {
	dir, err := os.MkdirTemp("", "pxe-quickstart-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if media == "" {
		if media, err = makeMedium(dir); err != nil {
			return err
		}
	}
	iso, err := asset.OpenISO(media)
	if err != nil {
		return err
	}
	defer iso.Close()
	screen.headline("medium     %s (volume %s)", media, iso.VolumeID())

	loopback, err := pxetest.NewLoopback(serverAddr.Addr())
	if err != nil {
		return err
	}
	defer loopback.Close()

	line := new(timeline)
	srv := &pxe.Server{
		Networks: []pxe.Network{{
			Addr: serverAddr, Mode: dhcp.Full,
			Leases: &dhcp.Pool{First: firstMachine, Last: lastMachine},
		}},
		Files:    asset.Overlay(iso, asset.MediumLoaders(iso), asset.SystemLoaders(), asset.Memory(uefiLoader())),
		Root:     &rootfs.HTTP{},
		Booter:   pxe.SystemRescue{Checksum: true, Timeout: time.Second},
		OnEvent:  line.add,
		DHCPAddr: "127.0.0.1:0", TFTPAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0",
		RelayPort: loopback.RelayPort(),
	}
	sockets, err := srv.Listen(ctx)
	if err != nil {
		return err
	}
	loopback.SetPorts(pxetest.Ports{
		DHCP: port(sockets.DHCP.LocalAddr()), TFTP: port(sockets.TFTP.LocalAddr()), HTTP: port(sockets.HTTP.Addr()),
	})
	screen.headline("server     DHCP %s, TFTP %s, HTTP %s", sockets.DHCP.LocalAddr(), sockets.TFTP.LocalAddr(), sockets.HTTP.Addr())
	screen.headline("machine    %s, %s, simulated", machineMAC, firmware)
	screen.headline("")

	served := make(chan error, 1)
	go func() { served <- srv.Serve(sockets) }()
	machine, err := loopback.Machine(machineMAC, firmware)
	if err != nil {
		return err
	}
	machine.Observe = screen.step
	screen.powerOn()
	boot, bootErr := machine.Boot(ctx)
	if err := srv.Shutdown(ctx); err != nil {
		srv.Close()
	}
	if err := <-served; !errors.Is(err, pxe.ErrServerClosed) {
		return errors.Join(bootErr, err)
	}
	screen.timeline(line)
	if bootErr != nil {
		return bootErr
	}
	screen.verdict(boot)
	return verify(boot)
}

// verify makes the example fail when the boot did not end as it should.
func verify(boot *pxetest.Boot) error {
	if !boot.Root.Verified {
		return errors.New("the root file system was not verified")
	}
	for _, lease := range boot.Leases {
		if lease.Addr != boot.Leases[0].Addr {
			return fmt.Errorf("the machine changed its address during the boot: %s, then %s", boot.Leases[0].Addr, lease.Addr)
		}
	}
	return nil
}

// port returns the port of a socket's address, which is always "host:port".
func port(addr fmt.Stringer) uint16 {
	return netip.MustParseAddrPort(addr.String()).Port()
}
