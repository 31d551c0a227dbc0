package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/internal/vm"
	"github.com/pxekit/pxe/rootfs"
)

// The virtual machine's network exists inside its namespace only.
var vmNetwork = netip.MustParsePrefix("192.0.2.1/24")

const (
	// realMemory is what SystemRescue needs: its root file system is copied to
	// memory.
	realMemory = 4096 // MiB
	// upLine matches what is printed when the system is up: the made medium's, or
	// SystemRescue's.
	upLine = `PXEKIT up|login:|Welcome to SystemRescue`
)

// bootVM boots a virtual machine from the same Server as the simulation. This
// program runs again in a network namespace of its own for it, so that no
// interface of this computer is touched.
func bootVM(ctx context.Context, screen *screen, media string) error {
	if missing := vm.Missing(); missing != "" {
		return errors.New(missing)
	}
	inside, code, err := vm.EnterNamespace()
	if err != nil {
		return err
	}
	if !inside {
		if code != 0 {
			return exitCode(code)
		}
		return nil
	}
	network, err := vm.NewNetwork(ctx, "pxe0", vmNetwork)
	if err != nil {
		return err
	}
	defer network.Close()

	machine := vm.Machine{
		Firmware: vm.BIOS,
		NICs:     []vm.NIC{{Network: network, HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}},
	}
	booter := pxe.SystemRescue{Checksum: true, Timeout: time.Second, Extra: []string{"console=tty0", "console=ttyS0,115200"}}
	if media == "" {
		screen.headline("making a medium out of this system's kernel and tools …")
		medium, err := vm.BuildMedium(ctx, "")
		if err != nil {
			return err
		}
		media = medium.ISO
	} else {
		machine.Memory = realMemory
	}
	iso, err := asset.OpenISO(media)
	if err != nil {
		return err
	}
	defer iso.Close()

	line := new(timeline)
	srv := &pxe.Server{
		Networks: []pxe.Network{{
			Interface: network.Interface(), Addr: vmNetwork, Mode: dhcp.Full,
			Leases: &dhcp.Pool{First: netip.MustParseAddr("192.0.2.100"), Last: netip.MustParseAddr("192.0.2.199")},
		}},
		Files:   asset.Overlay(iso, asset.MediumLoaders(iso), asset.SystemLoaders()),
		Root:    &rootfs.HTTP{},
		Booter:  booter,
		OnEvent: func(e pxe.Event) { line.add(e); screen.event(e) },
	}
	sockets, err := srv.Listen(ctx)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(sockets) }()
	screen.headline("medium     %s (volume %s)", media, iso.VolumeID())
	screen.headline("machine    QEMU without KVM: half a minute, or many with a real medium; ^C ends it")
	screen.headline("")

	bootErr := watch(ctx, screen, machine, upLine)
	if err := srv.Shutdown(ctx); err != nil {
		srv.Close()
	}
	if err := <-served; !errors.Is(err, pxe.ErrServerClosed) {
		return errors.Join(bootErr, err)
	}
	screen.timeline(line)
	if bootErr == nil {
		screen.headline("%s", screen.paint(green, "the machine is up, with its root file system from this server"))
	}
	return bootErr
}

// watch runs the machine and shows its console until a line says that it is up.
func watch(ctx context.Context, screen *screen, machine vm.Machine, until string) error {
	running, err := machine.Start(ctx)
	if err != nil {
		return err
	}
	defer running.Stop()
	following, stop := context.WithCancel(ctx)
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		for line := range running.Console.Follow(following) {
			if text := strings.TrimSpace(line.Text); text != "" {
				screen.console(text)
			}
		}
	}()
	_, _, err = running.Console.WaitFor(ctx, until)
	stop()
	<-shown
	if err != nil {
		return fmt.Errorf("the machine did not come up: %w", err)
	}
	return nil
}
