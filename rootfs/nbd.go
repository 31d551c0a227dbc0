package rootfs

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/pxekit/pxe/internal/bootvalue"
	"github.com/pxekit/pxe/internal/lifecycle"
	"github.com/pxekit/pxe/rootfs/nbd"
)

// NBD is a root file system on a network block device that this program serves,
// by the server of package [nbd]: the machine mounts an export as if it were a
// disk and reads what it needs. SystemRescue wants the raw ISO image there and
// looks into it itself. [RemoteNBD] is for an NBD server elsewhere.
//
// An NBD must not be copied, its fields must not change after it was handed to a
// server, and one that was shut down serves no more. Its methods may be called
// concurrently.
type NBD struct {
	// Exports are what this server offers, one at least.
	Exports []nbd.Export

	// Export is the name of the export that machines are sent to, of letters,
	// digits and "-._~:/@+=,". Empty: "archiso", which SystemRescue and Arch
	// Linux ask for if they are not told.
	Export string

	// Live keeps the machine on the export for as long as it runs. Without it
	// a system that can do so copies the root file system to memory and
	// disconnects; those of dracut stay.
	Live bool

	// TLS, if set, is offered to clients that ask for it. No initramfs known to
	// this module does.
	TLS *tls.Config

	// MaxConnections and MaxConnectionsPerClient bound how many clients are
	// connected at once, in all and from one address; see [nbd.Server].
	MaxConnections, MaxConnectionsPerClient int

	state lifecycle.State
}

// nbdPort is the standard port, which goes without saying in a URL.
const nbdPort = 10809

// defaultExport is what archiso's initramfs asks for by default.
const defaultExport = "archiso"

// Validate reports what is wrong with the configuration.
func (n *NBD) Validate() error {
	if f := bootvalue.CheckPlain(n.export()); !f.OK() {
		return fmt.Errorf("rootfs: NBD.Export %q %s", n.Export, f)
	}
	if len(n.Exports) == 0 {
		return errors.New("rootfs: NBD.Exports is empty: set it to what to serve, or use RemoteNBD for a server elsewhere")
	}
	if n.find(n.export()) == nil {
		return fmt.Errorf("rootfs: NBD.Exports has no %q, where machines are sent: set NBD.Export to one that it has", n.export())
	}
	return n.newServer(Site{}).Validate()
}

// RootURL returns nbd://192.0.2.1/archiso~ID, with the port where it is not 10809:
// the export carries the boot's ID behind a tilde, so that its connection names its
// boot. It returns a [*TargetError] when the server has no NBD listener for this
// target, and the error of Validate for what boot code would misread.
func (n *NBD) RootURL(t Target) (*url.URL, error) {
	if err := n.Validate(); err != nil {
		return nil, err
	}
	if !t.NBD.IsValid() {
		return nil, &TargetError{
			Transport: "nbd",
			Reason:    "this server does not serve NBD to it",
			Remedy:    "give the server an NBD listener, or use RemoteNBD for a server that has the export",
		}
	}
	name := n.export()
	if t.BootID != "" {
		name += bootMark + t.BootID
	}
	if f := bootvalue.CheckPlain(t.BootID); !f.OK() {
		return nil, fmt.Errorf("rootfs: Target.BootID %q %s", t.BootID, f)
	}
	return nbdURL(t.NBD, name), nil
}

// nbdURL is the URL of an export.
func nbdURL(addr netip.AddrPort, name string) *url.URL {
	host := addr.String()
	if addr.Port() == nbdPort {
		host = hostOf(addr.Addr())
	}
	return &url.URL{Scheme: "nbd", Host: host, Path: "/" + name}
}

// hostOf is an address as the host of a URL.
func hostOf(addr netip.Addr) string {
	if addr.Is6() {
		return "[" + addr.String() + "]"
	}
	return addr.String()
}

// MountOptions returns Live.
func (n *NBD) MountOptions(Target) (MountOptions, error) { return MountOptions{Live: n.Live}, nil }

// Serve serves the exports on l; see [ListenerTransport].
// Nothing is opened through the site: exports open themselves.
func (n *NBD) Serve(l net.Listener, site Site) error {
	run, err := n.state.Begin(func() {}, func() {})
	if err != nil {
		l.Close()
		return err
	}
	defer run.End()
	server := n.newServer(site)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-run.Draining():
		if n.Live || server.Shutdown(run.Context()) != nil {
			server.Close()
		}
		return <-served
	}
}

// Shutdown refuses new connections and waits until those that are there have
// ended, so that machines finish their copies, or until ctx is done, whose error
// it returns then. With Live set machines do not end their connections by
// themselves, and it is Close.
func (n *NBD) Shutdown(ctx context.Context) error { return n.state.Shutdown(ctx) }

// Close ends all connections at once. Clients that can reconnect go on with
// another server that has the same exports.
func (n *NBD) Close() error { return n.state.Close() }

// export returns the name that machines are sent to.
func (n *NBD) export() string { return cmp.Or(n.Export, defaultExport) }

// find returns the export of this name.
func (n *NBD) find(name string) *nbd.Export {
	for i := range n.Exports {
		if n.Exports[i].Name == name {
			return &n.Exports[i]
		}
	}
	return nil
}

// newServer returns the server of one call of Serve.
func (n *NBD) newServer(site Site) *nbd.Server {
	server := &nbd.Server{
		Exports: n.Exports, TLS: n.TLS,
		MaxConnections: n.MaxConnections, MaxConnectionsPerClient: n.MaxConnectionsPerClient,
		Find: n.lookup,
	}
	report := func(hear func(Session), s nbd.Session, r nbd.Result) {
		if hear == nil {
			return
		}
		name, id := s.Export, ""
		if name == "" {
			name = n.export()
		} else if n.find(name) == nil {
			name, id = cutBootID(name)
		}
		hear(Session{Client: s.Client, BootID: id, Name: name, Size: s.Size, Bytes: r.Bytes, Err: r.Err, Aborted: r.Aborted})
	}
	server.Trace = &nbd.Trace{
		Start: func(s nbd.Session) { report(site.Began, s, nbd.Result{}) },
		Done:  func(s nbd.Session, r nbd.Result) { report(site.Ended, s, r) },
		Dropped: func(reason nbd.DropReason, client netip.AddrPort, err error) {
			if site.Dropped != nil {
				site.Dropped(string(reason), client, err)
			}
		},
	}
	return server
}

// bootMark stands between the name of an export and a boot's ID.
const bootMark = "~"

// maxBootID is the longest ID that is taken for one: it is a client's word.
const maxBootID = 64

// cutBootID takes the boot's ID off a name; id is empty if there is none.
func cutBootID(name string) (rest, id string) {
	i := strings.LastIndex(name, bootMark)
	if i < 0 {
		return name, ""
	}
	id = name[i+len(bootMark):]
	if len(id) > maxBootID || strings.Contains(id, "/") || !bootvalue.CheckPlain(id).OK() {
		return name, ""
	}
	return name[:i], id
}

// lookup finds what is not in Exports as it stands: the default export, and one
// with the ID of a boot.
func (n *NBD) lookup(_ context.Context, name string) (*nbd.Export, error) {
	if name == "" {
		name = n.export() // for clients that name none
	}
	rest, _ := cutBootID(name)
	for _, name := range []string{name, rest} {
		if e := n.find(name); e != nil {
			return e, nil
		}
	}
	return nil, fs.ErrNotExist
}
