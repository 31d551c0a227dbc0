package rootfs

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/pxekit/pxe/internal/sunrpc"
)

// nfsStepLimit bounds each connection of a check, with all that is asked by it.
// A server on a local network answers within milliseconds.
const nfsStepLimit = 5 * time.Second

// with runs ask with a client of a port. Reserved asks for a source port below
// 1024, which is used if the system allows it.
func (c *nfsCheck) with(ctx context.Context, port uint16, reserved bool, ask func(*sunrpc.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, nfsStepLimit)
	defer cancel()
	conn, err := c.dial(ctx, netip.AddrPortFrom(c.addr, port), reserved)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // fails only on a closed connection
	defer stop()
	return ask(sunrpc.NewClient(conn))
}

func (c *nfsCheck) dial(ctx context.Context, to netip.AddrPort, reserved bool) (net.Conn, error) {
	var d net.Dialer
	// The ports that bindresvport uses. Each connection keeps its own for another
	// minute (TIME_WAIT), so after some checks in a row many are taken.
	const first, count = 600, 424
	start := rand.IntN(count)
	for i := 0; reserved && i < count; i++ {
		d.LocalAddr = &net.TCPAddr{Port: first + (start+i)%count}
		conn, err := d.DialContext(ctx, "tcp4", to.String())
		switch {
		case err == nil:
			c.reserved = true
			return conn, nil
		case errors.Is(err, fs.ErrPermission):
			reserved = false
		case ctx.Err() != nil || !portTaken(err):
			return nil, err
		}
	}
	d.LocalAddr = nil
	c.reserved = false
	return d.DialContext(ctx, "tcp4", to.String())
}

// portTaken tells whether a dial failed because of its source port: bind refused
// it, or connect because a connection from it to that server has just ended.
func portTaken(err error) bool {
	var call *os.SyscallError
	return errors.As(err, &call) && (call.Syscall == "bind" || errors.Is(err, syscall.EADDRNOTAVAIL))
}

// getPort asks the portmapper for version 3 of a program over TCP.
func (c *nfsCheck) getPort(ctx context.Context, program uint32) (port uint16, err error) {
	return c.getPortOf(ctx, program, sunrpc.Version3)
}

// getPort4 asks it for NFS version 4.
func (c *nfsCheck) getPort4(ctx context.Context) (port uint16, err error) {
	return c.getPortOf(ctx, sunrpc.NFS, 4)
}

func (c *nfsCheck) getPortOf(ctx context.Context, program, version uint32) (port uint16, err error) {
	err = c.with(ctx, c.portmapper, false, func(client *sunrpc.Client) error {
		n, err := client.GetPort(program, version)
		if client.Awkward {
			c.awkward = "portmapper"
		}
		port = uint16(n)
		return err
	})
	return port, err
}
