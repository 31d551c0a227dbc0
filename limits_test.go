package pxe_test

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/rootfs"
)

// Close ends downloads that wait for their turn, also of a client that has sent a
// byte too many, after which net/http does not watch its connection any more.
func TestCloseEndsWhatWaitsInLine(t *testing.T) {
	var events recorder
	waiting := make(chan struct{}, 2)
	srv := rescueServer(&events)
	srv.Files = asset.Memory{"image": make([]byte, 16<<20)}
	srv.HTTPLimits = rootfs.Limits{Downloads: 1}
	srv.OnEvent = func(e pxe.Event) {
		if !e.Done && e.Name == "image" {
			waiting <- struct{}{}
		}
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(pxe.Sockets{HTTP: listener}) }()
	for range 2 { // the first gets its answer and does not read it
		conn, err := net.Dial("tcp4", listener.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, "GET /image HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nG")
		require.NoError(t, err)
		<-waiting
	}
	require.NoError(t, srv.Close())
	require.ErrorIs(t, <-served, pxe.ErrServerClosed)
}
