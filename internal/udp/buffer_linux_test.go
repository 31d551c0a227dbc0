package udp

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestBurst sends what a rack sends that powers up at once, before anybody reads.
func TestBurst(t *testing.T) {
	if namespaceError != nil {
		t.Skip(namespaceError) // without one we may not be allowed the buffer
	}
	server, err := Listen(t.Context(), "127.0.0.1:0", false)
	require.NoError(t, err)
	defer server.Close()
	client, err := Listen(t.Context(), "127.0.0.1:0", false)
	require.NoError(t, err)
	defer client.Close()

	const packets = 1000
	for range packets {
		_, err := client.WriteTo(make([]byte, 548), server.LocalAddr())
		require.NoError(t, err)
	}
	require.NoError(t, server.SetReadDeadline(time.Now().Add(patience)))
	p := make([]byte, 1500)
	for i := range packets {
		_, _, _, _, err := server.ReadFromLocal(p)
		require.NoError(t, err, "packet %d", i)
	}
}
