package tftp

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// idle checks that the server keeps nothing of clients that are gone.
func (b *bench) idle() {
	b.t.Helper()
	synctest.Wait()
	require.Empty(b.t, b.server.sessions.live)
	require.Empty(b.t, b.server.sessions.clients)
	require.Zero(b.t, b.server.sessions.unheard.Len())
	require.Zero(b.t, b.server.sessions.evicted)
}

func (b *bench) clientNumber(host, port int) *client {
	return b.clientAt(netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(host)}), uint16(port)))
}

func TestT022_RepeatedRequestIsTheSameTransfer(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, b *bench) {
		c := b.client()
		for range 3 {
			c.request(rrq("three", "octet"))
		}
		c.expectData(1, testFiles["three"].Data[:512])
		tid := c.peer
		c.silence(minTimeout)
		c.ack(1)
		c.expectData(2, testFiles["three"].Data[512:1024])
		require.Equal(t, tid, c.peer)
		require.EqualValues(t, 2, b.server.Drops()[DropDuplicate])
		c.abort(0)
		synctest.Wait()
		require.Len(t, b.seen.starts(), 1)

		require.Equal(t, testFiles["three"].Data, c.fetch("three"), "when it has ended it may be asked for again")
	})
	t.Run("another port, another transfer", func(t *testing.T) {
		inMemory(t, nil, func(t *testing.T, b *bench) {
			for _, addr := range []string{"192.0.2.100:1", "192.0.2.100:2", "192.0.2.101:1"} {
				b.clientAt(netip.MustParseAddrPort(addr)).request(rrq("three", "octet"))
			}
			synctest.Wait()
			require.Len(t, b.seen.starts(), 3)
		})
	})
	t.Run("one without progress is, however late", func(t *testing.T) {
		inMemory(t, nil, func(t *testing.T, b *bench) {
			c := b.client()
			for range 4 {
				c.request(rrq("three", "octet"))
				time.Sleep(2 * resetSilence)
			}
			require.Len(t, b.seen.starts(), 1)
			require.Equal(t, map[DropReason]uint64{DropDuplicate: 3}, b.server.Drops())
		})
	})
}

// A machine that is reset within a transfer asks for the same by the same packet
// from the same port: PXELINUX counts its ports from 49152 anew.
func TestT022_ResetMachineBeginsAnew(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, b *bench) {
		c, file := b.client(), testFiles["three"].Data
		c.request(rrq("three", "octet", "blksize", "512"))
		c.expectOACK("blksize", "512")
		c.ack(0)
		c.expectData(1, file[:512])
		time.Sleep(resetSilence - time.Millisecond)
		c.request(rrq("three", "octet", "blksize", "512"))
		synctest.Wait()
		require.Equal(t, map[DropReason]uint64{DropDuplicate: 1}, b.server.Drops(), "too early")
		c.ack(1)
		time.Sleep(resetSilence - time.Millisecond)
		c.request(rrq("three", "octet", "blksize", "512"))
		synctest.Wait()
		require.EqualValues(t, 2, b.server.Drops()[DropDuplicate], "the time counts from the last packet")
		require.Empty(t, b.seen.ends())

		old := c.peer
		for c.receive(time.Millisecond) != nil { // the machine has forgotten all
		}
		c.request(rrq("three", "octet", "blksize", "512"))
		c.expectOACK("blksize", "512")
		require.NotEqual(t, old, c.peer)
		synctest.Wait()
		require.Equal(t, Result{Bytes: 512, Size: 1025, Retransmits: b.seen.last(t).Retransmits, Err: ErrSuperseded}, b.seen.last(t))
		require.Equal(t, map[DropReason]uint64{DropDuplicate: 2, DropSuperseded: 1}, b.server.Drops())
		c.ack(0)
		for i, block := range [][]byte{file[:512], file[512:1024], file[1024:]} {
			c.expectData(uint16(i+1), block)
			c.ack(uint16(i + 1))
		}
		synctest.Wait()
		require.Equal(t, Result{Bytes: 1025, Size: 1025}, b.seen.last(t))
		b.idle()
	})
}

func TestLimitsPerClient(t *testing.T) {
	inMemory(t, func(s *Server) { s.MaxTransfersPerClient = 5 }, func(t *testing.T, b *bench) {
		for port := 1; port <= 10; port++ {
			b.clientNumber(100, port).request(rrq("big", "octet"))
		}
		synctest.Wait()
		require.Len(t, b.seen.starts(), 3, "half of them if it does not answer")
		require.Equal(t, map[DropReason]uint64{DropLimit: 7}, b.server.Drops())
		for port := 11; port <= 20; port++ {
			c := b.clientNumber(101, port)
			c.request(rrq("big", "octet"))
			if c.receive(time.Millisecond) != nil {
				c.ack(1)
			}
		}
		synctest.Wait()
		require.Len(t, b.seen.starts(), 3+5, "all of them if it does")
		require.Equal(t, map[DropReason]uint64{DropLimit: 7 + 5}, b.server.Drops())
		for _, p := range b.net.sentBy(serverAddr.Addr()) {
			require.EqualValues(t, opDATA, opcode([]byte(p.data)), "no ERROR ends a boot because of others")
		}
		time.Sleep(2 * clientSilence)
		b.alive()
		b.idle()
	})
}

