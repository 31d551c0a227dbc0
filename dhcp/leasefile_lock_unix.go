//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package dhcp

import (
	"errors"
	"io"
	"os"
	"syscall"
)

func (osDisk) lock(name string) (io.Closer, error) {
	// The file stays: who removes it lets two others lock two files of its name.
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, leaseMode)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && info.Mode().Perm() != leaseMode {
		err = file.Chmod(leaseMode) // or a umask could keep us out the next time
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	conn, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		for failed = syscall.EINTR; errors.Is(failed, syscall.EINTR); {
			failed = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB)
		}
	})
	if errors.Is(failed, syscall.EWOULDBLOCK) {
		failed = ErrLeaseFileInUse
	}
	if err = errors.Join(err, failed); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}
