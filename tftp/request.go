package tftp

import (
	"net/netip"
	"strings"
)

// The modes of [Request].
const (
	ModeOctet    = "octet"
	ModeNetASCII = "netascii"
)

// Request is a read request that was understood and admitted. Handlers must not
// change it.
type Request struct {
	// Name is what the client asks for, normalised: slash-separated, relative,
	// as [io/fs.ValidPath] wants it. Backslashes have become slashes, slashes
	// at the front, double slashes, "." and the 0xFF that some boot ROMs append
	// are gone. Requests with "..", control characters, invalid UTF-8, drive
	// letters, UNC prefixes and Windows device names do not get here.
	Name string
	// Mode is ModeOctet or ModeNetASCII.
	Mode string
	// Options are what the client asked for, known or not, the first of each
	// name; their values are unchecked. What a transfer uses of them is
	// negotiated when it begins.
	Options []Option
	// Remote is the client's address and port.
	Remote netip.AddrPort
	// Local is the address that the client sent its request to, and that the
	// transfer comes from; the zero Addr if the socket cannot tell.
	Local netip.Addr
	// Interface is the name of the interface that the request came in on;
	// empty if the socket cannot tell.
	Interface string

	raw string // the whole packet, by which a repeated request is known
}

// refusal says why a datagram is no admissible request, and what its sender is
// told: nothing if it is silent.
type refusal struct {
	reason DropReason
	code   ErrorCode
	silent bool
}

// parseRequest reads a datagram that came to the server's port. It does no I/O
// and fills in what the datagram itself holds. ok is false if it was refused.
func parseRequest(p []byte) (r *Request, why refusal, ok bool) {
	switch opcode(p) {
	case opRRQ:
	case opWRQ:
		return nil, refusal{reason: DropWrite, code: CodeAccessViolation}, false
	default:
		// ERROR must not be answered, and ACK or DATA sent here belong to no
		// transfer: an answer would only serve a forger.
		return nil, refusal{reason: DropNotForUs, silent: true}, false
	}
	malformed := refusal{reason: DropMalformed, code: CodeIllegal}
	if len(p) > maxRequest {
		return nil, malformed, false
	}
	raw := string(p)
	name, rest, ok := strings.Cut(raw[2:], "\x00")
	if !ok || name == "" {
		return nil, malformed, false
	}
	mode, rest, ok := strings.Cut(rest, "\x00")
	if !ok {
		return nil, malformed, false
	}
	mode = lower(mode)
	if mode != ModeOctet && mode != ModeNetASCII {
		return nil, refusal{reason: DropMode, code: CodeIllegal}, false
	}
	name, ok = normalise(name)
	if !ok {
		return nil, refusal{reason: DropName, code: CodeAccessViolation}, false
	}
	return &Request{Name: name, Mode: mode, Options: parseOptions(rest), raw: raw}, refusal{}, true
}

// parseOptions reads pairs of NUL-terminated strings. It ends at an empty name,
// which is how some ROMs pad, and at a pair that is not complete.
func parseOptions(s string) []Option {
	var options []Option
	for {
		name, rest, ok := strings.Cut(s, "\x00")
		if !ok || name == "" {
			return options
		}
		value, rest, ok := strings.Cut(rest, "\x00")
		if !ok {
			return options
		}
		s = rest
		name = lower(name)
		if !has(options, name) {
			options = append(options, Option{name, value})
		}
	}
}

func has(options []Option, name string) bool {
	for _, o := range options {
		if o.Name == name {
			return true
		}
	}
	return false
}

// lower folds ASCII only: strings.ToLower would make "k" of the Kelvin sign.
func lower(s string) string {
	if !strings.ContainsFunc(s, func(c rune) bool { return 'A' <= c && c <= 'Z' }) {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
