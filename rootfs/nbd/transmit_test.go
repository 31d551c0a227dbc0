package nbd

import (
	"context"
	"io"
	"math"
	"os"
	"testing"
	"time"

	"github.com/pojntfx/go-nbd/pkg/backend"
	"github.com/stretchr/testify/require"
)

// inBothForms runs a test with simple and with structured replies.
func inBothForms(t *testing.T, test func(t *testing.T, structured bool)) {
	t.Run("simple", func(t *testing.T) { test(t, false) })
	t.Run("structured", func(t *testing.T) { test(t, true) })
}

func TestN030_WrongRequestMagic(t *testing.T) {
	s := disk()
	r := record(s)
	addr := start(t, s)
	for i := range 4 {
		c := session(t, addr, false)
		p := command(0, kRead, 1, 0, 1)
		p[i] ^= 1
		c.put(p)
		c.requireClosed()
		result := <-r.done
		require.Error(t, result.Err)
		require.True(t, result.Aborted)
	}
	requireServes(t, addr)
}

func TestN031_ReadBounds(t *testing.T) {
	const size = 33 << 20
	s := &Server{Exports: []Export{exportOf("disk", ReaderAt(pattern{}, size))}}
	addr := start(t, s)
	inBothForms(t, func(t *testing.T, structured bool) {
		c := session(t, addr, structured)
		bad := []struct {
			offset uint64
			length uint32
		}{
			{size, 1}, {size - 1, 2}, {size + 1, 0}, {size - 4096, 4097}, {0, size + 1}, {1 << 62, 4096}, {0, 32<<20 + 1}, {0, math.MaxUint32},
		}
		n := allocated(func() {
			for _, b := range bad {
				_, errno := c.read(structured, b.offset, b.length)
				require.EqualValues(t, eINVAL, errno, "%d at %d", b.length, b.offset)
			}
		})
		require.Less(t, n, uint64(4<<20))
		c.alive(structured)
		data, errno := c.read(structured, size-32<<20, 32<<20)
		require.Zero(t, errno)
		require.Equal(t, patternBytes(size-32<<20, 32<<20), data)
		data, errno = c.read(structured, size-1, 1)
		require.Zero(t, errno)
		require.Equal(t, patternBytes(size-1, 1), data)
	})
}

func TestN032_WritesAreRefused(t *testing.T) {
	b := &writable{Backend: ReaderAt(pattern{}, diskSize)}
	s := &Server{Exports: []Export{exportOf("disk", b)}}
	r := record(s)
	addr := start(t, s)
	inBothForms(t, func(t *testing.T, structured bool) {
		c := session(t, addr, structured)
		for _, length := range []int{0, 1, 27, 28, 4096, 100_000, 32 << 20} {
			c.put(command(0, kWrite, 7, 0, uint32(length)))
			c.put(make([]byte, length))
			_, errno := c.simple() // also where READ has structured replies
			require.EqualValues(t, ePERM, errno)
		}
		for _, kind := range []uint16{kTrim, kWriteZeroes, kResize} {
			for _, length := range []uint32{0, 4096, math.MaxUint32} {
				c.put(command(0, kind, 8, 0, length)) // no data follows
				cookie, errno := c.simple()
				require.EqualValues(t, 8, cookie)
				require.EqualValues(t, ePERM, errno)
			}
		}
		c.alive(structured)
		for _, length := range []uint32{32<<20 + 1, math.MaxUint32} {
			c := session(t, addr, structured)
			c.put(command(0, kWrite, 9, 0, length))
			c.requireClosed()
			require.True(t, (<-r.done).Aborted)
		}
	})
	require.Zero(t, b.writes)
}

// writable is a backend that could be written to.
type writable struct {
	backend.Backend
	writes int
}

func (w *writable) WriteAt(p []byte, _ int64) (int, error) {
	w.writes++
	return len(p), nil
}

func TestN033_OffsetOverflow(t *testing.T) {
	addr := start(t, disk())
	inBothForms(t, func(t *testing.T, structured bool) {
		c := session(t, addr, structured)
		for _, offset := range []uint64{math.MaxUint64, math.MaxUint64 - 1, math.MaxUint64 - 4095, math.MaxUint64 - 4096, 1 << 63, 1<<63 - 1, 1<<64 - diskSize} {
			for _, length := range []uint32{0, 1, 2, 4096, 1 << 20, 32 << 20, math.MaxUint32} {
				_, errno := c.read(structured, offset, length)
				require.EqualValues(t, eINVAL, errno, "%d at %d", length, offset)
				c.put(command(0, kCache, 1, offset, length))
				_, errno = c.simple()
				require.EqualValues(t, eINVAL, errno)
			}
		}
		c.alive(structured)
	})
}

