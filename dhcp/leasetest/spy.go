package leasetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"sync"
	"time"

	"github.com/pxekit/pxe/dhcp"
)

// spy stands between the server and the policy and judges what it says.
type spy struct {
	policy dhcp.LeasePolicy
	r      *report
	stage  *stage

	mu    sync.Mutex
	hooks map[string]func(context.Context, *dhcp.Request) // see stage.ask
	ended bool                                            // ask with a context that has ended, first
}

// twice calls f, and before that once with a context that has ended, if that is
// what is tested. A panic is a problem, and an error to the server.
func (s *spy) twice(ctx context.Context, f func(ctx context.Context, judged bool) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			s.r.add("it panics: %v\n%s", v, debug.Stack())
			err = fmt.Errorf("it panics: %v", v)
		}
	}()
	s.mu.Lock()
	ended := s.ended
	s.mu.Unlock()
	if ended {
		gone, cancel := context.WithCancel(ctx)
		cancel()
		_ = f(gone, false) // it may fail
	}
	return f(ctx, true)
}

func (s *spy) Discover(ctx context.Context, q *dhcp.Request) (lease dhcp.Lease, err error) {
	err = s.twice(ctx, func(ctx context.Context, judged bool) (err error) {
		lease, err = s.policy.Discover(ctx, q)
		if judged {
			lease = s.judge("Discover", q, lease, err)
		}
		if judged && (errors.Is(err, dhcp.ErrNAK) || errors.Is(err, dhcp.ErrNotHolder)) {
			s.r.add("Discover returns %q, which is not for it", err)
		}
		return err
	})
	return lease, err
}

func (s *spy) Request(ctx context.Context, q *dhcp.Request) (lease dhcp.Lease, err error) {
	err = s.twice(ctx, func(ctx context.Context, judged bool) (err error) {
		lease, err = s.policy.Request(ctx, q)
		if judged {
			lease = s.judge("Request", q, lease, err)
		}
		if judged && errors.Is(err, dhcp.ErrNotHolder) {
			s.r.add("Request returns %q, which is not for it", err)
		}
		return err
	})
	return lease, err
}

func (s *spy) Release(ctx context.Context, q *dhcp.Request) error {
	s.mu.Lock()
	hook := s.hooks[string(q.HardwareAddr())]
	delete(s.hooks, string(q.HardwareAddr()))
	s.mu.Unlock()
	call := s.policy.Release
	if hook != nil {
		call = func(ctx context.Context, q *dhcp.Request) error { hook(ctx, q); return nil }
	}
	return s.giveBack(ctx, "Release", q, call)
}

func (s *spy) Decline(ctx context.Context, q *dhcp.Request) error {
	return s.giveBack(ctx, "Decline", q, s.policy.Decline)
}

func (s *spy) giveBack(ctx context.Context, what string, q *dhcp.Request, call func(context.Context, *dhcp.Request) error) error {
	// Once: the second call would rightly say that the client is no holder.
	err := s.twice(ctx, func(ctx context.Context, judged bool) error {
		if !judged {
			return nil
		}
		return call(ctx, q)
	})
	if err == nil {
		s.stage.tell(q.HardwareAddr(), outcome{}) // the server says nothing of it
	} else {
		s.known(what, err)
	}
	return err
}

// WithdrawOffer implements dhcp.OfferWithdrawer.
func (s *spy) WithdrawOffer(ctx context.Context, q *dhcp.Request) {
	w, ok := s.policy.(dhcp.OfferWithdrawer)
	if !ok {
		return
	}
	_ = s.twice(ctx, func(ctx context.Context, judged bool) error {
		if judged {
			w.WithdrawOffer(ctx, q)
		}
		return nil
	})
}

// judge judges a lease. It returns nil in place of one that would panic.
func (s *spy) judge(what string, q *dhcp.Request, lease dhcp.Lease, err error) dhcp.Lease {
	if err != nil {
		s.known(what, err)
	}
	if lease == nil {
		return nil
	}
	if v := reflect.ValueOf(lease); v.Kind() == reflect.Pointer && v.IsNil() {
		s.r.add("%s returns a Lease that holds a nil %T: to the server that is a lease, return nil itself", what, lease)
		return nil
	}
	if err != nil {
		s.r.add("%s returns both a lease of %s and the error %q", what, lease.Prefix(), err)
		return nil
	}
	if hw := lease.HardwareAddr(); !bytes.Equal(hw, q.HardwareAddr()) {
		s.r.add("%s returns a lease whose HardwareAddr is %s to client %s", what, hw, q.HardwareAddr())
	}
	if p := lease.Prefix(); !p.IsValid() || !p.Addr().Is4() || p.Addr().IsUnspecified() {
		s.r.add("%s returns a lease of %s, which is no IPv4 address with a mask", what, p)
	}
	if end := lease.Expiry(); !end.IsZero() && !end.After(time.Now()) {
		s.r.add("%s returns a lease that has ended at %s", what, end)
	}
	prefix, expiry := lease.Prefix(), lease.Expiry()
	if lease.Prefix() != prefix || !lease.Expiry().Equal(expiry) {
		s.r.add("%s returns a lease whose methods return another value each time", what)
	}
	return lease
}

// known reports an error that no decision is: the server counts it as a failure.
func (s *spy) known(what string, err error) {
	for _, decision := range []error{dhcp.ErrNAK, dhcp.ErrNoAddress, dhcp.ErrNotHolder, dhcp.ErrLimit} {
		if errors.Is(err, decision) {
			return
		}
	}
	s.r.add("%s fails: %v", what, err)
}
