package dhcplint

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"sync"
)

// maxRemembered is how many requests a Watch remembers. What comes after many
// more is judged as if its request were not known.
const maxRemembered = 1 << 16

// maxAlike is how many requests are remembered that one reply could be for: the
// last ones of a client that uses one transaction ID for several.
const maxAlike = 4

// Watch judges the replies in a stream of datagrams. The zero value is ready and
// judges the replies of every server. Its methods are safe for concurrent use;
// its fields must not change once it is used.
type Watch struct {
	// Rules are what replies are judged by.
	Rules Rules
	// Servers are the addresses of the servers that are judged; nil: all of them.
	Servers []netip.Addr

	mu       sync.Mutex
	requests map[pairing][][]byte
	full     bool
	replies  int
}

// pairing is what a reply has in common with its request.
type pairing struct {
	xid    [4]byte
	giaddr [4]byte
	chaddr [16]byte
	kind   byte // of the request
	pxe    bool // port 4011
}

// Datagram takes a UDP datagram in the order of the wire. It returns what is wrong
// with it if it is a reply of one of the servers. What is not DHCP is let pass. It
// keeps nothing of payload.
func (w *Watch) Datagram(source, destination netip.AddrPort, payload []byte) []string {
	if len(payload) < offsetOptions || !bytes.Equal(payload[offsetCookie:offsetOptions], []byte{99, 130, 83, 99}) {
		return nil
	}
	switch payload[0] {
	case 1:
		w.remember(destination.Port() == 4011, payload)
	case 2:
		if len(w.Servers) == 0 || slices.Contains(w.Servers, source.Addr()) {
			return w.reply(source.Port() == 4011, payload)
		}
	}
	return nil
}

// Replies is how many replies have been judged.
func (w *Watch) Replies() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.replies
}

func pairingOf(b []byte, kind byte, pxe bool) pairing {
	return pairing{xid: [4]byte(b[4:8]), giaddr: [4]byte(b[offsetGiaddr:offsetChaddr]), chaddr: [16]byte(b[offsetChaddr:offsetSname]), kind: kind, pxe: pxe}
}

func (w *Watch) remember(pxe bool, b []byte) {
	asked, err := askedFor(b)
	if err != nil || len(asked[53]) != 1 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.requests == nil {
		w.requests = make(map[pairing][][]byte)
	}
	key := pairingOf(b, asked[53][0], pxe)
	same := w.requests[key]
	if len(w.requests) >= maxRemembered && same == nil {
		w.full = true
		return
	}
	if len(same) >= maxAlike {
		same = same[1:]
	}
	w.requests[key] = append(same, bytes.Clone(b))
}

func (w *Watch) reply(pxe bool, b []byte) []string {
	values := make(map[byte][]byte)
	_ = collect(values, b[offsetOptions:]) // Reply says what is wrong with them
	kinds := []byte{discover, request, inform}
	switch v := values[53]; {
	case len(v) == 1 && v[0] == offer:
		kinds = []byte{discover}
	case len(v) == 1 && v[0] == nak:
		kinds = []byte{request}
	case len(v) == 1 && v[0] == ack:
		kinds = []byte{request, inform}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.replies++
	var best []string // what is wrong by the last of them
	for _, kind := range kinds {
		for _, asked := range w.requests[pairingOf(b, kind, pxe)] {
			if best = w.Rules.Reply(b, asked); len(best) == 0 {
				return nil
			}
		}
	}
	switch {
	case best != nil:
		return best
	case w.full:
		return w.Rules.Reply(b, nil)
	}
	return append(w.Rules.Reply(b, nil), fmt.Sprintf("request: nobody asked for this reply, xid %x", b[4:8]))
}
