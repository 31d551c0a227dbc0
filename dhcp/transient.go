package dhcp

import (
	"errors"
	"os"
	"slices"
	"syscall"
)

// Windows reports an ICMP answer to an earlier datagram, and a datagram that is
// longer than the buffer, as errors of the next read. No other system uses
// these numbers.
const (
	wsaMsgSize   = syscall.Errno(10040)
	wsaNetReset  = syscall.Errno(10052)
	wsaConnReset = syscall.Errno(10054)
)

// transient reports whether reading may work again after err. Everything else,
// a closed socket above all, ends Serve.
func transient(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	var errno syscall.Errno
	return errors.As(err, &errno) && slices.Contains([]syscall.Errno{
		syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EHOSTDOWN,
		syscall.ENOBUFS, syscall.ENOMEM, syscall.EINTR, syscall.EAGAIN,
		syscall.ECONNREFUSED, syscall.ECONNRESET,
		wsaMsgSize, wsaNetReset, wsaConnReset,
	}, errno)
}
