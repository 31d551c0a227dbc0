//go:build !linux

package udp

import (
	"errors"
	"net"
)

// frames is not supported here: the DHCP server falls back to broadcast, which
// every client must accept.
type frames struct{}

func (*frames) open() {}

func (*frames) send([]byte, net.HardwareAddr, int) error { return errors.ErrUnsupported }

func (*frames) close() error { return nil }
