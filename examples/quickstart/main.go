// Quickstart shows a whole network boot on one computer. Without flags it needs
// nothing but Go: it makes a small SystemRescue-shaped ISO, starts a complete
// pxe.Server on loopback with free ports (in memory where a system has a single
// loopback address), and boots a simulated machine from it,
// down to the verified root file system. With -vm it boots a virtual machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/pxekit/pxe/dhcp/pxetest"
)

// limit bounds the whole run: an emulated machine that boots a real SystemRescue
// takes longest.
const limit = 30 * time.Minute

const usage = `usage: quickstart [-media PATH] [-firmware bios|uefi|ipxe]
       quickstart [-media PATH] -vm

Boots a machine from a pxe.Server on this computer and shows each step. Without
flags the machine is simulated, the medium is made up, and no privilege is needed.

`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	var exit exitCode
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case errors.As(err, &exit):
		os.Exit(int(exit))
	default:
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// exitCode is the outcome of the copy of this program that did the work.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	media := flags.String("media", "", "SystemRescue ISO to boot instead of the made-up one (`path`)")
	virtual := flags.Bool("vm", false, "boot a virtual machine (QEMU) in a network namespace of its own, and show its console")
	name := flags.String("firmware", "bios", "what the simulated machine's network card `has`: bios (PXE), uefi (x64 PXE) or ipxe")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: every option begins with a dash", flags.Arg(0))
	}
	if *virtual && *name != "bios" {
		return errors.New("-firmware is for the simulated machine: leave it out with -vm, whose machine has a BIOS")
	}
	firmware, err := firmwareByName(*name)
	if err != nil {
		return err
	}
	screen := newScreen(stdout)
	if *virtual {
		return bootVM(ctx, screen, *media)
	}
	return bootSimulated(ctx, screen, *media, firmware)
}

func firmwareByName(name string) (pxetest.Firmware, error) {
	switch name {
	case "bios":
		return pxetest.BIOSPXE, nil
	case "uefi":
		return pxetest.UEFIx64, nil
	case "ipxe":
		return pxetest.IPXEROM, nil
	}
	return 0, fmt.Errorf("-firmware %q: use bios, uefi or ipxe", name)
}
