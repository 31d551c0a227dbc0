package dhcp

import (
	"encoding/binary"
	"hash/crc32"
	"io"
)

const (
	headerMagic   = "pxelease"
	headerVersion = 1
	headerLen     = 40

	frameBegin     = 0xA5
	frameHeaderEnd = 0x5A
	frameHeaderLen = 14
	bodyEnd        = 0x5A

	// fullBody is when a frame gets no further record; maxBody is no shorter than
	// any frame that can come of this.
	fullBody = 64 << 10
	maxBody  = fullBody + 1<<10

	newSuffix = ".new"
)

// fileHeader is the beginning of a lease file.
type fileHeader struct {
	salt    [8]byte
	base    int64  // where the log begins
	version uint64 // the last one before the log
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) } // made once, by crc32

func appendHeader(p []byte, h fileHeader) []byte {
	begin := len(p)
	p = append(p, headerMagic...)
	p = binary.LittleEndian.AppendUint32(p, headerVersion)
	p = append(p, h.salt[:]...)
	p = binary.LittleEndian.AppendUint64(p, uint64(h.base))
	p = binary.LittleEndian.AppendUint64(p, h.version)
	return binary.LittleEndian.AppendUint32(p, crc32.Checksum(p[begin:], castagnoli()))
}

// appendFrameHeader begins the frame of a body. The salt and the offset are in
// the checksum, so that neither an old block of the disk nor what a client sends
// is ever taken for a frame.
func appendFrameHeader(p []byte, salt [8]byte, offset int64, bodyLen int, bodySum uint32) []byte {
	begin := len(p)
	p = append(p, frameBegin)
	p = binary.LittleEndian.AppendUint32(p, uint32(bodyLen))
	p = binary.LittleEndian.AppendUint32(p, bodySum)
	p = binary.LittleEndian.AppendUint32(p, frameSum(salt, offset, p[begin:]))
	return append(p, frameHeaderEnd)
}

// frameSum is the checksum of the first 9 bytes of a frame.
func frameSum(salt [8]byte, offset int64, p []byte) uint32 {
	var place [16]byte
	copy(place[:], salt[:])
	binary.LittleEndian.PutUint64(place[8:], uint64(offset))
	return crc32.Update(crc32.Checksum(place[:], castagnoli()), castagnoli(), p)
}

// leaseLog is a lease file that is written to.
type leaseLog struct {
	file leaseHandle
	salt [8]byte
	size int64  // where the next frame goes
	base int64  // how much of it is snapshot
	buf  []byte // reused
}

// write adds a frame, which is not on disk before a sync.
func (l *leaseLog) write(records []byte) error {
	sum := crc32.Update(crc32.Checksum(records, castagnoli()), castagnoli(), []byte{bodyEnd})
	l.buf = appendFrameHeader(l.buf[:0], l.salt, l.size, len(records)+1, sum)
	l.buf = append(l.buf, records...)
	l.buf = append(l.buf, bodyEnd)
	if err := writeAll(l.file, l.buf, l.size); err != nil {
		return err
	}
	l.size += int64(len(l.buf))
	return nil
}

// append adds a frame and syncs it. After an error nobody knows what is on disk,
// and the log must not be used any more.
func (l *leaseLog) append(records []byte) error {
	if err := l.write(records); err != nil {
		return err
	}
	return l.file.Sync()
}

// writeAll holds a writer that says less than it should to the contract.
func writeAll(w io.WriterAt, p []byte, offset int64) error {
	n, err := w.WriteAt(p, offset)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}

// frameWriter fills frames with records.
type frameWriter struct {
	log  *leaseLog
	body []byte
}

func (w *frameWriter) add(record string) error {
	if w.body = append(w.body, record...); len(w.body) < fullBody {
		return nil
	}
	return w.flush()
}

func (w *frameWriter) flush() error {
	if len(w.body) == 0 {
		return nil
	}
	err := w.log.write(w.body)
	w.body = w.body[:0]
	return err
}
