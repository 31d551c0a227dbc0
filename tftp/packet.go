package tftp

import (
	"encoding/binary"
	"strconv"
)

// Operation codes: RFC 1350 section 5, RFC 2347.
const (
	opRRQ   = 1
	opWRQ   = 2
	opDATA  = 3
	opACK   = 4
	opERROR = 5
	opOACK  = 6
)

const (
	headerSize = 4
	// maxRequest is the largest request (RFC 2347) and, with its header, the
	// largest ERROR that is read whole.
	maxRequest = 512
	// maxOACK holds the three options with the longest values there are.
	maxOACK = 64
)

// opcode returns the operation of p, or 0 if p is too short to have one.
func opcode(p []byte) uint16 {
	if len(p) < 2 {
		return 0
	}
	return binary.BigEndian.Uint16(p)
}

func putData(p []byte, block uint16) {
	binary.BigEndian.PutUint16(p, opDATA)
	binary.BigEndian.PutUint16(p[2:], block)
}

func appendError(p []byte, code ErrorCode, text string) []byte {
	p = binary.BigEndian.AppendUint16(p, opERROR)
	p = binary.BigEndian.AppendUint16(p, uint16(code))
	p = append(p, text...)
	return append(p, 0)
}

func appendOACK(p []byte, accepted []accepted) []byte {
	p = binary.BigEndian.AppendUint16(p, opOACK)
	for _, o := range accepted {
		p = append(p, o.name...)
		p = append(p, 0)
		p = strconv.AppendInt(p, o.value, 10)
		p = append(p, 0)
	}
	return p
}

// parseError reads an ERROR packet, with or without the NUL at its end.
func parseError(p []byte) *ClientError {
	if len(p) < headerSize {
		return &ClientError{}
	}
	message := p[headerSize:]
	for i, c := range message {
		if c == 0 {
			message = message[:i]
			break
		}
	}
	return &ClientError{Code: ErrorCode(binary.BigEndian.Uint16(p[2:])), Message: string(message)}
}
