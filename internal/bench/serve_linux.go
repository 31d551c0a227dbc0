package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os/signal"
	"syscall"

	"github.com/pojntfx/go-nbd/pkg/backend"

	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/rootfs"
	"github.com/pxekit/pxe/rootfs/nbd"
)

// serveCommand as the first argument makes this program one of the servers that
// are measured.
const serveCommand = "serve"

// serve serves over a protocol at addr until SIGTERM. The arguments are protocol,
// what is served, addr, which for DHCP is an interface, and the name of a CPU profile
// or nothing. What is served is an image, or for DHCP the file of the leases.
func serve(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("%s wants four arguments", serveCommand)
	}
	protocol, path, addr, profile := args[0], args[1], args[2], args[3]
	stopProfile, err := startProfile(profile)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if protocol == "dhcp" {
		err = serveDHCP(ctx, path, addr)
	} else {
		err = serveImage(ctx, protocol, path, addr)
	}
	return errors.Join(err, stopProfile())
}

// serveImage serves the files of an image.
func serveImage(ctx context.Context, protocol, image, addr string) error {
	iso, err := asset.OpenISO(image)
	if err != nil {
		return err
	}
	defer iso.Close()
	l, err := net.Listen("tcp4", addr)
	if err != nil {
		return err
	}
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
	return until(ctx, server.Close, func() error { return server.Serve(l) })
}

// until serves until ctx ends.
func until(ctx context.Context, close, serve func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- serve() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return close()
	}
}
