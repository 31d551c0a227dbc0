package nbd_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/rootfs/nbd"
)

// A client that reconnects (qemu's block driver, as a virtual machine with its
// disk here would use it) reads the same bytes from a server that was ended and
// started again under it, in one session and without an error.
func TestInteropRestartUnderAClientThatReconnects(t *testing.T) {
	interopNeed(t, "qemu-utils", "qemu-io")
	_, exports := interopExports(t)
	start := func(addr string) (net.Addr, func()) {
		l, err := net.Listen("tcp4", addr)
		require.NoError(t, err)
		server := &nbd.Server{Exports: exports}
		ended := make(chan error, 1)
		go func() { ended <- server.Serve(l) }()
		return l.Addr(), func() {
			require.NoError(t, server.Close())
			require.ErrorIs(t, <-ended, nbd.ErrServerClosed)
		}
	}
	addr, stop := start("127.0.0.1:0")

	host, port, err := net.SplitHostPort(addr.String())
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), "qemu-io", "--read-only", "--image-opts",
		fmt.Sprintf("driver=nbd,server.type=inet,server.host=%s,server.port=%s,export=extent,reconnect-delay=60", host, port))
	cmd.WaitDelay = time.Second
	commands, err := cmd.StdinPipe()
	require.NoError(t, err)
	output, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = cmd.Stdout
	require.NoError(t, cmd.Start())
	said := bufio.NewScanner(output)
	// read has qemu compare what it reads; each time from another place, so that
	// nothing is cached.
	read := func(offset int) {
		t.Helper()
		_, err := fmt.Fprintf(commands, "read -P 0xa5 %d 4096\n", offset)
		require.NoError(t, err)
		for said.Scan() {
			line := said.Text()
			require.NotContains(t, line, "failed")
			if strings.Contains(line, "read 4096/4096 bytes") {
				return
			}
		}
		t.Fatal("qemu-io ended: ", said.Err())
	}
	read(interopPattern)
	for round := range 3 {
		stop()
		_, stop = start(addr.String())
		read(interopPattern + (round+1)*8192)
	}
	stop()
	require.NoError(t, commands.Close())
	_, _ = io.Copy(io.Discard, output)
	_ = cmd.Wait() // it may complain that there is no server any more
}
