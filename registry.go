package pxe

import (
	"container/list"
	"crypto/rand"
	"encoding/base32"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/pxekit/pxe/bootcfg"
	"github.com/pxekit/pxe/dhcp"
)

// defaultMaxMachines bounds the registry when the Server does not.
const defaultMaxMachines = 65536

const (
	// bootPause is how long a machine may be silent within a boot. Firmware
	// gives up after four DISCOVERs, which take it a minute; who comes back
	// later was started anew, and may be in another place.
	bootPause = 90 * time.Second
	// loaderPause is how long an iPXE that the firmware was given may take until
	// it asks for its script: it may show a prompt of its own, or try the other
	// network cards first.
	loaderPause = 30 * time.Minute
	// sameMessage is how late a copy of a message may come. It is short because
	// some ROMs use one transaction ID for ever.
	sameMessage = 5 * time.Second
	// sameAttempt is the longest pause between two DISCOVERs of one attempt of
	// firmware, with some reserve.
	sameAttempt = 35 * time.Second
)

// registry knows which machine has which address and which boot it is in.
// Later stages know only an address: TFTP and HTTP requests carry no MAC, and
// some loaders ask for the same file name whoever they are.
//
// It holds at most max machines. When it is full it forgets one that was silent
// longest: of those without a lease as long as they are a quarter of all, so that
// invented hardware addresses do not push out machines that boot; else of those
// with one, so that machines of last year do not keep out those that come.
type registry struct {
	mu        sync.Mutex
	max       int
	byHW      map[string]*entry
	byAddr    map[netip.Addr]*entry
	byBoot    map[string]*entry
	strangers list.List // of *entry without an address, most recently heard first
	holders   list.List // of *entry with an address, likewise
}

// entry is a machine and its current boot.
type entry struct {
	hw      net.HardwareAddr
	addr    netip.Addr
	given   bool // addr was given to it here, not overheard
	boot    *boot
	list    *list.List // strangers or holders
	element *list.Element
}

// boot is one boot of one machine, from its first DISCOVER to its next. What
// was decided at its start is kept for its whole length.
type boot struct {
	id string
	hw net.HardwareAddr
	// restored: it was not opened by a message of its machine, but found by a lease.
	restored bool

	// deciding is held while the Booter is asked, so that it is asked once.
	deciding sync.Mutex

	mu       sync.Mutex
	machine  Machine
	xids     [8]heardXID // the latest transactions, as a ring
	nextXID  int
	heard    time.Time
	progress progress
	kernel   bool // the kernel was asked for: DHCP clients without a class are the booted system's
	decided  bool
	menu     *bootcfg.Menu // nil: nothing to boot
	root     *url.URL      // of the root file system, as the Booter was told; nil: none
	loaders  []string      // boot files offered, and what they may load
	// treatment is what is different for this machine, since decided.
	treatment Treatment
	fetched   map[string]bool  // what the menu names and was delivered whole
	begun     map[string]int64 // how much of it was delivered from its beginning on, if in pieces
	told      bool             // the Booter was told that the machine has what it boots
	configs   map[dhcp.Family]*bootcfg.Config
}

// heardXID is a DHCP transaction of a machine, and when it was last heard.
type heardXID struct {
	id           [4]byte
	at           time.Time
	acknowledged bool // its REQUEST was answered by an ACK
}

// progress is how far a boot has come, as far as a new DISCOVER must know.
type progress int

const (
	inDiscover progress = iota
	inLoader            // the loader was delivered
	inConfig            // its configuration was delivered
	inSystem            // the root file system was delivered
)

func newRegistry(max int) *registry {
	if max == 0 {
		max = defaultMaxMachines
	}
	return &registry{
		max: max, byHW: make(map[string]*entry),
		byAddr: make(map[netip.Addr]*entry), byBoot: make(map[string]*entry),
	}
}

// begin returns the boot that a message of a network boot client belongs to,
// and whether it is a new one. A message that opens (a DISCOVER, or what a boot
// server hears first) begins a boot unless it continues one, see continues; any
// other belongs to the boot that is open.
func (r *registry) begin(m Machine, opens bool, xid [4]byte, now time.Time) (*boot, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open(m, opens, xid, now)
}

// open is begin with r.mu held.
func (r *registry) open(m Machine, opens bool, xid [4]byte, now time.Time) (*boot, bool) {
	e := r.entry(m.HardwareAddr)
	if e.boot != nil && (e.boot.continues(m, xid, now) || !opens) {
		return e.boot, false
	}
	if e.boot != nil {
		delete(r.byBoot, e.boot.id)
	}
	id := newBootID()
	m.BootID, m.Addr = id, e.addr
	before := e.boot
	e.boot = &boot{id: id, hw: e.hw, heard: now, machine: m}
	if before != nil {
		e.boot.fetched = before.unfinished()
	}
	e.boot.recent(xid, now)
	r.byBoot[id] = e
	return e.boot, true
}

