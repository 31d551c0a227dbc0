package dhcp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// probeTime is how long a probe takes on a link where nobody answers.
const probeTime = 600 * time.Millisecond

// link is a socket in memory, and the machines on its link that have an address
// without asking us.
type link struct {
	*fakeConn

	mu       sync.Mutex
	machines map[netip.Addr]net.HardwareAddr
	err      error
	stuck    bool
	forge    func(netip.Addr) net.HardwareAddr // who answers for an address, in place of machines
	own      []netip.Prefix                    // of our host
	looks    int                               // how often it was asked for them: for each look at the pools
	deaf     chan struct{}                     // if set, probes end when it is closed and not with their ctx
	started  []time.Time
	probes   []probeOf // as started
	asked    map[netip.Addr]int
	ifnames  map[string]int
	running  int
	most     int
	log      bytes.Buffer
	conflict []Conflict
}

// probeOf is what was asked for.
type probeOf struct {
	addr   netip.Addr
	ifname string
}

func newLink(t testing.TB, used ...string) *link {
	l := &link{fakeConn: newFakeConn(t), machines: map[netip.Addr]net.HardwareAddr{}, asked: map[netip.Addr]int{}, ifnames: map[string]int{}}
	for i, a := range used {
		l.machines[addr(a)] = mac(1000 + i)
	}
	return l
}

// ProbeAddr implements AddrProber.
func (l *link) ProbeAddr(ctx context.Context, a netip.Addr, ifname string) (net.HardwareAddr, bool, error) {
	l.mu.Lock()
	l.started = append(l.started, time.Now())
	l.probes = append(l.probes, probeOf{a, ifname})
	l.asked[a]++
	l.ifnames[ifname]++
	l.running++
	l.most = max(l.most, l.running)
	hw, err, stuck, forge, deaf := l.machines[a], l.err, l.stuck, l.forge, l.deaf
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.running--
		l.mu.Unlock()
	}()
	if deaf != nil {
		<-deaf
		return nil, false, nil
	}
	if forge != nil {
		return forge(a), true, nil
	}
	if stuck {
		<-ctx.Done()
		return nil, false, ctx.Err()
	}
	if err == nil && hw == nil {
		err = waitFor(ctx, probeTime)
		l.mu.Lock()
		hw = l.machines[a] // it may have come meanwhile
		l.mu.Unlock()
	}
	return hw, hw != nil && err == nil, err
}

// InterfaceAddrs implements AddrLister.
func (l *link) InterfaceAddrs(ifname string) ([]netip.Prefix, error) {
	if ifname != "" {
		return l.fakeConn.InterfaceAddrs(ifname)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looks++
	return l.own, nil
}

func waitFor(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (l *link) set(do func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	do()
}

// count is how often addresses were asked for.
func (l *link) count() (n int) {
	l.set(func() { n = len(l.started) })
	return n
}

// serveOn runs s on a link until the test ends.
func serveOn(t *testing.T, s *Server, l *link) *link {
	t.Helper()
	s.Logger = slog.New(slog.NewTextHandler(lockedWriter{l}, nil))
	s.Trace = &Trace{Conflict: func(c Conflict) { l.set(func() { l.conflict = append(l.conflict, c) }) }}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-done, ErrServerClosed)
		require.Zero(t, l.running, "a probe outlasts Serve")
	})
	synctest.Wait() // until probing has begun
	return l
}

type lockedWriter struct{ *link }

func (w lockedWriter) Write(b []byte) (n int, err error) {
	w.set(func() { n, err = w.log.Write(b) })
	return n, err
}

// logged is how often a line of the log has the text.
func (l *link) logged(text string) (n int) {
	l.set(func() { n = bytes.Count(l.log.Bytes(), []byte(text)) })
	return n
}

// offer sends a DISCOVER and returns the offered address, "" if none comes.
func (l *link) offer(t *testing.T, hw net.HardwareAddr, mods ...dhcpv4.Modifier) string {
	t.Helper()
	return l.exchange(t, dhcpv4.MessageTypeOffer, discover(hw, mods...))
}

func (l *link) exchange(t *testing.T, want dhcpv4.MessageType, p *dhcpv4.DHCPv4) string {
	t.Helper()
	l.put(p)
	synctest.Wait()
	if len(l.out) == 0 {
		return ""
	}
	reply, _ := l.next(t)
	require.Equal(t, want, reply.MessageType())
	return reply.YourIPAddr.String()
}

