//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package dhcp

import (
	"errors"
	"fmt"
	"io"
)

func (osDisk) lock(string) (io.Closer, error) {
	return nil, fmt.Errorf("this system has no lock that would keep a second server away: %w", errors.ErrUnsupported)
}
