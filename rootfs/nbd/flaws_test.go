package nbd

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Each test sends what has broken another server, and then proves that this one
// is alive and right.

// nbd-server believed a length of 4 GiB less a byte and wrote past a buffer.
func TestCVE_2022_26495_LengthOfAllOnes(t *testing.T) {
	addr := start(t, disk())
	for id := range uint32(16) {
		c := connect(t, addr)
		p := option(id)
		binary.BigEndian.PutUint32(p[12:], math.MaxUint32)
		n := allocated(func() {
			c.put(append(p, make([]byte, 100)...))
			for { // whatever comes: the end must
				if _, err := c.in.ReadByte(); err != nil {
					break
				}
			}
		})
		require.Less(t, n, uint64(1<<20), "option %d", id)
	}
	for _, id := range []uint32{oInfo, oGo} {
		c := connect(t, addr)
		p := naming("disk")
		binary.BigEndian.PutUint32(p, math.MaxUint32)
		n := allocated(func() { require.EqualValues(t, rInvalid, c.ask(id, p...)) })
		require.Less(t, n, uint64(1<<20))
	}
	requireServes(t, addr)
}

// nbd-server copied a long name into a buffer on the stack.
func TestCVE_2022_26496_LongName(t *testing.T) {
	addr := start(t, disk())
	for _, length := range []int{255, 256, 1024, 4095, 4096} {
		name := strings.Repeat("a", length)
		c := connect(t, addr)
		require.EqualValues(t, rUnknown, c.ask(oInfo, naming(name)...))
		require.EqualValues(t, rUnknown, c.ask(oGo, naming(name)...))
		c.put(option(oExportName, []byte(name)...))
		c.requireClosed()
	}
	requireServes(t, addr)
}

// nbd-server exited when a client left in the negotiation; nbdkit before 1.34
// stopped at an assertion.
func TestCVE_2013_7441_ClientLeavesInNegotiation(t *testing.T) {
	addr := start(t, disk())
	for n := range 18 { // of the greeting, read before leaving
		c := dial(t, addr)
		c.take(n)
		c.Close()
	}
	for range 20 { // with a reset
		c := connect(t, addr)
		c.put(option(oList))
		require.NoError(t, c.Conn.(*net.TCPConn).SetLinger(0))
		c.Close()
	}
	requireServes(t, addr)
}

// nbd-server compared addresses by their beginning. Here a name is one, or is
// not: no prefix, no other case, no path.
func TestCVE_2013_6410_PrefixesAreNotNames(t *testing.T) {
	addr := start(t, &Server{Exports: []Export{exportOf("disk", ReaderAt(pattern{}, diskSize)), exportOf("disk2", ReaderAt(pattern{}, 7))}})
	c := connect(t, addr)
	for _, name := range []string{"", "d", "dis", "disk1", "disk22", "DISK", "disk/", "./disk", "../disk", "disk\n", "disk%00"} {
		require.EqualValues(t, rUnknown, c.ask(oGo, naming(name)...), "%q", name)
	}
	requireServes(t, addr)
}

// nbdkit opened what is behind an export as soon as somebody connected, and
// could be made to dial for strangers.
func TestCVE_2019_14850_NothingIsOpenedBeforeItIsNamed(t *testing.T) {
	s, b := counted()
	addr := start(t, s)
	for i := range 100 {
		c := dial(t, addr)
		if i%2 == 0 {
			c.greet(cFixed)
		}
		c.Close()
	}
	require.Eventually(t, func() bool { return s.Drops()[DropDisconnected] == 100 }, patience, time.Millisecond)
	require.Zero(t, b.opens.Load())
	requireServes(t, addr)
}

