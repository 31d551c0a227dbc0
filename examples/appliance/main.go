// Appliance is a complete boot server from flags: it gives the machines of a
// network their addresses and boots SystemRescue on them, straight out of the
// ISO. With -leases FILE the addresses survive its end, and machines that are in
// the middle of their boot go on when it is started again. Run it with -h for its
// flags.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/dhcp"
)

// drainTime is how long running downloads may go on after SIGTERM.
const drainTime = 30 * time.Second

// menuTimeout is how long a machine shows the menu before it boots the default.
const menuTimeout = 5 * time.Second

// detectTime is how long -detect looks for other servers on each network.
const detectTime = 5 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	switch err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "appliance: "+strings.ReplaceAll(err.Error(), "\n", "\nappliance: "))
		os.Exit(1)
	}
}

// run serves until ctx is done, then drains.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	medium, closeMedium, err := openMedium(o.media)
	if err != nil {
		return err
	}
	defer closeMedium()
	files, err := withLoaders(medium, o.loaders)
	if err != nil {
		return err
	}
	system := pxe.SystemRescue{Checksum: !o.noChecksum, Extra: o.params, Timeout: menuTimeout}
	if system.Initrds, err = checkMedium(ctx, files, system, o.root); err != nil {
		return fmt.Errorf("-media %s: %w", o.media, err)
	}
	root, err := o.newRoot(medium)
	if err != nil {
		return err
	}
	report, closeReport, err := reporter(o.events, stdout, stderr)
	if err != nil {
		return err
	}
	defer closeReport()

	leases, closeLeases, err := o.openLeases(stderr)
	if err != nil {
		return err
	}
	defer closeLeases()
	networks, err := o.newNetworks(leases)
	if err != nil {
		return err
	}
	booter, err := o.newBooter(ctx, system)
	if err != nil {
		return err
	}
	if o.loader == "stock" {
		warning, err := checkStockMedium(ctx, files, medium, system)
		if err != nil {
			return fmt.Errorf("-media %s: %w", o.media, err)
		}
		fmt.Fprint(stderr, warning)
	}
	server := &pxe.Server{
		Networks: networks,
		Files:    files,
		Root:     root,
		Booter:   booter,
		Loader:   map[string]dhcp.Family{"pxelinux": dhcp.FamilyPXELinux, "ipxe": dhcp.FamilyIPXE, "grub": dhcp.FamilyGRUB}[o.loader],
		HTTPAddr: o.http, TFTPAddr: o.tftp, NBDAddr: o.nbd,
		OnEvent: report,
		Logger:  slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	if o.detect {
		server.DetectTime = detectTime
	}
	sockets, err := server.Listen(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(stderr, o.ready(sockets))
	fmt.Fprint(stderr, o.hint())
	go o.checkNFS(ctx, root, stderr)
	served := make(chan error, 1)
	go func() { served <- server.Serve(sockets) }()
	select {
	case err = <-served:
	case <-ctx.Done():
		fmt.Fprintf(stderr, "stopping: waiting up to %s for running downloads\n", drainTime)
		drain, cancel := context.WithTimeout(context.Background(), drainTime)
		defer cancel()
		if server.Shutdown(drain) != nil {
			server.Close()
		}
		err = <-served
	}
	if errors.Is(err, pxe.ErrServerClosed) {
		return nil
	}
	return err
}

// ready says what is served where.
func (o *options) ready(sockets pxe.Sockets) string {
	var b strings.Builder
	b.WriteString("ready: ")
	for _, n := range o.networks {
		fmt.Fprintf(&b, "%s; ", &n)
	}
	fmt.Fprintf(&b, "TFTP on %s, HTTP on %s", sockets.TFTP.LocalAddr(), sockets.HTTP.Addr())
	if sockets.NBD != nil {
		fmt.Fprintf(&b, ", NBD on %s", sockets.NBD.Addr())
	}
	fmt.Fprintf(&b, ", serving %s", o.media)
	return b.String()
}

// reporter returns the sink of events: a line for people on stderr, and a JSON
// object per line into the file if one is named.
func reporter(path string, stdout, stderr io.Writer) (func(pxe.Event), func() error, error) {
	events, closeEvents := io.Discard, func() error { return nil }
	switch path {
	case "":
	case "-":
		events = stdout
	default:
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
		if err != nil {
			return nil, nil, fmt.Errorf("-events: %w", err)
		}
		events, closeEvents = file, file.Close
	}
	lines := json.NewEncoder(events)
	return func(e pxe.Event) {
		fmt.Fprintln(stderr, e)
		if err := lines.Encode(e); err != nil {
			fmt.Fprintln(stderr, "appliance: writing events:", err)
		}
	}, closeEvents, nil
}
