package nbd

import (
	"bufio"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// certificate returns the configurations of a server and of a client that
// trusts it.
func certificate(t testing.TB) (server, trusting *tls.Config) {
	t.Helper()
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	server = &tls.Config{Certificates: s.TLS.Certificates}
	return server, s.Client().Transport.(*http.Transport).TLSClientConfig
}

// upgrade takes a client to TLS.
func (c *client) upgrade(config *tls.Config) {
	c.t.Helper()
	require.EqualValues(c.t, rACK, c.ask(oStartTLS))
	config = config.Clone()
	config.ServerName = "example.com" // what the certificate is for
	secure := tls.Client(c.Conn, config)
	require.NoError(c.t, secure.Handshake())
	c.Conn, c.in = secure, bufio.NewReaderSize(secure, 64<<10)
}

func TestN011_StartTLS(t *testing.T) {
	server, trusting := certificate(t)
	s := disk()
	s.TLS = server
	addr := start(t, s)
	c := connect(t, addr)
	require.EqualValues(t, rInvalid, c.ask(oStartTLS, 0))
	c.upgrade(trusting)
	require.EqualValues(t, rInvalid, c.ask(oStartTLS), "a second time")
	require.EqualValues(t, rInvalid, c.ask(oStartTLS, 1, 2, 3))
	require.EqualValues(t, rACK, c.ask(oStructured))
	c.open("disk")
	for _, length := range []uint32{1, 4096, 100_000, 1 << 20} {
		data, errno := c.read(true, 5, length)
		require.Zero(t, errno)
		require.Equal(t, patternBytes(5, int(length)), data)
	}
	c.put(command(0, kDisc, 0, 0, 0))
	c.requireClosed()

	plain := connect(t, addr)
	plain.open("disk")
	plain.alive(false)

	without := connect(t, start(t, disk()))
	require.EqualValues(t, rUnsup, without.ask(oStartTLS))
	without.open("disk")
	without.alive(false)
}

func TestN011_StartTLSForgetsWhatWasBefore(t *testing.T) {
	server, trusting := certificate(t)
	s, b := counted()
	s.TLS = server
	c := connect(t, start(t, s))
	require.EqualValues(t, rACK, c.ask(oStructured))
	require.EqualValues(t, rACK, c.ask(oInfo, naming("disk")...))
	c.upgrade(trusting)
	require.EqualValues(t, rACK, c.ask(oInfo, naming("disk")...))
	require.EqualValues(t, 2, b.opens.Load())
	require.EqualValues(t, 1, b.closes.Load())
	_, flags := c.open("disk")
	require.Zero(t, flags&(1<<7), "structured replies must be negotiated again")
	c.alive(false)
}

func TestN012_TLSRequired(t *testing.T) {
	server, trusting := certificate(t)
	s, b := counted()
	s.TLS, s.RequireTLS = server, true
	addr := start(t, s)
	c := connect(t, addr)
	for _, id := range []uint32{0, oList, oInfo, oGo, oStructured, oListMeta, oSetMeta, 99} {
		require.EqualValues(t, rTLSReqd, c.ask(id, naming("disk")...), "option %d", id)
		require.EqualValues(t, rTLSReqd, c.ask(id), "option %d", id)
	}
	require.EqualValues(t, rInvalid, c.ask(oStartTLS, 0), "never that TLS is required")
	require.Zero(t, b.opens.Load())
	c.upgrade(trusting)
	c.open("disk")
	c.alive(false)

	old := connect(t, addr)
	old.put(option(oExportName, []byte("disk")...))
	old.requireClosed()
	leaving := connect(t, addr)
	require.EqualValues(t, rACK, leaving.ask(oAbort))
	leaving.requireClosed()
	require.Eventually(t, func() bool { return s.Drops()[DropTLSRequired] == 17 }, patience, time.Millisecond)
	require.EqualValues(t, 1, b.opens.Load())
}

func TestTLSHandshakeFails(t *testing.T) {
	server, _ := certificate(t)
	s := disk()
	s.TLS = server
	addr := start(t, s)
	c := connect(t, addr)
	require.EqualValues(t, rACK, c.ask(oStartTLS))
	c.put(option(oGo, naming("disk")...)) // in the clear
	require.Eventually(t, func() bool { return s.Drops()[DropTLS] == 1 }, patience, time.Millisecond)
	requireServes(t, addr)
}
