package dhcp

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

// TestNoAddressIsGivenTwice lets many clients do what they like, and checks the
// one thing that must hold: who was told ACK has the address until the lease
// ends or it gives it back, and nobody else is told ACK for it meanwhile.
func TestNoAddressIsGivenTwice(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(seed, 1))
				pool := small(12)
				pool.Reservations = []Reservation{{mac(0), addr("192.0.2.103")}, {mac(1), addr("192.0.2.210")}}
				pool.LeaseTime, pool.OfferTime, pool.Quarantine = 10*time.Minute, 20*time.Second, 5*time.Minute
				s := newServer(withPool(pool))
				type grant struct {
					who   int
					until time.Time
				}
				held := map[string]grant{}
				offers := map[int]string{}
				for step := range 2500 {
					who := rnd.IntN(24)
					a := offers[who]
					if rnd.IntN(4) == 0 || a == "" {
						a = addr4(number(addr("192.0.2.99")) + rnd.Uint32N(15)).String()
					}
					var p *dhcpv4.DHCPv4
					switch rnd.IntN(8) {
					case 0, 1:
						p = discover(mac(who))
						if rnd.IntN(2) == 0 {
							p = discover(mac(who), optAddr(50, a))
						}
					case 2, 3:
						p = request(mac(who), selecting(a))
					case 4:
						p = request(mac(who), optAddr(50, a))
					case 5:
						p = request(mac(who), ciaddr(a))
					case 6:
						p = release(who, a)
					case 7:
						p = decline(who, a)
						if rnd.IntN(4) != 0 {
							p = discover(mac(who))
						}
					}
					x := ask(t, s, p)
					now := time.Now()
					switch {
					case x.kind() == "OFFER":
						offers[who] = x.addr()
						if g, ok := held[x.addr()]; ok && g.who != who && g.until.After(now) {
							t.Fatalf("step %d: %s is offered to %d, %d has it", step, x.addr(), who, g.who)
						}
					case x.kind() == "ACK":
						if g, ok := held[x.addr()]; ok && g.who != who && g.until.After(now) {
							t.Fatalf("step %d: %s is given to %d, %d has it", step, x.addr(), who, g.who)
						}
						for other, g := range held {
							if g.who == who {
								delete(held, other) // it moved to its reserved address
							}
						}
						held[x.addr()] = grant{who, now.Add(10 * time.Minute)}
						offers[who] = x.addr()
					case p.MessageType() == dhcpv4.MessageTypeRelease && x.reason == "":
						require.Equal(t, who, held[a].who)
						delete(held, a)
					case p.MessageType() == dhcpv4.MessageTypeDecline && x.reason == "":
						require.Equal(t, who, held[a].who)
						held[a] = grant{-1, now.Add(5 * time.Minute)}
					}
					if rnd.IntN(3) == 0 {
						time.Sleep(time.Duration(rnd.IntN(40000)) * time.Millisecond)
					}
				}
				pool.mu.Lock()
				defer pool.mu.Unlock()
				checkTable(t, pool.table)
			})
		})
	}
}

// checkTable checks that the indexes of a table agree.
func checkTable(t *testing.T, table *table) {
	require.Equal(t, table.holds.Len(), len(table.holders))
	for a, s := range table.slots {
		require.Equal(t, a, s.addr)
		require.False(t, s.busy)
		require.True(t, s.rec.Version != 0 || s.hold != nil, "an empty slot")
		_, reserved := table.reservee[a]
		require.Equal(t, s.rec.Version != 0 && !reserved, s.index >= 0)
		if s.owner != "" {
			require.Same(t, s, table.owners[s.owner])
		}
		if s.hold != nil {
			require.Same(t, s, table.holders[s.holder])
		}
		if i, ok := table.offset(a); ok {
			require.NotZero(t, table.used[i/64]&(1<<(i%64)))
		}
	}
	for key, s := range table.owners {
		require.Equal(t, key, s.owner)
	}
	for i, s := range table.byExpiry {
		require.Equal(t, i, s.index)
		if i > 0 {
			require.False(t, s.freeAt().Before(table.byExpiry[(i-1)/2].freeAt()), "heap order")
		}
	}
	for i := range table.size {
		if table.used[i/64]&(1<<(i%64)) != 0 {
			a := addr4(table.first + uint32(i))
			_, reserved := table.reservee[a]
			require.True(t, reserved || table.slots[a] != nil, "%s is marked", a)
		}
	}
	require.LessOrEqual(t, len(table.declines), table.quarantined.Len())
}
