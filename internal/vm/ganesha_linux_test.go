package vm

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// needGanesha skips a test where there is no NFS server to be had.
func needGanesha(t *testing.T) {
	t.Helper()
	reason := MissingGanesha()
	if reason == "" && namespaceError != nil {
		reason = namespaceError.Error()
	}
	if reason == "" {
		return
	}
	if os.Getenv("CI") != "" && !testing.Short() {
		t.Fatal("in CI this test is not skipped: " + reason)
	}
	t.Skip(reason)
}

// startGanesha runs the server for as long as the test.
func startGanesha(t *testing.T, g Ganesha) *Process {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	server, err := g.Start(ctx)
	require.NoError(t, err)
	t.Cleanup(func() {
		server.Kill()
		if t.Failed() {
			t.Logf("ganesha:\n%s", server.Stderr)
		}
	})
	return server
}

// The server stops when told to, and nothing of it stays: the next one starts.
func TestGaneshaStops(t *testing.T) {
	needGanesha(t)
	g := Ganesha{Path: "/srv/rescue", Config: `
		NFS_CORE_PARAM { Protocols = 3; }
		EXPORT { Export_Id = 1; Path = "/srv/rescue"; Protocols = 3; Access_Type = RO; FSAL { Name = VFS; } }`}
	for range 2 {
		server := startGanesha(t, g)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		require.NoError(t, server.Stop(ctx))
		cancel()
		_, err := net.Dial("tcp4", "127.0.0.1:111")
		require.Error(t, err)
	}
}