// inBubble runs a test under a clock of its own. Its cleanups run there too.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// rest lets time go by until all that is then to be done is done: what the probes
// have written may be read.
func rest(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestD023_AnAddressInUseIsNotOffered(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := small(20)
		used := []string{"192.0.2.101", "192.0.2.102", "192.0.2.110", "192.0.2.119"}
		l := serveOn(t, newServer(withPool(p)), newLink(t, used...))
		rest(time.Minute)
		require.Equal(t, ProbeCounts{Free: 16, InUse: 4}, p.Probes())
		require.Len(t, l.conflict, 4)
		require.Contains(t, l.conflict, Conflict{addr("192.0.2.110"), mac(1002), "eth1", false})
		require.Equal(t, 4, l.logged("another machine uses it"))
		require.Equal(t, 1, l.logged("addr=192.0.2.110 by=02:00:00:00:03:ea interface=eth1"))

		given := map[string]bool{}
		for i := range 16 {
			given[doraOn(t, l.fakeConn, mac(i))] = true
		}
		require.Len(t, given, 16)
		for _, a := range used {
			require.NotContains(t, given, a)
		}
		require.Zero(t, p.Probes().Unprobed)
		require.Empty(t, l.offer(t, mac(99)), "none is left but those in use")
		require.Empty(t, l.offer(t, mac(99), optAddr(50, "192.0.2.110")), "nor is one on demand")
		l.put(request(mac(99), selecting("192.0.2.110")))
		nak, _ := l.next(t)
		require.Equal(t, dhcpv4.MessageTypeNak, nak.MessageType())
		require.Equal(t, "192.0.2.110", l.offer(t, mac(1002)), "but to the machine that uses it")
		require.Equal(t, "192.0.2.110", doraOn(t, l.fakeConn, mac(1002)))
	})
}

// The quarantine ends, and then the address is asked for again.
func TestD023_QuarantineOfAnAddressInUseEnds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := small(4)
		p.Quarantine, p.OfferTime = 3*time.Minute, 10*time.Second
		l := serveOn(t, newServer(withPool(p)), newLink(t, "192.0.2.100", "192.0.2.101"))
		rest(2 * time.Minute)
		require.Equal(t, uint64(2), p.Probes().InUse)
		for i := range 2 {
			require.Contains(t, []string{"192.0.2.102", "192.0.2.103"}, doraOn(t, l.fakeConn, mac(10+i)))
		}
		require.Empty(t, l.offer(t, mac(1)))
		rest(2 * time.Minute)
		require.Equal(t, uint64(4), p.Probes().InUse, "they are still there")
		require.Empty(t, l.offer(t, mac(1)))
		l.set(func() { delete(l.machines, addr("192.0.2.101")) })
		rest(3 * time.Minute)
		require.Equal(t, "192.0.2.101", l.offer(t, mac(1)))
		require.Zero(t, p.Probes().Unprobed)
	})
}

// What was found free is not believed for ever.
func TestD023_TheStockAges(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := small(5)
		l := serveOn(t, newServer(withPool(p)), newLink(t))
		rest(time.Minute)
		require.Equal(t, 5, l.count(), "not again and again")
		l.set(func() { l.machines[addr("192.0.2.103")] = mac(1000) })
		rest(stockTime)
		require.Equal(t, ProbeCounts{Free: 9, InUse: 1}, p.Probes())
		for i := range 4 {
			require.NotEqual(t, "192.0.2.103", l.offer(t, mac(i)))
		}
	})
}

// Nobody waits, for whatever becomes of probes: the clock stands still.
func TestD023_NoOfferWaits(t *testing.T) {
	for name, prepare := range map[string]func(*link){
		"a probe never ends": func(l *link) { l.stuck = true },
		"a probe takes time": func(*link) {},
		"all probes fail":    func(l *link) { l.err = errors.New("the network is down") },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := small(100)
				l := newLink(t)
				prepare(l)
				serveOn(t, newServer(withPool(p)), l)
				start := time.Now()
				for i := range 100 {
					require.NotEmpty(t, l.offer(t, mac(i)))
				}
				require.Equal(t, start, time.Now())
				require.Equal(t, uint64(100), p.Probes().Unprobed)
				require.NotEmpty(t, l.offer(t, mac(7)))
				require.Equal(t, uint64(100), p.Probes().Unprobed, "it had its offer before")
			})
		})
	}
}

