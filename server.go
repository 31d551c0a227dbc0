package pxe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/internal/lifecycle"
	"github.com/pxekit/pxe/rootfs"
)

// The interfaces that embedders meet first, under the names they have in the
// packages that use them.
type (
	// Network is one IPv4 network that the Server answers on.
	Network = dhcp.Network
	// Lease is what one DHCP client holds.
	Lease = dhcp.Lease
	// FileSource opens the files that machines boot from.
	FileSource = asset.FileSource
	// RootFSTransport says where a machine reaches its root file system.
	RootFSTransport = rootfs.RootFSTransport
)

// ErrServerClosed is what Serve returns after Shutdown or Close.
var ErrServerClosed = lifecycle.ErrServerClosed

// defaultBootTimeout leaves an iPXE, which waits two seconds in all, time for
// the answer to travel.
const defaultBootTimeout = time.Second

// Server boots machines from the network: DHCP, TFTP, HTTP and the boot
// loaders' configuration, composed. Fill in the fields, then call Listen and
// Serve; the fields must not change after that. Servers share nothing: a
// process may run several.
type Server struct {
	// Networks are the IPv4 networks to answer on. Each says its mode; there is
	// no default, because a DHCP server that nobody meant to run takes a
	// network down.
	Networks []Network

	// Files are what machines load: boot loaders, kernels, initial RAM disks
	// and the root file system, by their names in it. Its tree is served at "/"
	// over HTTP and TFTP. Nil serves only what the Booter's menus bring.
	Files FileSource

	// Root says where machines reach their root file system. Nil leaves
	// Machine.Root nil, for systems whose root is their initial RAM disk.
	Root RootFSTransport

	// Booter decides what each machine boots. Nil boots nothing: machines get
	// their addresses only. One that has a method Validate() error is asked
	// before any socket is opened.
	Booter Booter

	// BootTimeout bounds one question to the Booter; the machine asks again
	// some seconds later when it was not answered. Zero means one second.
	BootTimeout time.Duration

	// Loader is the family of boot loaders that machines are given for which there is
	// one of it: a GRUB for UEFI does not keep BIOS machines from theirs. Zero
	// chooses by machine: an iPXE gets a script, BIOS firmware pxelinux or
	// iPXE, UEFI firmware iPXE or shim and GRUB, as Files has them. Under Secure
	// Boot firmware starts only shim and GRUB ([dhcp.FamilyGRUB]), and those only a
	// kernel that is signed by a key they know.
	Loader dhcp.Family

	// Loaders and Quirks are rows that come before those of [dhcp.LoaderTable] and
	// [dhcp.QuirkTable]: loaders of your own for a kind of firmware, and how
	// certain firmware is told of them. Classify, if set, may correct what a DHCP
	// client was taken for; see [dhcp.Server].
	Loaders  []dhcp.LoaderRow
	Quirks   []dhcp.Quirk
	Classify func(*dhcp.Request, dhcp.Client) dhcp.Client

	// Treat, if set, says what is different for one machine: its loader, how it is
	// told of it, and which other computers serve it. It is asked once per boot,
	// before the Booter, concurrently for different machines, and must answer at
	// once. For all machines of a network look at the machine's Interface,
	// RelayAddr or Addr; for a server behind address translation there is
	// Network.ServerAddr.
	Treat func(m *Machine) Treatment

	// MaxMachines bounds how many machines are remembered. When there are more,
	// one that was silent longest is forgotten: of those without a lease, as
	// long as they are a quarter of all or more. Zero means 65,536.
	MaxMachines int

	// HTTPLimits bound rates and downloads at once over HTTP and HTTPS, so that
	// a rack that starts together comes up in order. The zero value sets none.
	HTTPLimits rootfs.Limits

	// TLS has the certificate for HTTPS, at which the same files are found as by
	// HTTP. Nil: HTTPS is not served. Only HTTP/1.1 is spoken.
	TLS *tls.Config

	// DHCPAddr, PXEAddr, TFTPAddr, HTTPAddr, HTTPSAddr and NBDAddr are the
	// addresses that Listen opens, as "host:port". Empty means ":67", ":4011",
	// ":69", ":80", ":443" and ":10809"; port 0 takes a free one. DHCP is not
	// opened when all networks are of mode BootServer; PXE, which is
	// the boot server, is when a network is of mode Proxy or BootServer,
	// HTTPS when TLS is set, NBD when Root serves it. Clients know no other ports
	// for DHCP and PXE, SystemRescue none for NBD.
	DHCPAddr, PXEAddr, TFTPAddr, HTTPAddr, HTTPSAddr, NBDAddr string

	// ClientPort and RelayPort are the UDP ports that DHCP replies go to: a
	// client's and a relay agent's. Zero means 68 and 67. Only tests and
	// simulations without privilege need others.
	ClientPort, RelayPort uint16

	// DetectTime is for how long Listen first asks on each interface whether another
	// server answers there. It refuses to go on if one gives out boot files, or, in
	// mode Full, addresses: see [Server.Detect], [ConflictError]. Five seconds find
	// nearly all. Zero: it does not ask.
	DetectTime time.Duration

	// OnEvent is told of every step of every boot, one call at a time and in
	// order of time. It must return quickly: the machines wait.
	OnEvent func(Event)

	// Logger receives warnings about this host and its network that belong to
	// no boot, among them addresses of a pool that a machine uses without a lease.
	// At level Info it is told on which interfaces nothing can be probed. Nil is
	// silent.
	Logger *slog.Logger

	state   lifecycle.State
	mu      sync.Mutex
	current *services
}

