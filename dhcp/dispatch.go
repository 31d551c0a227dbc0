package dhcp

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// maxWaiting is how many packets of one client may wait behind the one in work.
// A client has one or two exchanges going, and may be heard over two relays.
const maxWaiting = 4

// maxResting is how many goroutines without a client are kept: for as many as 64
// clients at once no new goroutine has to grow its stack, which would take an
// eighth of the server's time.
const maxResting = 64

// dispatcher hands packets to goroutines, one for each client in work, so that
// the packets of a client are handled in order and clients do not wait for each
// other. The zero value is ready.
type dispatcher struct {
	mu      sync.Mutex
	clients map[string]*clientQueue
}

type clientQueue struct {
	current likeness
	waiting []job
}

// task is the work for one client, beginning with the packet j.
type task struct {
	key string
	q   *clientQueue
	j   job
}

// workers are the goroutines of one call of Serve.
type workers struct {
	next    chan task     // to one that rests
	over    chan struct{} // closed when no task will come any more
	resting atomic.Int32
}

func newWorkers() workers { return workers{next: make(chan task), over: make(chan struct{})} }

type job struct {
	r    *Request
	on   *serving
	like likeness
}

// likeness is what a retransmission has in common with the packet before.
type likeness struct {
	xid                              dhcpv4.TransactionID
	messageType                      dhcpv4.MessageType
	relay, ciaddr, requested, server netip.Addr
	ifname                           string
	pxePort                          bool
}

func likenessOf(r *Request) likeness {
	return likeness{
		xid: r.Packet.TransactionID, messageType: r.Type(),
		relay: r.RelayAddr(), ciaddr: addrOf(r.Packet.ClientIPAddr),
		requested: optionAddr(r.Packet, dhcpv4.OptionRequestedIPAddress), server: r.serverOption(),
		ifname: r.Interface, pxePort: r.PXEPort,
	}
}

// submit takes a packet for handling, or says why not. on.work counts what is
// still to be done.
func (d *dispatcher) submit(r *Request, on *serving, maxClients int) DropReason {
	key := r.key()
	j := job{r: r, on: on, like: likenessOf(r)}
	d.mu.Lock()
	defer d.mu.Unlock()
	if q, ok := d.clients[key]; ok {
		if q.current == j.like {
			return Duplicate
		}
		for i := range q.waiting {
			if q.waiting[i].like == j.like {
				return Duplicate
			}
		}
		if len(q.waiting) >= maxWaiting {
			return LimitExceeded
		}
		on.work.Add(1)
		q.waiting = append(q.waiting, j)
		return ""
	}
	if r.Type() == dhcpv4.MessageTypeDiscover {
		// Who is too busy completes what it has offered: an offer that is not
		// taken up has cost as much, and its client comes again.
		maxClients -= maxClients / 4
	}
	if len(d.clients) >= maxClients {
		return QueueFull
	}
	if d.clients == nil {
		d.clients = make(map[string]*clientQueue)
	}
	q := &clientQueue{current: j.like}
	d.clients[key] = q
	on.work.Add(1)
	t := task{key, q, j}
	select {
	case on.workers.next <- t:
	default:
		on.work.Add(1) // the goroutine, which may outlast the packet
		go d.work(on, t)
	}
	return ""
}

// work runs tasks until too many others rest or none will come.
func (d *dispatcher) work(on *serving, t task) {
	defer on.work.Done()
	w := &on.workers
	for {
		d.run(t.key, t.q, t.j)
		if w.resting.Add(1) > maxResting {
			w.resting.Add(-1)
			return
		}
		select {
		case t = <-w.next:
			w.resting.Add(-1)
		case <-w.over:
			return
		}
	}
}

// run handles the packets of one client until none waits.
func (d *dispatcher) run(key string, q *clientQueue, j job) {
	for {
		j.on.handle(j.r)
		j.on.work.Done()
		d.mu.Lock()
		if len(q.waiting) == 0 {
			delete(d.clients, key)
			d.mu.Unlock()
			return
		}
		j = q.waiting[0]
		q.waiting = q.waiting[1:]
		q.current = j.like
		d.mu.Unlock()
	}
}
