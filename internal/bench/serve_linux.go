package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"

	"github.com/pojntfx/go-nbd/pkg/backend"

	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/rootfs"
	"github.com/pxekit/pxe/rootfs/nbd"
)

// serveCommand as the first argument makes this program one of the servers that
// are measured.
const serveCommand = "serve"

// serve serves the files of an image over a protocol at addr until SIGTERM. The
// arguments are protocol, image, addr and the name of a CPU profile or nothing.
func serve(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("%s wants four arguments", serveCommand)
	}
	protocol, image, addr, profile := args[0], args[1], args[2], args[3]
	iso, err := asset.OpenISO(image)
	if err != nil {
		return err
	}
	defer iso.Close()
	l, err := net.Listen("tcp4", addr)
	if err != nil {
		return err
	}
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var server interface {
		Serve(net.Listener) error
		Close() error
	}
	switch protocol {
	case "http":
		server = &http.Server{Handler: &rootfs.Files{Open: func(ctx context.Context, name string) (fs.File, error) {
			return iso.OpenFile(ctx, name)
		}}}
	case "nbd":
		server = &nbd.Server{MaxConnectionsPerClient: 1024, Exports: []nbd.Export{{Name: exportName, Open: func(ctx context.Context) (backend.Backend, error) {
			f, err := iso.OpenFile(ctx, bigName)
			if err != nil {
				return nil, err
			}
			return nbd.File(f)
		}}}}
	default:
		return errors.New("no server for " + protocol)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return server.Close()
	}
}