// Validate reports everything that is wrong with the configuration, before any
// socket is opened.
func (s *Server) Validate() error {
	var errs []error
	if len(s.Networks) == 0 {
		errs = append(errs, errors.New("no Networks: name at least one network and its mode"))
	} else if err := s.dhcpServer(nil).Validate(); err != nil {
		errs = append(errs, err)
	}
	switch s.Loader {
	case 0, dhcp.FamilyPXELinux, dhcp.FamilyIPXE, dhcp.FamilyGRUB:
	default:
		errs = append(errs, fmt.Errorf("no such Loader %s: use %s, %s, %s or leave it zero", s.Loader, dhcp.FamilyPXELinux, dhcp.FamilyIPXE, dhcp.FamilyGRUB))
	}
	for _, quirk := range s.Quirks {
		errs = append(errs, quirk.Validate())
	}
	for _, part := range []any{s.Root, s.Booter} {
		if part != nil && isNil(part) {
			errs = append(errs, fmt.Errorf("a nil %T: leave the field alone, or set it", part))
		} else if v, ok := part.(rootfs.Validator); ok {
			errs = append(errs, v.Validate())
		}
	}
	if errors.Join(errs...) == nil { // or it would say the same again
		errs = append(errs, s.checkSystem())
	}
	if t := s.TLS; t != nil && len(t.Certificates) == 0 && t.GetCertificate == nil && t.GetConfigForClient == nil {
		errs = append(errs, errors.New("TLS has no certificate: set its Certificates, or GetCertificate"))
	}
	if s.BootTimeout < 0 {
		errs = append(errs, fmt.Errorf("negative BootTimeout %s", s.BootTimeout))
	}
	if s.DetectTime < 0 {
		errs = append(errs, fmt.Errorf("negative DetectTime %s", s.DetectTime))
	}
	if s.MaxMachines < 0 {
		errs = append(errs, fmt.Errorf("negative MaxMachines %d", s.MaxMachines))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("pxe: configuration: %w", err)
	}
	return nil
}

// Serve serves on the sockets until Shutdown or Close, and then returns
// [ErrServerClosed]. It owns the sockets: they are closed when it returns,
// whatever the reason. When one service fails the others are stopped and the
// error says which; Serve always returns a non-nil error. All goroutines that
// it started have ended when it returns.
func (s *Server) Serve(sockets Sockets) error {
	run, err := s.state.Begin(func() {}, func() {})
	if err != nil {
		sockets.Close()
		return err
	}
	defer run.End()
	defer sockets.Close() // before End: who waits for it finds the sockets closed
	if err := s.Validate(); err != nil {
		return err
	}
	services := s.newServices(sockets)
	if len(services.list) == 0 {
		return errors.New("pxe: Serve: no socket was given: use Listen, or set at least one")
	}
	s.setCurrent(services)
	ended := make(chan error, len(services.list))
	for _, service := range services.list {
		go func() {
			ended <- service.ended(service.serve())
		}()
	}
	running := len(services.list)
	var failure error
	select {
	case failure = <-ended:
		running--
		services.close()
	case <-run.Draining():
		services.shutdown(run.Context())
	}
	for ; running > 0; running-- {
		<-ended
	}
	if failure == nil {
		return ErrServerClosed
	}
	return failure
}

// Shutdown stops taking new work, lets running replies and transfers finish and
// waits until Serve has returned, or until ctx is done, whose error it returns
// then. Machines that copy an NBD root finish it; those that stay on it
// (rootfs.NBD with Live) are disconnected at once. It may be called before
// Serve, which then refuses to start, after it, twice, and concurrently; not
// from OnEvent, a Booter or a lease policy, for which it would wait.
func (s *Server) Shutdown(ctx context.Context) error { return s.state.Shutdown(ctx) }

// Close stops everything at once, transfers too, and waits until Serve has
// returned. It may be called like Shutdown, also while Shutdown waits.
func (s *Server) Close() error { return s.state.Close() }

// Drops returns how many messages were thrown away since Serve began, by
// "service: reason"; reasons never met are absent.
func (s *Server) Drops() map[string]uint64 {
	s.mu.Lock()
	services := s.current
	s.mu.Unlock()
	if services == nil {
		return nil
	}
	return services.drops()
}

func (s *Server) bootTimeout() time.Duration {
	if s.BootTimeout == 0 {
		return defaultBootTimeout
	}
	return s.BootTimeout
}

func (s *Server) setCurrent(services *services) {
	s.mu.Lock()
	s.current = services
	s.mu.Unlock()
}
