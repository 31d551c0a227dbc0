package pxe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/internal/connlimit"
	"github.com/pxekit/pxe/internal/drop"
	"github.com/pxekit/pxe/internal/udp"
	"github.com/pxekit/pxe/rootfs"
	"github.com/pxekit/pxe/tftp"
)

// services are the protocol servers of one call of Serve, over one registry.
type services struct {
	server      *Server
	registry    *registry
	connections connections
	// The ports of the services; 0: not served.
	httpPort, httpsPort, tftpPort, nbdPort uint16
	dhcpPort                               uint16 // 0: the standard one

	list []service
	dhcp *dhcp.Server
	tftp *tftp.Server

	files *rootfs.Files // over HTTP and HTTPS, which share its limits

	emitting   sync.Mutex
	neighbours udp.Neighbours
	transfers  sync.Map // *tftp.Request -> transfer, of those that run
	noFrames   sync.Once
	rootDrops  drop.Counts[string]
}

// service is one protocol server.
type service struct {
	name     string
	serve    func() error
	shutdown func(context.Context) error
	close    func() error
}

// ended is the error of a Serve that this service has ended, unless it was asked to.
// A transport that was closed before, by a Server that it was part of, ends at once
// and as if it had been asked to: that is no good end.
func (s service) ended(err error) error {
	if errors.Is(err, ErrServerClosed) {
		return fmt.Errorf("pxe: %s service: closed by someone else than this Server: a transport is for one Server, make another", s.name)
	}
	return fmt.Errorf("pxe: %s service: %w", s.name, err)
}

// Bounds of the HTTP server. There is no write timeout: a root file system may
// take an hour. The file handler bounds slow clients by their progress.
const (
	httpHeaderTimeout = 10 * time.Second
	httpIdleTimeout   = 2 * time.Minute
	httpHeaderBytes   = 16 << 10
	// httpConnections is far more than machines load at once, and far fewer
	// than would use up the process's descriptors under a flood.
	httpConnections = 4096
)

func (s *Server) newServices(sockets Sockets) *services {
	v := &services{server: s, registry: newRegistry(s.MaxMachines)}
	v.files = &rootfs.Files{
		Open: v.openHTTP, Limits: s.HTTPLimits,
		Trace: &rootfs.Trace{Start: v.httpStart, Progress: v.httpProgress, Done: v.httpDone},
	}
	if sockets.HTTP != nil {
		v.httpPort = portOf(sockets.HTTP.Addr())
		v.addHTTP("HTTP", sockets.HTTP, (*http.Server).Serve)
	}
	if l := wanted(sockets.HTTPS, s.TLS != nil); l != nil {
		v.httpsPort = portOf(l.Addr())
		v.addHTTP("HTTPS", l, func(server *http.Server, l net.Listener) error { return server.ServeTLS(l, "", "") })
	}
	if l := wanted(sockets.NBD, s.rootServer() != nil); l != nil {
		v.nbdPort = portOf(l.Addr())
		v.addRoot(l)
	}
	if sockets.TFTP != nil {
		v.tftpPort = portOf(sockets.TFTP.LocalAddr())
		v.addTFTP(sockets.TFTP, sockets)
	}
	// Last: a machine that gets an address finds the rest ready.
	v.addDHCP(sockets.DHCP, sockets.PXE)
	return v
}

// addDHCP adds what there is of ports 67 and 4011: two services of one DHCP server.
func (v *services) addDHCP(conn, pxe net.PacketConn) {
	if conn != nil {
		v.dhcpPort = portOf(conn.LocalAddr())
	}
	v.dhcp = v.server.dhcpServer(v)
	v.dhcp.PXE = pxe != nil
	if pxe != nil {
		v.list = append(v.list, service{
			name:     "PXE",
			serve:    func() error { return v.dhcp.ServePXE(pxe) },
			shutdown: v.dhcp.Shutdown, close: v.dhcp.Close,
		})
	}
	if conn != nil {
		v.list = append(v.list, service{
			name:     "DHCP",
			serve:    func() error { return v.dhcp.Serve(conn) },
			shutdown: v.dhcp.Shutdown, close: v.dhcp.Close,
		})
	}
}

func (v *services) addTFTP(conn net.PacketConn, sockets Sockets) {
	// A trace has no context, and the Booter may be asked on its way.
	ctx, cancel := context.WithCancel(context.Background())
	v.tftp = &tftp.Server{
		Handler:      tftp.FileHandler(v.openTFTP),
		OpenTransfer: sockets.OpenTransfer,
		Trace: &tftp.Trace{
			Start: func(r *tftp.Request) { v.tftpStart(ctx, r) }, Done: v.tftpDone,
			Dropped: v.tftpDropped,
		},
	}
	v.list = append(v.list, service{
		name: "TFTP",
		serve: func() error {
			defer cancel()
			return v.tftp.Serve(conn)
		},
		shutdown: v.tftp.Shutdown,
		close: func() error {
			cancel()
			return v.tftp.Close()
		},
	})
}

// wanted returns a listener if it is, and closes it otherwise: a client would
// wait on it for ever.
func wanted(l net.Listener, is bool) net.Listener {
	if l != nil && !is {
		l.Close()
		return nil
	}
	return l
}

