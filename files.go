package pxe

import (
	"context"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/bootcfg"
	"github.com/pxekit/pxe/tftp"
)

// What a name means is the same over TFTP and HTTP: "~ID/" in front names the
// boot, else the sender's address does; then come the configuration of the
// machine's boot loader, the files that its menu brings, and Files.

// openTFTP opens what a TFTP client asks for.
func (v *services) openTFTP(ctx context.Context, r *tftp.Request) (fs.File, error) {
	t := v.transferOf(r)
	return v.open(ctx, t.boot, t.name)
}

// bootKey is the context key of the boot that an HTTP request belongs to.
type bootKey struct{}

// nameBoot takes the boot's ID out of a request's path and passes the boot on
// in its context.
func (v *services) nameBoot(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var local netip.AddrPort
		if addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
			local, _ = netip.ParseAddrPort(addr.String())
		}
		b, rest := v.bootOfRequest(r.Context(), strings.TrimPrefix(r.URL.Path, "/"), remoteAddr(r), local.Addr(), true)
		named := r.WithContext(context.WithValue(r.Context(), bootKey{}, b))
		if cut := len(strings.TrimPrefix(r.URL.Path, "/")) - len(rest); cut > 0 {
			// Nothing in "~ID/" needs escaping, so both forms lose the same.
			u := *r.URL
			u.Path = "/" + rest
			if u.RawPath != "" {
				u.RawPath = "/" + strings.TrimPrefix(u.RawPath, "/")[cut:]
			}
			named.URL = &u
		}
		next.ServeHTTP(w, named)
	})
}

func bootOf(ctx context.Context) *boot {
	b, _ := ctx.Value(bootKey{}).(*boot)
	return b
}

func (v *services) openHTTP(ctx context.Context, name string) (fs.File, error) {
	return v.open(ctx, bootOf(ctx), name)
}

// bootOfRequest is bootOfName for a file that is asked for, from an address of ours.
// What this server does not know any more it looks up in the leases.
func (v *services) bootOfRequest(ctx context.Context, name string, from, server netip.Addr, byHTTP bool) (*boot, string) {
	b, rest := v.bootOfName(name, from)
	if b == nil {
		b = v.restore(ctx, from.Unmap(), server.Unmap(), func() bool { return rest != name || v.ofBoot(rest) })
	}
	if b != nil && b.restored {
		v.prepare(ctx, b, byHTTP)
	}
	return b, rest
}

// bootOfName splits "~ID/" off a name and returns the boot it names; a name
// without it, or with the ID of a boot that is over, belongs to the machine
// that has the sender's address. The boot is nil when nobody is known there.
func (v *services) bootOfName(name string, from netip.Addr) (*boot, string) {
	if id, rest, ok := cutBootID(name); ok {
		if b := v.registry.ofID(id); b != nil {
			return b, rest
		}
		name = rest
	}
	return v.bootAt(from), name
}

// cutBootID splits the ID off "~ID/rest". A medium may have names that begin
// with a tilde, so only what newBootID could have made is taken for an ID.
func cutBootID(name string) (id, rest string, ok bool) {
	if !strings.HasPrefix(name, "~") {
		return "", name, false
	}
	id, rest, ok = strings.Cut(name[1:], "/")
	if !ok || len(id) != bootIDLen || strings.Trim(id, bootIDLetters) != "" {
		return "", name, false
	}
	return id, rest, true
}

// open opens a file for a machine in boot b, which is nil when not known. Errors
// of the file system carry names only, no paths of this host: the servers send
// fixed texts anyway.
func (v *services) open(ctx context.Context, b *boot, name string) (fs.File, error) {
	if b != nil {
		if content, ok := b.made(name); ok {
			return asset.Memory{name: content}.OpenFile(ctx, name)
		}
	}
	if v.server.Files == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return v.server.Files.OpenFile(ctx, name)
}

// made returns a file that exists for this boot only: its loader's
// configuration, or a file that the menu brings.
func (b *boot) made(name string) ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.menu == nil {
		return nil, false
	}
	if config := b.configOf(name); config != nil {
		return config.Text, true
	}
	for _, config := range b.configs {
		if content, ok := config.Files[name]; ok {
			return content, true
		}
	}
	content, ok := b.menu.Files[name]
	return content, ok
}

// configOf returns the configuration that is probed for under this name, nil
// when it is none. What a machine gets is decided by who asks: all probes of
// one loader have one answer. b.mu is held.
func (b *boot) configOf(name string) *bootcfg.Config {
	for family, config := range b.configs {
		language, err := renderer(family)
		if err != nil {
			continue
		}
		if _, ok := language.Probe(name); ok {
			return config
		}
	}
	return nil
}

// stageOf says which step of the boot a file is.
func (b *boot) stageOf(name string) Stage {
	if b == nil {
		return StageFile
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.menu == nil {
		return StageFile
	}
	if b.configOf(name) != nil {
		return StageConfig
	}
	for _, config := range b.configs {
		if _, ok := config.Files[name]; ok {
			return StageConfig
		}
	}
	for _, e := range b.menu.Entries {
		switch {
		case name == e.Kernel:
			return StageKernel
		case slices.Contains(e.Initrds, name):
			return StageInitrd
		case slices.Contains(e.RootFiles, name):
			return StageRoot
		}
	}
	if slices.Contains(b.loaders, name) || isModule(name) {
		return StageLoader
	}
	return StageFile
}

// isModule tells the modules of pxelinux, and GRUB's with the lists of them.
func isModule(name string) bool {
	return slices.Contains([]string{".c32", ".mod", ".lst"}, path.Ext(name))
}

// asked remembers that the machine has begun to fetch a file.
func (b *boot) asked(stage Stage) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.heard = time.Now()
	b.kernel = b.kernel || stage == StageKernel
}

// delivered remembers that a file reached the machine whole.
func (b *boot) delivered(stage Stage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.heard = time.Now()
	reached := b.progress
	switch stage {
	case StageLoader:
		reached = inLoader
	case StageConfig, StageKernel:
		reached = inConfig
	case StageRoot:
		reached = inSystem
	}
	b.progress = max(b.progress, reached)
}

// event fills in what a boot knows of an event about it.
func (b *boot) event(e Event) Event {
	if b == nil {
		return e
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e.Boot, e.Machine = b.id, b.hw
	if !e.Addr.IsValid() {
		e.Addr = b.machine.Addr
	}
	return e
}
