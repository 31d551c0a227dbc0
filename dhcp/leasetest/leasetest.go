package leasetest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/pxekit/pxe/dhcp"
)

// TB is the part of testing.TB that this package needs. *testing.T is one; so is
// any type of a program that is not a test.
type TB interface {
	// Helper and Errorf do what those of testing.TB do. Both are called on the
	// goroutine of the caller of TestStore and TestPolicy.
	Helper()
	Errorf(format string, args ...any)
}

// An Option tells [TestStore] or [TestPolicy] more about what is tested. Each says
// which of them heeds it.
type Option func(*config)

type config struct {
	patience time.Duration
	reopen   func(dhcp.Store) dhcp.Store
	addr     netip.Prefix
	clients  []net.HardwareAddr
	unknown  []net.HardwareAddr
	size     int
}

func configure(options []Option) *config {
	c := &config{patience: 30 * time.Second, addr: netip.MustParsePrefix("192.0.2.1/24")}
	for i := range 12 {
		c.clients = append(c.clients, net.HardwareAddr{0x02, 0, 0, 0, 1, byte(i + 1)})
	}
	for _, option := range options {
		option(c)
	}
	return c
}

// Patience is how long one rule may take before it is said to hang; without it 30
// seconds. It only costs time where a rule is broken. It is for both tests.
func Patience(d time.Duration) Option { return func(c *config) { c.patience = d } }

// rule is a part of a contract and what checks it.
type rule struct {
	name  string
	check func(context.Context, *report)
}

// report gathers the problems that one rule finds. It is safe for concurrent use.
type report struct {
	mu       sync.Mutex
	problems []string
}

// add notes a problem; the same one, seen several times, is one.
func (r *report) add(format string, args ...any) {
	p := fmt.Sprintf(format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.problems, p) {
		r.problems = append(r.problems, p)
	}
}

// err notes that something failed that must not, and reports whether it did.
func (r *report) err(err error, format string, args ...any) bool {
	if err != nil {
		r.add("%s: %v", fmt.Sprintf(format, args...), err)
	}
	return err != nil
}

func (r *report) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.problems)
}

// run checks rules one after the other, each on a goroutine of its own, so that
// code that hangs or panics there is a problem too. What hangs once does so
// everywhere: it ends the test.
func (c *config) run(t TB, what string, rules []rule) {
	t.Helper()
	for _, rule := range rules {
		problems, hangs := c.one(rule)
		for _, p := range problems {
			t.Errorf("leasetest: %s: %s: %s", what, rule.name, p)
		}
		if hangs {
			return
		}
	}
}

func (c *config) one(rule rule) (problems []string, hangs bool) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r, done := new(report), make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if v := recover(); v != nil {
				r.add("it panics: %v\n%s", v, debug.Stack())
			}
		}()
		rule.check(ctx, r)
	}()
	limit := time.NewTimer(c.patience)
	defer limit.Stop()
	select {
	case <-done:
		return r.all(), false
	case <-limit.C:
		return append(r.all(), fmt.Sprintf("it does not return within %v", c.patience)), true
	}
}

// atOnce calls f with 0 to n-1, each on a goroutine of its own that starts when
// all are there, and waits for them. A panic is reported.
func atOnce(r *report, n int, f func(i int)) {
	start := make(chan struct{})
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					r.add("it panics: %v\n%s", v, debug.Stack())
				}
			}()
			<-start
			f(i)
		})
	}
	close(start)
	group.Wait()
}
