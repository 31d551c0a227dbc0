package pxe_test

import (
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/rootfs"
)

// Close ends a download that waits until the rate lets it go on, also one of a
// client that has sent a byte too many, after which net/http does not watch its
// connection any more.
func TestCloseEndsWhatWaitsForTheRate(t *testing.T) {
	var events recorder
	begun := make(chan struct{}, 1)
	srv := rescueServer(&events)
	srv.Files = asset.Memory{"image": make([]byte, 16<<20)}
	srv.HTTPLimits = rootfs.Limits{Rate: 1} // the second piece in a day
	srv.OnEvent = func(e pxe.Event) {
		if !e.Done && e.Name == "image" {
			begun <- struct{}{}
		}
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(pxe.Sockets{HTTP: listener}) }()
	conn, err := net.Dial("tcp4", listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET /image HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
	require.NoError(t, err)
	<-begun
	_, err = io.WriteString(conn, "G")
	require.NoError(t, err)
	for range 20 { // meanwhile the byte is read
		response, err := http.Get("http://" + listener.Addr().String() + "/none")
		require.NoError(t, err)
		response.Body.Close()
	}
	require.NoError(t, srv.Close())
	require.ErrorIs(t, <-served, pxe.ErrServerClosed)
}
