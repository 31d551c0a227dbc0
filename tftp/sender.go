package tftp

import (
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// window is how many packets may be on their way at once. One is the lock-step
// of RFC 1350.
const window = 1

// sender carries the blocks of one reader to one client. Packets are numbered
// without end: 0 is the OACK, n is DATA with block number n modulo 65536.
type sender struct {
	conn     packetConn
	remote   netip.AddrPort
	sessions *admission
	place    *place // in sessions
	retries  int    // before the client is heard
	drop     func(reason DropReason, from netip.AddrPort)

	blockSize int
	timeout   time.Duration // agreed on; 0: the timer's own
	timer     timer

	// The packets on their way and one that is read ahead, by number modulo
	// len(slots).
	slots [window + 1][]byte
	acked int64 // the last packet that the client has; -1: not even the OACK
	sent  int64 // the last packet sent
	ready int64 // the last packet read
	last  int64 // the last packet there is; -1: not known yet

	sentAt  time.Time
	fresh   bool          // every packet on its way was sent once
	heard   bool          // the client has answered
	silent  time.Duration // waited in vain since it was last heard
	armed   time.Time     // the read deadline of conn
	receive [headerSize + maxRequest]byte

	bytes       int64
	retransmits int
}

func newSender(t *Transfer, terms terms) *sender {
	s := &sender{
		conn: t.conn, remote: t.request.Remote, sessions: &t.server.sessions, place: t.place,
		retries: t.server.retries(), drop: t.server.drop,
		blockSize: terms.blockSize, timeout: terms.timeout,
		last: -1, fresh: true,
	}
	size := max(headerSize+s.blockSize, maxOACK)
	memory := make([]byte, len(s.slots)*size)
	for i := range s.slots {
		s.slots[i] = memory[i*size : i*size : (i+1)*size]
	}
	if len(terms.oack) > 0 {
		s.slots[0] = appendOACK(s.slots[0], terms.oack)
		s.acked, s.sent = -1, -1
	}
	return s
}

// run sends all of r and returns when the client has acknowledged it.
func (s *sender) run(r io.Reader) error {
	retries := 0
	if err := s.fill(r); err != nil {
		return err
	}
	for {
		if err := s.transmit(); err != nil {
			return err
		}
		// While the client writes its answer.
		if err := s.fill(r); err != nil {
			return err
		}
		answered, err := s.await()
		switch {
		case err != nil:
			return err
		case answered && s.acked == s.last:
			return nil
		case answered:
			continue
		}
		s.silent += s.timer.wait()
		if s.spent(retries) {
			return s.giveUp()
		}
		retries++
		s.retransmits += int(s.sent - s.acked)
		s.timer.backoff()
		s.fresh, s.sent = false, s.acked
	}
}

// spent reports whether the client has been waited for long enough.
func (s *sender) spent(retries int) bool {
	if !s.heard {
		return retries == s.retries
	}
	patience := clientSilence
	if s.sent == s.last {
		patience = lastSilence
	}
	return s.silent >= max(patience, minTries*s.timeout)
}

// giveUp ends a transfer whose client is silent. One that has answered before
// and was sent all there is has got it and gone: its last ACK was lost.
func (s *sender) giveUp() error {
	if !s.heard || s.sent != s.last {
		return ErrNoAnswer
	}
	for s.acked < s.last {
		s.acknowledge()
	}
	return nil
}

// offering reports whether the client has had nothing but the options.
func (s *sender) offering() bool { return s.acked < 0 }

func (s *sender) slot(packet int64) *[]byte { return &s.slots[packet%int64(len(s.slots))] }

// fill reads blocks into the slots that are free.
func (s *sender) fill(r io.Reader) error {
	for s.last < 0 && s.ready-s.acked < int64(len(s.slots)) {
		slot := s.slot(s.ready + 1)
		packet := (*slot)[:headerSize+s.blockSize]
		n, err := readBlock(r, packet[headerSize:])
		if err != nil {
			return err
		}
		s.ready++
		putData(packet, uint16(s.ready))
		*slot = packet[:headerSize+n]
		if n < s.blockSize {
			s.last = s.ready
		}
	}
	return nil
}

// readBlock fills p, or less of it at the end of r. Unlike io.ReadFull it
// cannot take an io.ErrUnexpectedEOF of the reader for its own.
func readBlock(r io.Reader, p []byte) (int, error) {
	n := 0
	for empty := 0; n < len(p); {
		m, err := r.Read(p[n:])
		n += m
		switch {
		case err == io.EOF:
			return n, nil
		case err != nil:
			return n, err
		case m > 0:
			empty = 0
		default:
			if empty++; empty == 100 {
				return n, io.ErrNoProgress
			}
		}
	}
	return n, nil
}

// transmit sends the packets that are ready and that the window has room for.
func (s *sender) transmit() error {
	for s.sent < s.ready && s.sent < s.acked+window {
		err := s.conn.write(*s.slot(s.sent + 1), s.remote)
		// What the network refuses for now counts as lost on its way. A block
		// that is too long for it will not become shorter.
		if err != nil && (!passing(err) || errors.Is(err, syscall.EMSGSIZE)) {
			return err
		}
		s.sent++
	}
	s.sentAt = time.Now()
	return nil
}

// await reads until the client acknowledges a packet that is on its way, or
// until the timer has run out, and then answered is false.
func (s *sender) await() (answered bool, err error) {
	// Reading ahead may have taken its time, which is not the network's.
	now := time.Now()
	timely := now.Sub(s.sentAt) < minTimeout/2
	expiry := now.Add(s.timer.wait())
	for failures := 0; ; {
		n, from, err := s.read(expiry)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return false, nil
		case err != nil:
			if failures++; failures > 100 || !passing(err) {
				return false, err
			}
			continue
		}
		p := s.receive[:n]
		if !samePeer(from, s.remote) {
			s.repel(p, from)
			continue
		}
		switch op := opcode(p); {
		case op == opACK && n >= headerSize:
			if s.advance(binary.BigEndian.Uint16(p[2:]), timely) {
				return true, nil
			}
		case op == opERROR:
			return false, parseError(p)
		default:
			s.drop(DropMalformed, from)
		}
	}
}

