package sunrpc

import "fmt"

// Accept states of RFC 5531, section 9.
const (
	ProgramUnavailable = 1
	ProgramMismatch    = 2
)

// An AcceptError is a server's word that it took the call and did not run the
// procedure: accept_stat of RFC 5531, section 9.
type AcceptError struct {
	Stat uint32
	// Low and High are the versions that the server has, with [ProgramMismatch].
	Low, High uint32
}

func (e *AcceptError) Error() string {
	switch e.Stat {
	case ProgramUnavailable:
		return "the server does not have the program"
	case ProgramMismatch:
		return fmt.Sprintf("the server has versions %d to %d of the program", e.Low, e.High)
	}
	return fmt.Sprintf("the server did not run the procedure (accept state %d)", e.Stat)
}

// A DeniedError is a server's refusal to take the call: reject_stat of RFC 5531,
// section 9.
type DeniedError struct {
	// Auth is the auth_stat, such as 5 (too weak); 0 with another RPC version.
	Auth uint32
}

func (e *DeniedError) Error() string {
	return fmt.Sprintf("the server denied the call (authentication state %d)", e.Auth)
}

// maxVerifier is the largest body of a verifier (RFC 5531, section 8.2).
const maxVerifier = 400

// parseReply takes a reply message apart (RFC 5531, section 9) and returns the
// procedure's results. Bare means that the verifier is empty, without which klibc
// finds the results in the wrong place.
func parseReply(record []byte, xid uint32) (results []byte, bare bool, err error) {
	d := decoder{rest: record}
	gotXID, kind, state := d.uint32(), d.uint32(), d.uint32()
	const reply, accepted, denied = 1, 0, 1
	switch {
	case d.failed || kind != reply || state > denied:
		return nil, false, ErrMalformed
	case gotXID != xid:
		return nil, false, fmt.Errorf("%w: it answers call %#x instead of %#x", ErrMalformed, gotXID, xid)
	case state == denied:
		const authError = 1
		e := new(DeniedError)
		if d.uint32() == authError {
			e.Auth = d.uint32()
		}
		if d.failed {
			return nil, false, ErrMalformed
		}
		return nil, false, e
	}
	d.uint32() // the verifier's flavour
	bare = len(d.opaque(maxVerifier)) == 0
	stat := d.uint32()
	if stat == 0 && !d.failed {
		return d.rest, bare, nil
	}
	e := &AcceptError{Stat: stat}
	if stat == ProgramMismatch {
		e.Low, e.High = d.uint32(), d.uint32()
	}
	if d.failed {
		return nil, false, ErrMalformed
	}
	return nil, bare, e
}
