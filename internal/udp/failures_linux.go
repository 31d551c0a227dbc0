package udp

import (
	"errors"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// roomRemedy is what to do about ENOBUFS.
const roomRemedy = "the kernel's table of neighbours is full, for all network namespaces together, or the interface's queue: " +
	"raise the sysctl net.ipv4.neigh.default.gc_thresh3 above the number of machines on the networks"

// askForFailures makes WriteToLocal fail when the kernel has no room for the
// datagram, or for an entry of its receiver in the table of neighbours. Unless a
// socket asks for it (IP_RECVERR in ip(7)) UDP says then that it was sent. The
// socket also gets what ICMP answers to earlier datagrams, see ofEarlier.
func (c *Conn) askForFailures() {
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_RECVERR, 1) })
	}
}

// byICMP are the errors that the kernel makes of ICMP messages (icmp_err_convert in
// net/ipv4/icmp.c, and EPROTO for a parameter problem).
var byICMP = []syscall.Errno{
	unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENONET,
	unix.ENOPROTOOPT, unix.EOPNOTSUPP, unix.EMSGSIZE, unix.EPROTO,
}

// ofEarlier reports whether an error may be ICMP's answer to an earlier datagram: a
// machine that was answered is no longer there. The call that failed with it has done
// nothing, and is to be made again. All such answers are thrown away, for they take
// room in the buffer for requests.
func (c *Conn) ofEarlier(err error) bool {
	var errno syscall.Errno
	if !errors.As(err, &errno) || !slices.Contains(byICMP, errno) {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false // it is closed
	}
	_ = raw.Control(func(fd uintptr) {
		for range maxAnswers {
			if _, _, _, _, err := unix.Recvmsg(int(fd), nil, nil, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT); err != nil {
				return
			}
		}
	})
	return true
}

// maxAnswers is more than the buffer has room for.
const maxAnswers = 2 * receiveBuffer / 256
