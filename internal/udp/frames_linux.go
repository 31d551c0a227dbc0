package udp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"

	"golang.org/x/sys/unix"
)

// frames is one AF_PACKET socket that only sends: the interface is named in
// each frame, so an interface that is deleted and re-created needs no new
// socket. The kernel writes the Ethernet header (SOCK_DGRAM).
type frames struct {
	mu     sync.RWMutex
	fd     int
	opened bool
	why    error
}

func (f *frames) open() {
	// Protocol 0: the socket receives nothing.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fd, f.opened, f.why = fd, err == nil, err
}

func (f *frames) send(packet []byte, hw net.HardwareAddr, index int) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if !f.opened {
		if f.why != nil {
			return fmt.Errorf("%w (AF_PACKET socket: %w; it needs CAP_NET_RAW)", errors.ErrUnsupported, f.why)
		}
		return errors.ErrUnsupported
	}
	to := &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_IP), Ifindex: index, Halen: uint8(len(hw))}
	if copy(to.Addr[:], hw) < len(hw) {
		return fmt.Errorf("hardware address of %d bytes: at most %d", len(hw), len(to.Addr))
	}
	return unix.Sendto(f.fd, packet, 0, to)
}

func (f *frames) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.opened {
		return nil
	}
	f.opened = false
	return unix.Close(f.fd)
}

// networkOrder is htons: the kernel wants the protocol in network order.
func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16([]byte{byte(v >> 8), byte(v)})
}
