package pxe

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/bootcfg"
)

// counter counts how often a machine had what it boots.
type counter struct {
	Booter
	booted atomic.Int32
}

func (c *counter) Booted(context.Context, *Machine) error {
	c.booted.Add(1)
	return nil
}

// A machine has its kernel when all of it has come, however many transfers that took.
func TestAKernelThatComesInPieces(t *testing.T) {
	const size = 100_000
	for name, test := range map[string]struct {
		ranges []string
		booted bool
	}{
		"at once":                   {[]string{""}, true},
		"at once, as a range":       {[]string{"0-"}, true},
		"one behind the other":      {[]string{"0-49999", "50000-99999"}, true},
		"overlapping":               {[]string{"0-59999", "50000-79999", "10000-20000", "80000-"}, true},
		"a look at its beginning":   {[]string{"0-0", ""}, true},
		"the last piece is missing": {[]string{"0-49999", "50000-99998"}, false},
		"the first piece":           {[]string{"50000-99999"}, false},
		"one in between":            {[]string{"0-49999", "60000-"}, false},
		"the end, then the rest":    {[]string{"50000-", "0-49999"}, false},
		"the end again and again":   {[]string{"-40000", "-40000", "-40000"}, false},
		"past the end":              {[]string{"100000-", "200000-"}, false},
		"several in one answer":     {[]string{"0-1,3-99999"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			server, url, watcher := serveKernel(t, size)
			for _, r := range test.ranges {
				request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
				require.NoError(t, err)
				if r != "" {
					request.Header.Set("Range", "bytes="+r)
				}
				response, err := http.DefaultClient.Do(request)
				require.NoError(t, err)
				_, err = io.Copy(io.Discard, response.Body)
				require.NoError(t, err)
				require.NoError(t, response.Body.Close())
			}
			server.Close() // waits for what the handler does after its answer
			if test.booted {
				require.EqualValues(t, 1, watcher.booted.Load())
			} else {
				require.Zero(t, watcher.booted.Load())
			}
		})
	}
}

// serveKernel serves a machine that boots one kernel, and returns where it finds it.
func serveKernel(t *testing.T, size int) (server *httptest.Server, url string, watcher *counter) {
	t.Helper()
	watcher = &counter{}
	v := (&Server{Booter: watcher, Files: asset.Memory{"vmlinuz": []byte(strings.Repeat("k", size))}}).newServices(Sockets{})
	b, _ := v.registry.begin(Machine{HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}, true, [4]byte{1}, time.Now())
	b.menu = &bootcfg.Menu{Entries: []bootcfg.Entry{{Name: "linux", Kernel: "vmlinuz"}}}
	server = httptest.NewServer(v.nameBoot(v.files))
	t.Cleanup(server.Close)
	return server, server.URL + "/~" + b.id + "/vmlinuz", watcher
}

// What a broken transfer sent counts when another one goes on from there to the end.
func TestATransferThatBrokeOffAloneIsNoKernel(t *testing.T) {
	broken := errors.New("connection reset")
	kernel := func(bytes int64, err error, aborted bool) Event {
		return Event{Stage: StageKernel, Name: "vmlinuz", Bytes: bytes, Size: 100, Err: err, Aborted: aborted}
	}
	b := &boot{}
	require.False(t, b.received(kernel(100, broken, true), 0), "all was sent, and the machine was gone before it had it")
	require.False(t, b.received(kernel(100, broken, false), 0))
	require.False(t, b.received(kernel(40, nil, true), 60))
	require.True(t, b.received(kernel(40, nil, false), 60))

	b = &boot{}
	require.False(t, b.received(kernel(70, broken, true), 0))
	require.False(t, b.received(kernel(20, nil, false), 80), "what is between was never sent")
	require.False(t, b.received(kernel(20, broken, true), 60))
	require.True(t, b.received(kernel(20, nil, false), 80))
	require.False(t, new(boot).received(kernel(20, nil, false), 80), "another boot had the rest")

	b = &boot{}
	for _, e := range []Event{{Stage: StageFile, Name: "a", Bytes: 5, Size: 10}, {Stage: StageLoader, Name: "b", Bytes: 5, Size: 10}} {
		require.False(t, b.received(e, 0))
		require.False(t, b.received(e, 5))
	}
	require.Empty(t, b.begun, "names that a client may choose are not kept")
}
