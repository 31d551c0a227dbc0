package isowrite

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// layout is where everything goes: descriptors, path tables, directories each
// followed by its continuation areas, then files in the order of their paths.
type layout struct {
	when          time.Time
	dirs          []*node // breadth first, as the path table wants them
	files         []*node
	pathTableSize int64
	sectors       int64
}

func newLayout(root *node, when time.Time) (*layout, error) {
	l := &layout{when: when, dirs: []*node{root}}
	for i := 0; i < len(l.dirs); i++ { // grows while it runs
		dir := l.dirs[i]
		dir.number = i + 1
		l.pathTableSize += int64(pathRecordSize(dir))
		for _, child := range dir.children {
			switch {
			case child.dir:
				l.dirs = append(l.dirs, child)
			case child.size > 0 || child.file.Reader != nil: // a reader may have more than it should
				l.files = append(l.files, child)
			}
		}
	}
	if len(l.dirs) > 0xffff {
		return nil, fmt.Errorf("isowrite: %d directories: an ISO 9660 path table numbers 65,535", len(l.dirs))
	}
	// Twice: the first pass finds how long each directory is, the second
	// writes the locations that follow from it. Lengths do not depend on
	// locations.
	for range 2 {
		l.sectors = 18 + 2*roundUp(l.pathTableSize)/sector
		for _, dir := range l.dirs {
			dir.lba = l.sectors
			if err := l.directory(dir); err != nil {
				return nil, err
			}
			dir.size = int64(len(dir.records))
			l.sectors += (dir.size + int64(len(dir.continuation))) / sector
		}
		for _, file := range l.files {
			file.lba = l.sectors
			l.sectors += roundUp(file.size) / sector
		}
	}
	if l.sectors > 1<<32-1 {
		return nil, fmt.Errorf("isowrite: the image would have %d sectors: ISO 9660 numbers 4,294,967,295", l.sectors)
	}
	return l, nil
}

type endian int

const (
	littleEndian endian = iota
	bigEndian
)

func both16(b []byte, v uint16) {
	binary.LittleEndian.PutUint16(b, v)
	binary.BigEndian.PutUint16(b[2:], v)
}

func both32(b []byte, v uint32) {
	binary.LittleEndian.PutUint32(b, v)
	binary.BigEndian.PutUint32(b[4:], v)
}

// primaryDescriptor encodes ECMA-119 8.4.
func (l *layout) primaryDescriptor(volumeID string) []byte {
	b := make([]byte, sector)
	copy(b, "\x01CD001\x01")
	fill := func(from, to int, s string) { copy(b[from:to], s+strings.Repeat(" ", to-from)) }
	fill(8, 40, "")
	fill(40, 72, volumeID)
	both32(b[80:], uint32(l.sectors))
	both16(b[120:], 1)
	both16(b[124:], 1)
	both16(b[128:], sector)
	both32(b[132:], uint32(l.pathTableSize))
	binary.LittleEndian.PutUint32(b[140:], 18)
	binary.BigEndian.PutUint32(b[148:], uint32(18+roundUp(l.pathTableSize)/sector))
	root := l.dirs[0]
	copy(b[156:], l.record("\x00", root.lba, root.size, flagDirectory, nil))
	fill(190, 813, "")
	stamp := append([]byte(l.when.Format("20060102150405")+"00"), 0)
	copy(b[813:], stamp)
	copy(b[830:], stamp)
	never := append([]byte(strings.Repeat("0", 16)), 0)
	copy(b[847:], never)
	copy(b[864:], never)
	b[881] = 1
	return b
}

// terminator encodes ECMA-119 8.3.
func terminator() []byte {
	b := make([]byte, sector)
	copy(b, "\xffCD001\x01")
	return b
}

func pathIdent(dir *node) string {
	if dir.ident == "" {
		return "\x00"
	}
	return dir.ident
}

func pathRecordSize(dir *node) int { return 8 + (len(pathIdent(dir))+1)/2*2 }

// pathTable encodes ECMA-119 9.4.
func (l *layout) pathTable(order endian) []byte {
	b := make([]byte, roundUp(l.pathTableSize))
	at := b
	for _, dir := range l.dirs {
		ident := pathIdent(dir)
		at[0] = byte(len(ident))
		if order == littleEndian {
			binary.LittleEndian.PutUint32(at[2:], uint32(dir.lba))
			binary.LittleEndian.PutUint16(at[6:], uint16(dir.parent.number))
		} else {
			binary.BigEndian.PutUint32(at[2:], uint32(dir.lba))
			binary.BigEndian.PutUint16(at[6:], uint16(dir.parent.number))
		}
		copy(at[8:], ident)
		at = at[pathRecordSize(dir):]
	}
	return b
}