func TestN034_Flags(t *testing.T) {
	addr := start(t, disk())
	_, flags := connect(t, addr).open("disk")
	require.EqualValues(t, 1|1<<1|1<<2|1<<8|1<<10, flags, "READ_ONLY, SEND_FLUSH, CAN_MULTI_CONN, SEND_CACHE")
	c := connect(t, addr)
	require.EqualValues(t, rACK, c.ask(oStructured))
	_, flags = c.open("disk")
	require.EqualValues(t, 1|1<<1|1<<2|1<<7|1<<8|1<<10, flags, "and SEND_DF")
}

func TestN035_UnknownCommandsAndFlags(t *testing.T) {
	addr := start(t, disk())
	inBothForms(t, func(t *testing.T, structured bool) {
		c := session(t, addr, structured)
		for _, kind := range []uint16{kBlockStatus, 9, 10, 255, 1 << 15, math.MaxUint16} {
			c.put(command(0, kind, 5, 0, 4096))
			cookie, errno := c.simple()
			require.EqualValues(t, 5, cookie)
			require.EqualValues(t, eINVAL, errno)
		}
		for bit := range 16 {
			for _, kind := range []uint16{kRead, kFlush, kCache} {
				if structured && kind == kRead && 1<<bit == fDF {
					continue
				}
				c.put(command(1<<bit, kind, 6, 0, 512))
				errno := uint32(0)
				if structured && kind == kRead {
					errno = c.chunk().errno
				} else {
					_, errno = c.simple()
				}
				require.EqualValues(t, eINVAL, errno, "flag %d of command %d", 1<<bit, kind)
			}
		}
		c.alive(structured)
	})
}

func TestN036_CookiesComeBack(t *testing.T) {
	addr := start(t, disk())
	inBothForms(t, func(t *testing.T, structured bool) {
		c := session(t, addr, structured)
		var all []byte
		want := make(map[uint64]int) // cookie -> offset
		for i := range 200 {
			cookie := uint64(i) * 0x9e3779b97f4a7c15
			want[cookie] = i * 1000
			length := []uint32{512, 40_000, 100_000, 300_000}[i%4]
			all = append(all, command(0, kRead, cookie, uint64(i*1000), length)...)
		}
		go c.Write(all)
		got := make(map[uint64][]byte)
		for done := 0; done < 200; {
			if structured {
				k := c.chunk()
				got[k.cookie] = append(got[k.cookie], k.data...)
				if k.flags == 1 {
					done++
				}
				continue
			}
			cookie, errno := c.simple()
			require.Zero(t, errno)
			got[cookie] = c.take([]int{512, 40_000, 100_000, 300_000}[want[cookie]/1000%4])
			done++
		}
		require.Len(t, got, 200)
		for cookie, data := range got {
			offset, ok := want[cookie]
			require.True(t, ok)
			require.Equal(t, patternBytes(int64(offset), len(data)), data)
		}
	})
	t.Run("equal ones", func(t *testing.T) {
		c := session(t, addr, false)
		c.put(append(command(0, kRead, 1<<64-1, 0, 512), command(0, kRead, 1<<64-1, 0, 512)...))
		for range 2 {
			cookie, errno := c.simple()
			require.EqualValues(t, uint64(1<<64-1), cookie)
			require.Zero(t, errno)
			require.Equal(t, patternBytes(0, 512), c.take(512))
		}
	})
}

func TestN037_ReadOfNothing(t *testing.T) {
	addr := start(t, disk())
	inBothForms(t, func(t *testing.T, structured bool) {
		c := session(t, addr, structured)
		for _, offset := range []uint64{0, 100, diskSize} {
			data, errno := c.read(structured, offset, 0)
			require.Zero(t, errno)
			require.Empty(t, data)
		}
		c.alive(structured)
	})
}

func TestN038_FlushAndCache(t *testing.T) {
	addr := start(t, disk())
	inBothForms(t, func(t *testing.T, structured bool) {
		c := session(t, addr, structured)
		c.put(command(0, kFlush, 1, 0, 0))
		cookie, errno := c.simple()
		require.EqualValues(t, 1, cookie)
		require.Zero(t, errno)
		for _, length := range []uint32{0, 1, 4096, diskSize} {
			c.put(command(0, kCache, 2, 0, length))
			_, errno = c.simple()
			require.Zero(t, errno)
		}
		c.put(command(0, kCache, 2, 1, diskSize))
		_, errno = c.simple()
		require.EqualValues(t, eINVAL, errno)
		c.alive(structured)
	})
}

