package rootfstest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pxekit/pxe/rootfs"
)

// service are the rules about clients.
func (s *suite) service() []rule {
	rules := []rule{
		{"Site.Open is for what clients ask for", s.lazy},
		{"clients that are silent, hasty or babble", s.troubled},
		{"Close with clients connected", s.closedUnderClients},
	}
	if s.talk == nil {
		return rules
	}
	return append([]rule{
		{"a client", s.session},
		{"clients, many at once", s.sessions},
		{"a Site without anything", s.emptySite},
	}, rules...)
}

// urlFor returns the URL by which a machine on loopback finds the listener.
func (s *suite) urlFor(transport rootfs.RootFSTransport, at netip.AddrPort) *url.URL {
	target := complete(at.Addr().String(), at.Addr().String())
	target.NBD = at
	if u, err := transport.RootURL(target); err == nil && u != nil {
		return u
	}
	for _, target := range s.wanted {
		target.NBD, target.Server = at, at.Addr()
		if u, err := transport.RootURL(target); err == nil && u != nil {
			return u
		}
	}
	return &url.URL{Scheme: "unknown", Host: at.String(), Path: "/"}
}

// dial connects to the server.
func (v *served) dial() *recorder {
	conn, err := net.DialTimeout("tcp", v.listener.Addr().String(), v.s.patience)
	if err != nil {
		select {
		case ended := <-v.done:
			v.r.add("Serve returns %v without Shutdown or Close, because of what a client sent: nothing that a client sends ends a server", ended)
			v.done <- ended
		default:
			v.r.add("a client cannot connect while the server serves: %v", err)
		}
		return nil
	}
	_ = conn.SetDeadline(time.Now().Add(v.s.patience))
	return &recorder{Conn: conn}
}

// client runs the well-behaved client and reports whether it is content.
func (v *served) client(when string) (*recorder, bool) {
	conn := v.dial()
	if conn == nil {
		return nil, false
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), v.s.patience)
	defer cancel()
	if err := v.s.talk(ctx, conn, cloneURL(v.url)); err != nil {
		v.r.add("a well-behaved client %s fails: %v", when, err)
		return conn, false
	}
	return conn, true
}

// session checks what one client is and what is told of it.
func (s *suite) session(r *report) {
	v := s.prepare(r, s.site())
	if v == nil || !v.started() {
		return
	}
	conn, content := v.client("that is alone")
	if !content {
		s.talk = nil // what one does not get, many do not get either
	}
	if !v.shutdown() || !v.ended("Shutdown") || !content {
		return
	}
	sessions := v.site.sessions
	if len(sessions) == 0 {
		r.add("a client read its root file system, and Site.Began and Ended were not told of it")
		return
	}
	client := conn.LocalAddr().(*net.TCPAddr).AddrPort()
	carries := strings.Contains(v.url.Path, bootID)
	var sent int64
	for _, session := range sessions {
		sent += session.Bytes
		if session.Client != client {
			r.add("a session has the Client %v, and the connection came from %v", session.Client, client)
		}
		if carries && session.BootID != bootID {
			r.add("the client asked with the BootID %q, as %q told it to, and its session has %q", bootID, v.url, session.BootID)
		}
		if carries && strings.Contains(session.Name, bootID) {
			r.add("a session has the Name %q, with the boot's ID in it: that is what BootID is for", session.Name)
		}
	}
	if sent == 0 {
		r.add("a client read something of its root file system, and no session has Bytes")
	}
}

// sessions checks that clients do not wait for each other.
func (s *suite) sessions(r *report) {
	if s.talk == nil {
		return
	}
	v := s.prepare(r, s.site())
	if v == nil || !v.started() {
		return
	}
	reports := make([]report, 8)
	var group sync.WaitGroup
	for i := range reports {
		group.Go(func() {
			mine := *v
			mine.r = &reports[i]
			mine.client("beside others")
		})
	}
	group.Wait()
	for _, one := range reports {
		for _, p := range one.problems {
			r.add("%s", p)
		}
	}
	if v.shutdown() {
		v.ended("Shutdown")
	}
}

// emptySite checks that every field of a Site may be nil. The client may get
// nothing then; the server must bear it.
func (s *suite) emptySite(r *report) {
	if s.talk == nil {
		return
	}
	v := s.prepare(r, &site{silent: true})
	if v == nil || !v.started() {
		return
	}
	if conn := v.dial(); conn != nil {
		_ = conn.SetDeadline(time.Now().Add(min(s.patience, 2*time.Second))) // it may never hear of it
		_ = s.talk(context.Background(), conn, cloneURL(v.url))
		_ = conn.Close()
	}
	if v.shutdown() {
		v.ended("Shutdown")
	}
}

// lazy checks that nothing is opened before somebody asks: an upstream that
// cannot be reached, or a medium that is exchanged, is a client's problem, not
// the server's start.
func (s *suite) lazy(r *report) {
	v := s.prepare(r, s.site())
	if v == nil || !v.started() {
		return
	}
	if names := v.site.openedNames(); len(names) > 0 {
		r.add("Serve opens %q before there is a client", names)
	}
	conn := v.dial()
	if conn != nil {
		v.accepts(1)
		_ = conn.Close()
	}
	if !v.shutdown() || !v.ended("Shutdown") {
		return
	}
	if names := slices.Clone(v.site.openedNames()); len(names) > 0 {
		r.add("it opens %q for a client that connected and asked for nothing", names)
	}
	if v.site.began > 0 {
		r.add("it tells Site.Began of a client that connected and asked for nothing")
	}
}

// accepts waits until so many connections were accepted.
func (v *served) accepts(n int64) bool {
	for deadline := time.Now().Add(v.s.patience); v.listener.accepted.Load() < n; {
		if time.Now().After(deadline) {
			v.r.add("%d clients have connected, and only %d were accepted within %v: accepting must not wait for a client",
				n, v.listener.accepted.Load(), v.s.patience)
			return false
		}
		time.Sleep(time.Millisecond)
	}
	return true
}

func quote(s string) string {
	if len(s) > 100 {
		return fmt.Sprintf("%q and %d more bytes", s[:100], len(s)-100)
	}
	return strconv.Quote(s)
}
