package pxe

import (
	"container/list"
	"crypto/rand"
	"encoding/base32"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pxekit/pxe/bootcfg"
	"github.com/pxekit/pxe/dhcp"
)

// defaultMaxMachines bounds the registry when the Server does not.
const defaultMaxMachines = 65536

// registry knows which machine has which address and which boot it is in.
// Later stages know only an address: TFTP and HTTP requests carry no MAC, and
// some loaders ask for the same file name whoever they are. It holds at most
// max machines and forgets the one that was silent longest.
type registry struct {
	mu     sync.Mutex
	max    int
	byHW   map[string]*entry
	byAddr map[netip.Addr]*entry
	byBoot map[string]*entry
	recent list.List // of *entry, most recently heard first
}

// entry is a machine and its current boot.
type entry struct {
	hw      net.HardwareAddr
	addr    netip.Addr
	boot    *boot
	element *list.Element
}

// boot is one boot of one machine, from its first DISCOVER to its next. What
// was decided at its start is kept for its whole length.
type boot struct {
	id     string
	hw     net.HardwareAddr
	opened time.Time

	// deciding is held while the Booter is asked, so that it is asked once.
	deciding sync.Mutex

	mu       sync.Mutex
	machine  Machine
	xid      [4]byte
	progress progress
	kernel   bool // the kernel was asked for: DHCP clients without a class are the booted system's
	addr     netip.Addr
	decided  bool
	menu     *bootcfg.Menu // nil: nothing to boot
	loaders  []string      // boot files offered
	configs  map[dhcp.Family]*bootcfg.Config
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
// and whether it is a new one. A DISCOVER opens a boot unless it continues one:
//
//   - the same transaction again is a retransmission;
//   - firmware asking again before it got a loader is trying again;
//   - an iPXE asking before it got its script is the loader that the firmware
//     was given, or is trying again.
//
// Anything else is a machine that was started anew.
func (r *registry) begin(m Machine, discover bool, xid [4]byte, now time.Time) (*boot, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entry(m.HardwareAddr)
	if e.boot != nil && (!discover || e.boot.continues(m.Kind, xid)) {
		return e.boot, false
	}
	if e.boot != nil {
		delete(r.byBoot, e.boot.id)
	}
	id := newBootID()
	m.BootID = id
	e.boot = &boot{id: id, hw: e.hw, opened: now, machine: m, xid: xid, addr: e.addr}
	r.byBoot[id] = e
	return e.boot, true
}

// continues reports whether a DISCOVER belongs to this boot, and remembers its
// transaction if so.
func (b *boot) continues(kind dhcp.Kind, xid [4]byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := inLoader
	if kind == dhcp.IPXE {
		before = inConfig
	}
	if b.xid != xid && b.progress >= before {
		return false
	}
	b.xid = xid
	return true
}

// entry returns the machine's entry, made when it is not known, and marks it as
// heard. r.mu is held.
func (r *registry) entry(hw net.HardwareAddr) *entry {
	if e := r.byHW[string(hw)]; e != nil {
		r.recent.MoveToFront(e.element)
		return e
	}
	if r.recent.Len() >= r.max {
		r.forget(r.recent.Back().Value.(*entry))
	}
	e := &entry{hw: append(net.HardwareAddr(nil), hw...)}
	e.element = r.recent.PushFront(e)
	r.byHW[string(hw)] = e
	return e
}

func (r *registry) forget(e *entry) {
	r.recent.Remove(e.element)
	delete(r.byHW, string(e.hw))
	if r.byAddr[e.addr] == e {
		delete(r.byAddr, e.addr)
	}
	if e.boot != nil {
		delete(r.byBoot, e.boot.id)
	}
}

// bound says that the machine holds the address now, and returns its boot, nil
// when it is in none.
func (r *registry) bound(hw net.HardwareAddr, addr netip.Addr) *boot {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entry(hw)
	if r.byAddr[e.addr] == e {
		delete(r.byAddr, e.addr)
	}
	if former := r.byAddr[addr]; former != nil {
		former.addr = netip.Addr{}
	}
	e.addr = addr
	r.byAddr[addr] = e
	if e.boot != nil {
		e.boot.mu.Lock()
		e.boot.addr = addr
		e.boot.mu.Unlock()
	}
	return e.boot
}

// ofMachine returns the machine's boot, nil when it is in none.
func (r *registry) ofMachine(hw net.HardwareAddr) *boot {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.byHW[string(hw)]; e != nil {
		return e.boot
	}
	return nil
}

// ofAddr returns the boot of the machine that holds the address, nil when not
// known.
func (r *registry) ofAddr(addr netip.Addr) *boot {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.byAddr[addr.Unmap()]; e != nil {
		return e.boot
	}
	return nil
}

// ofID returns the boot with this ID, nil when it is over or never was.
func (r *registry) ofID(id string) *boot {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.byBoot[id]; e != nil {
		return e.boot
	}
	return nil
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