func TestN039_Disconnect(t *testing.T) {
	release := make(chan struct{})
	s := &Server{Exports: []Export{exportOf("disk", ReaderAt(readerFunc(func(p []byte, off int64) (int, error) {
		if off == 0 {
			<-release
		}
		return pattern{}.ReadAt(p, off)
	}), diskSize))}}
	r := record(s)
	c := session(t, start(t, s), false)
	// The first is given to another goroutine, as more have come with it.
	c.put(append(command(0, kRead, 1, 0, 40_000), append(command(0, kRead, 2, 512, 512), command(0, kDisc, 3, 0, 0)...)...))
	cookie, _ := c.simple()
	require.EqualValues(t, 2, cookie)
	c.take(512)
	close(release)
	cookie, _ = c.simple()
	require.EqualValues(t, 1, cookie)
	require.Equal(t, patternBytes(0, 40_000), c.take(40_000))
	c.requireClosed()
	require.Equal(t, Result{Bytes: 40_512}, <-r.done)
}

func TestClientThatLeavesWithoutDisconnect(t *testing.T) {
	s := disk()
	r := record(s)
	addr := start(t, s)
	for _, rest := range [][]byte{nil, command(0, kRead, 1, 0, 1)[:27], command(0, kWrite, 1, 0, 100)} {
		c := session(t, addr, false)
		c.put(rest)
		c.Close()
		result := <-r.done
		require.Error(t, result.Err)
		require.True(t, result.Aborted)
	}
}

func TestN040_BackendErrors(t *testing.T) {
	const bad = 2 << 20 // where the disk is broken
	fails := map[string]readerFunc{
		"error":               func([]byte, int64) (int, error) { return 0, errBroken },
		"error in the middle": func(p []byte, _ int64) (int, error) { return len(p) / 2, errBroken },
		"end in the middle":   func(p []byte, _ int64) (int, error) { return len(p) - 1, io.EOF },
		"nothing":             func([]byte, int64) (int, error) { return 0, nil },
		"too much":            func(p []byte, _ int64) (int, error) { return len(p) + 1, nil },
		"panic":               func([]byte, int64) (int, error) { panic("out of range") },
	}
	for name, fail := range fails {
		t.Run(name, func(t *testing.T) {
			// It has no Extent, so no reply goes by sendfile: see TestFileThatShrinks.
			s := &Server{Exports: []Export{exportOf("disk", ReaderAt(readerFunc(func(p []byte, off int64) (int, error) {
				if off <= bad && bad < off+int64(len(p)) {
					return fail(p, off)
				}
				return pattern{}.ReadAt(p, off)
			}), diskSize))}}
			r := record(s)
			addr := start(t, s)
			inBothForms(t, func(t *testing.T, structured bool) {
				c := session(t, addr, structured)
				for _, length := range []uint32{1, 512, 40_000, 256 << 10, 1 << 20} {
					_, errno := c.read(structured, bad, length)
					require.EqualValues(t, eIO, errno)
				}
				c.alive(structured)
				// By another goroutine.
				c.put(append(command(0, kRead, 0xfeedfacecafebeef, bad, 40_000), command(0, kFlush, 2, 0, 0)...))
				for range 2 {
					header, err := c.in.Peek(4)
					require.NoError(t, err)
					if header[0] == 0x66 {
						require.EqualValues(t, eIO, c.chunk().errno)
					} else if cookie, errno := c.simple(); cookie != 2 {
						require.EqualValues(t, eIO, errno)
					}
				}
				c.alive(structured)
			})
			// After the header has left.
			c := session(t, addr, true)
			_, errno := c.read(true, bad-1<<20, 1<<20+1)
			require.EqualValues(t, eIO, errno)
			c.alive(true)
			c = session(t, addr, false)
			c.put(command(0, kRead, 1, bad-1<<20, 1<<20+1))
			_, errno = c.simple()
			require.Zero(t, errno)
			_, err := io.CopyN(io.Discard, c.in, 1<<20+1)
			require.ErrorIs(t, err, io.EOF, "the client must not take an incomplete reply for a whole one")
			result := <-r.done
			for result.Aborted { // the sessions above, which their clients left
				result = <-r.done
			}
			require.Error(t, result.Err, "that is our fault")
			requireServes(t, addr)
		})
	}
}

// A broken disk is told of, however the client takes its NBD_EIO.
func TestReadErrorsAreReported(t *testing.T) {
	for name, leave := range map[string]func(*client){
		"goodbye": func(c *client) { c.put(command(0, kDisc, 0, 0, 0)) },
		"gone":    func(*client) {},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Server{Exports: []Export{exportOf("disk", ReaderAt(readerFunc(func([]byte, int64) (int, error) {
				return 0, errBroken
			}), diskSize))}}
			r := record(s)
			c := session(t, start(t, s), false)
			_, errno := c.read(false, 0, 512)
			require.EqualValues(t, eIO, errno)
			leave(c)
			c.Close()
			result := <-r.done
			require.ErrorIs(t, result.Err, errBroken)
			require.False(t, result.Aborted)
		})
	}
}

