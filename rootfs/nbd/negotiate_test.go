package nbd

import (
	"bytes"
	"context"
	"encoding/binary"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pojntfx/go-nbd/pkg/backend"
	"github.com/stretchr/testify/require"
)

func TestN001_Greeting(t *testing.T) {
	c := dial(t, start(t, disk()))
	require.Equal(t, []byte("NBDMAGICIHAVEOPT\x00\x03"), c.take(18))
}

func TestN002_ClientFlags(t *testing.T) {
	addr := start(t, disk())
	for bit := 2; bit < 32; bit++ {
		c := dial(t, addr)
		c.greet(1<<bit | cFixed)
		c.requireClosed()
	}
	for _, id := range []uint32{oList, oInfo, oGo, oStructured, oAbort, 99} {
		c := dial(t, addr)
		c.greet(0)
		c.put(option(id))
		c.requireClosed()
	}
	c := dial(t, addr)
	c.greet(0)
	c.put(option(oExportName, []byte("disk")...))
	require.EqualValues(t, diskSize, binary.BigEndian.Uint64(c.take(10)))
	c.take(124)
	c.alive(false)
}

func TestN003_Zeroes(t *testing.T) {
	addr := start(t, disk())
	for _, flags := range []uint32{0, cFixed, cNoZeroes, cFixed | cNoZeroes} {
		c := dial(t, addr)
		c.greet(flags)
		c.put(option(oExportName, []byte("disk")...))
		c.take(10)
		if flags&cNoZeroes == 0 {
			require.Equal(t, make([]byte, 124), c.take(124))
		}
		c.alive(false) // the next byte is a reply's
	}
}

func TestN004_WrongOptionMagic(t *testing.T) {
	s := disk()
	addr := start(t, s)
	for i := range 8 {
		c := connect(t, addr)
		p := option(oList)
		p[i] ^= 0x10
		c.put(p)
		c.requireClosed()
	}
	requireServes(t, addr)
	require.Eventually(t, func() bool { return s.Drops()[DropMalformed] == 8 }, patience, time.Millisecond)
}

func TestN005_UnknownOptionIsSkipped(t *testing.T) {
	c := connect(t, start(t, disk()))
	for _, id := range []uint32{0, 4, oListMeta, oSetMeta, 11, 12, 1 << 31, 1<<32 - 1} {
		for _, length := range []int{0, 1, 15, 4096, 5000, 64 << 10} {
			// Data that looks like options must not be taken for them.
			data := bytes.Repeat(option(oAbort), length/16+1)[:length]
			require.EqualValues(t, rUnsup, c.ask(id, data...), "option %d of %d bytes", id, length)
		}
	}
	c.open("disk")
	c.alive(false)
}

// allocated returns how many bytes f allocates, with what runs beside it.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestN006_OptionTooLong(t *testing.T) {
	addr := start(t, disk())
	for _, id := range []uint32{0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 1<<32 - 1} {
		for _, length := range []uint32{64<<10 + 1, 1 << 31, 1<<32 - 1} {
			c := connect(t, addr)
			p := option(id)
			binary.BigEndian.PutUint32(p[12:], length)
			n := allocated(func() {
				c.put(p)
				if id != oExportName {
					require.EqualValues(t, rTooBig, c.reply(id).kind)
				}
				c.requireClosed()
			})
			require.Less(t, n, uint64(1<<20), "option %d of %d bytes", id, length)
		}
	}
	requireServes(t, addr)
}

func TestN007_Strings(t *testing.T) {
	longest := strings.Repeat("é", 2048)
	asked := make(chan string, 10)
	s := disk()
	s.Find = func(_ context.Context, name string) (*Export, error) {
		asked <- name
		return nil, fs.ErrNotExist
	}
	s.Exports = append(s.Exports, exportOf(longest, ReaderAt(pattern{}, 5)))
	addr := start(t, s)
	c := connect(t, addr)
	for _, name := range []string{longest + "x", strings.Repeat("x", 60000), "a\x00b", "\x00", "\xff", "disk\xc3"} {
		require.EqualValues(t, rInvalid, c.ask(oInfo, naming(name)...))
		require.EqualValues(t, rInvalid, c.ask(oGo, naming(name)...))

		old := connect(t, addr)
		old.put(option(oExportName, []byte(name)...)[:16+min(len(name), 4097)])
		old.requireClosed()
	}
	require.Empty(t, asked, "Find was asked for a name that is none")
	// A name that is unknown, and as long as may be, is not repeated.
	c.put(option(oGo, naming("x"+longest[:4094])...))
	r := c.reply(oGo)
	require.EqualValues(t, rUnknown, r.kind)
	require.Less(t, len(r.data), 256)
	size, _ := c.open(longest)
	require.EqualValues(t, 5, size)
}

