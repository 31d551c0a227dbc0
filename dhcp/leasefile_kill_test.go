package dhcp

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	killRoundsEnv = "PXEKIT_KILL_ROUNDS" // how often the server is killed
	killRelays    = 16
	killMachines  = 4 // behind each relay
	killHeld      = 2 // of which as many have a lease, so that addresses go around
)

// TestLeaseFileKilled kills a server in the middle of its work, again and again, at
// random moments: while it opens its leases, while it serves, while it compacts.
// What was acknowledged, as its client has seen, is in the file, is renewed by the
// server that comes next, and no other client gets it. 50 rounds, or as many as
// PXEKIT_KILL_ROUNDS says.
func TestLeaseFileKilled(t *testing.T) {
	rounds := 50
	if testing.Short() {
		rounds = 5
	}
	if s := os.Getenv(killRoundsEnv); s != "" {
		var err error
		rounds, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	k := &killing{path: filepath.Join(t.TempDir(), "leases"), held: map[netip.Addr]holding{}}
	rnd := rand.New(rand.NewPCG(8, 9))
	for i := range killRelays {
		b := &behind{relay: newRelay(t), rnd: rand.New(rand.NewPCG(10, uint64(i)))}
		for j := range b.machines {
			b.machines[j].id = i*killMachines + j
		}
		k.relays = append(k.relays, b)
	}
	for round := range rounds {
		k.round(t, rnd)
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	t.Logf("%d rounds: %d leases acknowledged, %d renewed by a server that came later, %d compactions; killed %d times while it wrote a new file in opening, %d times else before it served, %d times while it compacted; %d appends were cut short",
		rounds, k.acks, k.kept, k.compactions, k.inOpening, k.notServing, k.inCompaction, k.cut)
}

// killing is what the clients of all rounds know.
type killing struct {
	path   string
	relays []*behind

	mu   sync.Mutex
	held map[netip.Addr]holding
	acks int

	kept                                int // leases that the next server still had
	compactions, cut                    int
	notServing, inOpening, inCompaction int // kills before it served, those with a new file in the making, and later ones with one
}

// holding is a lease that its client has seen acknowledged and has not given back.
type holding struct {
	who   int
	until time.Time // at the least
}

// behind is what is behind a relay: machines that come and go.
type behind struct {
	*relay
	rnd      *rand.Rand
	machines [killMachines]killMachine
}

type killMachine struct {
	id   int
	a    netip.Addr // that it holds; invalid: none
	last netip.Addr // that it has had
}

// round starts a server, and kills it.
func (k *killing) round(t *testing.T, rnd *rand.Rand) {
	p := startProcess(t, storeFile, k.path)
	defer func() { _ = p.in.Close() }()
	require.True(t, p.until("opening"))
	gone, enough := make(chan struct{}), make(chan struct{})
	var work sync.WaitGroup
	delay := time.Duration(rnd.IntN(4000)) * time.Microsecond
	if rnd.IntN(5) > 0 {
		require.True(t, p.until("serving"), "it does not open what was left to it")
		k.check(t, p.addr)
		var left atomic.Int64
		left.Store(1 + rnd.Int64N(300))
		for _, b := range k.relays {
			work.Go(func() {
				for k.traffic(t, b, gone) {
					if left.Add(-1) == 0 {
						close(enough)
					}
				}
			})
		}
		over := make(chan struct{})
		go func() { work.Wait(); close(over) }()
		select {
		case <-enough:
		case <-over: // something is wrong, and has been said
		}
	}
	time.Sleep(delay) // any moment is good, and none is relied on
	require.NoError(t, p.Process.Kill())
	require.False(t, p.until("what it never says"))
	var exit *exec.ExitError
	require.ErrorAs(t, p.Wait(), &exit)
	if runtime.GOOS != "windows" {
		require.Equal(t, "signal: killed", exit.String(), "it ended by itself")
	}
	close(gone)
	work.Wait()
	k.count(p)
	k.read(t)
}

// count counts what the server was doing when it was killed.
func (k *killing) count(p *process) {
	_, err := os.Stat(k.path + newSuffix)
	making := err == nil
	switch {
	case p.addr.IsValid():
		k.compactions += p.made - 1
		if making {
			k.inCompaction++
		}
	case making:
		k.inOpening++
	default:
		k.notServing++
	}
}

// traffic has a machine do something, and reports whether the server was there.
func (k *killing) traffic(t *testing.T, b *behind, gone <-chan struct{}) bool {
	m, holders := &b.machines[b.rnd.IntN(killMachines)], 0
	for i := range b.machines {
		if b.machines[i].a.IsValid() {
			holders++
		}
	}
	switch {
	case m.a.IsValid() && b.rnd.IntN(2) == 0:
		k.mu.Lock()
		delete(k.held, m.a)
		k.mu.Unlock()
		if _, err := b.send(dhcpv4.MessageTypeRelease, mac(m.id), ciaddr(m.a.String())); err != nil {
			return false
		}
		m.a = netip.Addr{}
	case m.a.IsValid():
		return k.acked(t, m, func() (*dhcpv4.DHCPv4, error) {
			return b.ask(gone, dhcpv4.MessageTypeRequest, mac(m.id), ciaddr(m.a.String()))
		})
	case holders < killHeld:
		return k.acked(t, m, func() (*dhcpv4.DHCPv4, error) { return b.lease(gone, mac(m.id)) })
	}
	return true
}

// acked notes what a machine gets, and reports whether the server was there.
func (k *killing) acked(t *testing.T, m *killMachine, get func() (*dhcpv4.DHCPv4, error)) bool {
	asked := time.Now()
	reply, err := get()
	if err != nil {
		if !errors.Is(err, errNoReply) && !errors.Is(err, syscall.ECONNREFUSED) {
			t.Error(err)
		}
		return false
	}
	if kind := reply.MessageType(); kind != dhcpv4.MessageTypeAck {
		t.Errorf("%d, which has %s, gets %s", m.id, m.a, kind)
		return false
	}
	a := addrOf(reply.YourIPAddr)
	k.mu.Lock()
	defer k.mu.Unlock()
	if h, ok := k.held[a]; ok && h.who != m.id || m.a.IsValid() && a != m.a {
		t.Errorf("%d, which has %s, gets %s; held by %+v: %v", m.id, m.a, a, h, ok)
		return false
	}
	k.acks++
	k.held[a] = holding{m.id, asked.Add(reply.IPAddressLeaseTime(0)).Round(0)}
	m.a, m.last = a, a
	return true
}

// read checks the file as the dead server has left it.
func (k *killing) read(t *testing.T) {
	file, err := os.ReadFile(k.path)
	if errors.Is(err, os.ErrNotExist) && len(k.held) == 0 {
		return // it has never opened one
	}
	require.NoError(t, err)
	l, err := readBytes(file)
	require.NoError(t, err)
	if l.end < l.size {
		k.cut++
	}
	for a, h := range k.held {
		record, ok := l.bindings[a]
		require.True(t, ok, "%s was acknowledged", a)
		b := decodeBinding(record)
		require.Equal(t, mac(h.who), b.HW, "%s", a)
		require.Equal(t, Bound, b.State, "%s", a)
		require.False(t, b.Until.Before(h.until), "%s is stored until %s, its client has it until %s", a, b.Until, h.until)
	}
}

// check has a stranger choose each address that is held, and its holder renew it.
func (k *killing) check(t *testing.T, server netip.AddrPort) {
	var work sync.WaitGroup
	for i, b := range k.relays {
		b.to = server
		work.Go(func() {
			for j := range b.machines {
				m := &b.machines[j]
				if !m.a.IsValid() {
					if m.last.IsValid() { // the last server may not have read that it is given back
						_, err := b.send(dhcpv4.MessageTypeRelease, mac(m.id), ciaddr(m.last.String()))
						assert.NoError(t, err)
					}
					continue
				}
				reply, err := b.ask(nil, dhcpv4.MessageTypeRequest, mac(1000+i), choosing(m.a))
				if assert.NoError(t, err, "a stranger chooses %s", m.a) {
					assert.Equal(t, "NAK", reply.MessageType().String(), "a stranger chooses %s, which %d has", m.a, m.id)
				}
				assert.True(t, k.acked(t, m, func() (*dhcpv4.DHCPv4, error) {
					return b.ask(nil, dhcpv4.MessageTypeRequest, mac(m.id), ciaddr(m.a.String()))
				}), "%d renews %s", m.id, m.a)
			}
		})
	}
	work.Wait()
	k.kept += len(k.held)
}
