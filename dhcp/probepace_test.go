package dhcp

import (
	"bytes"
	"context"
	"iter"
	"net"
	"net/netip"
	"runtime/pprof"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// A flood of DISCOVERs is not answered by one of ARP.
func TestProbesArePaced(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := serveOn(t, newServer(withPool(&Pool{First: addr("10.0.0.2"), Last: addr("10.0.255.254")}), func(s *Server) {
			s.Networks[0].Addr = netip.MustParsePrefix("10.0.0.1/16")
		}), newLink(t))
		for i := range 3000 {
			require.NotEmpty(t, l.offer(t, mac(i)))
			if i%3 == 0 {
				rest(10 * time.Millisecond)
			}
		}
		require.GreaterOrEqual(t, l.count(), 45, "ten seconds, and work all the time")
		for i := range l.started[1:] {
			require.GreaterOrEqual(t, l.started[i+1].Sub(l.started[i]), probePace)
		}
		l.set(func() { l.stuck = true })
		rest(time.Minute)
		require.LessOrEqual(t, l.most, maxProbing)
	})
}

// However many pools there are on an interface, and whoever serves it.
func TestAllPoolsOfAnInterfaceShareThePace(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		first, second := newLink(t), newLink(t)
		s := newServer(withChain(poolOf("192.0.2.100", "192.0.2.129"), poolOf("192.0.2.140", "192.0.2.169")))
		more := func(ifname, prefix, from, to string) Network {
			return Network{Interface: ifname, Addr: netip.MustParsePrefix(prefix), Mode: Full, Leases: poolOf(from, to)}
		}
		s.Networks = append(s.Networks, more("eth1", "198.51.100.1/24", "198.51.100.100", "198.51.100.129"),
			more("eth2", "203.0.113.1/24", "203.0.113.100", "203.0.113.199"))
		served := make(chan error, 1)
		go func() { served <- s.Serve(first) }()
		synctest.Wait()
		serveOn(t, s, second)
		rest(10 * time.Second)
		require.Zero(t, second.count())
		started := map[string][]time.Time{}
		asked := map[string]int{} // by the network and the half of it
		first.set(func() {
			for i, p := range first.probes {
				started[p.ifname] = append(started[p.ifname], first.started[i])
				asked[netip.PrefixFrom(p.addr, 27).Masked().String()]++
			}
		})
		for _, times := range started {
			require.InDelta(t, 50, len(times), 2)
			for i := range times[1:] {
				require.GreaterOrEqual(t, times[i+1].Sub(times[i]), probePace)
			}
		}
		require.Len(t, started, 2)
		require.InDelta(t, 50.0/3, asked["198.51.100.96/27"], 2, "each pool in turn")
		first.fail(net.ErrClosed)
		require.ErrorIs(t, <-served, net.ErrClosed)
		rest(time.Minute)
		require.Equal(t, 90+100, second.count())
	})
}

// While there is nothing to probe, a flood of DISCOVERs makes nobody look more often:
// here one pool rests, since a router answers for all of it, and the other is full.
func TestAFloodDoesNotWakeTheProber(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, l := small(40), newLink(t)
		p.OfferTime = time.Millisecond
		for i := range 40 {
			l.machines[addr4(number(p.First)+uint32(i))] = mac(1000)
		}
		serveOn(t, newServer(withChain(p, poolOf("192.0.2.150", "192.0.2.159"))), l)
		looksIn := func(d time.Duration, do func()) int {
			var before, after int
			l.set(func() { before = l.looks })
			for end := time.Now().Add(d); time.Now().Before(end); rest(time.Millisecond) {
				do()
			}
			l.set(func() { after = l.looks })
			return after - before
		}
		rest(time.Minute)
		// Each look at a pool is one; that at the one that rests is none.
		quiet := looksIn(10*time.Second, func() {})
		require.InDelta(t, 12, quiet, 6)
		n := 0
		flooded := looksIn(10*time.Second, func() {
			n++
			require.NotEmpty(t, l.offer(t, mac(n)))
		})
		require.InDelta(t, 50, flooded, 10)
	})
}