// addRoot adds the server that the root file system's transport is.
func (v *services) addRoot(listener net.Listener) {
	root := v.server.rootServer()
	v.list = append(v.list, service{
		name: "NBD",
		serve: func() error {
			return root.Serve(listener, rootfs.Site{
				Open: v.openRoot, Began: v.rootBegan, Ended: v.rootEnded, Dropped: v.rootDropped,
			})
		},
		shutdown: root.Shutdown, close: root.Close,
	})
}

// rootServer returns the Root if it serves by itself, else nil.
func (s *Server) rootServer() rootfs.ListenerTransport {
	if t, ok := s.Root.(rootfs.ListenerTransport); ok && !isNil(t) {
		return t
	}
	return nil
}

func (v *services) addHTTP(name string, listener net.Listener, serve func(*http.Server, net.Listener) error) {
	var handlers handlers
	server := &http.Server{
		Handler:           handlers.wrap(v.nameBoot(v.files)),
		ReadHeaderTimeout: httpHeaderTimeout,
		IdleTimeout:       httpIdleTimeout,
		MaxHeaderBytes:    httpHeaderBytes,
		// Mostly texts about connections of clients: nothing an operator can act on.
		ErrorLog:                     slog.NewLogLogger(v.logger().Handler(), slog.LevelDebug),
		DisableGeneralOptionsHandler: true,
		TLSConfig:                    v.server.TLS,
		TLSNextProto:                 make(map[string]func(*http.Server, *tls.Conn, http.Handler)), // no HTTP/2
		ConnState:                    v.connections.state,
	}
	// net/http does not tell a handler that the server was closed, nor that a
	// client is gone which sent a byte too many: what waits is ended by this.
	ctx, cancel := context.WithCancel(context.Background())
	server.BaseContext = func(net.Listener) context.Context { return ctx }
	limited := connlimit.Listener(listener, httpConnections, server)
	stopped := make(chan struct{}) // shutdown or close has returned
	var stop sync.Once
	v.list = append(v.list, service{
		name: name,
		serve: func() error {
			err := serve(server, limited)
			if errors.Is(err, http.ErrServerClosed) {
				<-stopped // who was accepted just before is served
				err = ErrServerClosed
			} else {
				cancel()
				server.Close() // its connections do not outlive the listener that failed
			}
			handlers.end()
			cancel()
			return err
		},
		shutdown: func(ctx context.Context) error {
			defer stop.Do(func() { close(stopped) })
			return server.Shutdown(ctx)
		},
		close: func() error {
			defer stop.Do(func() { close(stopped) })
			cancel()
			return server.Close()
		},
	})
}

func (v *services) logger() *slog.Logger {
	if v.server.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return v.server.Logger
}

// handlers lets Serve return only after the last HTTP handler has: closing an
// http.Server does not wait for them. The zero value is ready.
type handlers struct {
	mu      sync.Mutex
	running int
	ended   bool
	idle    chan struct{} // closed by the last one, once ended
}

func (h *handlers) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !h.enter() {
			panic(http.ErrAbortHandler) // to return would be an empty success
		}
		defer h.leave()
		next.ServeHTTP(w, r)
	})
}

func (h *handlers) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return false
	}
	h.running++
	return true
}

func (h *handlers) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running--; h.running == 0 && h.ended {
		close(h.idle)
	}
}

// end waits for the handlers that run and keeps others from starting.
func (h *handlers) end() {
	h.mu.Lock()
	h.ended, h.idle = true, make(chan struct{})
	if h.running == 0 {
		close(h.idle)
	}
	h.mu.Unlock()
	<-h.idle
}

// shutdown drains every service, and ends those that have not finished when ctx
// is done.
func (v *services) shutdown(ctx context.Context) {
	var group sync.WaitGroup
	for _, service := range v.list {
		group.Go(func() {
			if service.shutdown(ctx) != nil {
				service.close()
			}
		})
	}
	group.Wait()
}

func (v *services) close() {
	for _, service := range v.list {
		service.close()
	}
}

func (v *services) drops() map[string]uint64 {
	all := make(map[string]uint64)
	if v.dhcp != nil {
		for reason, n := range v.dhcp.Drops() {
			all["dhcp: "+string(reason)] = n
		}
	}
	if v.tftp != nil {
		for reason, n := range v.tftp.Drops() {
			all["tftp: "+string(reason)] = n
		}
	}
	for reason, n := range v.rootDrops.Snapshot() {
		all["nbd: "+reason] = n
	}
	return all
}

// emit hands an event to the embedder, one at a time.
func (v *services) emit(e Event) {
	if v.server.OnEvent == nil {
		return
	}
	v.emitting.Lock()
	defer v.emitting.Unlock()
	e.Time = time.Now()
	v.server.OnEvent(e)
}

// dhcpServer returns the DHCP server of this configuration; v is nil when it is
// only to be validated.
func (s *Server) dhcpServer(v *services) *dhcp.Server {
	d := &dhcp.Server{
		Networks: s.Networks, ClientPort: s.ClientPort, RelayPort: s.RelayPort,
		Quirks: s.Quirks, Classify: s.Classify, Logger: s.Logger,
		BootFile: v.bootFile,
	}
	if v != nil {
		d.ServerPort = v.dhcpPort
		d.Trace = &dhcp.Trace{
			Received: v.dhcpReceived, Sending: v.dhcpSending, Sent: v.dhcpSent,
			Dropped: v.dhcpDropped,
		}
	}
	return d
}
