// Package pxe boots machines from the network, SystemRescue first, from inside
// a Go program.
//
// A [Server] composes what a bare machine needs to come up: DHCP, TFTP, HTTP,
// the boot loaders' configuration, and the root file system, served straight
// out of an ISO image:
//
//	iso, err := asset.OpenISO("systemrescue-12.00-amd64.iso")
//	srv := &pxe.Server{
//		Networks: []pxe.Network{{Interface: "eth1", Mode: dhcp.Full,
//			Leases: &dhcp.Pool{First: netip.MustParseAddr("192.0.2.100"), Last: netip.MustParseAddr("192.0.2.199")}}},
//		Files:   asset.Overlay(iso, asset.MediumLoaders(iso), asset.SystemLoaders()),
//		Root:    &rootfs.HTTP{},
//		Booter:  pxe.SystemRescue{Checksum: true, Keymap: "de"},
//		OnEvent: func(e pxe.Event) { log.Println(e) },
//	}
//	sockets, err := srv.Listen(ctx) // the only step that needs privilege
//	err = srv.Serve(sockets)        // until srv.Shutdown(ctx)
//
// # The course of a boot
//
// The firmware discovers a DHCP server and is offered an address and a boot
// loader. It fetches the loader by TFTP, the loader its configuration, the
// kernel and the initial RAM disk. The initramfs asks for a lease again, fetches
// the root file system and mounts it. Up to four DHCP clients of one machine
// take part, each with another identity: they keep one address, because leases
// go by hardware address.
//
// A machine's first DISCOVER opens a boot, which has an ID. The [Booter] is
// asked once for it, and what it answered stays for the whole boot; it is asked
// again after an error, and when the Server was started anew in between, which
// the machine survives with a [dhcp.LeaseFile]. The ID is part of the URLs that
// the machine is given, and of every [Event].
//
// # Beside another DHCP server
//
// A network in mode [dhcp.Proxy] leaves the addresses to another server and tells
// machines what to boot, on ports 67 and 4011. What a machine fetches later shows its
// address only, so the Server overhears which one the machine takes, and asks the
// kernel where it did not. One in mode [dhcp.BootServer] answers on port 4011 alone.
//
// # What may be replaced
//
// An embedder's own inventory takes the place of [dhcp.Pool] by implementing
// [dhcp.LeasePolicy], and decides what boots by implementing [Booter]. Files
// come from any [FileSource]; the root file system comes by any
// [RootFSTransport], also from a server elsewhere. Sockets come from Listen,
// from the system, or from a test: package dhcp/pxetest has a network segment in
// memory and machines that boot on it, so that a provisioning tool's unit tests
// boot machines without privilege, ports or waiting.
//
// Each part also works alone: [dhcp.Server], [tftp.Server], the handler
// [rootfs.Files], the NBD server [nbd.Server], the renderers of bootcfg, and
// [asset.ISO] as an fs.FS.
//
// # Concurrency and errors
//
// All interfaces that an embedder implements are called concurrently, as their
// documentation says. An internal error's text never goes to a machine; it is in
// the event. What is thrown away is counted by name, see [Server.Drops].
package pxe