func TestN018_ClientLeavesInTheMiddle(t *testing.T) {
	s, b := counted()
	recorded := record(s)
	addr := start(t, s)
	steady := session(t, addr, false)
	script := binary.BigEndian.AppendUint32(nil, cFixed)
	script = slices.Concat(script, option(oStructured), option(oList), option(99, 1, 2, 3),
		option(oInfo, naming("disk", 0, 3)...), option(oGo, naming("disk", 0, 1, 2, 3)...))
	for i := range script {
		c := dial(t, addr)
		c.put(script[:i])
		c.Close()
	}
	steady.alive(false)
	requireServes(t, addr)
	require.Eventually(t, func() bool { return s.Drops()[DropDisconnected] == uint64(len(script)) }, patience, time.Millisecond)
	steady.Close()
	require.Eventually(t, func() bool { return b.opens.Load() == b.closes.Load() }, patience, time.Millisecond)
	recorded.mu.Lock()
	defer recorded.mu.Unlock()
	require.Len(t, recorded.started, 2)
}

func TestN019_HandshakeTakesTenSeconds(t *testing.T) {
	scripts := map[string]func(c *client){
		"silent": func(*client) {},
		"reads nothing": func(c *client) { // not even the greeting
			time.Sleep(time.Hour)
		},
		"a byte a second": func(c *client) {
			c.take(18)
			for _, b := range bytes.Repeat([]byte{0, 0, 0, 3, 'I'}, 100) {
				time.Sleep(time.Second)
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
			}
		},
		"an option a second": func(c *client) {
			c.greet(cFixed)
			for range 100 {
				time.Sleep(time.Second)
				if _, err := c.Write(option(oStructured)); err != nil {
					return
				}
				c.in.Discard(20)
			}
		},
	}
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, b := counted()
				l := newMemListener()
				runOn(t, s, l)
				c := l.dial(t)
				defer c.Close()
				go script(c)
				time.Sleep(10*time.Second - time.Nanosecond)
				synctest.Wait()
				require.Empty(t, s.Drops())
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				require.Equal(t, map[DropReason]uint64{DropTimeout: 1}, s.Drops())
				require.Zero(t, b.opens.Load())
				time.Sleep(2 * time.Hour) // for the script
			})
		})
	}
	t.Run("an Open that hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &Server{Exports: []Export{{Name: "disk", Open: func(ctx context.Context) (backend.Backend, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}}}}
			l := newMemListener()
			runOn(t, s, l)
			c := l.dial(t)
			c.greet(cFixed)
			c.put(option(oGo, naming("disk")...))
			began := time.Now()
			c.requireClosed()
			require.Equal(t, 10*time.Second, time.Since(began))
			synctest.Wait()
			require.EqualValues(t, 1, s.Drops()[DropTimeout])
		})
	})
	t.Run("none in a session", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := newMemListener()
			runOn(t, disk(), l)
			c := l.dial(t)
			defer c.Close()
			c.greet(cFixed)
			c.open("disk")
			for range 3 {
				time.Sleep(30 * 24 * time.Hour)
				c.alive(false)
			}
		})
	})
}

func TestOptionsAreBounded(t *testing.T) {
	s := disk()
	c := connect(t, start(t, s))
	for range maxOptions {
		require.EqualValues(t, rACK, c.ask(oStructured))
	}
	c.requireClosed()
	require.Eventually(t, func() bool { return s.Drops()[DropMalformed] == 1 }, patience, time.Millisecond)
}