// nbdkit stopped at an assertion when INFO came twice, or in an odd order.
func TestCVE_2019_14851_OptionsInAnyOrder(t *testing.T) {
	s, b := counted()
	s.Exports = append(s.Exports, exportOf("other", ReaderAt(pattern{}, 1)))
	addr := start(t, s)
	random := rand.New(rand.NewPCG(3, 4))
	script := [][]byte{
		option(oInfo, naming("disk", 0, 1, 2, 3)...), option(oInfo, naming("other")...), option(oInfo, naming("nothing")...),
		option(oStructured), option(oList), option(oStartTLS), option(oSetMeta, 1), option(77, 1, 2), option(oGo, naming("nothing")...), option(oGo),
	}
	for range 100 {
		c := connect(t, addr)
		var sent int
		var all []byte
		for range random.IntN(20) {
			all = append(all, script[random.IntN(len(script))]...)
			sent++
		}
		c.put(all)
		for range sent {
			header, err := c.in.Peek(12)
			require.NoError(t, err)
			c.replies(binary.BigEndian.Uint32(header[8:]))
		}
		size, _ := c.open("disk")
		require.EqualValues(t, diskSize, size)
		c.Close()
	}
	require.Eventually(t, func() bool { return b.opens.Load() == b.closes.Load() }, patience, time.Millisecond)
	requireServes(t, addr)
}

// nbdkit kept what was negotiated in the clear, and what was sent with
// STARTTLS, for the session in TLS.
func TestCVE_2021_3716_PlaintextBeforeTLS(t *testing.T) {
	server, _ := certificate(t)
	s, b := counted()
	s.TLS = server
	addr := start(t, s)
	c := connect(t, addr)
	c.put(append(option(oStartTLS), option(oGo, naming("disk")...)...))
	require.EqualValues(t, rACK, c.reply(oStartTLS).kind)
	c.requireClosed()
	require.Zero(t, b.opens.Load(), "what was put in is not taken for the client's")
	require.Eventually(t, func() bool { d := s.Drops(); return d[DropMalformed]+d[DropTLS] == 1 }, patience, time.Millisecond)
	requireServes(t, addr)
}

// nbdkit computed the extents of a block status, and the end of a request, in
// too few bits.
func TestCVE_2025_47711_and_47712_Arithmetic(t *testing.T) {
	const size = 1<<32 + 512
	addr := start(t, &Server{Exports: []Export{exportOf("disk", ReaderAt(pattern{}, size))}})
	inBothForms(t, func(t *testing.T, structured bool) {
		c := session(t, addr, structured)
		for _, end := range []uint64{1 << 31, 1 << 32, size} {
			for _, offset := range []uint64{end - 1, end - 512, end - 513, end} {
				for _, length := range []uint32{0, 1, 511, 512, 513} {
					data, errno := c.read(structured, offset, length)
					if offset+uint64(length) > size {
						require.EqualValues(t, eINVAL, errno)
						continue
					}
					require.Zero(t, errno)
					require.Equal(t, patternBytes(int64(offset), int(length)), data)
				}
			}
		}
		for _, length := range []uint32{math.MaxUint32, 1 << 31, 1<<32 - 512} {
			for _, offset := range []uint64{0, 1, 512, math.MaxUint64, math.MaxUint64 - uint64(length), math.MaxUint64 - uint64(length) + 1} {
				c.put(command(1<<3, kBlockStatus, 1, offset, length))
				_, errno := c.simple()
				require.EqualValues(t, eINVAL, errno)
			}
		}
		c.alive(structured)
	})
}

// qemu used a connection that had been closed in the middle of a request.
func TestCVE_2017_9524_ClientLeavesInARequest(t *testing.T) {
	s, b := counted()
	addr := start(t, s)
	for i := range 50 {
		c := session(t, addr, i%2 == 0)
		c.put(bytes.Repeat(command(0, kRead, 1, 0, 200_000), 50))
		if i%3 == 0 {
			c.take(1000)
		}
		require.NoError(t, c.Conn.(*net.TCPConn).SetLinger(0))
		c.Close()
	}
	require.Eventually(t, func() bool { return b.opens.Load() == b.closes.Load() }, patience, time.Millisecond)
	requireServes(t, addr)
}

