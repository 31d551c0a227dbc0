package nbd

import (
	"bytes"
	"context"
	"io/fs"
	"math/rand/v2"
	"testing"

	"github.com/pojntfx/go-nbd/pkg/backend"
	"github.com/stretchr/testify/require"
)

// lengths are those around which the way of a reply changes.
var lengths = []int{1, 28, 512, 4096, parallelSize, 64 << 10, 128 << 10, bufferSize, 2 * bufferSize, 1 << 20}

// randomRead is a range of an export of size bytes, small ones and those near a
// threshold more often than others.
func randomRead(random *rand.Rand, size int) (offset, length int) {
	length = lengths[random.IntN(len(lengths))]
	switch random.IntN(3) {
	case 0:
		length += random.IntN(5) - 2
	case 1:
		length = random.IntN(length + 1)
	}
	length = min(max(length, 0), size)
	return random.IntN(size - length + 1), length
}

// backends are the same image in all the forms that a backend may have.
func backends(t testing.TB, size int) map[string]func() (backend.Backend, error) {
	whole, part := patternFile(t, 0, size), patternFile(t, 4567, size)
	require.NoError(t, whole.Truncate(int64(size)))
	image := patternBytes(0, size)
	return map[string]func() (backend.Backend, error){
		"reader":  func() (backend.Backend, error) { return ReaderAt(bytes.NewReader(image), int64(size)), nil },
		"extent":  func() (backend.Backend, error) { return newExtentBackend(part, 4567, int64(size)), nil },
		"file":    func() (backend.Backend, error) { return ReaderAt(whole, int64(size)), nil },
		"fs.File": func() (backend.Backend, error) { return File(notClosed{whole}) },
		"go-nbd":  func() (backend.Backend, error) { return backend.NewFileBackend(whole), nil },
		// An extent that is too short is not believed.
		"short extent": func() (backend.Backend, error) {
			return &extentBackend{ReaderAt(bytes.NewReader(image), int64(size)), part, 0, int64(size) - 1}, nil
		},
	}
}

// notClosed keeps a file open for the next connection.
type notClosed struct{ fs.File }

func (notClosed) Close() error { return nil }

func (f notClosed) ReadAt(p []byte, off int64) (int, error) {
	return f.File.(interface {
		ReadAt([]byte, int64) (int, error)
	}).ReadAt(p, off)
}

// What is read is what lies there, by whatever way it comes.
func TestReadsAreSlicesOfTheImage(t *testing.T) {
	image := patternBytes(0, diskSize)
	server, trusting := certificate(t)
	for name, open := range backends(t, diskSize) {
		for _, secure := range []bool{false, true} {
			if secure && name != "reader" && name != "extent" {
				continue // TLS knows of two kinds: those that sendfile would send, and others
			}
			t.Run(name+map[bool]string{false: "", true: " over TLS"}[secure], func(t *testing.T) {
				s := &Server{TLS: server, Exports: []Export{{Name: "disk", Open: func(context.Context) (backend.Backend, error) { return open() }}}}
				addr := start(t, s)
				inBothForms(t, func(t *testing.T, structured bool) {
					c := connect(t, addr)
					if secure {
						c.upgrade(trusting)
					}
					if structured {
						require.EqualValues(t, rACK, c.ask(oStructured))
					}
					c.open("disk")
					requireReads(t, c, structured, image, rand.New(rand.NewPCG(1, 2)), 150)
				})
			})
		}
	}
}

// requireReads sends random READs in bursts and compares what comes back.
func requireReads(t testing.TB, c *client, structured bool, image []byte, random *rand.Rand, reads int) {
	type want struct{ offset, length int }
	pending := make(map[uint64]want)
	for cookie := uint64(0); cookie < uint64(reads); {
		var burst []byte
		for range 1 + random.IntN(20) {
			offset, length := randomRead(random, len(image))
			flags := uint16(0)
			if structured && random.IntN(4) == 0 {
				flags = fDF
			}
			burst = append(burst, command(flags, kRead, cookie, uint64(offset), uint32(length))...)
			pending[cookie] = want{offset, length}
			cookie++
		}
		c.put(burst) // 560 bytes at most, which the socket takes
		got := make(map[uint64][]byte)
		for len(pending) > 0 {
			var done uint64
			if structured {
				k := c.chunk()
				require.Zero(t, k.errno)
				if k.kind == 1 {
					require.Equal(t, uint64(pending[k.cookie].offset+len(got[k.cookie])), k.offset)
					got[k.cookie] = append(got[k.cookie], k.data...)
				}
				if done = k.cookie; k.flags == 0 {
					continue
				}
			} else {
				cookie, errno := c.simple()
				require.Zero(t, errno)
				done = cookie
				got[done] = c.take(pending[done].length)
			}
			w, ok := pending[done]
			require.True(t, ok, "a reply to nothing")
			if !bytes.Equal(image[w.offset:w.offset+w.length], got[done]) {
				t.Fatalf("READ of %d at %d gave other bytes, or %d", w.length, w.offset, len(got[done]))
			}
			delete(pending, done)
			delete(got, done)
		}
	}
}
