package vm

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestDuplicate wants two of each datagram on the segment, and no more.
func TestDuplicate(t *testing.T) {
	if namespaceError != nil {
		t.Skip(namespaceError)
	}
	need(t, MissingDuplication())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	n := newNetwork(t, ctx, "br0", "192.0.2.1/24")
	require.NoError(t, n.Duplicate(ctx))
	host := newPeer(t, ctx, n, "192.0.2.9/24")
	conn := host.listen(t, ":9999")
	server, err := net.Dial("udp4", "192.0.2.9:9999")
	require.NoError(t, err)
	defer server.Close()
	for _, text := range []string{"a", "b"} {
		_, err = server.Write([]byte(text))
		require.NoError(t, err)
	}
	var got []byte
	buf := make([]byte, 16)
	until, _ := ctx.Deadline()
	require.NoError(t, conn.SetReadDeadline(until))
	// The last two may be an "a" too many, or "b" twice.
	for len(got) < 4 {
		k, _, err := conn.ReadFrom(buf)
		require.NoError(t, err)
		got = append(got, buf[:k]...)
	}
	require.Equal(t, 2, bytes.Count(got, []byte("a")), "%s", got)
	require.Equal(t, 2, bytes.Count(got, []byte("b")), "%s", got)
}

// TestDisturb reads through a disturbed socket: everything twice, not in order.
func TestDisturb(t *testing.T) {
	if namespaceError != nil {
		t.Skip(namespaceError)
	}
	ctx := t.Context()
	newNetwork(t, ctx, "br0", "192.0.2.1/24") // the loopback interface comes with it
	sender, conn := disturbedPair(t, ctx)
	var sent []byte
	for i := range byte(40) {
		_, err := sender.Write([]byte{i})
		require.NoError(t, err)
		sent = append(sent, i, i)
	}
	var got []byte
	buf := make([]byte, 16)
	for len(got) < len(sent) {
		n, from, _, _, err := conn.ReadFromLocal(buf)
		require.NoError(t, err)
		require.Equal(t, netip.MustParseAddr("127.0.0.1"), from.Addr())
		got = append(got, buf[:n]...)
	}
	require.ElementsMatch(t, sent, got)
	require.NotEqual(t, sent, got)
	require.NoError(t, conn.Close())
	_, _, _, _, err := conn.ReadFromLocal(buf)
	require.ErrorIs(t, err, net.ErrClosed)
}
