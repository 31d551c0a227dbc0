package pxetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"
)

// exchange is one DHCP client at work: DISCOVER, OFFER, REQUEST, ACK.
type exchange struct {
	client  string
	hw      net.HardwareAddr
	flags   uint16
	options []option // of every message, after the message type
	minSize int
	maxSize int // option 57, or 576 where it is not sent
	// waits has one duration per transmission, for DISCOVER and again for REQUEST;
	// total, if not zero, bounds both together.
	waits []time.Duration
	total time.Duration
	// choose picks among the OFFERs that came.
	choose func(collected) (plan, bool)
	// boots: the client is to be told a boot file, so OFFERs of servers that give
	// no address are for it, too.
	boots bool
	// optionFirst: option 67 counts before the header's file, as with EDK2.
	optionFirst bool
	// bootServer is how it asks at port 4011.
	bootServer bootServerHabits

	port    dhcpPort
	source  uint16 // the port that replies must come from
	alone   bool   // there is one server: nobody else's OFFER is waited for
	started time.Time
	xid     uint32
	saw     sightings
}

// maxNAKs is how often a refused client begins again.
const maxNAKs = 3

// run plays the exchange. offered is called when an OFFER was chosen, so that
// progress can be told.
func (x *exchange) run(ctx context.Context, offered func()) (plan, *reply, error) {
	x.started = time.Now()
	for range maxNAKs {
		x.xid = rand.Uint32()
		p, err := x.discover(ctx)
		if err != nil {
			return plan{}, nil, x.fail(err)
		}
		offered()
		ack, err := x.request(ctx, p)
		if errors.Is(err, ErrNAK) {
			continue
		}
		if err != nil {
			return plan{}, nil, x.fail(err)
		}
		return p, ack, nil
	}
	return plan{}, nil, x.fail(fmt.Errorf("%w, %d times", ErrNAK, maxNAKs))
}

func (x *exchange) fail(err error) error { return &sawError{err, x.saw.list()} }

// maxOffers is how many OFFERs are kept, as in EDK2.
const maxOffers = 16

// discover sends DISCOVERs and collects OFFERs until the client has what it wants.
// It looks at them whenever one came and whenever a wait is over.
func (x *exchange) discover(ctx context.Context) (plan, error) {
	c := collected{optionFirst: x.optionFirst, saw: &x.saw, alone: x.alone}
	var chosen plan
	ready := func(waited bool) bool {
		c.waited, c.elapsed = waited, time.Since(x.started)
		if c.alone && c.addressed() {
			c.waited, c.elapsed = true, time.Minute
		}
		if len(c.offers) == 0 {
			return false
		}
		var ok bool
		chosen, ok = x.choose(c)
		return ok
	}
	for _, wait := range x.waits {
		if err := x.send(msgDiscover); err != nil {
			return plan{}, err
		}
		got, err := x.await(ctx, wait, func(r *reply, from netip.AddrPort) (bool, error) {
			if r.messageType() != msgOffer {
				x.saw.add("message type %d from %v while waiting for an OFFER", r.messageType(), from)
				return false, nil
			}
			if why := x.unfitOffer(r); why != "" {
				x.saw.add("OFFER from %v %s", from, why)
				return false, nil
			}
			if len(c.offers) == maxOffers {
				return false, nil
			}
			c.offers = append(c.offers, &offer{r, from})
			return ready(false), nil
		})
		if err != nil {
			return plan{}, err
		}
		c.waits++
		if got != nil || ready(true) {
			return chosen, nil
		}
	}
	waited := time.Since(x.started).Round(time.Second)
	if len(c.offers) > 0 {
		for _, o := range c.offers {
			x.saw.add("%s", c.describe(o))
		}
		return plan{}, fmt.Errorf("%w to %s within %v", ErrNoBootFile, x.client, waited)
	}
	return plan{}, fmt.Errorf("%w to %s within %v", ErrNoOffer, x.client, waited)
}

