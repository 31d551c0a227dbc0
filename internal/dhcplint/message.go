package dhcplint

import (
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
)

// message judges what depends on the type of the message (RFC 2131 table 3).
func (l *linter) message() {
	if len(l.values[53]) != 1 {
		l.add("type: no message type")
		return
	}
	if v := l.values[54]; len(v) != 4 || !isHost(address(v, 0)) {
		l.add("54: %v is not the address of a server", v)
	}
	// 52 is for a server that has no use for the header's text fields; ours fills
	// them. The others are the client's to send.
	l.forbid("a reply", 50, 52, 55, 57)
	kind := l.values[53][0]
	if l.asked != nil {
		l.answers(kind)
	}
	switch kind {
	case offer:
		if !isZero(l.reply[offsetCiaddr:offsetYiaddr]) {
			l.add("ciaddr: %s in an OFFER", address(l.reply, offsetCiaddr))
		}
		if isZero(l.reply[offsetYiaddr:offsetSiaddr]) {
			l.bootReply("the OFFER of a proxy")
		} else {
			l.lease()
		}
	case ack:
		_, mask := l.values[1]
		switch {
		case !isZero(l.reply[offsetYiaddr:offsetSiaddr]):
			l.lease()
		case mask:
			l.forbid("the ACK of an INFORM", 51, 58, 59)
			l.served()
		default:
			l.bootReply("the ACK of a boot server")
		}
	case nak:
		if !isZero(l.reply[offsetCiaddr:offsetGiaddr]) {
			l.add("address: ciaddr, yiaddr or siaddr in a NAK")
		}
		if !isZero(l.reply[offsetSname:offsetCookie]) {
			l.add("text: sname or file in a NAK")
		}
		for _, o := range l.list {
			if !slices.Contains([]byte{53, 54, 56, 61, 82}, o.code) {
				l.add("option %d in a NAK", o.code)
			}
		}
	default:
		l.add("type: message %d is not a server's", kind)
	}
}

// answers judges whether the reply is one to the request.
func (l *linter) answers(kind byte) {
	var asked byte
	if v := l.asked[53]; len(v) == 1 {
		asked = v[0]
	}
	possible := map[byte][]byte{discover: {offer}, request: {ack, nak}, inform: {ack}}
	if !slices.Contains(possible[asked], kind) {
		l.add("type: message %d to message %d", kind, asked)
		return
	}
	ciaddr, yiaddr := address(l.reply, offsetCiaddr), address(l.reply, offsetYiaddr)
	had := address(l.request, offsetCiaddr)
	if kind == ack && asked == request && !ciaddr.IsUnspecified() && ciaddr != had {
		l.add("ciaddr: %s, the request has %s", ciaddr, had)
	}
	if kind != ack || yiaddr.IsUnspecified() {
		return
	}
	want := had
	if v := l.asked[50]; want.IsUnspecified() && len(v) == 4 {
		want = address(v, 0)
	}
	if asked == inform {
		l.add("yiaddr: %s to an INFORM", yiaddr)
	} else if yiaddr != want {
		l.add("yiaddr: the ACK of %s to a request for %s", yiaddr, want)
	}
}

// lease judges a reply that gives an address.
func (l *linter) lease() {
	l.require("a reply with an address", 51, 1)
	l.served()
	yiaddr := address(l.reply, offsetYiaddr)
	if !isHost(yiaddr) {
		l.add("yiaddr: %s is not the address of a host", yiaddr)
	}
	seconds := func(code byte, otherwise uint32) uint32 {
		if v := l.values[code]; len(v) == 4 {
			return binary.BigEndian.Uint32(v)
		}
		return otherwise
	}
	// RFC 2131 section 4.4.5: T1 before T2 before the end.
	end := seconds(51, math.MaxUint32)
	t2 := seconds(59, end)
	if t1 := seconds(58, t2); t1 > t2 || t2 > end {
		l.add("times: T1 %d, T2 %d, lease %d", t1, t2, end)
	}
	if mask := l.values[1]; len(mask) == 4 {
		bits := 0
		for m := binary.BigEndian.Uint32(mask); m&(1<<31) != 0; m <<= 1 {
			bits++
		}
		network := netip.PrefixFrom(yiaddr, bits)
		host := binary.BigEndian.Uint32(yiaddr.AsSlice()) << bits
		if bits < 31 && (host == 0 || host>>bits == math.MaxUint32>>bits) {
			l.add("yiaddr: %s is the own or the broadcast address of %s", yiaddr, network.Masked())
		}
	}
}

// served judges what is common to replies with parameters of the network.
func (l *linter) served() {
	if a := address(l.reply, offsetSiaddr); !isHost(a) {
		l.add("siaddr: %s is not the address of a server", a)
	}
}

// bootReply judges a reply that gives no address but a boot file: nothing of a
// lease in it (PXE 2.1 section 2.2.3), and the class that firmware looks for.
func (l *linter) bootReply(what string) {
	l.forbid(what, 1, 28, 51, 58, 59)
	l.require(what, 60)
	l.served()
}

func (l *linter) forbid(what string, codes ...byte) {
	for _, code := range codes {
		if _, ok := l.values[code]; ok {
			l.add("option %d in %s", code, what)
		}
	}
}

func (l *linter) require(what string, codes ...byte) {
	for _, code := range codes {
		if _, ok := l.values[code]; !ok {
			l.add("option %d is not in %s", code, what)
		}
	}
}
