package dhcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/netip"
)

// sector is what a disk writes whole or not at all, or a divisor of that.
const sector = 512

// leases are what a lease file contains.
type leases struct {
	fileHeader
	bindings map[netip.Addr]string
	version  uint64 // the last one
	end      int64  // of the last whole frame
	size     int64  // of the file
}

// readAtOnce is how much of a file is read at once. Many frames have one record,
// of 100 bytes.
const readAtOnce = 256 << 10

// leaseReader reads frames at offsets.
type leaseReader struct {
	file  io.ReaderAt
	path  string
	salt  [8]byte
	size  int64
	buf   []byte // what was read last
	begin int64  // where in the file that is
}

// at returns n bytes of the file from an offset on, all before its end. They are
// valid until the next call.
func (r *leaseReader) at(offset, n int64) ([]byte, error) {
	if offset < r.begin || offset+n > r.begin+int64(len(r.buf)) {
		size := min(max(n, readAtOnce), r.size-offset)
		if int64(cap(r.buf)) < size {
			r.buf = make([]byte, size)
		}
		r.buf, r.begin = r.buf[:size], offset
		if err := readAll(r.file, r.buf, offset); err != nil {
			r.buf = nil
			return nil, err
		}
	}
	return r.buf[offset-r.begin:][:n], nil
}

func (r *leaseReader) damaged(offset int64, format string, args ...any) error {
	return &DamagedLeasesError{Path: r.path, Offset: offset, Problem: fmt.Sprintf(format, args...)}
}

// readLeases reads a whole file. If end is less than size then a crash
// interrupted the last append. It needs memory for what it returns and for what
// is read at once.
func readLeases(file leaseHandle, path string) (*leases, error) {
	r := &leaseReader{file: file, path: path}
	var l leases
	var err error
	if r.size, err = file.Size(); err != nil {
		return nil, err
	}
	if l.fileHeader, err = r.header(); err != nil {
		return nil, err
	}
	if l.base < headerLen || l.base > r.size {
		return nil, r.damaged(r.size, "the file ends before its snapshot does, at offset %d", l.base)
	}
	r.salt = l.salt
	l.size, l.bindings, l.version = r.size, make(map[netip.Addr]string), l.fileHeader.version
	for l.end = headerLen; l.end < r.size; {
		inSnapshot := l.end < l.base
		body, err := r.frame(l.end)
		if errors.Is(err, errNoFrame) {
			torn, err := r.torn(l.end)
			switch {
			case err != nil:
				return nil, err
			case inSnapshot || !torn:
				return nil, r.damaged(l.end, "what was written there is not there any more")
			}
			return &l, nil
		}
		if err != nil {
			return nil, err
		}
		next := l.end + frameHeaderLen + int64(len(body)) + 1
		if inSnapshot && next > l.base {
			return nil, r.damaged(l.end, "the snapshot does not end where it should, at offset %d", l.base)
		}
		if err := l.take(body, inSnapshot); err != nil {
			return nil, r.damaged(l.end, "%v", err)
		}
		l.end = next
	}
	return &l, nil
}

// header reads the beginning of the file.
func (r *leaseReader) header() (h fileHeader, err error) {
	if r.size < headerLen {
		return h, r.damaged(r.size, "the file ends before its header does")
	}
	p, err := r.at(0, headerLen)
	if err != nil {
		return h, err
	}
	switch {
	case string(p[:len(headerMagic)]) != headerMagic:
		return h, r.damaged(0, "it does not begin as lease files do")
	case crc32.Checksum(p[:36], castagnoli()) != binary.LittleEndian.Uint32(p[36:]):
		return h, r.damaged(0, "the checksum of the header is wrong")
	}
	if v := binary.LittleEndian.Uint32(p[8:]); v != headerVersion {
		return h, fmt.Errorf("it has version %d of the format, this program knows %d; use the program that wrote it", v, headerVersion)
	}
	copy(h.salt[:], p[12:])
	h.base, h.version = int64(binary.LittleEndian.Uint64(p[20:])), binary.LittleEndian.Uint64(p[28:])
	return h, nil
}

// errNoFrame means that there is no whole frame at an offset.
var errNoFrame = errors.New("no frame")