// io.EOF with the last bytes is what io.ReaderAt allows.
func TestN040_EndOfFileWithTheLastBytes(t *testing.T) {
	s := &Server{Exports: []Export{exportOf("disk", ReaderAt(readerFunc(func(p []byte, off int64) (int, error) {
		n, _ := pattern{}.ReadAt(p, off)
		if off+int64(n) == diskSize {
			return n, io.EOF
		}
		return n, nil
	}), diskSize))}}
	addr := start(t, s)
	inBothForms(t, func(t *testing.T, structured bool) {
		c := session(t, addr, structured)
		for _, length := range []int{1, 4096, 40_000, 1 << 20} {
			data, errno := c.read(structured, uint64(diskSize-length), uint32(length))
			require.Zero(t, errno)
			require.Equal(t, patternBytes(int64(diskSize-length), length), data)
		}
	})
}

func TestN041_DoNotFragment(t *testing.T) {
	f := patternFile(t, 0, diskSize)
	for name, b := range map[string]backend.Backend{"copied": ReaderAt(pattern{}, diskSize), "from a file": ReaderAt(f, diskSize)} {
		t.Run(name, func(t *testing.T) {
			c := session(t, start(t, &Server{Exports: []Export{exportOf("disk", b)}}), true)
			for _, length := range []int{1, 4096, 64 << 10, 256 << 10, 256<<10 + 1, 1 << 20} {
				c.put(command(fDF, kRead, 1, 10, uint32(length)))
				k := c.chunk()
				require.Zero(t, k.errno)
				require.EqualValues(t, 1, k.flags)
				require.EqualValues(t, 10, k.offset)
				require.Equal(t, patternBytes(10, length), k.data)
			}
			c.put(command(fDF, kRead, 1, diskSize, 1))
			require.EqualValues(t, eINVAL, c.chunk().errno)
		})
	}
}

// BLOCK_STATUS needs a meta context, and none is offered: whatever is asked, no
// extents are sent.
func TestN042_BlockStatusIsNotOffered(t *testing.T) {
	addr := start(t, disk())
	inBothForms(t, func(t *testing.T, structured bool) {
		c := session(t, addr, structured)
		for _, flags := range []uint16{0, 1 << 3} {
			for _, length := range []uint32{0, 1, 4096, math.MaxUint32} {
				for _, offset := range []uint64{0, diskSize - 1, math.MaxUint64} {
					c.put(command(flags, kBlockStatus, 1, offset, length))
					_, errno := c.simple()
					require.EqualValues(t, eINVAL, errno)
				}
			}
		}
		c.alive(structured)
	})
}

// A backend that panics when it is closed, and an embedder's function that
// panics, end their own connection.
func TestPanicsEndOneConnection(t *testing.T) {
	s := disk()
	r := record(s)
	s.Find = func(_ context.Context, name string) (*Export, error) {
		if name == "find" {
			panic("no map")
		}
		return &Export{Name: name, Open: func(context.Context) (backend.Backend, error) {
			if name == "open" {
				panic("no file")
			}
			return panicCloser{ReaderAt(pattern{}, diskSize)}, nil
		}}, nil
	}
	addr := start(t, s)
	steady := session(t, addr, false)
	for i, name := range []string{"find", "open"} {
		c := connect(t, addr)
		c.put(option(oGo, naming(name)...))
		c.requireClosed()
		require.Eventually(t, func() bool { return s.Drops()[DropPanic] == uint64(i+1) }, patience, time.Millisecond)
	}
	c := connect(t, addr)
	c.open("close")
	c.alive(false)
	c.Close()
	require.True(t, (<-r.done).Aborted)
	steady.alive(false)
	requireServes(t, addr)
}

// A backend whose methods panic is closed.
func TestPanicsLeaveNothingOpen(t *testing.T) {
	s := disk()
	var backends []*panicBackend
	s.Find = func(_ context.Context, name string) (*Export, error) {
		b := &panicBackend{counting: counting{Backend: ReaderAt(pattern{}, diskSize)}, in: name}
		backends = append(backends, b)
		return &Export{Open: exportOf("", b).Open}, nil
	}
	addr := start(t, s)
	for i, name := range []string{"Size", "Extent"} {
		c := connect(t, addr)
		c.put(option(oGo, naming(name)...))
		c.requireClosed()
		require.Eventually(t, func() bool { return s.Drops()[DropPanic] == uint64(i+1) }, patience, time.Millisecond)
		require.EqualValues(t, 1, backends[i].closes.Load())
	}
	requireServes(t, addr)
}

// panicBackend panics in the method of that name.
type panicBackend struct {
	counting
	in string
}

func (b *panicBackend) Size() (int64, error) {
	if b.in == "Size" {
		panic("no size")
	}
	return b.counting.Size()
}

func (b *panicBackend) Extent() (*os.File, int64, int64, bool) { panic("no extent") }

type panicCloser struct{ backend.Backend }

func (panicCloser) Close() error { panic("closed twice") }