// A pool on two sockets is probed once, and goes on when the first socket breaks.
func TestOneOfTwoSocketsProbes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(withPool(small(5)))
		first, second := newLink(t), newLink(t)
		served := make(chan error, 1)
		go func() { served <- s.Serve(first) }()
		synctest.Wait()
		serveOn(t, s, second)
		rest(time.Minute)
		require.Equal(t, []int{5, 0}, []int{first.count(), second.count()})
		first.fail(net.ErrClosed)
		require.ErrorIs(t, <-served, net.ErrClosed)
		require.Zero(t, first.running)
		rest(time.Minute)
		require.Equal(t, []int{5, 5}, []int{first.count(), second.count()}, "what one has learnt goes with it")
	})
}

// Shutdown does not wait for probes.
func TestProbingEndsWithServe(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, l := newServer(), newLink(t)
		l.stuck = true
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		rest(time.Second)
		require.NotZero(t, l.running)
		start := time.Now()
		require.NoError(t, s.Shutdown(t.Context()))
		require.ErrorIs(t, <-served, ErrServerClosed)
		require.Equal(t, start, time.Now())
		require.Zero(t, l.running)
		n := l.count()
		rest(time.Minute)
		require.Equal(t, n, l.count())
	})
}

// A prober that heeds no ctx delays nobody, and the end of Serve by a second.
func TestAProberThatDoesNotEnd(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, l := small(100), newLink(t)
		l.deaf = make(chan struct{})
		s := newServer(withPool(p))
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		rest(time.Minute)
		require.Equal(t, maxProbing, l.count(), "and no more")
		start := time.Now()
		for i := range 100 {
			require.NotEmpty(t, l.offer(t, mac(i)))
		}
		require.Equal(t, start, time.Now())
		require.NoError(t, s.Shutdown(t.Context()))
		require.ErrorIs(t, <-served, ErrServerClosed)
		require.Equal(t, probeGrace, time.Since(start))
		close(l.deaf)
		synctest.Wait()
		require.Zero(t, l.running, "they end, and nobody is there to hear of it")
		require.Equal(t, ProbeCounts{Unprobed: 100}, p.Probes())
	})
}

// slowLoad is a store that is read for as long as its ctx lets it.
type slowLoad struct {
	MemoryStore
	begun chan struct{}
}

func (s *slowLoad) Load(ctx context.Context) iter.Seq2[Binding, error] {
	return func(yield func(Binding, error) bool) {
		select {
		case s.begun <- struct{}{}:
		default:
		}
		<-ctx.Done()
		yield(Binding{}, ctx.Err())
	}
}

// Serve ends with its socket though the prober waits for a client that reads the
// store: that goes on until Serve ends its ctx. No bubble: it takes a lock for work.
func TestServeEndsWhileTheProberWaitsForTheStore(t *testing.T) {
	store := &slowLoad{begun: make(chan struct{}, 1)}
	p := small(10)
	p.Store = store
	s, l := newServer(withPool(p)), newLink(t)
	s.probers.on("eth1") <- struct{}{} // so that the client comes first
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	l.put(discover(mac(1)))
	<-store.begun
	<-s.probers.on("eth1")
	require.Eventually(t, func() bool {
		var stacks bytes.Buffer
		require.NoError(t, pprof.Lookup("goroutine").WriteTo(&stacks, 2))
		return bytes.Contains(stacks.Bytes(), []byte("(*probed).enter"))
	}, time.Minute, time.Millisecond)
	l.fail(net.ErrClosed)
	select {
	case err := <-served:
		require.ErrorIs(t, err, net.ErrClosed)
	case <-time.After(time.Minute):
		t.Fatal("Serve waits for ever")
	}
}

// A client that gets an address asks itself who uses it, and declines it if it hears
// anybody else ask: nobody does when its ACK comes.
func TestD023_NoProbeOutlastsTheACK(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := small(1)
		l := serveOn(t, newServer(withPool(p)), newLink(t))
		require.Equal(t, 1, l.running)
		require.Equal(t, "192.0.2.100", l.offer(t, mac(1)))
		require.Equal(t, 1, l.running, "an offer is no reason to stop")
		require.Equal(t, "192.0.2.100", l.exchange(t, dhcpv4.MessageTypeAck, request(mac(1), selecting("192.0.2.100"))))
		synctest.Wait()
		require.Zero(t, l.running)
		require.Equal(t, ProbeCounts{Unprobed: 1}, p.Probes())
		require.Zero(t, l.logged("canceled"))
		l.put(release(1, "192.0.2.100"))
		rest(2 * time.Second)
		require.Equal(t, ProbeCounts{Free: 1, Unprobed: 1}, p.Probes(), "it goes on at once")
	})
}
