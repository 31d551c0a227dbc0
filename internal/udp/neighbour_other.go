//go:build !linux

package udp

import (
	"net"
	"net/netip"
)

// neighbours is not supported here: nobody is known.
func neighbours() map[netip.Addr]net.HardwareAddr { return nil }