// An address that had to be offered without a probe is asked for while its client
// makes up its mind.
func TestD023_OfferedFirstAndProbedThen(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := serveOn(t, newServer(withPool(small(100))), newLink(t, "192.0.2.170"))
		require.Equal(t, "192.0.2.170", l.offer(t, mac(1), optAddr(50, "192.0.2.170")))
		require.Equal(t, "192.0.2.190", l.offer(t, mac(2), optAddr(50, "192.0.2.190")))
		rest(2 * time.Second)
		require.Equal(t, []Conflict{{addr("192.0.2.170"), mac(1000), "eth1", false}}, l.conflict, "before all others")
		l.put(request(mac(1), selecting("192.0.2.170")))
		nak, _ := l.next(t)
		require.Equal(t, dhcpv4.MessageTypeNak, nak.MessageType())
		require.Equal(t, "192.0.2.190", l.exchange(t, dhcpv4.MessageTypeAck, request(mac(2), selecting("192.0.2.190"))))
		require.NotEqual(t, "192.0.2.170", doraOn(t, l.fakeConn, mac(1)))
	})
}

// Who was faster than the probe has its lease, and answers the probe itself.
func TestD023_AClientOfOursIsNoConflict(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := small(1)
		l := serveOn(t, newServer(withPool(p)), newLink(t))
		require.Equal(t, "192.0.2.100", doraOn(t, l.fakeConn, mac(1)))
		l.set(func() { l.machines[addr("192.0.2.100")] = mac(1) })
		rest(30 * time.Minute)
		require.Empty(t, l.conflict)
		require.Equal(t, ProbeCounts{Unprobed: 1}, p.Probes())
		require.Equal(t, 1, l.count(), "no address of a client is asked for")
		require.Equal(t, "192.0.2.100", doraOn(t, l.fakeConn, mac(1)))
	})
}

// An address whose lease has ended may still be used, by whom it belonged to or by
// another.
func TestD023_ReusedAddressesAreProbed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := small(4)
		p.LeaseTime = 5 * time.Minute
		l := serveOn(t, newServer(withPool(p)), newLink(t))
		rest(time.Minute)
		var had [4]string
		for i := range had {
			had[i] = doraOn(t, l.fakeConn, mac(i))
			rest(time.Second)
		}
		l.set(func() { l.machines[addr(had[0])], l.machines[addr(had[1])] = mac(0), mac(1000) })
		rest(6 * time.Minute)
		require.Len(t, l.conflict, 2)
		require.Equal(t, had[2], doraOn(t, l.fakeConn, mac(10)), "the oldest that nobody uses")
		require.Equal(t, had[0], doraOn(t, l.fakeConn, mac(0)), "it still uses its own")
		require.Equal(t, had[3], doraOn(t, l.fakeConn, mac(1)), "another one uses its own")
		require.Zero(t, p.Probes().Unprobed)
	})
}

// The stock of a large range is spread over it, and bounded.
func TestTheStockIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &Pool{First: addr("10.0.0.2"), Last: addr("10.0.255.254")}
		l := serveOn(t, newServer(withPool(p), func(s *Server) { s.Networks[0].Addr = netip.MustParsePrefix("10.0.0.1/16") }), newLink(t))
		rest(5 * time.Minute)
		require.Equal(t, maxStock, l.count())
		quarters := [4]int{}
		for a := range l.asked {
			quarters[a.As4()[2]/64]++
		}
		for _, n := range quarters {
			require.InDelta(t, maxStock/4, n, 8)
		}
		for i := range maxStock {
			require.Contains(t, l.asked, addr(l.offer(t, mac(i))))
		}
		require.Zero(t, p.Probes().Unprobed)
	})
}

// Nor does it grow while so many addresses are offered without proof that there is
// time for no other probes: then nothing is thrown away either.
func TestTheStockIsBoundedWhileOthersAreProbed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &Pool{First: addr("10.0.0.2"), Last: addr("10.0.255.254")}
		l := serveOn(t, newServer(withPool(p), func(s *Server) { s.Networks[0].Addr = netip.MustParsePrefix("10.0.0.1/16") }), newLink(t))
		for i := range 2000 {
			a := addr4(number(p.First) + uint32(i)).String() // a new one, whatever is known to be free
			require.Equal(t, a, l.offer(t, mac(i), optAddr(50, a)))
			rest(probePace - time.Millisecond)
			p.mu.Lock()
			known := len(p.table.stock.proofs)
			p.mu.Unlock()
			require.LessOrEqual(t, known, maxStock+maxProbing)
		}
		require.InDelta(t, 2000, p.Probes().Free, 100)
	})
}

