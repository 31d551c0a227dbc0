package dhcp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/internal/lifecycle/lifecycletest"
)

func TestLifecycle(t *testing.T) {
	lifecycletest.Test(t, func(testing.TB) lifecycletest.Subject {
		s, c := newServer(), newFakeConn(t)
		return lifecycletest.Subject{
			Serve: func() error { return s.Serve(c) }, Shutdown: s.Shutdown, Close: s.Close,
			Closed: c.isClosed,
			Fail:   func() { c.fail(errors.New("gone")) }, FailName: "socket 0.0.0.0:67",
		}
	})
}

// gated is a policy whose Discover waits until it is told to go on.
type gated struct {
	inventory
	entered chan *Request
	leave   chan struct{}
}

func newGated() *gated {
	return &gated{inventory{lease: lease("192.0.2.50/32")}, make(chan *Request, 100), make(chan struct{})}
}

func (g *gated) Discover(ctx context.Context, r *Request) (Lease, error) {
	g.entered <- r
	select {
	case <-g.leave:
		return g.lease, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func withPolicy(p LeasePolicy) func(*Server) { return func(s *Server) { s.Networks[0].Leases = p } }

func TestShutdownLetsClientsInWorkHaveTheirReplies(t *testing.T) {
	g := newGated()
	s, c := newServer(withPolicy(g)), newFakeConn(t)
	served := make(chan error, 1)
	go func() { served <- s.Serve(c) }()
	for i := range 10 {
		c.put(discover(mac(i)))
		<-g.entered
	}
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(t.Context()) }()
	require.Eventually(t, func() bool { return s.Shutdown(canceled()) != nil }, 5*time.Second, time.Millisecond, "still draining")
	close(g.leave)
	for range 10 {
		c.next(t)
	}
	require.NoError(t, <-down)
	require.ErrorIs(t, <-served, ErrServerClosed)
	require.True(t, c.isClosed())
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestCloseEndsThePolicysContext(t *testing.T) {
	g := newGated()
	s, c := newServer(withPolicy(g)), newFakeConn(t)
	served := make(chan error, 1)
	go func() { served <- s.Serve(c) }()
	c.put(discover(mac(1)))
	<-g.entered
	require.NoError(t, s.Close())
	require.ErrorIs(t, <-served, ErrServerClosed)
	require.Empty(t, c.out)
}

func TestDispatch(t *testing.T) {
	g := newGated()
	var mu sync.Mutex
	var drops []Drop
	s := newServer(withPolicy(g), func(s *Server) {
		s.MaxClients = 3
		s.Trace = &Trace{Dropped: func(d Drop) { mu.Lock(); drops = append(drops, d); mu.Unlock() }}
	})
	c := serve(t, s)
	dropped := func(n int) Drop {
		require.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(drops) == n }, 10*time.Second, time.Millisecond)
		return drops[n-1]
	}
	// Three clients are in the policy at once.
	for i := range 3 {
		c.put(discover(mac(i)))
		require.Equal(t, mac(i), (<-g.entered).HardwareAddr())
	}
	c.put(discover(mac(3)))
	d := dropped(1)
	require.Equal(t, QueueFull, d.Reason)
	require.Equal(t, mac(3), d.HardwareAddr)
	require.Equal(t, "eth1", d.Interface)

	c.put(discover(mac(0)))
	require.Equal(t, Duplicate, dropped(2).Reason, "a retransmission of what is in work")
	c.put(discover(mac(0), func(p *dhcpv4.DHCPv4) { p.NumSeconds, p.HopCount = 4, 1 }))
	require.Equal(t, Duplicate, dropped(3).Reason)
	for i := range maxWaiting {
		c.put(discover(mac(0), xid(uint32(i+10))))
	}
	c.put(discover(mac(0), xid(10)))
	require.Equal(t, Duplicate, dropped(4).Reason, "of what is waiting")
	c.put(discover(mac(0), xid(99)))
	require.Equal(t, LimitExceeded, dropped(5).Reason)
	require.Empty(t, g.entered, "one packet of a client at a time")

	close(g.leave)
	order := []uint32{}
	for range 3 + maxWaiting {
		p, _ := c.next(t)
		if bytes.Equal(p.ClientHWAddr, mac(0)) {
			order = append(order, uint32(p.TransactionID[3]))
		}
	}
	require.Equal(t, []uint32{4, 10, 11, 12, 13}, order, "in order")
	require.Equal(t, map[DropReason]uint64{QueueFull: 1, Duplicate: 3, LimitExceeded: 1}, s.Drops())
}

