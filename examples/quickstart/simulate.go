package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/dhcp/pxetest"
	"github.com/pxekit/pxe/rootfs"
)

// bootSimulated boots a simulated machine of the given firmware from a complete
// Server.
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
	lab, err := newLab(firmware)
	if err != nil {
		return err
	}
	defer lab.close()
	return boot(ctx, screen, lab, iso)
}

// boot serves the medium in the lab and boots its machine.
func boot(ctx context.Context, screen *screen, lab *lab, iso *asset.ISO) error {
	line := new(timeline)
	srv := &pxe.Server{
		Networks: []pxe.Network{lab.network},
		Files:    asset.Overlay(iso, asset.MediumLoaders(iso), asset.Memory(uefiLoader()), asset.SystemLoaders()),
		Root:     &rootfs.HTTP{},
		Booter:   pxe.SystemRescue{Checksum: true, Timeout: time.Second},
		OnEvent:  line.add,
		DHCPAddr: "127.0.0.1:0", TFTPAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0",
		RelayPort: lab.relayPort,
	}
	sockets, err := lab.listen(ctx, srv)
	if err != nil {
		return err
	}
	screen.headline("server     DHCP %s, TFTP %s, HTTP %s", sockets.DHCP.LocalAddr(), sockets.TFTP.LocalAddr(), sockets.HTTP.Addr())
	screen.headline("machine    %s, %s, simulated", machineMAC, lab.machine.Firmware)
	screen.headline("")

	booting, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	served := make(chan error, 1)
	go func() {
		err := srv.Serve(sockets)
		stop(err) // a server that fails ends the boot, too
		served <- err
	}()
	lab.machine.Observe = screen.step
	screen.powerOn()
	boot, bootErr := lab.machine.Boot(booting)
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
