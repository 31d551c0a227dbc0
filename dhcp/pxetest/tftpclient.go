package pxetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"
)

// tftpClient reads files the way boot ROMs do: lock-step, with the options of RFC
// 2348 and 2349, one socket per transfer.
type tftpClient struct {
	open      func() (net.PacketConn, error)
	server    netip.AddrPort
	blockSize int // asked for; 0: not asked
	tries     int
	wait      time.Duration // before each repetition
}

// transfer is one request and what follows.
type transfer struct {
	conn   net.PacketConn
	ctx    context.Context
	stop   func() bool // of the watch over ctx
	client *tftpClient
	tid    netip.AddrPort // the server's socket for this transfer, once known
	last   []byte         // what to repeat
	sends  int
	buf    []byte
}

// get reads name to its end and writes it to w. progress gets the bytes so far and
// the size, -1 if the server does not tell it.
func (c *tftpClient) get(ctx context.Context, name string, w io.Writer, progress func(done, total int64)) (int64, error) {
	options := []tftpOption{{"tsize", "0"}}
	if c.blockSize > 0 {
		options = append(options, tftpOption{"blksize", strconv.Itoa(c.blockSize)})
	}
	t, first, err := c.start(ctx, name, options)
	if err != nil {
		return 0, err
	}
	defer t.close()

	agreed := oack{blockSize: defaultBlockSize, size: -1}
	b := first
	if opcode(b) == tftpOACK {
		if agreed, err = parseOACK(b, options); err != nil {
			t.write(tftpErrorPacket(tftpOptionRefused, "bad options"))
			return 0, fmt.Errorf("%w: %w", ErrTransfer, err)
		}
		if b, err = t.ask(tftpAckPacket(0)); err != nil {
			return 0, err
		}
	}
	var done int64
	for block := uint16(1); ; block++ { // 65535 is followed by 0
		for opcode(b) != tftpDATA || binary.BigEndian.Uint16(b[2:]) != block {
			// A repeated OACK or DATA: our acknowledgement was lost. Answering at once
			// is the reader's part of RFC 1123 section 4.2.3.1.
			if b, err = t.repeat(); err != nil {
				return done, err
			}
		}
		data := b[4:]
		if len(data) > agreed.blockSize {
			t.write(tftpErrorPacket(tftpIllegal, "block too long"))
			return done, fmt.Errorf("%w: DATA %d has %d bytes, the block size is %d", ErrTransfer, block, len(data), agreed.blockSize)
		}
		if _, err := w.Write(data); err != nil {
			return done, err
		}
		done += int64(len(data))
		progress(done, agreed.size)
		if len(data) < agreed.blockSize {
			t.write(tftpAckPacket(block))
			break
		}
		if b, err = t.ask(tftpAckPacket(block)); err != nil {
			return done, err
		}
	}
	if agreed.size >= 0 && done != agreed.size {
		return done, fmt.Errorf("%w: %q has %d bytes, its tsize was %d", ErrTransfer, name, done, agreed.size)
	}
	return done, nil
}

// probe asks for the size and ends the transfer with an ERROR of that code, as
// firmware does before it fetches a loader. -1: the server does not tell.
func (c *tftpClient) probe(ctx context.Context, name string, code uint16) (int64, error) {
	options := []tftpOption{{"tsize", "0"}}
	t, first, err := c.start(ctx, name, options)
	if err != nil {
		return 0, err
	}
	defer t.close()
	size := int64(-1)
	if opcode(first) == tftpOACK {
		agreed, err := parseOACK(first, options)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrTransfer, err)
		}
		size = agreed.size
	}
	t.write(tftpErrorPacket(code, "User aborted the transfer"))
	return size, nil
}

func (c *tftpClient) start(ctx context.Context, name string, options []tftpOption) (*transfer, []byte, error) {
	packet := tftpRequestPacket(name, options)
	if len(packet) > 512 { // RFC 2347
		return nil, nil, fmt.Errorf("%w: the request for %q has %d bytes, 512 are allowed", ErrTransfer, name, len(packet))
	}
	conn, err := c.open()
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	t := &transfer{conn: conn, ctx: ctx, stop: stop, client: c, buf: make([]byte, 1<<16)}
	first, err := t.ask(packet)
	if err != nil {
		t.close()
		return nil, nil, err
	}
	return t, first, nil
}

func (t *transfer) close() {
	t.stop()
	t.conn.Close()
}

func opcode(b []byte) uint16 { return binary.BigEndian.Uint16(b) }

// ask sends something new and waits for what the server says to it.
func (t *transfer) ask(packet []byte) ([]byte, error) {
	t.last, t.sends = packet, 0
	return t.repeat()
}

// repeat sends the last packet once more and reads the next one of this transfer.
func (t *transfer) repeat() ([]byte, error) {
	for t.sends < t.client.tries {
		t.sends++
		if err := t.write(t.last); err != nil {
			return nil, err
		}
		b, err := t.read(time.Now().Add(t.client.wait))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		return b, err
	}
	waited := time.Duration(t.client.tries) * t.client.wait
	return nil, fmt.Errorf("%w: the TFTP server %v is silent after %d tries within %v", ErrTransfer, t.client.server, t.sends, waited)
}

func (t *transfer) write(b []byte) error {
	to := t.tid
	if !to.IsValid() {
		to = t.client.server
	}
	_, err := t.conn.WriteTo(b, net.UDPAddrFromAddrPort(to))
	return t.why(err)
}

func (t *transfer) read(until time.Time) ([]byte, error) {
	if err := t.conn.SetReadDeadline(until); err != nil {
		return nil, t.why(err)
	}
	for {
		n, addr, err := t.conn.ReadFrom(t.buf)
		if err != nil {
			return nil, t.why(err)
		}
		from := addr.(*net.UDPAddr).AddrPort()
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		switch {
		case from.Addr() != t.client.server.Addr(), t.tid.IsValid() && from != t.tid:
			// RFC 1350 section 4: a stranger gets an error, the transfer goes on.
			t.conn.WriteTo(tftpErrorPacket(tftpUnknownTID, "unknown transfer ID"), addr)
			continue
		case n < 4:
			continue
		}
		b := t.buf[:n]
		switch opcode(b) {
		case tftpERROR:
			return nil, parseTFTPError(b)
		case tftpDATA, tftpOACK:
			t.tid = from
			return b, nil
		}
	}
}

// why prefers the context's word to that of a socket closed by it.
func (t *transfer) why(err error) error {
	if err != nil && t.ctx.Err() != nil {
		return t.ctx.Err()
	}
	return err
}
