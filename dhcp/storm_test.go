package dhcp

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// slowStore is a store whose disk takes five seconds.
type slowStore struct{ MemoryStore }

func (s *slowStore) Claim(ctx context.Context, b Binding) (Binding, error) {
	time.Sleep(5 * time.Second)
	return s.MemoryStore.Claim(ctx, b)
}

// TestP017_OffersDoNotWaitForTheDisk has 500 clients wait for their lease while
// 500 others ask for an offer, all within the same moment.
func TestP017_OffersDoNotWaitForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(withPool(&Pool{First: addr("10.0.0.2"), Last: addr("10.0.255.254"), Store: new(slowStore)}),
			func(s *Server) {
				s.Networks[0].Addr = netip.MustParsePrefix("10.0.0.1/16")
				s.MaxClients = 2000 // room for all 1000 at once, in the part for DISCOVERs
			})
		c := newFakeConn(t)
		done := make(chan error, 1)
		go func() { done <- s.Serve(c) }()
		offers := make(map[string]string)
		start := time.Now()
		for i := range 500 {
			c.put(discover(mac(i)))
		}
		for range 500 {
			p, _ := c.next(t)
			offers[p.ClientHWAddr.String()] = p.YourIPAddr.String()
		}
		for i := range 500 {
			c.put(request(mac(i), optAddr(54, "10.0.0.1"), optAddr(50, offers[mac(i).String()])))
			c.put(discover(mac(1000 + i)))
		}
		for range 500 {
			p, _ := c.next(t)
			require.Equal(t, "OFFER", p.MessageType().String())
			require.Zero(t, time.Since(start), "firmware waits a second")
		}
		for range 500 {
			p, _ := c.next(t)
			require.Equal(t, "ACK", p.MessageType().String())
			require.Equal(t, 5*time.Second, time.Since(start))
			require.Equal(t, offers[p.ClientHWAddr.String()], p.YourIPAddr.String())
		}
		require.Empty(t, s.Drops())
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-done, ErrServerClosed)
	})
}

// TestP017_WhatIsTooMuchIsDroppedAtOnce: an answer that would come too late is
// none, and the client asks again.
func TestP017_WhatIsTooMuchIsDroppedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(func(s *Server) {
			s.MaxClients = 8
			s.Networks[0].Leases.(*Pool).Store = new(slowStore)
		})
		c := newFakeConn(t)
		done := make(chan error, 1)
		go func() { done <- s.Serve(c) }()
		ask := func(i int) {
			c.put(request(mac(i), optAddr(54, serverIP), optAddr(50, addr4(number(addr("192.0.2.100"))+uint32(i)).String())))
		}
		for i := range 8 {
			ask(i)
		}
		synctest.Wait()
		for range 20 {
			c.put(discover(mac(50)))
		}
		synctest.Wait()
		require.Equal(t, map[DropReason]uint64{QueueFull: 20}, s.Drops())
		time.Sleep(10 * time.Second)
		for range 8 {
			p, _ := c.next(t)
			require.Equal(t, "ACK", p.MessageType().String())
		}
		c.put(discover(mac(50)))
		p, _ := c.next(t)
		require.Equal(t, mac(50).String(), p.ClientHWAddr.String())
		require.Equal(t, "OFFER", p.MessageType().String(), "none of the twenty was kept, and a new one is answered")
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-done, ErrServerClosed)
	})
}

// TestP017_WhatWasOfferedIsCompleted: a quarter of the places is not for DISCOVERs.
func TestP017_WhatWasOfferedIsCompleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(func(s *Server) {
			s.MaxClients = 8
			s.Networks[0].Leases.(*Pool).Store = new(slowStore)
		})
		c := newFakeConn(t)
		done := make(chan error, 1)
		go func() { done <- s.Serve(c) }()
		ask := func(from, to int) {
			for i := from; i < to; i++ {
				c.put(request(mac(i), optAddr(54, serverIP), optAddr(50, addr4(number(addr("192.0.2.100"))+uint32(i)).String())))
			}
			synctest.Wait()
		}
		ask(0, 5)
		c.put(discover(mac(50)))
		p, _ := c.next(t)
		require.Equal(t, "OFFER", p.MessageType().String(), "the sixth place is for it too")
		ask(5, 6)
		c.put(discover(mac(51)))
		synctest.Wait()
		require.Equal(t, map[DropReason]uint64{QueueFull: 1}, s.Drops())
		ask(6, 9)
		require.Equal(t, map[DropReason]uint64{QueueFull: 2}, s.Drops(), "two of three have a place")
		time.Sleep(10 * time.Second)
		for range 8 {
			p, _ := c.next(t)
			require.Equal(t, "ACK", p.MessageType().String())
		}
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-done, ErrServerClosed)
	})
}

// TestWorkersRest has more clients at once than goroutines are kept for, in waves,
// and sees that none is left over when Serve returns: the bubble would not end.
func TestWorkersRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(withPool(&Pool{First: addr("10.0.0.2"), Last: addr("10.0.255.254"), Store: new(slowStore)}),
			func(s *Server) { s.Networks[0].Addr = netip.MustParsePrefix("10.0.0.1/16") })
		c := newFakeConn(t)
		done := make(chan error, 1)
		go func() { done <- s.Serve(c) }()
		for wave := range 3 {
			for i := range 4 * maxResting {
				c.put(request(mac(i), optAddr(54, "10.0.0.1"), optAddr(50, addr4(number(addr("10.0.1.0"))+uint32(i)).String()), xid(uint32(wave))))
			}
			for range 4 * maxResting {
				p, _ := c.next(t)
				require.Equal(t, "ACK", p.MessageType().String())
			}
		}
		require.Empty(t, s.Drops())
		require.NoError(t, s.Shutdown(t.Context()))
		require.ErrorIs(t, <-done, ErrServerClosed)
	})
}

// removals is a store whose removals take a minute.
type removals struct{ MemoryStore }

func (s *removals) Remove(ctx context.Context, b Binding) error {
	time.Sleep(time.Minute)
	return s.MemoryStore.Remove(ctx, b)
}

// TestAnOfferStandsWhileTheFormerClientMoves: the address of an offer may have been
// another's, which has meanwhile got another address. That its record is removed
// then is no reason for a NAK.
func TestAnOfferStandsWhileTheFormerClientMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := small(5)
		pool.Store = new(removals)
		s := newServer(withPool(pool))
		a := dora(t, s, mac(1))
		require.Empty(t, ask(t, s, release(1, a)).reason)
		require.Equal(t, a, ask(t, s, discover(mac(2), optAddr(50, a))).addr())
		moved := make(chan string)
		go func() { moved <- dora(t, s, mac(1)) }()
		synctest.Wait()
		require.Equal(t, "ACK", ask(t, s, request(mac(2), selecting(a))).kind())
		require.NotEqual(t, a, <-moved)
		checkTable(t, pool.table)
	})
}
