package udp

import (
	"context"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// roomRemedy is what to do about ENOBUFS.
const roomRemedy = "either the kernel's table of neighbours is full, which all network namespaces share: " +
	"raise net.ipv4.neigh.default.gc_thresh3 on the host above the number of machines; or the queue of the interface is"

// senderAddr is a loopback address that nobody sends to: the sender receives nothing.
var senderAddr = netip.AddrFrom4([4]byte{127, 255, 255, 254})

// openSender opens a socket on the port of conn that only sends, from whichever of our
// addresses it is told, and nil if that cannot be done.
//
// Linux says of a datagram for which it has no room, or no entry of its receiver in the
// table of neighbours, that it was sent, unless the socket asks (IP_RECVERR in ip(7)).
// A socket that asks also gets what ICMP answers to earlier datagrams, as errors of
// whatever is called next, and in its buffer; and where it is read Go's poller takes
// some of these for the end of the socket. The kernel finds the socket for such an
// answer by the address that a datagram was from, which this one is not bound to: it
// gets none.
func openSender(ctx context.Context, conn *net.UDPConn) *net.UDPConn {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil
	}
	// Both sockets let the other have the port, and then nobody else.
	if share(raw, true) != nil {
		return nil
	}
	defer func() { _ = share(raw, false) }()
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error { return share(raw, true) }}
	port := conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	pc, err := lc.ListenPacket(ctx, "udp4", netip.AddrPortFrom(senderAddr, port).String())
	if err != nil {
		return nil // without a loopback interface, for one
	}
	sender := pc.(*net.UDPConn)
	rawSender, err := sender.SyscallConn()
	if err == nil {
		err = share(rawSender, false)
	}
	if err == nil {
		err = setOption(rawSender, unix.SOL_IP, unix.IP_RECVERR, 1)
	}
	if err != nil {
		_ = sender.Close()
		return nil
	}
	return sender
}

// share sets whether another socket may have the port, too.
func share(raw syscall.RawConn, may bool) error {
	value := 0
	if may {
		value = 1
	}
	return setOption(raw, unix.SOL_SOCKET, unix.SO_REUSEADDR, value)
}

func setOption(raw syscall.RawConn, level, option, value int) (err error) {
	failed := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, value) })
	if failed != nil {
		return failed
	}
	return err
}
