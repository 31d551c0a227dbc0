//go:build !linux

package udp

import (
	"context"
	"errors"
	"net"
	"net/netip"
)

// ProbeAddr is not supported here: addresses are given out without a look.
func (*Conn) ProbeAddr(context.Context, netip.Addr, string) (net.HardwareAddr, bool, error) {
	return nil, false, errors.ErrUnsupported
}