func TestAThousandClientsAtOnce(t *testing.T) {
	s := newServer(withPool(&Pool{First: addr("192.0.2.2"), Last: addr("192.0.17.254")}), func(s *Server) {
		s.Networks[0].Addr = netip.MustParsePrefix("192.0.2.1/16")
		s.MaxClients = 4096
	})
	c := serve(t, s)
	go func() {
		for i := range 1000 {
			c.put(discover(mac(i)))
		}
	}()
	seen := map[string]bool{}
	for len(seen) < 1000 {
		p, _ := c.next(t)
		if p.MessageType() == dhcpv4.MessageTypeOffer {
			c.put(request(p.ClientHWAddr, selecting(p.YourIPAddr.String())))
			continue
		}
		require.Equal(t, dhcpv4.MessageTypeAck, p.MessageType())
		require.False(t, seen[p.YourIPAddr.String()], "given twice")
		seen[p.YourIPAddr.String()] = true
	}
	require.Empty(t, s.Drops())
}

func TestReadErrorsThatPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s, c := newServer(func(s *Server) { s.Logger = slog.New(slog.NewTextHandler(&log, nil)) }), newFakeConn(t)
		done := make(chan error, 1)
		go func() { done <- s.Serve(c) }()
		passing := []error{syscall.ENETDOWN, syscall.ENOBUFS, syscall.EINTR, syscall.ECONNREFUSED,
			&net.OpError{Op: "read", Err: syscall.ENETUNREACH}}
		for _, err := range passing {
			c.fail(err)
			doraOn(t, c, mac(1))
			synctest.Wait()
		}
		start := time.Now()
		for range 10 {
			c.fail(syscall.ENETDOWN)
		}
		doraOn(t, c, mac(2))
		require.Greater(t, time.Since(start), 3*time.Second, "it waits in between, ever longer")
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-done, ErrServerClosed)
		require.Contains(t, log.String(), "network is down")
	})
	t.Run("stopping does not wait for the next try", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, c := newServer(), newFakeConn(t)
			done := make(chan error, 1)
			go func() { done <- s.Serve(c) }()
			for range 20 {
				c.fail(syscall.ENETDOWN)
			}
			time.Sleep(3 * time.Second)
			start := time.Now()
			require.NoError(t, s.Shutdown(t.Context()))
			require.ErrorIs(t, <-done, ErrServerClosed)
			require.Zero(t, time.Since(start))
		})
	})
}

func TestWriteErrorsAreCountedAndServingGoesOn(t *testing.T) {
	dropped := make(chan Drop, 10)
	log := make(lines, 10)
	s := newServer(func(s *Server) {
		s.Trace = &Trace{Dropped: func(d Drop) { dropped <- d }}
		s.Logger = slog.New(slog.NewJSONHandler(log, nil)) // the least forgiving of types
	})
	c := serve(t, s)
	c.mu.Lock()
	c.frameErr, c.writeErr = errors.New("no frames"), errors.New("no route")
	c.mu.Unlock()
	c.put(discover(mac(1)))
	d := <-dropped
	line := <-log
	require.Contains(t, line, `"client":"02:00:00:00:00:01"`)
	require.Contains(t, line, `"err":"dhcp: sending to 255.255.255.255:68: no route"`)
	require.Equal(t, Error, d.Reason)
	require.ErrorContains(t, d.Err, "no route")
	c.mu.Lock()
	c.frameErr, c.writeErr = nil, nil
	c.mu.Unlock()
	doraOn(t, c, mac(1))
}

// lines are those of a log.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

func TestTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var lines []string
		add := func(format string, args ...any) {
			mu.Lock()
			lines = append(lines, fmt.Sprintf(format, args...))
			mu.Unlock()
		}
		s := newServer(func(s *Server) {
			s.Trace = &Trace{
				Received: func(r *Request) { add("received %s %s", r.Type(), r.Client.Kind) },
				Sent: func(r *Request, p *dhcpv4.DHCPv4, d Delivery) {
					add("sent %s to %s by %s", p.MessageType(), d.To, d.Route)
				},
				Dropped: func(d Drop) { add("dropped %s %s", d.Reason, d.HardwareAddr) },
			}
		})
		c := serve(t, s)
		a := doraOn(t, c, mac(1))
		synctest.Wait() // Sent comes after the reply
		c.in <- fakePacket{b: []byte("garbage"), ifname: "eth1"}
		c.in <- fakePacket{b: discover(mac(2)).ToBytes(), ifname: "eth9"}
		c.put(request(mac(3), optAddr(50, "192.0.2.150")))
		synctest.Wait()
		require.Equal(t, []string{
			"received DISCOVER plain", "sent OFFER to " + a + ":68 by frame",
			"received REQUEST plain", "sent ACK to " + a + ":68 by frame",
			"dropped malformed ", "dropped not-for-us 02:00:00:00:00:02",
			"received REQUEST plain", "dropped policy 02:00:00:00:00:03",
		}, lines)
		require.Equal(t, map[DropReason]uint64{Malformed: 1, NotForUs: 1, Policy: 1}, s.Drops())
	})
}

func TestServeRefusesWhatItCannotServe(t *testing.T) {
	two := newServer(func(s *Server) {
		s.Networks = append(s.Networks, s.Networks[0])
		s.Networks[1].Interface = "eth2"
	})
	unaddressed := newServer(func(s *Server) { s.Networks[0].Addr = netip.Prefix{} })
	for name, c := range map[string]struct {
		s    *Server
		conn func(*fakeConn) net.PacketConn
		err  string
	}{
		"invalid":                      {&Server{}, func(c *fakeConn) net.PacketConn { return c }, "no network"},
		"two networks on a plain conn": {two, func(c *fakeConn) net.PacketConn { return struct{ net.PacketConn }{c} }, "LocalReader"},
		"no address and a plain conn":  {unaddressed, func(c *fakeConn) net.PacketConn { return struct{ net.PacketConn }{c} }, "Addr"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeConn(t)
			require.ErrorContains(t, c.s.Serve(c.conn(f)), c.err)
			require.True(t, f.isClosed())
		})
	}
}

