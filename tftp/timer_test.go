package tftp

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestT007_TimerStaysWithinItsBounds(t *testing.T) {
	var timer timer
	require.Equal(t, initialTimeout, timer.wait())
	for _, rtt := range []time.Duration{0, time.Nanosecond, time.Millisecond, time.Second, time.Hour, time.Millisecond, -time.Second} {
		timer.sample(rtt)
		require.GreaterOrEqual(t, timer.wait(), minTimeout)
		require.LessOrEqual(t, timer.wait(), maxTimeout)
	}
	for range 100 {
		timer.backoff()
	}
	require.Equal(t, maxTimeout, timer.wait())
	for range 100 {
		timer.sample(time.Millisecond)
	}
	require.Equal(t, minTimeout, timer.wait(), "a good path is trusted again")
	timer.fix(9 * time.Second)
	timer.sample(time.Millisecond)
	timer.backoff()
	require.Equal(t, 9*time.Second, timer.wait(), "what was agreed on stays")
}

func TestT007_TimerBacksOffAndAdapts(t *testing.T) {
	t.Run("backs off from a second to four", func(t *testing.T) {
		inMemory(t, nil, func(t *testing.T, b *bench) {
			b.client().request(rrq("big", "octet"))
			time.Sleep(time.Minute)
			require.Equal(t, []time.Duration{1 * time.Second, 2 * time.Second, 4 * time.Second, 4 * time.Second, 4 * time.Second}, gaps(b))
		})
	})
	t.Run("follows a fast path down to its floor", func(t *testing.T) {
		inMemory(t, nil, func(t *testing.T, b *bench) {
			c := b.client()
			c.request(rrq("big", "octet"))
			for block := uint16(1); block <= 5; block++ {
				c.receive(patience)
				time.Sleep(10 * time.Millisecond)
				c.ack(block)
			}
			time.Sleep(time.Minute)
			all := gaps(b)
			require.Equal(t, 200*time.Millisecond, all[5], "first retransmission")
			require.Equal(t, 400*time.Millisecond, all[6])
		})
	})
	t.Run("follows a slow path up", func(t *testing.T) {
		inMemory(t, nil, func(t *testing.T, b *bench) {
			c := b.client()
			c.request(rrq("big", "octet"))
			for block := uint16(1); block <= 8; block++ {
				c.receive(patience)
				time.Sleep(800 * time.Millisecond)
				c.ack(block)
			}
			time.Sleep(time.Minute)
			require.Greater(t, gaps(b)[8], 800*time.Millisecond)
			require.Less(t, gaps(b)[8], 2*time.Second)
		})
	})
	t.Run("an answer to a packet sent twice is no sample", func(t *testing.T) {
		inMemory(t, nil, func(t *testing.T, b *bench) {
			c := b.client()
			c.request(rrq("big", "octet"))
			c.receive(patience)
			c.receive(patience) // after a second
			c.ack(1)
			time.Sleep(time.Minute)
			require.Equal(t, 2*time.Second, gaps(b)[2], "the doubled time is kept")
		})
	})
	t.Run("a slow source is not the network's fault", func(t *testing.T) {
		slow := HandlerFunc(func(_ context.Context, tr *Transfer) error {
			_, err := tr.ReadFrom(readerFunc(func(p []byte) (int, error) {
				time.Sleep(3 * time.Second)
				return copy(p, pattern(512)), nil
			}))
			return err
		})
		inMemory(t, func(s *Server) { s.Handler = slow }, func(t *testing.T, b *bench) {
			c := b.client()
			c.request(rrq("big", "octet"))
			for block := uint16(1); block <= 5; block++ {
				c.receive(patience)
				c.ack(block)
			}
			c.receive(patience)
			c.abort(CodeUndefined)
			time.Sleep(time.Minute)
			require.Zero(t, b.seen.last(t).Retransmits)
		})
	})
	t.Run("the timeout option fixes it once the client has answered", func(t *testing.T) {
		inMemory(t, nil, func(t *testing.T, b *bench) {
			c := b.client()
			c.request(rrq("big", "octet", "timeout", "7"))
			c.expectOACK("timeout", "7")
			c.expectOACK("timeout", "7") // after one second: nobody has answered yet
			c.ack(0)
			time.Sleep(2 * time.Minute)
			all := gaps(b)
			require.Equal(t, []time.Duration{time.Second, 0}, all[:2])
			require.Len(t, all, 2+12, "within 90 seconds")
			for _, gap := range all[2:] {
				require.Equal(t, 7*time.Second, gap)
			}
		})
	})
	t.Run("even where it is longer than the server's patience", func(t *testing.T) {
		inMemory(t, nil, func(t *testing.T, b *bench) {
			c := b.client()
			c.request(rrq("big", "octet", "timeout", "255"))
			c.expectOACK("timeout", "255")
			c.ack(0)
			time.Sleep(time.Hour)
			require.Equal(t, []time.Duration{0, 255 * time.Second, 255 * time.Second}, gaps(b))
			require.ErrorIs(t, b.seen.last(t).Err, ErrNoAnswer)
		})
	})
}

