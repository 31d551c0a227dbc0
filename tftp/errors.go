package tftp

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/pxekit/pxe/internal/lifecycle"
)

// ErrServerClosed is returned by [Server.Serve] after Shutdown or Close, and is
// the error of transfers that Close cut off.
var ErrServerClosed = lifecycle.ErrServerClosed

// ErrNoAnswer is the error of a transfer whose client never answered, however
// often its packet was sent, or has fallen silent (see [Server].Retries).
var ErrNoAnswer = errors.New("tftp: the client does not answer")

// ErrSuperseded is the error of a transfer that had to make room for another
// one, see [DropSuperseded].
var ErrSuperseded = errors.New("tftp: the transfer made room for another one")

var (
	errNothingSent = errors.New("tftp: the handler returned without error and without calling ReadFrom")
	errSentTwice   = errors.New("tftp: ReadFrom may be called only once for a transfer")
	errShrunk      = errors.New("tftp: the file ended before its size was reached")
)

// ErrorCode is the code of an ERROR packet (RFC 1350 section 5, RFC 2347).
type ErrorCode uint16

// The error codes. A read-only server has no use for 3, 6 and 7; handlers may.
const (
	CodeUndefined       ErrorCode = 0
	CodeNotFound        ErrorCode = 1
	CodeAccessViolation ErrorCode = 2
	CodeDiskFull        ErrorCode = 3
	CodeIllegal         ErrorCode = 4
	CodeUnknownTID      ErrorCode = 5
	CodeExists          ErrorCode = 6
	CodeNoSuchUser      ErrorCode = 7
	CodeOptionRefused   ErrorCode = 8
)

// String returns the text that goes with the code on the wire.
func (c ErrorCode) String() string {
	switch c {
	case CodeNotFound:
		return "File not found"
	case CodeAccessViolation:
		return "Access violation"
	case CodeDiskFull:
		return "Disk full or allocation exceeded"
	case CodeIllegal:
		return "Illegal TFTP operation"
	case CodeUnknownTID:
		return "Unknown transfer ID"
	case CodeExists:
		return "File already exists"
	case CodeNoSuchUser:
		return "No such user"
	case CodeOptionRefused:
		return "Option negotiation refused"
	default:
		return "Internal error"
	}
}

// Error is what a [Handler] returns, wrapped or not, to choose the ERROR packet
// that the client gets.
type Error struct {
	Code ErrorCode
	// Message goes to the client as it is, but for bytes outside printable
	// ASCII, which become "?", and all beyond 128 bytes, which is cut. Empty
	// means the fixed text of the code.
	Message string
}

// Error describes the packet.
func (e *Error) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("tftp: error %d: %s", e.Code, e.Code)
	}
	return fmt.Sprintf("tftp: error %d: %s", e.Code, e.Message)
}

// ClientError is an ERROR packet received from the client.
type ClientError struct {
	Code ErrorCode
	// Message is the client's text, at most 512 bytes, unchecked: quote it
	// before it reaches a log or a terminal.
	Message string
}

// Error describes the packet, with its message quoted.
func (e *ClientError) Error() string {
	return fmt.Sprintf("tftp: the client ended the transfer with error %d: %q", e.Code, e.Message)
}

const maxMessage = 128

// wireError chooses the code and text for err. No text of err itself is used:
// it may hold paths and addresses that are nobody's business.
func wireError(err error) (ErrorCode, string) {
	var e *Error
	switch {
	case errors.As(err, &e):
		if e.Message == "" {
			return e.Code, e.Code.String()
		}
		return e.Code, printable(e.Message)
	case errors.Is(err, fs.ErrNotExist),
		// A directory is nothing to boot from, and a name below a file or too
		// long for the file system names nothing. Neither does one that the file
		// system finds invalid.
		errors.Is(err, fs.ErrInvalid),
		errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENAMETOOLONG):
		return CodeNotFound, CodeNotFound.String()
	case errors.Is(err, fs.ErrPermission):
		return CodeAccessViolation, CodeAccessViolation.String()
	default:
		return CodeUndefined, CodeUndefined.String()
	}
}

// outOfResources reports whether err says that the system has run out of
// something for the moment. The client is then told nothing, so that it asks
// again: an ERROR would end its boot. An [*Error] is the handler's own choice.
func outOfResources(err error) bool {
	var e *Error
	if errors.As(err, &e) {
		return false
	}
	for _, errno := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN, syscall.ENOBUFS,
		// Windows: ERROR_NO_SYSTEM_RESOURCES, WSAEMFILE, WSAENOBUFS. The numbers
		// mean nothing elsewhere.
		1450, 10024, 10055,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

func printable(message string) string {
	b := []byte(message[:min(len(message), maxMessage)])
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}
