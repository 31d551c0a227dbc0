package nbd

import (
	"bytes"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A client that asks and does not read makes the server hold a bounded number
// of bytes, whatever it asks for, and is cut off after stallTime.
func TestN044_ClientThatDoesNotRead(t *testing.T) {
	for _, length := range []uint32{512, 4096, 40_000, 256 << 10, 1 << 20} {
		inBothForms(t, func(t *testing.T, structured bool) {
			synctest.Test(t, func(t *testing.T) {
				s, b := counted()
				r := record(s)
				l := newMemListener()
				runOn(t, s, l)
				c := l.dial(t)
				defer c.Close()
				c.greet(cFixed)
				if structured {
					require.EqualValues(t, rACK, c.ask(oStructured))
				}
				c.open("disk")
				go c.Write(bytes.Repeat(command(0, kRead, 1, 0, length), 10_000))
				synctest.Wait()
				require.LessOrEqual(t, b.bytes.Load(), int64((maxHelpers+2)*bufferSize))
				require.NotZero(t, b.bytes.Load())
				time.Sleep(stallTime)
				synctest.Wait()
				result := <-r.done
				require.ErrorIs(t, result.Err, ErrStalled)
				require.True(t, result.Aborted)
				require.LessOrEqual(t, b.bytes.Load(), int64((maxHelpers+2)*bufferSize))
				require.EqualValues(t, 1, b.closes.Load())
				require.Zero(t, s.helpers.Load())
			})
		})
	}
}

// One that is slow and takes a little now and then is served.
func TestN044_SlowClientIsServed(t *testing.T) {
	inBothForms(t, func(t *testing.T, structured bool) {
		synctest.Test(t, func(t *testing.T) {
			s := disk()
			l := newMemListener()
			runOn(t, s, l)
			c := l.dial(t)
			defer c.Close()
			c.greet(cFixed)
			if structured {
				require.EqualValues(t, rACK, c.ask(oStructured))
			}
			c.open("disk")
			go c.Write(command(0, kRead, 1, 0, 3<<20))
			for range 3 << 20 / 4096 {
				time.Sleep(stallTime / 80) // 64 of them for 256 KiB
				_, err := c.in.Discard(4096)
				require.NoError(t, err)
			}
		})
	})
}

// The helpers of a server are bounded whatever the number of its clients.
func TestHelpersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := disk()
		l := newMemListener()
		runOn(t, s, l)
		for range 100 {
			c := l.dial(t)
			defer c.Close()
			c.greet(cFixed)
			c.open("disk")
			go c.Write(bytes.Repeat(command(0, kRead, 1, 0, 100_000), 100))
		}
		synctest.Wait()
		require.EqualValues(t, maxHelpersInAll, s.helpers.Load())
		c := l.dial(t)
		c.greet(cFixed)
		c.open("disk")
		c.alive(false)
		time.Sleep(2 * stallTime)
		require.Zero(t, s.helpers.Load())
	})
}

func TestIdleConnectionsAreCheap(t *testing.T) {
	const clients = 300
	s := disk()
	s.MaxConnections, s.MaxConnectionsPerClient = clients, clients
	addr := start(t, s)
	memory := func() uint64 {
		for range 3 { // what pools hold goes with the second
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before := memory()
	all := make([]*client, clients)
	for i := range all {
		all[i] = session(t, addr, false)
		data, errno := all[i].read(false, 0, 100_000)
		require.Zero(t, errno)
		require.Len(t, data, 100_000)
		all[i].in = nil // the client's own buffer
	}
	each := int64(memory()-before) / clients
	t.Logf("an idle connection takes %d bytes, with the client's end", each)
	require.Less(t, each, int64(64<<10))
	require.Empty(t, s.Drops())
}
