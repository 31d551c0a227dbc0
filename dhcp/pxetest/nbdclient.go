package pxetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
)

// The parts of the NBD protocol (doc/proto.md of its project) that nbd-client
// uses: fixed newstyle, NBD_OPT_GO without requests for information, simple
// replies, NBD_CMD_DISC at the end.
const (
	nbdMagic        = 0x4e42444d41474943 // "NBDMAGIC"
	nbdOptionMagic  = 0x49484156454f5054 // "IHAVEOPT"
	nbdReplyMagic   = 0x3e889045565a9
	nbdRequestMagic = 0x25609513
	nbdSimpleMagic  = 0x67446698

	nbdFixedNewstyle, nbdNoZeroes = 1, 2
	nbdOptGo                      = 7
	nbdRepACK, nbdRepInfo         = 1, 3
	nbdInfoExport                 = 0
	nbdReadOnly                   = 1 << 1
	nbdCmdRead, nbdCmdDisc        = 0, 2
)

// nbdPiece is how much of an export is read at a time.
const nbdPiece = 128 << 10

// nbdClient reads an export from its beginning to its end.
type nbdClient struct {
	conn net.Conn
	size int64
}

// openExport connects to a server and negotiates the export.
func (r *run) openExport(ctx context.Context, server netip.AddrPort, name string) (*nbdClient, error) {
	conn, err := r.link.dial(ctx, server)
	if err != nil {
		return nil, err
	}
	c := &nbdClient{conn: conn}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := c.negotiate(name); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *nbdClient) negotiate(name string) error {
	var greeting struct {
		Magic, Option uint64
		Flags         uint16
	}
	if err := binary.Read(c.conn, binary.BigEndian, &greeting); err != nil {
		return fmt.Errorf("no greeting: %w", err)
	}
	if greeting.Magic != nbdMagic || greeting.Option != nbdOptionMagic || greeting.Flags&nbdFixedNewstyle == 0 {
		return fmt.Errorf("the greeting %#x is not that of a fixed newstyle server", greeting)
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(greeting.Flags&(nbdFixedNewstyle|nbdNoZeroes)))
	b = binary.BigEndian.AppendUint64(b, nbdOptionMagic)
	b = binary.BigEndian.AppendUint32(b, nbdOptGo)
	b = binary.BigEndian.AppendUint32(b, uint32(4+len(name)+2))
	b = binary.BigEndian.AppendUint32(b, uint32(len(name)))
	b = append(append(b, name...), 0, 0)
	if _, err := c.conn.Write(b); err != nil {
		return err
	}
	known := false
	for {
		var reply struct {
			Magic                uint64
			Option, Type, Length uint32
		}
		if err := binary.Read(c.conn, binary.BigEndian, &reply); err != nil {
			return fmt.Errorf("no reply to NBD_OPT_GO: %w", err)
		}
		if reply.Magic != nbdReplyMagic || reply.Option != nbdOptGo || reply.Length > 4096 {
			return fmt.Errorf("%+v is no reply to NBD_OPT_GO", reply)
		}
		data := make([]byte, reply.Length)
		if _, err := io.ReadFull(c.conn, data); err != nil {
			return err
		}
		switch {
		case reply.Type == nbdRepACK && known:
			return nil
		case reply.Type == nbdRepInfo && len(data) == 12 && binary.BigEndian.Uint16(data) == nbdInfoExport:
			c.size, known = int64(binary.BigEndian.Uint64(data[2:])), true
			if binary.BigEndian.Uint16(data[10:])&nbdReadOnly == 0 {
				return errors.New("the export is not read-only")
			}
		case reply.Type == nbdRepInfo:
		default:
			return fmt.Errorf("the server refuses export %q with reply %#x: %q", name, reply.Type, data)
		}
	}
}

// copyTo reads the whole export into w and says goodbye.
func (c *nbdClient) copyTo(ctx context.Context, w io.Writer, progress func(done, total int64)) (int64, error) {
	stop := context.AfterFunc(ctx, func() { c.conn.Close() })
	defer stop()
	defer c.conn.Close()
	buf := make([]byte, nbdPiece)
	var done int64
	for done < c.size {
		p := buf[:min(c.size-done, nbdPiece)]
		if err := c.request(nbdCmdRead, done, len(p)); err != nil {
			return done, err
		}
		var reply struct {
			Magic, Error uint32
			Cookie       uint64
		}
		if err := binary.Read(c.conn, binary.BigEndian, &reply); err != nil {
			return done, err
		}
		if reply.Magic != nbdSimpleMagic || reply.Error != 0 || reply.Cookie != uint64(done) {
			return done, fmt.Errorf("%+v is no good reply to a read at %d", reply, done)
		}
		if _, err := io.ReadFull(c.conn, p); err != nil {
			return done, err
		}
		if _, err := w.Write(p); err != nil {
			return done, err
		}
		done += int64(len(p))
		progress(done, c.size)
	}
	return done, c.request(nbdCmdDisc, 0, 0)
}

// request sends a request whose cookie is its offset.
func (c *nbdClient) request(command uint16, offset int64, length int) error {
	b := binary.BigEndian.AppendUint32(nil, nbdRequestMagic)
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint16(b, command)
	b = binary.BigEndian.AppendUint64(b, uint64(offset))
	b = binary.BigEndian.AppendUint64(b, uint64(offset))
	b = binary.BigEndian.AppendUint32(b, uint32(length))
	_, err := c.conn.Write(b)
	return err
}
