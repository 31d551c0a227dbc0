package nbd_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/rootfs/nbd"
)

// TestInteropNbdkit has one client send the same sequences of reads to ours and
// to nbdkit, which serves the same bytes.
func TestInteropNbdkit(t *testing.T) {
	interopNeed(t, "nbdkit", "nbdkit")
	sequences := 10_000
	if testing.Short() {
		sequences = 500
	}
	content, exports := interopExports(t)
	addr := interopServe(t, &nbd.Server{Exports: exports})
	plain := filepath.Join(t.TempDir(), "plain")
	require.NoError(t, os.WriteFile(plain, content, 0o600))

	theirs := newInteropClient(t, startNbdkit(t, plain), "")
	ours := make([]*interopClient, len(exports))
	for i, export := range exports {
		conn, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Minute)))
		ours[i] = newInteropClient(t, conn, export.Name)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	refused := 0
	for n := range sequences {
		reads := randomReads(random)
		i := n % len(ours)
		got, err := ours[i].read(reads)
		require.NoError(t, err, "%s: sequence %d: %v", exports[i].Name, n, reads)
		want, err := theirs.read(reads)
		require.NoError(t, err, "nbdkit: sequence %d: %v", n, reads)
		for j := range reads {
			require.Equal(t, want[j].code, got[j].code, "%s: sequence %d: error of %v", exports[i].Name, n, reads[j])
			require.True(t, bytes.Equal(want[j].data, got[j].data), "%s: sequence %d: data of %v", exports[i].Name, n, reads[j])
			if got[j].code != 0 {
				refused++
			}
		}
	}
	require.NotZero(t, refused, "reads behind the end are among them")
}

// startNbdkit runs nbdkit on its standard input and output for the test.
func startNbdkit(t *testing.T, path string) io.ReadWriter {
	cmd := exec.CommandContext(t.Context(), "nbdkit", "--single", "--readonly", "file", path)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.WaitDelay = 10 * time.Second
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, in.Close())
		_ = cmd.Wait() // it minds that its client left without a word
	})
	return struct {
		io.Reader
		io.Writer
	}{out, in}
}

type interopRead struct {
	offset uint64
	length uint32
}

// randomReads is a sequence of one to eight reads, to be sent at once. Most are
// short, some as long as a client's read-ahead, some at or behind the end.
func randomReads(random *rand.Rand) []interopRead {
	reads := make([]interopRead, 1+random.IntN(8))
	for i := range reads {
		length := 1 + random.Uint32N(8<<10)
		if random.IntN(32) == 0 {
			length = 1 + random.Uint32N(512<<10)
		}
		offset := random.Uint64N(interopSize - uint64(length) + 1)
		switch random.IntN(16) {
		case 0:
			offset, length = offset&^4095, 4096
		case 1:
			offset = interopSize - uint64(length)
		case 2:
			offset = interopSize - uint64(length) + random.Uint64N(uint64(length)) + 1
		}
		reads[i] = interopRead{offset, length}
	}
	return reads
}

// interopClient is a connection in the transmission phase, with simple replies.
type interopClient struct {
	conn   io.ReadWriter
	cookie uint64
}

type interopReply struct {
	code uint32
	data []byte
}

func newInteropClient(t *testing.T, conn io.ReadWriter, export string) *interopClient {
	greeting := make([]byte, 18)
	_, err := io.ReadFull(conn, greeting)
	require.NoError(t, err)
	require.Equal(t, "NBDMAGICIHAVEOPT", string(greeting[:16]))
	// NBD_FLAG_C_FIXED_NEWSTYLE and NBD_FLAG_C_NO_ZEROES, NBD_OPT_EXPORT_NAME.
	ask := append([]byte{0, 0, 0, 3}, "IHAVEOPT\x00\x00\x00\x01"...)
	ask = binary.BigEndian.AppendUint32(ask, uint32(len(export)))
	_, err = conn.Write(append(ask, export...))
	require.NoError(t, err)
	answer := make([]byte, 10)
	_, err = io.ReadFull(conn, answer)
	require.NoError(t, err)
	require.EqualValues(t, interopSize, binary.BigEndian.Uint64(answer))
	return &interopClient{conn: conn}
}

// read sends all requests at once and takes the replies in whatever order.
func (c *interopClient) read(reads []interopRead) ([]interopReply, error) {
	var ask []byte
	first := c.cookie
	for _, r := range reads {
		ask = append(ask, 0x25, 0x60, 0x95, 0x13, 0, 0, 0, 0)
		ask = binary.BigEndian.AppendUint64(ask, c.cookie)
		ask = binary.BigEndian.AppendUint64(ask, r.offset)
		ask = binary.BigEndian.AppendUint32(ask, r.length)
		c.cookie++
	}
	if _, err := c.conn.Write(ask); err != nil {
		return nil, err
	}
	replies := make([]interopReply, len(reads))
	answered := make([]bool, len(reads))
	for range reads {
		var header [16]byte
		if _, err := io.ReadFull(c.conn, header[:]); err != nil {
			return nil, err
		}
		i := binary.BigEndian.Uint64(header[8:]) - first
		if binary.BigEndian.Uint32(header[:]) != 0x67446698 || i >= uint64(len(reads)) || answered[i] {
			return nil, fmt.Errorf("not the reply to a request: %x", header)
		}
		answered[i] = true
		if replies[i].code = binary.BigEndian.Uint32(header[4:]); replies[i].code != 0 {
			continue
		}
		replies[i].data = make([]byte, reads[i].length)
		if _, err := io.ReadFull(c.conn, replies[i].data); err != nil {
			return nil, err
		}
	}
	return replies, nil
}
