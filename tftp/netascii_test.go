package tftp

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"
	"testing/synctest"

	pinnetascii "github.com/pin/tftp/v3/netascii"
	"github.com/stretchr/testify/require"
)

func TestNetASCII(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "a": "a", "\n": "\r\n", "\r": "\r\x00", "a\nb\r\n": "a\r\nb\r\x00\r\n", "\r\r\n\n": "\r\x00\r\x00\r\n\r\n",
	} {
		require.NoError(t, iotest.TestReader(&netasciiReader{r: bytes.NewReader([]byte(in))}, []byte(want)))
		require.NoError(t, iotest.TestReader(&netasciiReader{r: iotest.OneByteReader(bytes.NewReader([]byte(in)))}, []byte(want)))
	}
	_, err := io.ReadAll(&netasciiReader{r: iotest.TimeoutReader(bytes.NewReader(pattern(2000)))})
	require.ErrorIs(t, err, iotest.ErrTimeout)
}

func FuzzNetASCIIAgainstPin(f *testing.F) {
	f.Add([]byte("a\nb\r\nc\r"))
	f.Fuzz(func(t *testing.T, in []byte) {
		ours, err := io.ReadAll(&netasciiReader{r: bytes.NewReader(in)})
		require.NoError(t, err)
		var back bytes.Buffer
		_, err = pinnetascii.FromWriter(&back).Write(ours)
		require.NoError(t, err)
		if !bytes.Contains(ours, []byte("\r\x00")) {
			require.Equal(t, string(in), back.String())
		}
	})
}

func TestT010_NetASCIITransfer(t *testing.T) {
	inMemory(t, nil, func(t *testing.T, b *bench) {
		c := b.client()
		c.request(rrq("pxelinux.cfg/default", "netascii", "tsize", "0", "blksize", "600"))
		c.expectOACK("blksize", "600") // the size on the wire is not known
		c.ack(0)
		want := "DEFAULT x\r\nLABEL x\r\x00\r\n"
		c.expectData(1, []byte(want))
		c.ack(1)
		synctest.Wait()
		require.Equal(t, Result{Bytes: int64(len(want)), Size: 19}, b.seen.last(t))
	})
}
