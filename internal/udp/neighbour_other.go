//go:build !linux

package udp

import (
	"net"
	"net/netip"
)

// Neighbour is not supported here: it knows nobody.
func Neighbour(netip.Addr) net.HardwareAddr { return nil }