func (x *exchange) request(ctx context.Context, p plan) (*reply, error) {
	offer := p.offer.reply
	server := offer.addr(optServerID)
	addr4, server4 := offer.yiaddr.As4(), server.As4()
	started := time.Now()
	for _, wait := range x.waits {
		err := x.send(msgRequest, option{optServerID, server4[:]}, option{optRequested, addr4[:]})
		if err != nil {
			return nil, err
		}
		ack, err := x.await(ctx, wait, func(r *reply, from netip.AddrPort) (bool, error) {
			switch {
			case r.messageType() == msgNak && r.addr(optServerID) == server:
				x.saw.add("NAK of %v from %v: %q", offer.yiaddr, from, r.text(56))
				return false, ErrNAK
			case r.messageType() != msgAck:
				// Further OFFERs of other servers are normal here.
				return false, nil
			case r.addr(optServerID) != server:
				x.saw.add("ACK from %v with server identifier %v, but %v was asked", from, r.addr(optServerID), server)
				return false, nil
			}
			if why := x.unfit(r); why != "" {
				x.saw.add("ACK from %v %s", from, why)
				return false, nil
			}
			if r.yiaddr != offer.yiaddr {
				x.saw.add("ACK from %v of %v, but %v was offered", from, r.yiaddr, offer.yiaddr)
				return false, nil
			}
			if p.fromAck && r.bootFile(x.optionFirst) == "" {
				return false, fmt.Errorf("%w: the ACK from %v has none, though its OFFER had %q", ErrNoBootFile, from, offer.bootFile(x.optionFirst))
			}
			return true, nil
		})
		if ack != nil || err != nil {
			return ack, err
		}
	}
	return nil, fmt.Errorf("%w to %s within %v, from %v", ErrNoAck, x.client, time.Since(started).Round(time.Second), server)
}

// unfitOffer is unfit for OFFERs: to a client that boots one without an address
// may be a proxy's.
func (x *exchange) unfitOffer(r *reply) string {
	if !x.boots || !r.yiaddr.IsUnspecified() {
		return x.unfit(r)
	}
	server := r.addr(optServerID)
	switch {
	case !server.IsValid() || server.IsUnspecified():
		return "without a server identifier (option 54)"
	case !r.isClass(classPXE) && !r.isClass(classHTTP):
		return fmt.Sprintf("offers no address, and its class (option 60) is %q, not that of a proxy", r.text(optVendorClass))
	}
	return x.otherUUID(r)
}

// unfit says why no client would take this OFFER or ACK.
func (x *exchange) unfit(r *reply) string {
	server := r.addr(optServerID)
	switch {
	case !server.IsValid() || server.IsUnspecified():
		return "without a server identifier (option 54)"
	case r.yiaddr.IsUnspecified():
		return "offers no address"
	case len(r.options[optLeaseTime]) != 4:
		return "without a lease time (option 51)"
	}
	return x.otherUUID(r)
}

func (x *exchange) otherUUID(r *reply) string {
	if echo := r.options[optUUID]; echo != nil {
		for _, o := range x.options {
			if o.code == optUUID && string(o.data) != string(echo) {
				return "with somebody else's UUID (option 97)"
			}
		}
	}
	return ""
}

func (x *exchange) send(kind byte, more ...option) error {
	r := x.message(kind, more...)
	return x.port.send(r.encode())
}

func (x *exchange) message(kind byte, more ...option) *request {
	options := []option{{optMessageType, []byte{kind}}}
	options = append(options, more...)
	options = append(options, x.options...)
	return &request{
		xid: x.xid, secs: uint16(time.Since(x.started) / time.Second), flags: x.flags,
		hw: x.hw, options: options, minSize: x.minSize,
	}
}

// await reads until take says yes or the time is up; nil then.
func (x *exchange) await(ctx context.Context, wait time.Duration, take func(*reply, netip.AddrPort) (bool, error)) (*reply, error) {
	until := time.Now().Add(wait)
	if end := x.started.Add(x.total); x.total > 0 && end.Before(until) {
		until = end
	}
	return x.awaitAt(ctx, x.port, x.source, until, take)
}

// awaitAt reads from a port, where replies must come from the port source.
func (x *exchange) awaitAt(ctx context.Context, port dhcpReader, source uint16, until time.Time, take func(*reply, netip.AddrPort) (bool, error)) (*reply, error) {
	for {
		b, from, err := port.receive(ctx, until)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		r := x.sift(b, from, source)
		if r == nil {
			continue
		}
		ok, err := take(r, from)
		if err != nil {
			return nil, err
		}
		if ok {
			return r, nil
		}
	}
}

// sift drops what is malformed or not meant for this client.
func (x *exchange) sift(b []byte, from netip.AddrPort, source uint16) *reply {
	if from.Port() != source {
		x.saw.add("a reply from %v: its port is not %d", from, source)
		return nil
	}
	r, err := decodeReply(b, x.maxSize)
	if err != nil {
		x.saw.add("a malformed reply from %v: %v", from, err)
		return nil
	}
	var chaddr [16]byte
	copy(chaddr[:], x.hw)
	switch {
	case r.chaddr != chaddr:
		// Broadcasts for others are normal; the same address with rubbish behind it
		// is not: the initramfs compares all 16 bytes.
		if [6]byte(r.chaddr[:6]) == [6]byte(chaddr[:6]) {
			x.saw.add("a reply from %v: chaddr is padded with %x", from, r.chaddr[6:])
		}
		return nil
	case r.xid != x.xid:
		x.saw.add("a reply from %v: transaction ID %08x is not ours, %08x", from, r.xid, x.xid)
		return nil
	}
	return r
}
