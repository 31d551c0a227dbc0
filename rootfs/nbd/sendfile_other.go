//go:build !linux

package nbd

import (
	"os"
	"syscall"
)

// sendfileSize has no meaning where there is no sendfile.
const sendfileSize = 0

// fileSender is for systems whose sendfile takes an offset of its own and is
// worth it, which is Linux.
type fileSender struct{}

func newFileSender(syscall.RawConn, *os.File, int64) *fileSender { return nil }

func (*fileSender) send(head []byte, _, _ int64) ([]byte, int64, error) {
	return head, 0, errNoSendfile
}
