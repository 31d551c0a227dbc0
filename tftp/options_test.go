package tftp

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestT017_BlockSize(t *testing.T) {
	for value, want := range map[string]int{
		"8": 8, "511": 511, "512": 512, "1428": 1428, "1468": 1468, "1469": 1468, "65464": 1468, "0512": 512,
		"7": 0, "0": 0, "65465": 0, "-512": 0, "+512": 0, " 512": 0, "512 ": 0, "1e3": 0, "0x200": 0, "": 0,
		"99999999999999999999999": 0, "٥١٢": 0,
	} {
		got := negotiate([]Option{{"blksize", value}}, 1468, -1)
		if want == 0 {
			require.Equal(t, terms{blockSize: 512}, got, "%q is as if not asked for", value)
		} else {
			require.Equal(t, terms{blockSize: want, oack: []accepted{{"blksize", int64(want)}}}, got, "%q", value)
		}
	}
}

func TestT017_BlocksOfEverySizeArrive(t *testing.T) {
	for _, size := range []string{"8", "9", "100", "511", "512", "513", "1468", "10239", "10240", "10241", "65464"} {
		inMemory(t, func(s *Server) { s.MaxBlockSize = maxBlockSize }, func(t *testing.T, b *bench) {
			require.Equal(t, testFiles["big"].Data, b.client().fetch("big", "blksize", size, "tsize", "0", "timeout", "255"))
		})
	}
}

func TestT018_TimeoutAndSize(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"1": time.Second, "255": 255 * time.Second, "0": 0, "256": 0, "x": 0, "1.5": 0,
	} {
		got := negotiate([]Option{{"timeout", value}}, 1468, -1)
		require.Equal(t, want, got.timeout, "%q", value)
		require.Equal(t, want != 0, len(got.oack) == 1, "%q is echoed or left out", value)
	}
	size := func(n int64) []accepted { return negotiate([]Option{{"tsize", "0"}}, 1468, n).oack }
	require.Equal(t, []accepted{{"tsize", 0}}, size(0))
	require.Equal(t, []accepted{{"tsize", math.MaxInt64}}, size(math.MaxInt64))
	require.Equal(t, "\x00\x06tsize\x009223372036854775807\x00", string(appendOACK(nil, size(math.MaxInt64))))
	require.Empty(t, size(-1), "unknown")
}

func TestT014_AnswerHoldsOnlyWhatWasAskedFor(t *testing.T) {
	require.Empty(t, negotiate(nil, 1468, 100).oack)
	got := negotiate([]Option{{"multicast", ""}, {"tsize", "0"}, {"windowsize", "4"}, {"blksize", "9000"}}, 1468, 100)
	require.Equal(t, []accepted{{"tsize", 100}, {"blksize", 1468}}, got.oack)
	got = negotiate([]Option{{"blksize", "x"}, {"blksize", "1000"}}, 1468, 100)
	require.Empty(t, got.oack, "the first of a name counts")
}

func TestDefaultBlockLimitFitsTheFrame(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, b *bench) {
		c := b.client()
		c.request(rrq("big", "octet", "blksize", "65464"))
		c.expectOACK("blksize", "1468")
		c.abort(0)
		require.Equal(t, 1448, b.server.blockLimit(clientAddr6))
	})
	inMemory(t, func(s *Server) { s.MaxBlockSize = 8192 }, func(t *testing.T, b *bench) {
		require.Equal(t, 8192, b.server.blockLimit(clientAddr6))
		require.Equal(t, testFiles["big"].Data, b.client().fetch("big", "blksize", "65464"))
	})
}