// qemu skipped options of any length without an end, and before that put them
// on the stack (CVE-2017-15118).
func TestCVE_2017_15119_EndlessOption(t *testing.T) {
	addr := start(t, disk())
	c := connect(t, addr)
	p := option(99)
	binary.BigEndian.PutUint32(p[12:], math.MaxUint32)
	c.put(p)
	sent := 0
	for ; sent < 1<<30; sent += 1 << 20 { // the server ends it
		if _, err := c.Write(make([]byte, 1<<20)); err != nil {
			break
		}
	}
	require.Less(t, sent, 1<<30)
	requireServes(t, addr)
}

// qemu answered a name of the greatest length with a text of more than that.
func TestCVE_2020_10761_LongNameInAnError(t *testing.T) {
	addr := start(t, disk())
	c := connect(t, addr)
	for _, id := range []uint32{oInfo, oGo} {
		c.put(option(id, naming(strings.Repeat("%s%n", 1024))...))
		r := c.reply(id)
		require.EqualValues(t, rUnknown, r.kind)
		require.Less(t, len(r.data), 256)
	}
	c.open("disk")
	c.alive(false)
}

// qemu let clients sit in the negotiation, without a limit in number or time, and
// stopped at an assertion when it was shut down then.
func TestCVE_2024_7409_ShutdownInTheHandshake(t *testing.T) {
	rounds := 1000
	if testing.Short() {
		rounds = 100
	}
	for round := range rounds {
		synctest.Test(t, func(t *testing.T) {
			s, b := counted()
			l := newMemListener()
			done := make(chan error, 1)
			go func() { done <- s.Serve(l) }()
			script := append(binary.BigEndian.AppendUint32(nil, cFixed), option(oGo, naming("disk")...)...)
			for i := range 3 {
				c := l.dial(t)
				go c.in.WriteTo(nowhere{})
				go c.Write(script[:(round+i*7)%(len(script)+1)])
			}
			if round%2 == 0 {
				synctest.Wait()
			}
			if round%3 == 0 {
				require.NoError(t, s.Close())
			} else {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(round)*time.Millisecond)
				_ = s.Shutdown(ctx) // as may be: sessions go on
				cancel()
				require.NoError(t, s.Close())
			}
			require.ErrorIs(t, <-done, ErrServerClosed)
			require.Equal(t, b.opens.Load(), b.closes.Load())
		})
	}
}

type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

// A thousand connections that never say anything keep nobody away.
func TestCVE_2024_7409_ThousandHalfOpenHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := disk()
		l := newMemListener()
		runOn(t, s, l)
		for i := range 1100 {
			c := l.dial(t)
			if i%2 == 0 {
				c.greet(cFixed)
			}
			defer c.Close()
		}
		c := l.dial(t)
		c.greet(cFixed)
		c.open("disk")
		c.alive(false)
		c.Close()
		time.Sleep(handshakeTime)
		synctest.Wait()
		require.EqualValues(t, 1100, s.Drops()[DropTimeout]+s.Drops()[DropSuperseded], fmt.Sprint(s.Drops()))
	})
}

// xapi's client was told a wrong length of the list's entries.
func TestXAPI128_ListEntriesAddUp(t *testing.T) {
	s := disk()
	for i := range 100 {
		s.Exports = append(s.Exports, exportOf(strings.Repeat("é", i+1), ReaderAt(pattern{}, 1)))
		s.Exports[i].Description = strings.Repeat("d", i)
	}
	c := connect(t, start(t, s))
	c.put(option(oList))
	entries, last := c.replies(oList)
	require.EqualValues(t, rACK, last)
	require.Len(t, entries, 101)
	for i, entry := range entries {
		n := binary.BigEndian.Uint32(entry.data)
		require.Equal(t, s.Exports[i].Name, string(entry.data[4:4+n]))
		require.Equal(t, s.Exports[i].Description, string(entry.data[4+n:]))
	}
}
