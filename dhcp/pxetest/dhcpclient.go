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
	// needBootFile: an OFFER without one is not taken. Real firmware collects for a
	// while and then prefers; this one takes the first OFFER that has one.
	needBootFile bool

	port    dhcpPort
	source  uint16 // the port that replies must come from
	started time.Time
	xid     uint32
	saw     sightings
}

// maxNAKs is how often a refused client begins again.
const maxNAKs = 3

// run plays the exchange. lease is called when an OFFER was chosen, so that
// progress can be told.
func (x *exchange) run(ctx context.Context, offered func()) (Lease, error) {
	x.started = time.Now()
	for range maxNAKs {
		x.xid = rand.Uint32()
		offer, err := x.discover(ctx)
		if err != nil {
			return Lease{}, x.fail(err)
		}
		offered()
		ack, err := x.request(ctx, offer)
		if errors.Is(err, ErrNAK) {
			continue
		}
		if err != nil {
			return Lease{}, x.fail(err)
		}
		return ack.lease(x.client), nil
	}
	return Lease{}, x.fail(fmt.Errorf("%w, %d times", ErrNAK, maxNAKs))
}

func (x *exchange) fail(err error) error { return &sawError{err, x.saw.list()} }

func (x *exchange) discover(ctx context.Context) (*reply, error) {
	without := 0
	for _, wait := range x.waits {
		if err := x.send(msgDiscover); err != nil {
			return nil, err
		}
		offer, err := x.await(ctx, wait, func(r *reply, from netip.AddrPort) (bool, error) {
			if r.messageType() != msgOffer {
				x.saw.add("message type %d from %v while waiting for an OFFER", r.messageType(), from)
				return false, nil
			}
			if why := x.unfit(r); why != "" {
				x.saw.add("OFFER from %v %s", from, why)
				return false, nil
			}
			if x.needBootFile && r.bootFile() == "" {
				without++
				x.saw.add("OFFER of %v from %v without a boot file", r.yiaddr, from)
				return false, nil
			}
			return true, nil
		})
		if offer != nil || err != nil {
			return offer, err
		}
	}
	waited := time.Since(x.started).Round(time.Second)
	if without > 0 {
		return nil, fmt.Errorf("%w to %s within %v", ErrNoBootFile, x.client, waited)
	}
	return nil, fmt.Errorf("%w to %s within %v", ErrNoOffer, x.client, waited)
}

func (x *exchange) request(ctx context.Context, offer *reply) (*reply, error) {
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
			if x.needBootFile && r.bootFile() == "" {
				return false, fmt.Errorf("%w: the ACK from %v has none, though its OFFER had %q", ErrNoBootFile, from, offer.bootFile())
			}
			return true, nil
		})
		if ack != nil || err != nil {
			return ack, err
		}
	}
	return nil, fmt.Errorf("%w to %s within %v, from %v", ErrNoAck, x.client, time.Since(started).Round(time.Second), server)
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
	options := []option{{optMessageType, []byte{kind}}}
	options = append(options, more...)
	options = append(options, x.options...)
	r := request{
		xid: x.xid, secs: uint16(time.Since(x.started) / time.Second), flags: x.flags,
		hw: x.hw, options: options, minSize: x.minSize,
	}
	return x.port.send(r.encode())
}

// await reads until take says yes or the time is up; nil then.
func (x *exchange) await(ctx context.Context, wait time.Duration, take func(*reply, netip.AddrPort) (bool, error)) (*reply, error) {
	until := time.Now().Add(wait)
	if end := x.started.Add(x.total); x.total > 0 && end.Before(until) {
		until = end
	}
	for {
		b, from, err := x.port.receive(ctx, until)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		r := x.sift(b, from)
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
func (x *exchange) sift(b []byte, from netip.AddrPort) *reply {
	if from.Port() != x.source {
		x.saw.add("a reply from %v: its port is not %d", from, x.source)
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