func TestWhatIsNotProbed(t *testing.T) {
	relayed := func(s *Server) {
		s.Networks[0].Interface, s.Networks[0].Addr = "", netip.Prefix{}
		s.Networks[0].Subnet = netip.MustParsePrefix("192.0.2.0/24")
	}
	routers := func(s *Server) {
		s.Networks[0].Routers, s.Networks[0].DNS = []netip.Addr{addr("192.0.2.2")}, []netip.Addr{addr("192.0.2.3")}
	}
	for name, c := range map[string]struct {
		edit func(*Server)
		pool *Pool
		want []string
	}{
		"a range":                     {func(*Server) {}, poolOf("192.0.2.100", "192.0.2.101"), []string{"192.0.2.100", "192.0.2.101"}},
		"switched off":                {func(*Server) {}, &Pool{First: addr("192.0.2.100"), Last: addr("192.0.2.101"), NoProbe: true}, nil},
		"behind relays":               {relayed, poolOf("192.0.2.100", "192.0.2.101"), nil},
		"ours, routers, DNS, network": {routers, poolOf("192.0.2.0", "192.0.2.4"), []string{"192.0.2.4"}},
		"reserved": {func(*Server) {}, &Pool{First: addr("192.0.2.100"), Last: addr("192.0.2.101"),
			Reservations: []Reservation{{HardwareAddr: mac(1), Addr: addr("192.0.2.100")}, {HardwareAddr: mac(2), Addr: addr("192.0.2.9")}}}, []string{"192.0.2.101"}},
		"no range": {func(*Server) {}, &Pool{Reservations: []Reservation{{HardwareAddr: mac(1), Addr: addr("192.0.2.100")}}}, nil},
		"a chain": {withChain(poolOf("192.0.2.100", "192.0.2.100"), Chain{poolOf("192.0.2.105", "192.0.2.105")}), nil,
			[]string{"192.0.2.100", "192.0.2.105"}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer()
				if c.pool != nil {
					withPool(c.pool)(s)
				}
				c.edit(s)
				l := serveOn(t, s, newLink(t))
				rest(time.Minute)
				var asked []string
				for a := range l.asked {
					asked = append(asked, a.String())
				}
				require.ElementsMatch(t, c.want, asked)
				if c.want != nil {
					require.Equal(t, map[string]int{"eth1": len(c.want)}, l.ifnames)
				}
			})
		})
	}
}

// A conn that says that it cannot is asked once, one that fails is not pressed.
func TestFailingProbes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := small(50)
		l := newLink(t)
		l.err = fmt.Errorf("%w: no privilege", errors.ErrUnsupported)
		serveOn(t, newServer(withPool(p)), l)
		rest(time.Hour)
		require.Equal(t, 1, l.count())
		require.Equal(t, 1, l.logged("no privilege"))
		require.NotEmpty(t, l.offer(t, mac(1)))
		require.Equal(t, ProbeCounts{}, p.Probes(), "there is no probing")
	})
	inBubble(t, func(t *testing.T) {
		p := small(3)
		l := newLink(t)
		l.err = errors.New("the network is down")
		serveOn(t, newServer(withPool(p)), l)
		rest(time.Minute)
		require.InDelta(t, 12, l.count(), 2)
		require.Equal(t, 1, l.logged("the network is down"))
		l.set(func() { l.err = nil })
		rest(10 * time.Second)
		require.Equal(t, uint64(3), p.Probes().Free)
		for i := range 3 {
			require.NotEmpty(t, l.offer(t, mac(i)))
		}
		require.Zero(t, p.Probes().Unprobed)
	})
}

// lateStore is a store that cannot be read at first.
type lateStore struct {
	MemoryStore
	left int
}

func (s *lateStore) Load(ctx context.Context) iter.Seq2[Binding, error] {
	if s.left--; s.left >= 0 {
		return func(yield func(Binding, error) bool) { yield(Binding{}, errors.New("not mounted yet")) }
	}
	return s.MemoryStore.Load(ctx)
}

func TestProbingBeginsWhenTheStoreCanBeRead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := small(3)
		p.Store = &lateStore{left: 2}
		l := serveOn(t, newServer(withPool(p)), newLink(t))
		require.Equal(t, ProbeCounts{}, p.Probes())
		rest(2*probePause - time.Second)
		require.Zero(t, l.count())
		rest(5 * time.Second)
		require.Equal(t, ProbeCounts{Free: 3}, p.Probes())
	})
	inBubble(t, func(t *testing.T) {
		p := small(3)
		p.Store = &lateStore{left: 1 << 30}
		l := serveOn(t, newServer(withPool(p)), newLink(t)) // ends all the same
		rest(time.Minute)
		require.Zero(t, l.count())
	})
}
