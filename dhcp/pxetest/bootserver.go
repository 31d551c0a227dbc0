package pxetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"syscall"
	"time"
)

// bootServerHabits are those of a client at port 4011.
type bootServerHabits struct {
	source uint16          // the port that it asks from
	waits  []time.Duration // one per REQUEST
	newXID bool            // rather than that of the DHCP exchange
	names  bool            // says whom it asks, in option 54
	offers bool            // an OFFER does as well as an ACK
	second bool            // a boot file of the DHCP server comes before a proxy's
}

// PXE 2.1 section 2.2.3, and EDK2: four tries.
func bootServerWaits() []time.Duration {
	return []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second}
}

// bootReply completes the lease with what was offered elsewhere than in the ACK,
// after the client took its address.
func (r *run) bootReply(x *exchange, p plan) error {
	told := r.lease.BootFile != "" && x.bootServer.second
	if p.boot != nil {
		if told {
			return nil
		}
		r.lease.toldBy(p.boot.reply, p.boot.addr(optServerID), x.optionFirst)
		return nil
	}
	type question struct{ to, id netip.Addr }
	var questions []question
	for _, o := range p.ask {
		to := o.server()
		if x.bootServer.names {
			to = o.addr(optServerID)
		}
		questions = append(questions, question{to, o.addr(optServerID)})
	}
	if p.server.IsValid() {
		questions = append(questions, question{p.server, p.server})
	}
	var failed error
	for _, q := range questions {
		name := x.client + " asks " + q.to.String()
		r.step(Step{Stage: StageBootServer, Name: name, Total: -1})
		ack, from, err := x.ask(r.ctx, r.link, r.lease.Addr.Addr(), q.to, q.id, p.item)
		if err != nil {
			if r.ctx.Err() != nil {
				return err
			}
			failed = err
			continue
		}
		if !told {
			r.lease.toldBy(ack, from, x.optionFirst)
		}
		r.step(Step{Stage: StageBootServer, Name: name, Total: -1, Done: true})
		return nil
	}
	if p.optional && failed != nil {
		x.saw.add("%v", failed)
		return nil
	}
	return failed
}

func (l *Lease) toldBy(r *reply, who netip.Addr, optionFirst bool) {
	r.tell(l, optionFirst)
	l.Proxy, l.ProxyOptions = who, r.options
}

// ask sends REQUESTs to port 4011 of a server until it answers with a boot file.
func (x *exchange) ask(ctx context.Context, link link, self, to, id netip.Addr, item []byte) (*reply, netip.Addr, error) {
	port, err := link.openPXE(x.bootServer.source)
	if err != nil {
		return nil, netip.Addr{}, err
	}
	defer port.close()
	var more []option
	if item != nil {
		more = append(more, option{optVendor, append(append([]byte{vendorItem, byte(len(item))}, item...), optEnd)})
	}
	if x.bootServer.names {
		more = append(more, option{optServerID, id.AsSlice()})
	}
	if x.bootServer.newXID {
		x.xid = rand.Uint32()
	}
	started := time.Now()
	var from netip.Addr
	for _, wait := range x.bootServer.waits {
		request := x.message(msgRequest, more...)
		request.ciaddr, request.flags = self, 0
		// That nobody knows the way there is silence, too.
		if err := port.send(request.encode(), to); err != nil && !errors.Is(err, syscall.ENETUNREACH) {
			return nil, netip.Addr{}, x.fail(fmt.Errorf("%w: asking %v: %w", ErrBootServer, to, err))
		}
		ack, err := x.awaitAt(ctx, port, link.ports().PXE, time.Now().Add(wait), func(r *reply, sender netip.AddrPort) (bool, error) {
			switch server := r.addr(optServerID); {
			case r.messageType() != msgAck && (r.messageType() != msgOffer || !x.bootServer.offers):
				x.saw.add("message type %d from %v, at port 4011", r.messageType(), sender)
			case x.bootServer.names && server.IsValid() && server != id:
				x.saw.add("ACK from %v with server identifier %v, but %v was asked at port 4011", sender, server, id)
			case x.otherUUID(r) != "":
				x.saw.add("ACK from %v %s, at port 4011", sender, x.otherUUID(r))
			case r.bootFile(x.optionFirst) == "":
				return false, fmt.Errorf("%w: the ACK from %v names none", ErrBootServer, sender)
			default:
				from = sender.Addr()
				return true, nil
			}
			return false, nil
		})
		if err != nil {
			return nil, netip.Addr{}, x.fail(err)
		}
		if ack != nil {
			return ack, from, nil
		}
	}
	return nil, netip.Addr{}, x.fail(fmt.Errorf("%w: %v is silent for %v", ErrBootServer, to, time.Since(started).Round(time.Second)))
}
