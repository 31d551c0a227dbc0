package dhcp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/internal/dhcplint"
)

// The environment of a process that serves, and what its store may be.
const (
	processFileEnv  = "PXEKIT_PROCESS_LEASE_FILE"
	processStoreEnv = "PXEKIT_PROCESS_STORE"

	storeFile     = "file"
	storeUnsynced = "unsynced" // a file on a disk that is told to sync, and does not
	storeMemory   = "memory"
)

// processAddrs is how many addresses the process gives out, the first of them
// processFirst.
const processAddrs = 56

var processFirst = netip.MustParseAddr("127.1.0.1")

// TestServingProcess is the process that other tests start: a server on a UDP
// socket, which compacts its lease file all the time. It says when it opens the
// file, when it makes and has made a new one, and where it serves.
func TestServingProcess(t *testing.T) {
	path := os.Getenv(processFileEnv)
	if path == "" {
		return // nobody has started it
	}
	pool := &Pool{First: processFirst, Last: addr4(number(processFirst) + processAddrs - 1)}
	store := os.Getenv(processStoreEnv)
	if store != storeMemory {
		fmt.Println("opening")
		f, err := openLeaseFile(tellingDisk{unsynced: store == storeUnsynced}, path)
		require.NoError(t, err)
		f.growth = 1 << 10
		pool.Store = f
	}
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	s := &Server{Networks: []Network{{Addr: netip.MustParsePrefix("127.0.0.2/8"), Mode: Full, Leases: pool}}}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until who started it ends it, or is gone
		_ = conn.Close()
	}()
	fmt.Println("serving", conn.LocalAddr())
	require.ErrorIs(t, s.Serve(conn), net.ErrClosed)
}

// tellingDisk says what becomes of new files.
type tellingDisk struct {
	osDisk
	unsynced bool
}

func (d tellingDisk) handle(h leaseHandle, err error) (leaseHandle, error) {
	if d.unsynced && err == nil {
		h = unsyncedHandle{h}
	}
	return h, err
}

func (d tellingDisk) open(name string) (leaseHandle, error) { return d.handle(d.osDisk.open(name)) }

func (d tellingDisk) create(name string) (leaseHandle, error) {
	fmt.Println("create")
	return d.handle(d.osDisk.create(name))
}

func (d tellingDisk) rename(from, to string) error {
	err := d.osDisk.rename(from, to)
	fmt.Println("rename")
	return err
}

type unsyncedHandle struct{ leaseHandle }

func (unsyncedHandle) Sync() error { return nil }

// process is a running TestServingProcess.
type process struct {
	*exec.Cmd
	in    io.Closer // ends it
	lines *bufio.Scanner
	addr  netip.AddrPort // valid once it serves
	// made is how many new files it has made, the one of the beginning included.
	made int
}

// startProcess starts a server with a store on a lease file, by a program that gets its
// command if there is one.
func startProcess(t *testing.T, store, path string, by ...string) *process {
	t.Helper()
	args := append(by, os.Args[0], "-test.run=^TestServingProcess$")
	p := &process{Cmd: exec.Command(args[0], args[1:]...)}
	p.Env = append(os.Environ(), processFileEnv+"="+path, processStoreEnv+"="+store)
	p.Stderr = os.Stderr
	out, err := p.StdoutPipe()
	require.NoError(t, err)
	p.in, err = p.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	p.lines = bufio.NewScanner(out)
	return p
}

// until reads what the process says up to a line that begins with a word, and
// reports whether there was one.
func (p *process) until(word string) bool {
	for p.lines.Scan() {
		text := p.lines.Text()
		if text == "rename" {
			p.made++
		}
		if where, ok := strings.CutPrefix(text, "serving "); ok {
			p.addr = netip.MustParseAddrPort(where)
		}
		if strings.HasPrefix(text, word) {
			return true
		}
	}
	return false
}

// relay is a relay with machines behind it, on a socket that it uses for one
// exchange at a time. It waits for each reply, and has the replies judged.
type relay struct {
	conn *net.UDPConn
	to   netip.AddrPort
	xid  uint32
}

func newRelay(t *testing.T) *relay {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return &relay{conn: conn}
}

// errNoReply says that the server did not answer; it may be gone.
var errNoReply = errors.New("no reply")

// send sends a packet of a machine.
func (r *relay) send(kind dhcpv4.MessageType, hw net.HardwareAddr, mods ...dhcpv4.Modifier) ([]byte, error) {
	r.xid++
	// RFC 8357: replies go to the port that this comes from.
	b := message(kind, hw, append(mods, giaddr("127.0.0.1"), opt(82, 19, 0), xid(r.xid))...).ToBytes()
	_, err := r.conn.WriteToUDPAddrPort(b, r.to)
	return b, err
}

// ask sends a packet of a machine and waits for the reply. When gone is closed it is
// in the socket by then, or will not come.
func (r *relay) ask(gone <-chan struct{}, kind dhcpv4.MessageType, hw net.HardwareAddr, mods ...dhcpv4.Modifier) (*dhcpv4.DHCPv4, error) {
	asked, err := r.send(kind, hw, mods...)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 1500)
	for range 3000 { // a minute
		last := false
		select {
		case <-gone:
			last = true
		default:
		}
		if err := r.conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
			return nil, err
		}
		n, err := r.conn.Read(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && last:
			return nil, errNoReply
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		case err != nil:
			return nil, err
		}
		if binary.BigEndian.Uint32(buf[4:]) != r.xid {
			continue // to a packet that was given up
		}
		b := bytes.Clone(buf[:n])
		if findings := dhcplint.Reply(b, asked); len(findings) > 0 {
			return nil, errors.New(strings.Join(findings, "\n"))
		}
		return dhcpv4.FromBytes(b)
	}
	return nil, errNoReply
}

// choosing are the options of a REQUEST for an address that the process offered.
func choosing(a netip.Addr) dhcpv4.Modifier {
	return func(p *dhcpv4.DHCPv4) { optAddr(54, "127.0.0.2")(p); optAddr(50, a.String())(p) }
}

// lease has a machine get an address, and returns the ACK.
func (r *relay) lease(gone <-chan struct{}, hw net.HardwareAddr) (*dhcpv4.DHCPv4, error) {
	offer, err := r.ask(gone, dhcpv4.MessageTypeDiscover, hw)
	if err != nil {
		return nil, err
	}
	if offer.MessageType() != dhcpv4.MessageTypeOffer {
		return nil, fmt.Errorf("a DISCOVER gets %s", offer.MessageType())
	}
	return r.ask(gone, dhcpv4.MessageTypeRequest, hw, choosing(addrOf(offer.YourIPAddr)))
}
