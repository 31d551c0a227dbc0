package pxetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// TFTP opcodes and error codes, RFC 1350 section 5 and RFC 2347.
const (
	tftpRRQ   = 1
	tftpDATA  = 3
	tftpACK   = 4
	tftpERROR = 5
	tftpOACK  = 6

	tftpNotFound      = 1
	tftpIllegal       = 4
	tftpUnknownTID    = 5
	tftpOptionRefused = 8

	defaultBlockSize = 512
)

// TFTPError is an ERROR packet that the server sent. It is fs.ErrNotExist for
// code 1 and fs.ErrPermission for code 2.
type TFTPError struct {
	// Code is the error code of RFC 1350 or 2347; Message is the server's text.
	Code    uint16
	Message string
}

// Error implements error.
func (e *TFTPError) Error() string {
	return fmt.Sprintf("the TFTP server says error %d: %q", e.Code, e.Message)
}

// Is makes errors.Is see what the code means.
func (e *TFTPError) Is(target error) bool {
	return e.Code == tftpNotFound && target == fs.ErrNotExist ||
		e.Code == 2 && target == fs.ErrPermission
}

func tftpRequestPacket(name string, options []tftpOption) []byte {
	b := []byte{0, tftpRRQ}
	b = append(b, name...)
	b = append(b, 0)
	b = append(b, "octet\x00"...)
	for _, o := range options {
		b = append(b, o.name...)
		b = append(b, 0)
		b = append(b, o.value...)
		b = append(b, 0)
	}
	return b
}

func tftpAckPacket(block uint16) []byte {
	return []byte{0, tftpACK, byte(block >> 8), byte(block)}
}

func tftpErrorPacket(code uint16, message string) []byte {
	b := []byte{0, tftpERROR, byte(code >> 8), byte(code)}
	b = append(b, message...)
	return append(b, 0)
}

func parseTFTPError(b []byte) error {
	if len(b) < 5 {
		return errors.New("the TFTP server sent a mutilated ERROR")
	}
	return &TFTPError{Code: binary.BigEndian.Uint16(b[2:]), Message: untilNUL(b[4:])}
}

type tftpOption struct{ name, value string }

// oack is what a server agreed to.
type oack struct {
	blockSize int
	size      int64 // -1: not told
}

// parseOACK reads an option acknowledgement; RFC 2347 forbids the server to add
// options, RFC 2348 to raise the block size.
func parseOACK(b []byte, asked []tftpOption) (oack, error) {
	o := oack{blockSize: defaultBlockSize, size: -1}
	fields := bytes.Split(b[2:], []byte{0})
	if len(fields) < 3 || len(fields)%2 == 0 || len(fields[len(fields)-1]) != 0 {
		return o, errors.New("the OACK is mutilated")
	}
	for i := 0; i+1 < len(fields); i += 2 {
		name, value := strings.ToLower(string(fields[i])), string(fields[i+1])
		want, ok := "", false
		for _, a := range asked {
			if a.name == name {
				want, ok = a.value, true
			}
		}
		if !ok {
			return o, fmt.Errorf("the OACK has the option %q, which was not asked for", name)
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 {
			return o, fmt.Errorf("the OACK has %s=%q", name, value)
		}
		switch name {
		case "blksize":
			limit, _ := strconv.ParseInt(want, 10, 64)
			if n < 8 || n > limit {
				return o, fmt.Errorf("the OACK has blksize=%d, but %d was asked for", n, limit)
			}
			o.blockSize = int(n)
		case "tsize":
			o.size = n
		}
	}
	return o, nil
}
