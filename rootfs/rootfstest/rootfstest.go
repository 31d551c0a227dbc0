package rootfstest

import (
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pxekit/pxe/rootfs"
)

// TB is the part of testing.TB that this package needs. *testing.T is one; so is
// any type of a program that is not a test.
type TB interface {
	// Helper and Errorf do what those of testing.TB do. Both are called on the
	// goroutine of the caller of Test.
	Helper()
	Errorf(format string, args ...any)
}

// An Option tells [Test] more about a transport.
type Option func(*suite)

// Schemes declares schemes of the transport's URLs beside http, https, tftp, nfs
// and nbd, which are the ones that this module's boot configurations know.
func Schemes(schemes ...string) Option {
	return func(s *suite) { s.schemes = append(s.schemes, schemes...) }
}

// Targets adds targets that the transport must find a URL for. Without it, it
// must find one for at least one of the targets that Test makes up, which know
// everything or lack something.
func Targets(targets ...rootfs.Target) Option {
	return func(s *suite) { s.wanted = append(s.wanted, targets...) }
}

// Files is what [rootfs.Site].Open opens. Without it every name there is opens
// as a file of some KiB. Files must implement io.ReaderAt, and fsys may be used
// by many goroutines at once.
func Files(fsys fs.FS) Option {
	return func(s *suite) { s.files = fsys }
}

// Client tells how to use a transport that listens: talk, reads something of the
// root file system that u names through conn, says goodbye, if the protocol has
// a word for it, and returns nil when it got what it should. It is called many
// times, by several goroutines at once. Test dials and closes conn, which has a
// deadline, and which is no *net.TCPConn because Test keeps what is sent: cut
// short or garbled, it is what the server is troubled with later.
func Client(talk func(ctx context.Context, conn net.Conn, u *url.URL) error) Option {
	return func(s *suite) { s.talk = talk }
}

// Patience is how long anything may take before it is said to hang; without it
// 30 seconds. It only costs time where a rule is broken.
func Patience(d time.Duration) Option {
	return func(s *suite) { s.patience = d }
}

// Test checks transports made by create, each of which is new, equally
// configured, valid, and not served before. It calls create many times.
func Test(t TB, create func() rootfs.RootFSTransport, options ...Option) {
	t.Helper()
	s := &suite{create: create, schemes: knownSchemes(), files: anyName{}, patience: 30 * time.Second, label: rand.Text()}
	for _, option := range options {
		option(s)
	}
	rules := []rule{
		{"Validate", s.validate},
		{"RootURL", s.rootURL},
		{"MountOptions", s.mountOptions},
		{"RootURL and MountOptions, many at once", s.concurrently},
	}
	if _, ok := create().(rootfs.ListenerTransport); ok {
		rules = append(rules, s.lifecycle()...)
		rules = append(rules, s.service()...)
	}
	for _, rule := range rules {
		// What hangs or leaks once does so everywhere: do not wait each time.
		if s.hopeless.Load() {
			return
		}
		for _, problem := range s.run(rule) {
			s.failed = true
			t.Errorf("rootfstest: %s: %s", rule.name, problem)
		}
	}
}

// suite is one call of Test.
type suite struct {
	create   func() rootfs.RootFSTransport
	schemes  []string
	wanted   []rootfs.Target
	files    fs.FS
	talk     func(context.Context, net.Conn, *url.URL) error
	patience time.Duration
	label    string      // of the goroutines of this call
	failed   bool        // a rule is broken
	hopeless atomic.Bool // something did not return, or left goroutines
}

// rule is a part of the contract and what checks it.
type rule struct {
	name  string
	check func(*report)
}

// report gathers the problems that one rule finds. The same problem, found for
// several targets, is one.
type report struct {
	problems []string
}

func (r *report) add(format string, args ...any) {
	if p := fmt.Sprintf(format, args...); !slices.Contains(r.problems, p) {
		r.problems = append(r.problems, p)
	}
}

// run checks one rule on a goroutine of its own, so that a transport that hangs
// or panics there is a problem too.
func (s *suite) run(rule rule) []string {
	done := make(chan []string, 1)
	go labelled(s.label, func() {
		r := new(report)
		defer func() {
			if v := recover(); v != nil {
				r.add("it panics: %v\n%s", v, debug.Stack())
			}
			done <- r.problems
		}()
		rule.check(r)
	})
	// A rule takes a few steps that each have the suite's patience.
	limit := time.NewTimer(8 * s.patience)
	defer limit.Stop()
	select {
	case problems := <-done:
		return problems
	case <-limit.C:
		s.hopeless.Store(true)
		return []string{fmt.Sprintf("it does not return within %v; what runs:\n%s", 8*s.patience, goroutines(s.label))}
	}
}

// oneSentence says why an error's text is not one sentence on one line.
func oneSentence(err error) string {
	text := err.Error()
	switch {
	case strings.TrimSpace(text) == "":
		return "has no text"
	case strings.ContainsAny(text, "\r\n"):
		return "is more than one line"
	case strings.HasSuffix(text, "."):
		return "ends in a full stop, which makes two sentences of it when it is wrapped"
	}
	return ""
}
