package asset

import (
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
)

const (
	// maxName bounds a name: Linux and Rock Ridge end at 255 bytes, Latin-1
	// and Joliet names may grow to more in UTF-8.
	maxName = 1024
	// maxLink bounds the target of a symbolic link.
	maxLink = 4096
	// maxContinuations bounds the continuation areas of one record; a name
	// of 255 bytes and a long link need two.
	maxContinuations = 32
)

// rockRidge is what the system use entries of one record say.
type rockRidge struct {
	name       []byte
	special    bool // NM says "." or "..": the record is not a file of its own
	link       []byte
	hasLink    bool
	mode       uint32 // POSIX, if hasMode
	hasMode    bool
	modTime    time.Time
	child      uint32 // CL: where the relocated directory is, if hasChild
	hasChild   bool
	relocated  bool // RE
	compressed bool // ZF
	identified bool // ER of Rock Ridge
	sharing    bool // SP at the start
	skip       int  // of SP

	linkOpen bool // the last link component goes on in the next entry
}

// suspReader reads the system use entries of records. It is not safe for
// concurrent use.
type suspReader struct {
	r      io.ReaderAt
	size   int64
	spend  func(n int64) error // accounts for continuation areas
	buffer []byte
	rr     rockRidge
}

// read reads the entries in area, which lies at offset off of the image, and
// in its continuation areas. The result is good until the next call.
func (s *suspReader) read(area []byte, off int64) (*rockRidge, error) {
	s.rr = rockRidge{name: s.rr.name[:0], link: s.rr.link[:0]}
	rr := &s.rr
	seen := [maxContinuations]int64{}
	for n := 0; ; n++ {
		next, length, err := rr.entries(area, off)
		if err != nil || length == 0 {
			return rr, err
		}
		if n == maxContinuations {
			return nil, &FormatError{Offset: next, Problem: "a record has too many continuation areas"}
		}
		for _, earlier := range seen[:n] {
			if earlier == next {
				return nil, &FormatError{Offset: next, Problem: "continuation areas of a record form a loop"}
			}
		}
		seen[n] = next
		if next+length > s.size {
			return nil, &IncompleteError{Size: s.size, Want: next + length}
		}
		if err := s.spend(length); err != nil {
			return nil, err
		}
		if int64(cap(s.buffer)) < length {
			s.buffer = make([]byte, length)
		}
		area, off = s.buffer[:length], next
		if _, err := s.r.ReadAt(area, off); err != nil {
			return nil, err
		}
	}
}

// entries reads one area and returns where it continues.
func (rr *rockRidge) entries(area []byte, off int64) (next, length int64, err error) {
	bad := func(at int, format string, args ...any) error {
		return &FormatError{Offset: off + int64(at), Problem: fmt.Sprintf(format, args...)}
	}
	for at := 0; at+4 <= len(area); {
		e := area[at:]
		if e[0] == 0 && e[1] == 0 { // padding
			break
		}
		n := int(e[2])
		if n < 4 || n > len(e) {
			return 0, 0, bad(at, "a system use entry has an impossible length of %d", n)
		}
		signature, body := string(e[:2]), e[4:n]
		short := func(want int) bool { return len(body) < want }
		switch {
		case signature == "ST":
			return next, length, nil
		case signature == "SP" && !short(3) && body[0] == 0xbe && body[1] == 0xef:
			rr.sharing, rr.skip = true, int(body[2])
		case signature == "ER" && !short(4) && !short(4+int(body[0])):
			id := string(body[4 : 4+int(body[0])])
			rr.identified = rr.identified || id == "RRIP_1991A" || id == "IEEE_P1282" || id == "IEEE_1282"
		case signature == "CE":
			if short(24) {
				return 0, 0, bad(at, "a continuation entry is too short")
			}
			next = int64(binary.LittleEndian.Uint32(body))*isoSector + int64(binary.LittleEndian.Uint32(body[8:]))
			length = int64(binary.LittleEndian.Uint32(body[16:]))
			if length > 8*isoSector {
				return 0, 0, bad(at, "a continuation area of %d bytes", length)
			}
		case signature == "NM" && !short(1):
			const current, parent = 2, 4
			rr.special = rr.special || body[0]&(current|parent) != 0
			rr.name = append(rr.name, body[1:]...)
			if len(rr.name) > maxName {
				return 0, 0, bad(at, "a name of more than %d bytes", maxName)
			}
		case signature == "SL" && !short(1):
			if !rr.addLink(body[1:]) {
				return 0, 0, bad(at, "a symbolic link is damaged or longer than %d bytes", maxLink)
			}
		case signature == "PX" && !short(4):
			rr.mode, rr.hasMode = binary.LittleEndian.Uint32(body), true
		case signature == "TF" && !short(1):
			rr.readTimes(body)
		case signature == "CL" && !short(4):
			rr.child, rr.hasChild = binary.LittleEndian.Uint32(body), true
		case signature == "RE":
			rr.relocated = true
		case signature == "ZF":
			rr.compressed = true
		}
		at += n
	}
	return next, length, nil
}

