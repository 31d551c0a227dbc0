package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/dhcp"
	"github.com/pxekit/pxe/dhcp/pxetest"
)

// machineMAC is the simulated machine's hardware address.
const machineMAC = "02:00:00:00:00:01"

// lab is where the server and the simulated machine meet: real sockets on
// loopback, or where a system does not let a program use all of 127.0.0.0/8
// (macOS), a network segment in memory.
type lab struct {
	// network is what the server serves there.
	network pxe.Network
	// relayPort is where the server's DHCP replies go.
	relayPort uint16
	// machine is switched off.
	machine *pxetest.Machine
	// listen opens the server's sockets.
	listen func(context.Context, *pxe.Server) (pxe.Sockets, error)
	close  func()
}

func newLab(firmware pxetest.Firmware) (*lab, error) {
	probe, err := net.ListenPacket("udp4", "127.0.0.100:0")
	if err != nil {
		return inMemory(firmware), nil
	}
	if err := probe.Close(); err != nil {
		return nil, err
	}
	return onLoopback(firmware)
}

func pool(first, last string) *dhcp.Pool {
	return &dhcp.Pool{First: netip.MustParseAddr(first), Last: netip.MustParseAddr(last)}
}

func onLoopback(firmware pxetest.Firmware) (*lab, error) {
	addr := netip.MustParsePrefix("127.0.0.1/8")
	loopback, err := pxetest.NewLoopback(addr.Addr())
	if err != nil {
		return nil, err
	}
	machine, err := loopback.Machine(machineMAC, firmware)
	if err != nil {
		loopback.Close()
		return nil, err
	}
	return &lab{
		network:   pxe.Network{Addr: addr, Mode: dhcp.Full, Leases: pool("127.0.0.100", "127.0.0.199")},
		relayPort: loopback.RelayPort(),
		machine:   machine,
		listen: func(ctx context.Context, srv *pxe.Server) (pxe.Sockets, error) {
			sockets, err := srv.Listen(ctx)
			if err == nil {
				loopback.SetPorts(pxetest.Ports{
					DHCP: port(sockets.DHCP.LocalAddr()), TFTP: port(sockets.TFTP.LocalAddr()), HTTP: port(sockets.HTTP.Addr()),
				})
			}
			return sockets, err
		},
		close: func() { loopback.Close() },
	}, nil
}

func inMemory(firmware pxetest.Firmware) *lab {
	room := new(cleanup)
	segment := pxetest.NewSegment(room)
	return &lab{
		network: pxe.Network{Mode: dhcp.Full, Leases: pool("192.0.2.100", "192.0.2.199")},
		machine: segment.Machine(machineMAC, firmware),
		listen: func(context.Context, *pxe.Server) (pxe.Sockets, error) {
			return segment.Sockets("192.0.2.1/24"), nil
		},
		close: room.run,
	}
}

// port returns the port of a socket's address, which is always "host:port".
func port(addr fmt.Stringer) uint16 { return netip.MustParseAddrPort(addr.String()).Port() }

// cleanup stands for a test where there is none.
type cleanup struct{ funcs []func() }

func (*cleanup) Helper()            {}
func (c *cleanup) Cleanup(f func()) { c.funcs = append(c.funcs, f) }

func (*cleanup) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (c *cleanup) run() {
	for _, f := range c.funcs {
		f()
	}
}
