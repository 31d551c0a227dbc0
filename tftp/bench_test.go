package tftp

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkLockStep sends a file of b.N blocks over loopback to a client that
// does nothing but acknowledge.
func BenchmarkLockStep(b *testing.B) {
	for _, size := range []int{512, 1428, 8192} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			done := make(chan Result, 1)
			s := &Server{
				MaxBlockSize: maxBlockSize,
				Trace:        &Trace{Done: func(_ *Request, r Result) { done <- r }},
				Handler: HandlerFunc(func(_ context.Context, t *Transfer) error {
					left := b.N * size
					_, err := t.ReadFrom(readerFunc(func(p []byte) (int, error) {
						n := min(len(p), left)
						left -= n
						if n == 0 {
							return 0, io.EOF
						}
						return n, nil
					}))
					return err
				}),
			}
			server := serveLoopback(b, s)
			c := listenLoopback(b)
			_, err := c.WriteToUDPAddrPort(rrq("x", "octet", "blksize", fmt.Sprint(size)), server)
			require.NoError(b, err)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			buf, ack := make([]byte, 1<<16), ackPacket(0)
			for packet := 0; ; packet++ {
				n, from, err := c.ReadFromUDPAddrPort(buf)
				require.NoError(b, err)
				block := uint16(0)
				if opcode(buf) == opDATA {
					block = binary.BigEndian.Uint16(buf[2:])
				}
				binary.BigEndian.PutUint16(ack[2:], block)
				if packet == 1 {
					b.ResetTimer()
				}
				_, err = c.WriteToUDPAddrPort(ack, from)
				require.NoError(b, err)
				if opcode(buf) == opDATA && n < headerSize+size {
					break
				}
			}
			b.StopTimer()
			require.NoError(b, (<-done).Err)
		})
	}
}

// BenchmarkFloor is the same exchange without TFTP: what the sockets allow.
func BenchmarkFloor(b *testing.B) {
	for _, size := range []int{512, 1428, 8192} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			server, c := listenLoopback(b), listenLoopback(b)
			addr := func(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }
			b.SetBytes(int64(size))
			to := addr(c)
			go func() {
				out, in := make([]byte, size+headerSize), make([]byte, 16)
				for range b.N {
					_, _ = server.WriteToUDPAddrPort(out, to)
					_, _, _ = server.ReadFromUDPAddrPort(in)
				}
			}()
			buf, ack := make([]byte, 1<<16), make([]byte, 4)
			for range b.N {
				_, from, err := c.ReadFromUDPAddrPort(buf)
				require.NoError(b, err)
				_, err = c.WriteToUDPAddrPort(ack, from)
				require.NoError(b, err)
			}
		})
	}
}

func BenchmarkParseRequest(b *testing.B) {
	p := rrq("boot/x86_64/vmlinuz", "octet", "tsize", "0", "blksize", "1408")
	b.ReportAllocs()
	for b.Loop() {
		_, _, ok := parseRequest(p)
		require.True(b, ok)
	}
}