// advance takes in an ACK and reports whether it is of a packet on its way.
// Another one, a repeated one above all, sends nothing: RFC 1123 section
// 4.2.3.1, the Sorcerer's Apprentice. It only shows that the client is there.
func (s *sender) advance(block uint16, timely bool) bool {
	n := int64(block - uint16(s.acked))
	if n > s.sent-s.acked || n == 0 && !s.heard {
		return false
	}
	s.silent = 0
	s.place.alive()
	if n == 0 {
		return false
	}
	if s.fresh && timely {
		s.timer.sample(time.Since(s.sentAt))
	}
	if !s.heard {
		s.heard = true
		s.sessions.establish(s.place)
		// The time that a client wants is its own to choose once it has shown
		// that it exists: a forger could hold a transfer for half an hour.
		if s.timeout > 0 {
			s.timer.fix(s.timeout)
		}
	}
	for range n {
		s.acknowledge()
	}
	s.fresh = s.acked == s.sent
	return true
}

// acknowledge counts the next packet as delivered and frees its slot.
func (s *sender) acknowledge() {
	s.acked++
	if s.acked > 0 {
		s.bytes += int64(len(*s.slot(s.acked)) - headerSize)
	}
}

// repel answers a packet that came from someone other than the client: RFC 1350
// section 4. An ERROR is never answered.
func (s *sender) repel(p []byte, from netip.AddrPort) {
	s.drop(DropStranger, from)
	if op := opcode(p); op == opERROR || op == 0 || !from.IsValid() {
		return
	}
	_ = s.conn.write(appendError(nil, CodeUnknownTID, CodeUnknownTID.String()), from)
}

// read reads a datagram, or fails with os.ErrDeadlineExceeded after expiry. To
// set a deadline is costly, so an earlier one that is still set stays: when it
// passes there is time to set the right one.
func (s *sender) read(expiry time.Time) (int, netip.AddrPort, error) {
	for {
		if s.armed.IsZero() || s.armed.After(expiry) {
			if err := s.conn.SetReadDeadline(expiry); err != nil {
				return 0, netip.AddrPort{}, err
			}
			s.armed = expiry
		}
		n, from, err := s.conn.read(s.receive[:])
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || !time.Now().Before(expiry) {
			return n, from, err
		}
		s.armed = time.Time{}
	}
}
