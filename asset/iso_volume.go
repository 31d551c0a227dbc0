package asset

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

const (
	isoSector = 2048
	// isoDescriptors is where the volume descriptors start, ECMA-119 6.2.1.
	isoDescriptors = 16 * isoSector
	// maxDescriptors bounds the search; images have two to five.
	maxDescriptors = 64
)

// nameScheme is where names come from.
type nameScheme int

const (
	plainNames nameScheme = iota
	jolietNames
	rockRidgeNames
)

// isoVolume is what the volume descriptors say.
type isoVolume struct {
	id     string
	size   int64     // in bytes, as recorded
	root   isoRecord // of the tree to be read
	scheme nameScheme
	skip   int // bytes before the system use entries of each record, SUSP 5.3
}

// isoDescriptorSet is what readVolume needs of the volume descriptors.
type isoDescriptorSet struct {
	primary, joliet []byte
	udf             int64 // where in the image it says that there is a UDF file system too; 0: nowhere
}

// readDescriptors reads the volume descriptors and those of other standards,
// which follow in sectors of the same form (ECMA-167 2/9.1). UDF is the one
// among them that has files of its own.
func readDescriptors(r io.ReaderAt, size int64) (set isoDescriptorSet, err error) {
	sector := make([]byte, isoSector)
	ended := false
	for i := range int64(maxDescriptors) {
		off := isoDescriptors + i*isoSector
		if off+isoSector > size {
			break
		}
		if _, err := r.ReadAt(sector, off); err != nil {
			return set, err
		}
		id := string(sector[1:6])
		if id == "NSR02" || id == "NSR03" {
			set.udf = off
			break
		}
		if id[0] == 0 {
			break
		}
		if ended = ended || id != "CD001"; ended {
			continue
		}
		switch kind := sector[0]; {
		case kind == 255:
			ended = true
		case kind == 1 && set.primary == nil:
			if n := binary.LittleEndian.Uint16(sector[128:]); n != isoSector {
				return set, &FormatError{Offset: off + 128, Unsupported: true,
					Problem: fmt.Sprintf("its blocks are of %d bytes, only 2048 are supported", n)}
			}
			set.primary = slices.Clone(sector)
		case kind == 2 && set.joliet == nil && isJoliet(sector):
			set.joliet = slices.Clone(sector)
		}
	}
	return set, nil
}

// readVolume reads the descriptors and decides which of the trees serves.
func readVolume(r io.ReaderAt, size int64) (*isoVolume, error) {
	if size < isoDescriptors+isoSector {
		return nil, &FormatError{Offset: max(size, 0), Problem: "too short to have a volume descriptor at byte 32768"}
	}
	set, err := readDescriptors(r, size)
	if err != nil {
		return nil, err
	}
	primary, joliet := set.primary, set.joliet
	inUDF := &FormatError{Offset: set.udf, Unsupported: true, Problem: "its files are in a UDF file system, which is not read"}
	if primary == nil {
		if set.udf != 0 {
			return nil, inUDF
		}
		return nil, &FormatError{Offset: isoDescriptors, Problem: "it has no primary volume descriptor"}
	}
	root, err := decodeRecord(primary[156:190])
	if err != nil {
		return nil, &FormatError{Offset: isoDescriptors, Problem: "root directory: " + err.Error()}
	}
	v := &isoVolume{
		id:   strings.TrimRight(latin1(primary[40:72]), " \x00"),
		size: int64(binary.LittleEndian.Uint32(primary[80:])) * isoSector,
		root: root,
	}
	skip, ok, err := detectRockRidge(r, size, root)
	switch {
	case err != nil:
		return nil, err
	case ok:
		v.scheme, v.skip = rockRidgeNames, skip
	case joliet != nil:
		v.scheme = jolietNames
		if v.root, err = decodeRecord(joliet[156:190]); err != nil {
			return nil, &FormatError{Offset: isoDescriptors, Problem: "Joliet root directory: " + err.Error()}
		}
	case set.udf != 0: // as on Windows media, whose plain tree is one README.TXT
		return nil, inUDF
	}
	return v, nil
}

// isJoliet recognises the escape sequences of UCS-2 levels 1 to 3.
func isJoliet(descriptor []byte) bool {
	escape := string(descriptor[88:91])
	return escape == "%/@" || escape == "%/C" || escape == "%/E"
}

// isoRecord is a directory record, ECMA-119 9.1.
type isoRecord struct {
	off, size int64 // of the extent, in bytes
	modTime   time.Time
	flags     byte
	ident     []byte // into the record
	system    []byte // into the record
}

const (
	recordDirectory   = 0x02
	recordAssociated  = 0x04
	recordMultiExtent = 0x80
)

type recordError string

func (e recordError) Error() string { return string(e) }

const errInterleaved = recordError("interleaved files are not supported")

// decodeRecord decodes the record that b starts with; b ends with its sector.
func decodeRecord(b []byte) (isoRecord, error) {
	if len(b) < 34 || int(b[0]) < 34 || int(b[0]) > len(b) {
		return isoRecord{}, recordError("a directory record has an impossible length")
	}
	b = b[:b[0]]
	end := 33 + int(b[32])
	if b[32] == 0 || end > len(b) {
		return isoRecord{}, recordError("a directory record is shorter than its name")
	}
	// Both byte orders are recorded; Linux reads this one, so makers test it.
	rec := isoRecord{
		off:     (int64(binary.LittleEndian.Uint32(b[2:])) + int64(b[1])) * isoSector,
		size:    int64(binary.LittleEndian.Uint32(b[10:])),
		modTime: shortTime(b[18:25]),
		flags:   b[25],
		ident:   b[33:end],
	}
	if b[26] != 0 || b[27] != 0 {
		return isoRecord{}, errInterleaved
	}
	if end%2 != 0 { // the name is padded to an even length
		end++
	}
	if end < len(b) {
		rec.system = b[end:]
	}
	return rec, nil
}

// shortTime decodes ECMA-119 9.1.5; an impossible time is the zero one.
func shortTime(b []byte) time.Time {
	return isoTime(1900+int(b[0]), int(b[1]), int(b[2]), int(b[3]), int(b[4]), int(b[5]), int8(b[6]))
}

// isoTime makes a time of numbers from an image; quarters is the zone in
// quarters of an hour east of Greenwich.
func isoTime(year, month, day, hour, minute, second int, quarters int8) time.Time {
	if month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 59 || quarters < -48 || quarters > 52 {
		return time.Time{}
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	return t.Add(-time.Duration(quarters) * 15 * time.Minute)
}