// continues reports whether a DISCOVER belongs to this boot:
//
//   - the same transaction again at once is a copy of the message;
//   - firmware asking again before it got a loader is trying again;
//   - an iPXE asking before it got its script is the loader that the firmware
//     was given, or is trying again.
//
// Anything else is a machine that was started anew: one that was silent for
// long, that came in another network, or that was told that there is nothing to
// boot and begins another attempt.
func (b *boot) continues(m Machine, xid [4]byte, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	silence, before := now.Sub(b.heard), b.recent(xid, now)
	b.heard = now
	copied := !before.IsZero()
	switch {
	case copied && now.Sub(before) < sameMessage:
		return true
	case m.network != b.machine.network:
		return false // not the relay: two of them may forward one message
	case b.decided && b.menu == nil:
		return copied && silence < sameAttempt
	case m.Kind == dhcp.IPXE && b.progress == inLoader:
		return silence < loaderPause
	case m.Kind == dhcp.IPXE:
		return silence < bootPause && b.progress < inConfig
	}
	return silence < bootPause && b.progress < inLoader
}

// unfinished is what a boot has fetched, if it has not fetched all. A copy of a message
// that comes very late looks like a machine that was started anew, while the machine
// goes on with what it has; and one that was started anew begins with the first file.
func (b *boot) unfinished() map[string]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.told {
		return nil
	}
	return maps.Clone(b.fetched)
}

// recent notes a transaction, and returns when it was heard before; the zero time
// if it is new. A copy may come late, after the machine has begun another one. b.mu
// is held, or b not shared yet.
func (b *boot) recent(xid [4]byte, now time.Time) (before time.Time) {
	for i := range b.xids {
		if seen := &b.xids[i]; seen.id == xid && !seen.at.IsZero() {
			before, seen.at = seen.at, now
			if now.Sub(before) >= sameMessage {
				seen.acknowledged = false // some firmware has one transaction for ever
			}
			return before
		}
	}
	b.xids[b.nextXID] = heardXID{id: xid, at: now}
	b.nextXID = (b.nextXID + 1) % len(b.xids)
	return before
}

// entry returns the machine's entry, made when it is not known, and marks it as
// heard. r.mu is held.
func (r *registry) entry(hw net.HardwareAddr) *entry {
	if e := r.byHW[string(hw)]; e != nil {
		e.list.MoveToFront(e.element)
		return e
	}
	if r.strangers.Len()+r.holders.Len() >= r.max {
		from := &r.strangers
		if from.Len() <= max(1, r.max/4) && r.holders.Len() > 0 {
			from = &r.holders
		}
		r.forget(from.Back().Value.(*entry))
	}
	e := &entry{hw: append(net.HardwareAddr(nil), hw...)}
	r.file(e, &r.strangers)
	r.byHW[string(hw)] = e
	return e
}

// file puts an entry in front of a list, taking it out of the one it is in.
func (r *registry) file(e *entry, to *list.List) {
	if e.list != nil {
		e.list.Remove(e.element)
	}
	e.list, e.element = to, to.PushFront(e)
}

func (r *registry) forget(e *entry) {
	e.list.Remove(e.element)
	delete(r.byHW, string(e.hw))
	if r.byAddr[e.addr] == e {
		delete(r.byAddr, e.addr)
	}
	if e.boot != nil {
		delete(r.byBoot, e.boot.id)
	}
}

// bound says that the machine holds the address now: it was given to it here.
func (r *registry) bound(hw net.HardwareAddr, addr netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bind(hw, addr, true)
}

// heard says that a machine seems to hold an address that another server gave it.
// It takes none away from a machine that was given it here.
func (r *registry) heard(hw net.HardwareAddr, addr netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bind(hw, addr, false)
}

// bind is bound, or heard if not given, with r.mu held.
func (r *registry) bind(hw net.HardwareAddr, addr netip.Addr, given bool) {
	if former := r.byAddr[addr]; !given && former != nil && former.given && string(former.hw) != string(hw) {
		return
	}
	e := r.entry(hw)
	e.given = given || e.given && e.addr == addr
	if r.byAddr[e.addr] == e {
		delete(r.byAddr, e.addr)
	}
	if former := r.byAddr[addr]; former != nil {
		former.addr, former.given = netip.Addr{}, false
		r.file(former, &r.strangers)
	}
	e.addr = addr
	r.byAddr[addr] = e
	r.file(e, &r.holders)
	if e.boot != nil {
		e.boot.mu.Lock()
		e.boot.machine.Addr = addr
		e.boot.mu.Unlock()
	}
}

// ofMachine returns the machine's boot, nil when it is in none.
func (r *registry) ofMachine(hw net.HardwareAddr) *boot {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.active(r.byHW[string(hw)])
}

// ofAddr returns the boot of the machine that holds the address, nil when not
// known.
func (r *registry) ofAddr(addr netip.Addr) *boot {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.active(r.byAddr[addr.Unmap()])
}

// ofID returns the boot with this ID, nil when it is over or never was.
func (r *registry) ofID(id string) *boot {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.active(r.byBoot[id])
}

// active returns the boot of an entry that was just heard of. r.mu is held.
func (r *registry) active(e *entry) *boot {
	if e == nil {
		return nil
	}
	e.list.MoveToFront(e.element)
	return e.boot
}

// newBootID returns 64 random bits: a boot's URLs cannot be guessed by another
// machine, and two servers never use the same one.
func newBootID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	return base32.NewEncoding(bootIDLetters).WithPadding(base32.NoPadding).EncodeToString(b[:])
}

// A boot's ID goes into URLs, kernel command lines and export names as it is.
const (
	bootIDLen     = 13
	bootIDLetters = "abcdefghijklmnopqrstuvwxyz234567"
)