func TestUnheardClientsMakeRoom(t *testing.T) {
	inMemory(t, func(s *Server) { s.MaxTransfers = 3 }, func(t *testing.T, b *bench) {
		real := b.clientNumber(10, 2070)
		real.request(rrq("big", "octet"))
		real.expectData(1, testFiles["big"].Data[:512])
		real.ack(1)
		real.expectData(2, testFiles["big"].Data[512:1024])
		for host := 11; host <= 15; host++ {
			b.clientNumber(host, 2070).request(rrq("big", "octet"))
			synctest.Wait()
		}
		require.Equal(t, map[DropReason]uint64{DropSuperseded: 3}, b.server.Drops())
		require.Len(t, b.seen.ends(), 3)
		for _, result := range b.seen.ends() {
			require.Equal(t, Result{Size: 10240, Err: ErrSuperseded}, result)
		}
		require.Equal(t, 3, b.net.sockets(serverAddr.Addr())-1)
		for _, p := range b.net.sentBy(serverAddr.Addr()) {
			require.EqualValues(t, opDATA, opcode([]byte(p.data)), "no ERROR ends a boot because of others")
		}
		b.alive()
		synctest.Wait()

		var left []string
		for s := range b.server.sessions.live {
			left = append(left, s.remote.Addr().String())
		}
		require.ElementsMatch(t, []string{"192.0.2.10", "192.0.2.15"}, left, "the oldest went first, and nobody who has answered")
		real.ack(2)
		real.expectData(3, testFiles["big"].Data[1024:1536])
		time.Sleep(2 * clientSilence)
		b.idle()
	})
}

func TestClientsThatAnsweredKeepTheirPlace(t *testing.T) {
	inMemory(t, func(s *Server) { s.MaxTransfers = 3 }, func(t *testing.T, b *bench) {
		for host := 11; host <= 13; host++ {
			c := b.clientNumber(host, 2070)
			c.request(rrq("big", "octet", "blksize", "512"))
			c.expectOACK("blksize", "512")
			c.ack(0)
		}
		synctest.Wait()
		c := b.clientNumber(14, 2070)
		c.request(rrq("big", "octet"))
		c.silence(time.Minute)
		require.Equal(t, map[DropReason]uint64{DropLimit: 1}, b.server.Drops())
		require.Empty(t, b.seen.ends())
	})
}

func TestFloodOfForgedRequestsLocksNobodyOut(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, b *bench) {
		forge := func(n int) {
			for i := range n {
				from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), 2070)
				b.net.send(memPacket{from: from, to: serverAddr, data: string(rrq("big", "octet"))})
			}
			synctest.Wait()
		}
		forge(2 * defaultTransfers)
		require.EqualValues(t, defaultTransfers, b.server.Drops()[DropSuperseded])
		require.Len(t, b.server.sessions.live, defaultTransfers)
		b.alive()
		c := b.client()
		c.request(rrq("three", "octet"))
		c.expectData(1, testFiles["three"].Data[:512])
		c.ack(1)
		forge(2 * defaultTransfers)
		c.expectData(2, testFiles["three"].Data[512:1024])
		c.abort(0)
		time.Sleep(time.Minute)
		b.idle()
	})
}

// Handlers that hang do not notice that their transfers are over.
func TestHandlersThatHangAreBounded(t *testing.T) {
	release := make(chan struct{})
	hang := HandlerFunc(func(context.Context, *Transfer) error { <-release; return nil })
	inMemory(t, func(s *Server) { s.Handler, s.MaxTransfers = hang, 3 }, func(t *testing.T, b *bench) {
		release = make(chan struct{}) // of this bubble
		for host := 11; host <= 20; host++ {
			b.clientNumber(host, 2070).request(rrq("big", "octet"))
			synctest.Wait()
		}
		require.Len(t, b.seen.starts(), 6)
		require.Equal(t, map[DropReason]uint64{DropSuperseded: 3, DropLimit: 4}, b.server.Drops())
		close(release)
		b.idle()
		superseded := 0
		for _, result := range b.seen.ends() {
			if result.Err == ErrSuperseded {
				superseded++
			}
		}
		require.Equal(t, 3, superseded)
	})
}

func TestARequestThatIsRefusedEndsNoOtherTransfer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a admission
		of := func(port uint16) session {
			return session{remote: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.9"), port), request: "x"}
		}
		live, _, why := a.enter(t.Context(), of(1), 100, 16)
		require.Empty(t, why)
		a.establish(live)
		for port := range uint16(unheardLimit(16)) {
			_, _, why := a.enter(t.Context(), of(100+port), 100, 16)
			require.Empty(t, why)
		}
		time.Sleep(resetSilence + time.Second)
		p, evicted, why := a.enter(t.Context(), of(1), 100, 16)
		require.Nil(t, p)
		require.Nil(t, evicted)
		require.Equal(t, DropLimit, why)
		require.NoError(t, live.ctx.Err())
	})
}
