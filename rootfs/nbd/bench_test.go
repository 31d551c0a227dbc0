package nbd

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/pojntfx/go-nbd/pkg/backend"
	"github.com/stretchr/testify/require"
)

// BenchmarkRead reads over loopback with 16 requests in flight, from an extent
// of a file and from a backend that has none.
func BenchmarkRead(b *testing.B) {
	const size = 64 << 20
	file := newExtentBackend(patternFile(b, 4567, size), 4567, size)
	for _, kind := range []string{"copied", "extent"} {
		var disk backend.Backend = file
		if kind == "copied" {
			disk = ReaderAt(struct{ io.ReaderAt }{file}, size)
		}
		for _, length := range []int{4 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("%s/%dk", kind, length>>10), func(b *testing.B) {
				benchmarkRead(b, start(b, &Server{Exports: []Export{exportOf("disk", disk)}}), length, size)
			})
		}
	}
}

func benchmarkRead(b *testing.B, addr string, length, size int) {
	const depth = 16
	c := session(b, addr, false)
	requests := make([][]byte, size/length)
	for i := range requests {
		requests[i] = command(0, kRead, uint64(i), uint64(i*length), uint32(length))
	}
	buffer := make([]byte, 16+length)
	b.SetBytes(int64(length))
	b.ReportAllocs()
	c.put(bytes.Join(requests[:min(depth, b.N)], nil))
	b.ResetTimer()
	for i := range b.N {
		_, err := io.ReadFull(c.in, buffer)
		require.NoError(b, err)
		if i+depth < b.N {
			c.put(requests[(i+depth)%len(requests)])
		}
	}
}

// BenchmarkNegotiation is a connection that opens an export and ends.
func BenchmarkNegotiation(b *testing.B) {
	s := disk()
	addr := start(b, s)
	b.ReportAllocs()
	for b.Loop() {
		c := session(b, addr, true)
		c.put(command(0, kDisc, 0, 0, 0))
		c.requireClosed()
		c.Close()
	}
	require.Empty(b, s.Drops())
}