func TestValidate(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*Server)
		errs []string
	}{
		"good":             {func(*Server) {}, nil},
		"no networks":      {func(s *Server) { s.Networks = nil }, []string{"no network"}},
		"no mode":          {func(s *Server) { s.Networks[0].Mode = 0 }, []string{"Mode is not set"}},
		"unknown mode":     {func(s *Server) { s.Networks[0].Mode = 9 }, []string{"Mode"}},
		"no policy":        {func(s *Server) { s.Networks[0].Leases = nil }, []string{"Leases"}},
		"two on any":       {func(s *Server) { s.Networks[0].Interface = ""; s.Networks = append(s.Networks, s.Networks[0]) }, []string{"sole network"}},
		"two on one":       {func(s *Server) { s.Networks = append(s.Networks, s.Networks[0]) }, []string{`"eth1" and "eth1" overlap`}},
		"any, alone":       {func(s *Server) { s.Networks[0].Interface = "" }, nil},
		"Addr of IPv6":     {func(s *Server) { s.Networks[0].Addr = netip.MustParsePrefix("2001:db8::1/64") }, []string{"Addr"}},
		"Addr of network":  {func(s *Server) { s.Networks[0].Addr = netip.MustParsePrefix("192.0.2.0/24") }, []string{"network's own"}},
		"Addr broadcast":   {func(s *Server) { s.Networks[0].Addr = netip.MustParsePrefix("192.0.2.255/24") }, []string{"network's own"}},
		"Addr invalid":     {func(s *Server) { s.Networks[0].Addr = netip.PrefixFrom(addr(serverIP), 33) }, []string{"Addr"}},
		"Addr zero":        {func(s *Server) { s.Networks[0].Addr = netip.Prefix{} }, nil},
		"router of IPv6":   {func(s *Server) { s.Networks[0].Routers = []netip.Addr{addr("2001:db8::1")} }, []string{"Routers"}},
		"DNS unset":        {func(s *Server) { s.Networks[0].DNS = []netip.Addr{{}} }, []string{"DNS"}},
		"many DNS":         {func(s *Server) { s.Networks[0].DNS = make([]netip.Addr, 64) }, []string{"holds 63"}},
		"next server":      {func(s *Server) { s.Networks[0].ServerAddr = addr("2001:db8::1") }, []string{"ServerAddr"}},
		"S-002 domain":     {func(s *Server) { s.Networks[0].Domain = "a;reboot" }, []string{"Domain"}},
		"S-002 domain, $":  {func(s *Server) { s.Networks[0].Domain = "$(x).org" }, []string{"Domain"}},
		"domain, dots":     {func(s *Server) { s.Networks[0].Domain = "a..b" }, []string{"label"}},
		"domain, good":     {func(s *Server) { s.Networks[0].Domain = "Lab-1.example.org" }, nil},
		"own option":       {func(s *Server) { s.Networks[0].Options = []dhcpv4.Option{dhcpv4.OptMessageType(1)} }, []string{"option 53"}},
		"option, no value": {func(s *Server) { s.Networks[0].Options = []dhcpv4.Option{{Code: dhcpv4.OptionNTPServers}} }, []string{"no value"}},
		"router, IPv6":     {func(s *Server) { s.Networks[0].Options = []dhcpv4.Option{dhcpv4.OptRouter(net.ParseIP("2001:db8::1"))} }, []string{"option 3 is empty"}},
		"43 too long": {func(s *Server) {
			s.Networks[0].Options = []dhcpv4.Option{dhcpv4.OptGeneric(dhcpv4.OptionVendorSpecificInformation, make([]byte, 256))}
		}, []string{"option 43"}},
		"search list": {func(s *Server) {
			s.Networks[0].Options = []dhcpv4.Option{dhcpv4.OptGeneric(dhcpv4.OptionDNSDomainSearchList, []byte("\x01a\x03org\x00\x01b\x00"))}
		}, nil},
		"search list, $": {func(s *Server) {
			s.Networks[0].Options = []dhcpv4.Option{dhcpv4.OptGeneric(dhcpv4.OptionDNSDomainSearchList, []byte("\x04$(x)\x00"))}
		}, []string{"option 119"}},
		"search list, cut": {func(s *Server) {
			s.Networks[0].Options = []dhcpv4.Option{dhcpv4.OptGeneric(dhcpv4.OptionDNSDomainSearchList, []byte("\x04a"))}
		}, []string{"option 119"}},
		"MaxClients":          {func(s *Server) { s.MaxClients = -1 }, []string{"MaxClients"}},
		"pool outside":        {func(s *Server) { s.Networks[0].Addr = netip.MustParsePrefix("198.51.100.1/24") }, []string{"not inside 198.51.100.0/24"}},
		"reservation outside": {withPool(&Pool{Reservations: []Reservation{{HardwareAddr: mac(1), Addr: addr("203.0.113.1")}}}), []string{"203.0.113.1"}},
		"pool invalid":        {withPool(&Pool{}), []string{"neither a range"}},
		"all at once": {func(s *Server) { s.MaxClients = -1; s.Networks[0].Mode = 0; s.Networks[0].Domain = "!" },
			[]string{"MaxClients", "Mode", "Domain"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(c.edit)
			err := s.Validate()
			if len(c.errs) == 0 {
				require.NoError(t, err)
			}
			for _, text := range c.errs {
				require.ErrorContains(t, err, text)
			}
		})
	}
	require.Equal(t, "full", Full.String())
	require.Equal(t, "mode 0", Mode(0).String())
}

// undying is a conn that knows no deadlines.
type undying struct{ *fakeConn }

func (undying) SetReadDeadline(time.Time) error { return errors.New("no deadlines") }

func TestShutdownOfAConnWithoutDeadlines(t *testing.T) {
	s, c := newServer(), newFakeConn(t)
	done := make(chan error, 1)
	go func() { done <- s.Serve(undying{c}) }()
	doraOn(t, c, mac(1))
	require.NoError(t, s.Shutdown(t.Context()))
	require.ErrorIs(t, <-done, ErrServerClosed)
}

func TestTwoConnsOfOneServer(t *testing.T) {
	s := newServer()
	a, b := newFakeConn(t), newFakeConn(t)
	done := make(chan error, 2)
	go func() { done <- s.Serve(a) }()
	go func() { done <- s.Serve(b) }()
	require.Equal(t, doraOn(t, a, mac(1)), doraOn(t, b, mac(1)))
	a.fail(errors.New("gone"))
	require.ErrorContains(t, <-done, "gone")
	doraOn(t, b, mac(2))
	require.NoError(t, s.Shutdown(t.Context()))
	require.ErrorIs(t, <-done, ErrServerClosed)
}
