package isowrite

import (
	"fmt"
	"io/fs"
	"strings"
)

const (
	flagDirectory   = 0x02
	flagMultiExtent = 0x80
)

// directory encodes dir's extent and its continuation areas, which start in
// the sector after the extent.
func (l *layout) directory(dir *node) error {
	dir.continuation = dir.continuation[:0]
	// Continuation areas lie behind the records, so these must be counted
	// first: an area's location changes no record's length.
	extent := dir.size / sector
	var records []byte
	put := func(record []byte) {
		if left := sector - len(records)%sector; len(record) > left {
			records = append(records, make([]byte, left)...) // records never cross sectors
		}
		records = append(records, record...)
	}
	for _, special := range []struct {
		ident string
		of    *node
	}{{"\x00", dir}, {"\x01", dir.parent}} {
		var system []byte
		var rest []byte
		if special.ident == "\x00" && dir.parent == dir {
			system = append(system, 'S', 'P', 7, 1, 0xbe, 0xef, 0)
			rest = append(rest, entry("ER", append([]byte{10, 0, 0, 1}, "RRIP_1991A"...))...)
		}
		system = append(system, l.attributes(special.of)...)
		record, err := l.withContinuation(dir, extent, special.ident, special.of.lba, special.of.size, flagDirectory, system, rest)
		if err != nil {
			return err
		}
		put(record)
	}
	for _, child := range dir.children {
		system, rest := l.attributes(child), append(names(child.name), links(child.file.Link)...)
		lba, left := child.lba, child.size
		for {
			size, flags := left, byte(0)
			if child.dir {
				flags = flagDirectory
			} else if left > maxSection {
				size, flags = maxSection, flagMultiExtent
			}
			record, err := l.withContinuation(dir, extent, child.ident, lba, size, flags, system, rest)
			if err != nil {
				return fmt.Errorf("isowrite: %q: %w", child.file.Name, err)
			}
			put(record)
			lba, left = lba+size/sector, left-size
			if flags&flagMultiExtent == 0 {
				break
			}
		}
	}
	pad := func(b []byte) []byte { return append(b, make([]byte, roundUp(int64(len(b)))-int64(len(b)))...) }
	dir.records, dir.continuation = pad(records), pad(dir.continuation)
	return nil
}

// withContinuation makes a record whose system use area is system and rest;
// rest goes to a continuation area if it does not fit.
func (l *layout) withContinuation(dir *node, extent int64, ident string, lba, size int64, flags byte, system, rest []byte) ([]byte, error) {
	const limit = 254 // the length is one byte and even
	room := limit - 33 - len(ident) - (len(ident)+1)%2
	if len(system)+len(rest) <= room {
		return l.record(ident, lba, size, flags, append(system[:len(system):len(system)], rest...)), nil
	}
	if len(rest) > sector {
		return nil, fmt.Errorf("its link is too long")
	}
	// An area stays within one sector: some readers demand it.
	if left := sector - len(dir.continuation)%sector; len(rest) > left {
		dir.continuation = append(dir.continuation, make([]byte, left)...)
	}
	at := len(dir.continuation)
	dir.continuation = append(dir.continuation, rest...)
	ce := make([]byte, 24)
	both32(ce, uint32(dir.lba+extent+int64(at/sector)))
	both32(ce[8:], uint32(at%sector))
	both32(ce[16:], uint32(len(rest)))
	return l.record(ident, lba, size, flags, append(system[:len(system):len(system)], entry("CE", ce)...)), nil
}

// record encodes ECMA-119 9.1.
func (l *layout) record(ident string, lba, size int64, flags byte, system []byte) []byte {
	start := 33 + len(ident) + (len(ident)+1)%2
	b := make([]byte, (start+len(system)+1)/2*2)
	b[0] = byte(len(b))
	both32(b[2:], uint32(lba))
	both32(b[10:], uint32(size))
	copy(b[18:], l.stamp())
	b[25] = flags
	both16(b[28:], 1)
	b[32] = byte(len(ident))
	copy(b[33:], ident)
	copy(b[start:], system)
	return b
}

// stamp encodes ECMA-119 9.1.5.
func (l *layout) stamp() []byte {
	t := l.when
	return []byte{byte(t.Year() - 1900), byte(t.Month()), byte(t.Day()), byte(t.Hour()), byte(t.Minute()), byte(t.Second()), 0}
}

// entry encodes one system use entry, SUSP 4.1.
func entry(signature string, data []byte) []byte {
	return append([]byte{signature[0], signature[1], byte(4 + len(data)), 1}, data...)
}

// attributes are the PX and TF entries, RRIP 4.1.1 and 4.1.6.
func (l *layout) attributes(n *node) []byte {
	mode, count := uint32(0o100444), uint32(1)
	switch {
	case n.dir:
		mode, count = 0o040555, 2
		for _, child := range n.children {
			if child.dir {
				count++
			}
		}
	case n.file.Link != "":
		mode = 0o120777
	}
	if perm := n.file.Mode & fs.ModePerm; perm != 0 && n.file.Link == "" {
		mode = mode&^0o777 | uint32(perm)
	}
	px := make([]byte, 32)
	both32(px, mode)
	both32(px[8:], count)
	const modified = 0x02
	return append(entry("PX", px), entry("TF", append([]byte{modified}, l.stamp()...))...)
}

// names are the NM entries of a name, RRIP 4.1.4: more than one where it does
// not fit, which also keeps readers honest about the CONTINUE flag.
func names(name string) []byte {
	const most, more = 200, 1
	var b []byte
	for len(name) > most {
		b = append(b, entry("NM", append([]byte{more}, name[:most]...))...)
		name = name[most:]
	}
	return append(b, entry("NM", append([]byte{0}, name...))...)
}

// links are the SL entries of a symbolic link, RRIP 4.1.3.
func links(target string) []byte {
	const most, more, current, parent, root = 200, 1, 2, 4, 8
	if target == "" {
		return nil
	}
	var components [][]byte
	if strings.HasPrefix(target, "/") {
		components = append(components, []byte{root, 0})
	}
	for _, part := range strings.Split(target, "/") {
		switch part {
		case "":
		case ".":
			components = append(components, []byte{current, 0})
		case "..":
			components = append(components, []byte{parent, 0})
		default:
			for len(part) > most {
				components = append(components, append([]byte{more, most}, part[:most]...))
				part = part[most:]
			}
			components = append(components, append([]byte{0, byte(len(part))}, part...))
		}
	}
	// As many components in an entry as fit: bsdtar loses the slash between
	// two entries.
	var b, area []byte
	for _, component := range components {
		if len(area)+len(component) > 250 {
			b = append(b, entry("SL", append([]byte{more}, area...))...)
			area = nil
		}
		area = append(area, component...)
	}
	return append(b, entry("SL", append([]byte{0}, area...))...)
}