// gaps are the times between the packets that the server sent.
func gaps(b *bench) []time.Duration {
	sent := b.net.sentBy(serverAddr.Addr())
	var out []time.Duration
	for i := 1; i < len(sent); i++ {
		out = append(out, sent[i].at.Sub(sent[i-1].at))
	}
	return out
}

// GRUB opens several initrds and reads them one after another, EDK2 and PXELINUX
// outlast links that are down.
func TestT007_ClientsMayBeSilentForLong(t *testing.T) {
	t.Run("and go on", func(t *testing.T) {
		inMemory(t, nil, func(t *testing.T, b *bench) {
			c, file := b.client(), testFiles["three"].Data
			c.request(rrq("three", "octet"))
			c.expectData(1, file[:512])
			c.ack(1)
			time.Sleep(clientSilence - time.Second)
			all := gaps(b)
			require.Equal(t, minTimeout, all[1])
			for i, gap := range all[1:] {
				require.LessOrEqual(t, gap, maxTimeout)
				require.GreaterOrEqual(t, gap, all[max(i, 1)], "ever farther apart")
			}
			require.Less(t, len(all), 30)
			for range all { // what has piled up
				c.expectData(2, file[512:1024])
			}
			c.ack(2)
			c.expectData(3, file[1024:])
			c.ack(3)
			synctest.Wait()
			result := b.seen.last(t)
			require.NoError(t, result.Err)
			require.EqualValues(t, 1025, result.Bytes)
		})
	})
	t.Run("as long as they say that they are there", func(t *testing.T) {
		inMemory(t, nil, func(t *testing.T, b *bench) {
			c := b.client()
			c.request(rrq("three", "octet"))
			c.expectData(1, testFiles["three"].Data[:512])
			for range 5 {
				c.ack(1)
				time.Sleep(clientSilence / 2)
			}
			require.Empty(t, b.seen.ends())
			time.Sleep(clientSilence)
			require.ErrorIs(t, b.seen.last(t).Err, ErrNoAnswer)
		})
	})
	t.Run("Retries counts before the first answer only", func(t *testing.T) {
		inMemory(t, func(s *Server) { s.Retries = 1 }, func(t *testing.T, b *bench) {
			c := b.client()
			c.request(rrq("three", "octet", "blksize", "512"))
			c.expectOACK("blksize", "512")
			c.ack(65535) // of nothing that was sent
			time.Sleep(10 * time.Second)
			require.Len(t, b.net.sentBy(serverAddr.Addr()), 2)
			require.ErrorIs(t, b.seen.last(t).Err, ErrNoAnswer)

			c = b.clientAt(netip.AddrPortFrom(clientAddr.Addr(), 2071))
			c.request(rrq("three", "octet"))
			c.expectData(1, testFiles["three"].Data[:512])
			c.ack(1)
			time.Sleep(clientSilence - time.Second)
			require.Len(t, b.seen.ends(), 1)
		})
	})
	t.Run("a slow source is not the client's silence", func(t *testing.T) {
		reads := 0
		slow := HandlerFunc(func(_ context.Context, tr *Transfer) error {
			_, err := tr.ReadFrom(readerFunc(func(p []byte) (int, error) {
				if reads++; reads == 3 {
					time.Sleep(2 * clientSilence)
				}
				return copy(p, pattern(512)), nil
			}))
			return err
		})
		inMemory(t, func(s *Server) { s.Handler = slow }, func(t *testing.T, b *bench) {
			b.net.mu.Lock()
			b.net.lose = func(p memPacket) bool { return len(b.net.log) == 4 } // the second block
			b.net.mu.Unlock()
			c := b.client()
			c.request(rrq("f", "octet"))
			c.receive(patience)
			c.ack(1)
			c.expectData(2, pattern(512)) // again
		})
	})
}