// frame returns the records of the frame at an offset, valid until the next call.
func (r *leaseReader) frame(offset int64) ([]byte, error) {
	n, sum, err := r.frameHeader(offset)
	if err != nil {
		return nil, err
	}
	begin := offset + frameHeaderLen
	if begin+n > r.size {
		return nil, errNoFrame
	}
	p, err := r.at(begin, n)
	if err != nil {
		return nil, err
	}
	if crc32.Checksum(p, castagnoli()) != sum || p[n-1] != bodyEnd {
		return nil, errNoFrame
	}
	return p[:n-1], nil
}

// frameHeader returns the length and the checksum of the body of the frame at an
// offset.
func (r *leaseReader) frameHeader(offset int64) (n int64, sum uint32, err error) {
	if offset+frameHeaderLen > r.size {
		return 0, 0, errNoFrame
	}
	p, err := r.at(offset, frameHeaderLen)
	if err != nil {
		return 0, 0, err
	}
	return parseFrameHeader(p, r.salt, offset)
}

func parseFrameHeader(p []byte, salt [8]byte, offset int64) (n int64, sum uint32, err error) {
	n = int64(binary.LittleEndian.Uint32(p[1:]))
	if p[0] != frameBegin || p[13] != frameHeaderEnd || n < 1 || n > maxBody ||
		frameSum(salt, offset, p[:9]) != binary.LittleEndian.Uint32(p[9:]) {
		return 0, 0, errNoFrame
	}
	return n, binary.LittleEndian.Uint32(p[5:]), nil
}

// torn reports whether the frame that should be at an offset can be missing
// because a crash came before its sync was done. Then it is the last one, and
// some of its sectors are as they were: zeros, or behind the end of the file. A
// frame never has a sector of zeros itself, as no field is that long, and none
// at its ends, as its first and last bytes are not zero, and the last of its
// header.
func (r *leaseReader) torn(offset int64) (bool, error) {
	rest := r.size - offset
	switch {
	case rest < frameHeaderLen:
		return true, nil
	case rest > frameHeaderLen+maxBody:
		return false, nil
	}
	p, err := r.at(offset, rest)
	if err != nil {
		return false, err
	}
	n, _, err := parseFrameHeader(p, r.salt, offset)
	if err == nil {
		end := frameHeaderLen + n
		return rest < end || rest == end && hasUnwritten(p, offset), nil
	}
	if !hasUnwritten(p[:frameHeaderLen], offset) {
		return false, nil
	}
	// Nothing may have been written after it.
	for i := 1; i+frameHeaderLen <= len(p); i++ {
		if _, _, err := parseFrameHeader(p[i:], r.salt, offset+int64(i)); err == nil {
			return false, nil
		}
	}
	return true, nil
}

// hasUnwritten reports whether the part of p in one of its sectors is all zeros.
func hasUnwritten(p []byte, offset int64) bool {
	for len(p) > 0 {
		n := min(len(p), int(sector-offset%sector))
		zeros := true
		for _, b := range p[:n] {
			zeros = zeros && b == 0
		}
		if zeros {
			return true
		}
		p, offset = p[n:], offset+int64(n)
	}
	return false
}

// take applies the records of a frame. Those of the log continue the versions,
// so that no frame can be missing in between. Those of a snapshot are in no
// order, but for one address they are.
func (l *leases) take(body []byte, inSnapshot bool) error {
	for len(body) > 0 {
		addr, n, err := scanRecord(body)
		if err != nil {
			return err
		}
		record := string(body[:n])
		version, old := recordVersion(record), l.bindings[addr]
		switch {
		case version == 0, inSnapshot && version > l.fileHeader.version, inSnapshot && old != "" && version < recordVersion(old):
			return fmt.Errorf("version %d of %s is out of order", version, addr)
		case !inSnapshot && version != l.version+1:
			return fmt.Errorf("version %d follows version %d", version, l.version)
		case !inSnapshot:
			l.version = version
		}
		if record[0] == recordRemoved {
			delete(l.bindings, addr)
		} else {
			l.bindings[addr] = record
		}
		body = body[n:]
	}
	return nil
}

func readAll(file io.ReaderAt, p []byte, offset int64) error {
	n, err := file.ReadAt(p, offset)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
