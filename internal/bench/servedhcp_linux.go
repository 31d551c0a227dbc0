package main

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/internal/udp"
)

// serveDHCP gives out leases on an interface until ctx ends, and keeps them in
// the lease file at path, or if that is empty in memory.
func serveDHCP(ctx context.Context, path, ifname string) (err error) {
	var store dhcp.Store
	if path != "" {
		file, openErr := dhcp.OpenLeaseFile(path)
		if openErr != nil {
			return openErr
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		store = file
	}
	conn, err := udp.Listen(ctx, ":67", true)
	if err != nil {
		return err
	}
	server := &dhcp.Server{Networks: []dhcp.Network{{
		Interface: ifname, Mode: dhcp.Full, Authoritative: true,
		Routers: []netip.Addr{netip.MustParseAddr(serverAddr)},
		Leases: &dhcp.Pool{
			First: netip.MustParseAddr(firstLeased), Last: netip.MustParseAddr(lastLeased),
			LeaseTime: time.Hour, Store: store,
		},
	}}}
	return until(ctx, server.Close, func() error { return server.Serve(conn) })
}
