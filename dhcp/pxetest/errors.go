package pxetest

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

// What can become of a boot, for errors.Is. The error that Boot returns is an
// *Error that wraps one of them, or an error of a transfer (fs.ErrNotExist for a
// file that the server does not have), or the context's.
var (
	ErrNoOffer     = errors.New("no DHCP OFFER")
	ErrNoBootFile  = errors.New("no OFFER with a boot file")
	ErrNoAck       = errors.New("no DHCP ACK")
	ErrNAK         = errors.New("refused by DHCP NAK")
	ErrBootServer  = errors.New("no boot file from a boot server at port 4011")
	ErrLoader      = errors.New("the boot file is nothing that this firmware can run")
	ErrAutoexec    = errors.New("autoexec.ipxe is no script that begins with dhcp: UEFI builds of iPXE run it before they have an address")
	ErrChainLoop   = errors.New("chain loop")
	ErrNoConfig    = errors.New("no configuration file found")
	ErrConfig      = errors.New("the loader cannot use its configuration")
	ErrNoChoice    = errors.New("no menu entry to boot")
	ErrCommandLine = errors.New("unusable kernel command line")
	ErrUnsafe      = errors.New("would be executed as root")
	ErrBootIF      = errors.New("BOOTIF names no network card of this machine: the initramfs panics")
	ErrNoNetwork   = errors.New("the initramfs has no network")
	ErrNoRoot      = errors.New("the initramfs knows no root file system")
	ErrChecksum    = errors.New("checksum mismatch")
	ErrTransfer    = errors.New("transfer failed")
)

// Error says where a boot ended and what the machine had seen.
type Error struct {
	Machine  net.HardwareAddr
	Firmware Firmware
	Stage    Stage
	Err      error
	Saw      []string // replies that were dropped, with the reasons
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "pxetest: %v (%v): %s: %v", e.Machine, e.Firmware, e.Stage, e.Err)
	if len(e.Saw) > 0 {
		fmt.Fprintf(&b, "; saw: %s", strings.Join(e.Saw, "; "))
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// sightings collects what a machine saw and could not use, each text once with a
// count, and a bounded number of them.
type sightings struct {
	texts  []string
	counts map[string]int
}

const maxSightings = 16

func (s *sightings) add(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if s.counts == nil {
		s.counts = make(map[string]int)
	}
	if s.counts[text] == 0 {
		if len(s.texts) == maxSightings {
			return
		}
		s.texts = append(s.texts, text)
	}
	s.counts[text]++
}

func (s *sightings) list() []string {
	var l []string
	for _, t := range s.texts {
		if n := s.counts[t]; n > 1 {
			t = fmt.Sprintf("%s (%d times)", t, n)
		}
		l = append(l, t)
	}
	return l
}

// sawError carries sightings up to the Error.
type sawError struct {
	err error
	saw []string
}

func (e *sawError) Error() string { return e.err.Error() }
func (e *sawError) Unwrap() error { return e.err }