// addLink adds the components of an SL entry, RRIP 4.1.3.
func (rr *rockRidge) addLink(components []byte) bool {
	const more, current, parent, root = 1, 2, 4, 8
	rr.hasLink = true
	for len(components) >= 2 {
		flags, n := components[0], int(components[1])
		if 2+n > len(components) {
			return false
		}
		if !rr.linkOpen && len(rr.link) > 0 && rr.link[len(rr.link)-1] != '/' {
			rr.link = append(rr.link, '/')
		}
		switch {
		case flags&root != 0:
			rr.link = append(rr.link[:0], '/')
		case flags&parent != 0:
			rr.link = append(rr.link, ".."...)
		case flags&current != 0:
			rr.link = append(rr.link, '.')
		default:
			rr.link = append(rr.link, components[2:2+n]...)
		}
		rr.linkOpen = flags&more != 0
		components = components[2+n:]
		if len(rr.link) > maxLink {
			return false
		}
	}
	return len(components) == 0
}

// readTimes takes the modification time of a TF entry, RRIP 4.1.6.
func (rr *rockRidge) readTimes(body []byte) {
	const creation, modification, long = 0x01, 0x02, 0x80
	flags, stamps := body[0], body[1:]
	if flags&modification == 0 {
		return
	}
	size := 7
	if flags&long != 0 {
		size = 17
	}
	if flags&creation != 0 {
		stamps = stamps[min(size, len(stamps)):]
	}
	switch {
	case len(stamps) < size:
	case size == 7:
		rr.modTime = shortTime(stamps[:7])
	default:
		rr.modTime = longTime(stamps[:17])
	}
}

// longTime decodes ECMA-119 8.4.26.1, digits; an impossible time is the zero one.
func longTime(b []byte) time.Time {
	number := func(from, to int) int {
		n := 0
		for _, c := range b[from:to] {
			if c < '0' || c > '9' {
				return 99 // no month, no hour
			}
			n = n*10 + int(c-'0')
		}
		return n
	}
	return isoTime(number(0, 4), number(4, 6), number(6, 8), number(8, 10), number(10, 12), number(12, 14), int8(b[16]))
}

// fileMode maps the mode of PX onto Go's. The type of a file is not taken from
// it alone: a directory is what its record says.
func (rr *rockRidge) fileMode(dir bool) (mode fs.FileMode, ok bool) {
	const typeMask, directory, regular, symlink = 0o170000, 0o040000, 0o100000, 0o120000
	mode = 0o444
	if dir {
		mode = 0o555
	}
	if rr.hasMode {
		mode = fs.FileMode(rr.mode & 0o777)
	}
	switch kind := rr.mode & typeMask; {
	case dir:
		return mode | fs.ModeDir, true
	case rr.hasLink || kind == symlink:
		return mode | fs.ModeSymlink, true
	case !rr.hasMode || kind == regular:
		if rr.compressed {
			mode |= fs.ModeIrregular
		}
		return mode, true
	}
	return 0, false
}

// detectRockRidge looks at the "." record of the root, where SUSP 5.3 wants SP
// to be first, and says how many bytes to skip in all other records.
func detectRockRidge(r io.ReaderAt, size int64, root isoRecord) (skip int, ok bool, err error) {
	if root.off+isoSector > size || root.size < 34 {
		return 0, false, nil // the walk says what is missing
	}
	sector := make([]byte, isoSector)
	if _, err := r.ReadAt(sector, root.off); err != nil {
		return 0, false, err
	}
	self, err := decodeRecord(sector)
	if err != nil {
		return 0, false, nil // the walk says what is wrong
	}
	system := self.system
	if len(system) >= 14+7 && string(system[6:8]) == "XA" { // CD-ROM XA has its own 14 bytes first
		system = system[14:]
	}
	if !strings.HasPrefix(string(system[:min(2, len(system))]), "SP") {
		return 0, false, nil
	}
	susp := suspReader{r: r, size: size, spend: func(int64) error { return nil }}
	rr, err := susp.read(system, root.off)
	if err != nil {
		return 0, false, err
	}
	return rr.skip, rr.sharing && (rr.identified || rr.hasMode), nil
}
