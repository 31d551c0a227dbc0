package vm

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// dhcpWatch notes what DHCP servers send on a segment, as it is on the wire.
type dhcpWatch struct {
	mu   sync.Mutex
	sent []dhcpSent
}

type dhcpSent struct {
	from netip.AddrPort
	*dhcpv4.DHCPv4
}

// watchDHCP watches the bridge until the test ends. Unicasts between two of the
// bridge's ports do not come by here, so of other hosts it sees broadcasts only.
func watchDHCP(t *testing.T, s *segment) *dhcpWatch {
	t.Helper()
	bridge, err := net.InterfaceByName(s.Interface())
	require.NoError(t, err)
	// What this host sends itself is seen by sockets for every protocol only.
	all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(all))
	require.NoError(t, err)
	conn := os.NewFile(uintptr(fd), "packets")
	require.NoError(t, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: bridge.Index}))
	w := &dhcpWatch{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 64<<10)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			w.packet(buf[:n])
		}
	}()
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		<-done
	})
	return w
}

// packet notes an IPv4 packet if it is a DHCP server's.
func (w *dhcpWatch) packet(p []byte) {
	if len(p) < 20 || p[0]>>4 != 4 || p[9] != unix.IPPROTO_UDP {
		return
	}
	udp := p[min(len(p), int(p[0]&15)*4):]
	if len(udp) < 8 {
		return
	}
	port := binary.BigEndian.Uint16(udp)
	if port != 67 && port != 4011 {
		return
	}
	message, err := dhcpv4.FromBytes(slices.Clone(udp[8:]))
	if err != nil || message.OpCode != dhcpv4.OpcodeBootReply {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, dhcpSent{netip.AddrPortFrom(netip.AddrFrom4([4]byte(p[12:16])), port), message})
}

// by returns what the host with this address has sent so far, and what others have.
func (w *dhcpWatch) by(addr netip.Addr) (its, others []dhcpSent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.sent {
		if m.from.Addr() == addr {
			its = append(its, m)
		} else {
			others = append(others, m)
		}
	}
	return its, others
}
