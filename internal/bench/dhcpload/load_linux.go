package dhcpload

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Load is a number of clients that each get one lease: DISCOVER, OFFER, REQUEST,
// ACK.
type Load struct {
	// Clients is how many there are, 1 to 16,777,216. Their hardware addresses
	// follow from First, the number of the first of them.
	Clients, First int
	// Rate is how many start each second. Zero: as many as have ended, so that
	// Window of them are at work; one of the two must be set.
	Rate, Window int
	// Broadcast says that clients set the broadcast flag; without it replies must
	// come to their hardware addresses.
	Broadcast bool
	// Retry sends what was not answered again after 1, 2 and 4 seconds. Without
	// it the client is lost.
	Retry bool
	// Patience is how long a client waits for a reply in all. Zero: 2 s.
	Patience time.Duration
}

const defaultPatience = 2 * time.Second

// pace is how often clients are started, patrol how often the others' clocks are
// looked at.
const (
	pace   = 500 * time.Microsecond
	patrol = 20 * time.Millisecond
)

type stage byte

const (
	idle stage = iota
	discovering
	requesting
	bound
	lost
)

// client is the state of one.
type client struct {
	stage   stage
	retries byte
	asked   time.Time // when it first sent what it waits for the answer to
	next    time.Time // when it sends that again
	offer   reply
}

// run is one call of [Socket.Run].
type run struct {
	Load
	socket *Socket

	mu      sync.Mutex // guards all below
	clients []client
	started int       // clients[:started] are not idle
	oldest  int       // clients[:oldest] have ended
	open    int       // how many of the started have not ended
	looked  time.Time // by patrol
	taken   map[netip.Addr]int
	result  Result
	err     error
}

// Run plays the clients to their end. The error is what no server may do: an
// address given twice, a reply that its client cannot receive or that is not one;
// clients without an answer are in the Result.
func (s *Socket) Run(ctx context.Context, l Load) (Result, error) {
	switch {
	case l.Clients < 1 || l.First < 0 || l.First+l.Clients > 1<<24:
		return Result{}, fmt.Errorf("dhcpload: %d clients from %d", l.Clients, l.First)
	case l.Rate <= 0 && l.Window <= 0:
		return Result{}, errors.New("dhcpload: neither a Rate nor a Window")
	case l.Patience == 0:
		l.Patience = defaultPatience
	}
	r := &run{Load: l, socket: s, clients: make([]client, l.Clients), taken: make(map[netip.Addr]int, l.Clients)}
	if err := s.file.SetReadDeadline(time.Time{}); err != nil {
		return Result{}, err
	}
	var receiver sync.WaitGroup
	receiver.Go(r.receive)
	begin := time.Now()
	for r.step(time.Now(), begin) && ctx.Err() == nil {
		time.Sleep(pace)
	}
	r.result.Took = time.Since(begin)
	_ = s.file.SetReadDeadline(time.Unix(1, 0)) // it was set before
	receiver.Wait()
	r.result.finish()
	return r.result, errors.Join(r.err, ctx.Err())
}

// step starts the clients that are due and looks at the others now and then. It
// reports whether there is more to do.
func (r *run) step(now, begin time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	due := len(r.clients)
	if r.Rate > 0 {
		due = min(due, int(now.Sub(begin).Seconds()*float64(r.Rate))+1)
	}
	for r.started < due && (r.Window == 0 || r.open < r.Window) {
		r.start()
	}
	for r.oldest < r.started && r.clients[r.oldest].stage >= bound {
		r.oldest++
	}
	if now.Sub(r.looked) > patrol {
		r.looked = now
		r.patrol(now)
	}
	return r.err == nil && r.oldest < len(r.clients)
}

// patrol sends again what is to be sent again, and gives up the clients that
// waited too long.
func (r *run) patrol(now time.Time) {
	for i := r.oldest; i < r.started; i++ {
		c := &r.clients[i]
		switch {
		case c.stage >= bound:
		case now.Sub(c.asked) > r.Patience:
			r.result.Lost++
			r.end(c, lost)
		case r.Retry && now.After(c.next):
			c.retries++
			c.next = now.Add(time.Second << c.retries)
			r.result.Retries++
			r.send(i)
		}
	}
}

func (r *run) start() {
	now := time.Now()
	r.clients[r.started] = client{stage: discovering, asked: now, next: now.Add(time.Second)}
	r.started++
	r.open++
	r.send(r.started - 1)
}

// end takes a client out of the work, and where a place is free for another one
// has it start at once.
func (r *run) end(c *client, s stage) {
	c.stage = s
	c.offer = reply{}
	r.open--
	if r.Rate == 0 && r.started < len(r.clients) && r.err == nil {
		r.start()
	}
}

// send sends what the client's stage is about.
func (r *run) send(i int) {
	c := &r.clients[i]
	number := uint32(r.First + i)
	var offered *reply
	if c.stage == requesting {
		offered = &c.offer
	}
	_, err := r.socket.file.Write(appendFrame(nil, macOf(number), message(number, r.Broadcast, offered)))
	if err != nil {
		r.fail(fmt.Errorf("dhcpload: sending: %w", err))
	}
}

func (r *run) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// receive takes the replies until the deadline is set.
func (r *run) receive() {
	b := make([]byte, 2048)
	for {
		n, err := r.socket.file.Read(b)
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				r.mu.Lock()
				r.fail(fmt.Errorf("dhcpload: receiving: %w", err))
				r.mu.Unlock()
			}
			return
		}
		now := time.Now()
		got, err := parseReply(b[:n])
		if errors.Is(err, errOther) {
			continue
		}
		r.mu.Lock()
		if err == nil {
			err = r.take(got, now)
		}
		if err != nil {
			r.fail(err)
		}
		r.mu.Unlock()
	}
}

// take acts on a reply. One to a client of an earlier Load is none of ours, and
// one that a client no longer waits for is the answer to what it sent twice.
func (r *run) take(got reply, now time.Time) error {
	i := int(got.xid) - r.First
	if i < 0 || i >= r.started {
		return nil
	}
	c := &r.clients[i]
	if !got.delivered(r.Broadcast) {
		return fmt.Errorf("dhcpload: message %d to client %d, which is at no address yet, came to %x and %s", got.kind, got.xid, got.to, got.dst)
	}
	switch {
	case c.stage == discovering && got.kind == offer:
		r.result.Offers = append(r.result.Offers, now.Sub(c.asked))
		*c = client{stage: requesting, asked: now, next: now.Add(time.Second), offer: got}
		c.offer.server = append([]byte(nil), got.server...)
		r.send(i)
	case c.stage == requesting && got.kind == ack:
		if other, taken := r.taken[got.address]; taken {
			return fmt.Errorf("dhcpload: %s was given to client %d and to client %d", got.address, other, got.xid)
		}
		if got.address != c.offer.address {
			return fmt.Errorf("dhcpload: client %d asked for %s and got %s", got.xid, c.offer.address, got.address)
		}
		r.taken[got.address] = int(got.xid)
		r.result.Acks = append(r.result.Acks, now.Sub(c.asked))
		r.result.Bound++
		r.end(c, bound)
	case c.stage == requesting && got.kind == nak:
		return fmt.Errorf("dhcpload: client %d got no lease of %s, which it was offered", got.xid, c.offer.address)
	}
	return nil
}
