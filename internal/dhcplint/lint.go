package dhcplint

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
)

// The layout of a packet (RFC 2131 section 2).
const (
	offsetFlags   = 10
	offsetCiaddr  = 12
	offsetYiaddr  = 16
	offsetSiaddr  = 20
	offsetGiaddr  = 24
	offsetChaddr  = 28
	offsetSname   = 44
	offsetFile    = 108
	offsetCookie  = 236
	offsetOptions = 240

	minBOOTP    = 300  // RFC 1542 section 2.1
	minDatagram = 576  // RFC 2131 section 2
	headerIPUDP = 28   // of a datagram
	maxPayload  = 1472 // of an Ethernet frame, and what UEFI has room for
)

// The message types of option 53 (RFC 2132 section 9.6).
const (
	discover = 1
	offer    = 2
	request  = 3
	ack      = 5
	nak      = 6
	inform   = 8
)

// Rules are what a reply may have that replies otherwise may not. The zero value
// allows nothing.
type Rules struct {
	// NUL: the boot file's name (option 67) may end in a NUL, which some firmware
	// has to be sent.
	NUL bool
}

// Reply judges a reply, which is the payload of a UDP datagram, by the zero
// Rules. request is the packet that it answers; nil: unknown, and what follows
// from it is not judged. Each finding is one rule that the reply breaks; none: it
// is good. Neither packet is changed or kept, and nothing in them makes it panic.
func Reply(reply, request []byte) (findings []string) { return Rules{}.Reply(reply, request) }

// Reply is [Reply] by these rules.
func (r Rules) Reply(reply, request []byte) []string {
	l := &linter{rules: r, reply: reply, request: request}
	if len(reply) < offsetOptions {
		l.add("size: %d bytes are no header", len(reply))
		return l.findings
	}
	if request != nil {
		var err error
		if l.asked, err = askedFor(request); err != nil {
			l.add("request: %v: it must not be answered", err)
			return l.findings
		}
	}
	l.header()
	if l.parse() {
		l.size()
		l.order()
		l.lengths()
		l.echoes()
		l.message()
	}
	return l.findings
}

// linter is the judgement of one reply.
type linter struct {
	rules          Rules
	reply, request []byte
	findings       []string

	asked  map[byte][]byte // options of the request, joined; nil if it is unknown
	list   []option        // options of the reply, instance by instance
	values map[byte][]byte // and joined
	end    int             // offset behind END
}

func (l *linter) add(format string, args ...any) {
	l.findings = append(l.findings, fmt.Sprintf(format, args...))
}

// header judges what RFC 2131 table 3 says of all replies.
func (l *linter) header() {
	b := l.reply
	if b[0] != 2 {
		l.add("op: %d is no BOOTREPLY", b[0])
	}
	if b[2] > 16 {
		l.add("hlen: %d bytes do not fit into chaddr", b[2])
	}
	if b[3] != 0 {
		l.add("hops: %d, not 0", b[3])
	}
	if b[8] != 0 || b[9] != 0 {
		l.add("secs: not 0")
	}
	for _, f := range []struct {
		name     string
		from, to int
	}{{"sname", offsetSname, offsetFile}, {"file", offsetFile, offsetCookie}} {
		text, rest, ended := bytes.Cut(b[f.from:f.to], []byte{0})
		switch {
		case !ended:
			l.add("%s: no NUL at its end", f.name)
		case len(bytes.Trim(rest, "\x00")) > 0:
			l.add("%s: bytes behind its NUL", f.name)
		case !printable(text):
			l.add("%s: %q is not printable ASCII", f.name, text)
		}
	}
	if !bytes.Equal(b[offsetCookie:offsetOptions], []byte{99, 130, 83, 99}) {
		l.add("cookie: %x", b[offsetCookie:offsetOptions])
	}
	if b[offsetFlags]&0x7f != 0 || b[offsetFlags+1] != 0 {
		// RFC 2131 figure 2: they must be zero, whatever a client has in them.
		if l.request == nil || !bytes.Equal(reserved(b), reserved(l.request)) {
			l.add("flags: reserved bits are set that the client did not set")
		}
	}
	if l.request != nil {
		l.sameHeader()
	}
}

// sameHeader judges what is copied from the request.
func (l *linter) sameHeader() {
	for _, f := range []struct {
		name     string
		from, to int
	}{
		{"htype", 1, 2}, {"hlen", 2, 3}, {"xid", 4, 8}, {"giaddr", offsetGiaddr, offsetChaddr},
		// All of it: klibc compares the padding too.
		{"chaddr", offsetChaddr, offsetSname},
	} {
		if got, want := l.reply[f.from:f.to], l.request[f.from:f.to]; !bytes.Equal(got, want) {
			l.add("%s: %x, the request has %x", f.name, got, want)
		}
	}
	if !bytes.Equal(reserved(l.reply), reserved(l.request)) {
		l.add("flags: reserved bits are not those of the request")
	}
	before, after := l.request[offsetFlags]&0x80 != 0, l.reply[offsetFlags]&0x80 != 0
	switch {
	case before && !after:
		l.add("flags: the broadcast bit is lost")
	case after && !before && (isZero(l.reply[offsetGiaddr:offsetChaddr]) || !isZero(l.reply[offsetYiaddr:offsetSiaddr])):
		// RFC 2131 section 4.3.2: for a relay, where there is no address.
		l.add("flags: a broadcast bit that the client did not set")
	}
}

// reserved is the flags field without the broadcast bit.
func reserved(b []byte) []byte { return []byte{b[offsetFlags] & 0x7f, b[offsetFlags+1]} }

// size judges how long the packet is, and what is behind END.
func (l *linter) size() {
	n := len(l.reply)
	switch {
	case n < minBOOTP:
		l.add("size: %d bytes, a BOOTP packet has 300", n)
	case n > maxPayload:
		l.add("size: %d bytes, an Ethernet frame holds 1472", n)
	}
	if l.request != nil {
		limit := minDatagram
		if v := l.asked[57]; len(v) == 2 {
			limit = max(limit, int(binary.BigEndian.Uint16(v)))
		}
		if limit -= headerIPUDP; n > limit {
			l.add("size: %d bytes, the client takes %d", n, limit)
		}
	}
	if n > max(l.end, minBOOTP) {
		l.add("end: %d bytes more than needed", n-max(l.end, minBOOTP))
	}
	if !isZero(l.reply[l.end:]) {
		l.add("end: bytes other than zero behind END")
	}
}

func isZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// address reads an address field.
func address(b []byte, offset int) netip.Addr { return netip.AddrFrom4([4]byte(b[offset : offset+4])) }

// isHost reports whether a may be the address of one host.
func isHost(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsMulticast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}
