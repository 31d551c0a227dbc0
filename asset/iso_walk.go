package asset

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"
)

const (
	maxEntries       = 1 << 18  // files and directories of an image
	maxDepth         = 128      // levels of directories
	maxMetadata      = 64 << 20 // bytes of directories and continuation areas
	isoChunk         = 16 * isoSector
	defaultFileMode  = fs.FileMode(0o444)
	defaultDirectory = fs.ModeDir | 0o555
)

// isoNode is a file, directory or symbolic link of the tree in memory.
type isoNode struct {
	name     string
	parent   *isoNode
	children []*isoNode // of a directory, sorted by name
	folded   []*isoNode // the same sorted by compareFold; shares children if that is the same order
	extents  []isoExtent
	link     string
	size     int64
	modTime  time.Time
	mode     fs.FileMode
}

// isoExtent is a run of bytes of the image.
type isoExtent struct{ off, n int64 }

// path is the node's name from the root, for error messages.
func (n *isoNode) path() string {
	if n.parent == nil {
		return "."
	}
	var elements []string
	for ; n.parent != nil; n = n.parent {
		elements = append(elements, n.name)
	}
	slices.Reverse(elements)
	return strings.Join(elements, "/")
}

// walker reads the tree once. Every bound is enforced here, so that nothing
// that comes later needs any.
type walker struct {
	r       io.ReaderAt
	size    int64
	volume  *isoVolume
	susp    suspReader
	budget  int64 // bytes of metadata that may still be read
	entries int
	visited map[int64]bool // directories, by where they are
	queue   []pendingDir
	chunk   []byte
	cut     *IncompleteError // the file that ends farthest behind the image
}

type pendingDir struct {
	node      *isoNode
	off, size int64
	depth     int
}

func walk(r io.ReaderAt, size int64, volume *isoVolume) (*isoNode, error) {
	w := &walker{r: r, size: size, volume: volume, visited: map[int64]bool{}}
	// What describes an honest image is a part of it, and read once; but for
	// relocated directories, whose start is read before.
	w.budget = min(maxMetadata, 2*size)
	w.susp = suspReader{r: r, size: size, spend: w.spend}
	root := &isoNode{name: ".", mode: defaultDirectory, modTime: volume.root.modTime}
	err := w.enqueue(root, volume.root.off, volume.root.size, 0)
	for err == nil && len(w.queue) > 0 {
		dir := w.queue[0]
		w.queue = w.queue[1:]
		err = w.directory(dir)
	}
	return root, w.verdict(err)
}

// verdict weighs what the walk found: of a cut image it is most useful to hear
// how much is missing in all.
func (w *walker) verdict(err error) error {
	var incomplete *IncompleteError
	if err != nil && !errors.As(err, &incomplete) {
		return err
	}
	if incomplete == nil {
		incomplete = w.cut
	}
	if incomplete == nil && w.volume.size <= w.size {
		return nil
	}
	if incomplete == nil {
		incomplete = &IncompleteError{Size: w.size}
	}
	incomplete.Want = max(incomplete.Want, w.volume.size)
	return incomplete
}

func (w *walker) spend(n int64) error {
	if w.budget -= n; w.budget < 0 {
		return &FormatError{Problem: fmt.Sprintf("its directories take more than %d bytes", min(maxMetadata, 2*w.size)),
			Unsupported: maxMetadata < 2*w.size} // else they take more than there is
	}
	return nil
}

// enqueue has a directory read later.
func (w *walker) enqueue(node *isoNode, off, size int64, depth int) error {
	if depth > maxDepth {
		return &FormatError{Offset: off, Name: node.path(), Unsupported: true,
			Problem: fmt.Sprintf("its directories are more than %d levels deep", maxDepth)}
	}
	if size == 0 { // may point anywhere
		return nil
	}
	if w.visited[off] {
		return &FormatError{Offset: off, Name: node.path(), Problem: "two directories are one, or form a loop"}
	}
	if off+size > w.size {
		return &IncompleteError{Size: w.size, Want: off + size, Name: node.path()}
	}
	w.visited[off] = true
	w.queue = append(w.queue, pendingDir{node, off, size, depth})
	return w.spend(size)
}

// directory reads the records of one directory.
func (w *walker) directory(dir pendingDir) error {
	node := dir.node
	var parts partial
	for done := int64(0); done < dir.size; done += isoChunk {
		n := min(isoChunk, dir.size-done)
		w.chunk = slices.Grow(w.chunk[:0], int(n))[:n]
		chunk := w.chunk
		if _, err := w.r.ReadAt(chunk, dir.off+done); err != nil {
			return err
		}
		for at := 0; at < len(chunk); {
			end := min(len(chunk), at/isoSector*isoSector+isoSector)
			if chunk[at] == 0 { // the rest of the sector is empty
				at = end
				continue
			}
			off := dir.off + done + int64(at)
			rec, err := decodeRecord(chunk[at:end])
			if err == nil {
				at += int(chunk[at])
				err = w.record(dir, &parts, rec, off)
			}
			var bad recordError
			if errors.As(err, &bad) {
				err = &FormatError{Offset: off, Name: node.path(), Problem: bad.Error(), Unsupported: bad == errInterleaved}
			}
			if err != nil {
				return err
			}
		}
	}
	if parts.node != nil {
		return &FormatError{Offset: dir.off, Name: parts.node.path(), Problem: "the last part of the file is missing in its directory"}
	}
	node.sortChildren()
	for _, child := range node.children {
		if child.mode.IsDir() {
			if err := w.enqueue(child, child.extents[0].off, child.extents[0].n, dir.depth+1); err != nil {
				return err
			}
			child.extents = nil
		}
	}
	return nil
}

// partial is a file of which a record said that there is more to come.
type partial struct {
	node  *isoNode
	ident []byte
}

// record adds what one record describes to its directory.
func (w *walker) record(dir pendingDir, parts *partial, rec isoRecord, off int64) error {
	if len(rec.ident) == 1 && rec.ident[0] <= 1 || rec.flags&recordAssociated != 0 {
		return nil // "." and "..", and Apple's resource forks
	}
	if w.entries++; w.entries > maxEntries {
		return &FormatError{Offset: off, Unsupported: true, Problem: fmt.Sprintf("it has more than %d files", maxEntries)}
	}
	node, err := w.decode(rec, off)
	if node == nil || err != nil {
		return err
	}
	node.parent = dir.node
	if parts.node != nil {
		if !bytes.Equal(parts.ident, rec.ident) {
			return recordError("a file of several parts is interrupted")
		}
		node = parts.node
	}
	if node.mode.IsRegular() || node.mode&fs.ModeIrregular != 0 {
		w.addExtent(node, rec)
	}
	if rec.flags&recordMultiExtent != 0 && !node.mode.IsDir() {
		if parts.node == nil {
			parts.ident = bytes.Clone(rec.ident)
		}
		parts.node = node
		return nil
	}
	parts.node = nil
	dir.node.children = append(dir.node.children, node)
	return nil
}

// decode makes a node of a record: nil for what is not served. A directory's
// place is its only extent.
func (w *walker) decode(rec isoRecord, off int64) (*isoNode, error) {
	isDir := rec.flags&recordDirectory != 0
	node := &isoNode{modTime: rec.modTime, mode: defaultFileMode}
	if isDir {
		node.mode = defaultDirectory
	}
	switch w.volume.scheme {
	case rockRidgeNames:
		system := rec.system[min(w.volume.skip, len(rec.system)):]
		rr, err := w.susp.read(system, off)
		if err != nil {
			return nil, err
		}
		if rr.special || rr.relocated {
			return nil, nil
		}
		if rr.hasChild {
			isDir = true
			if rec.off, rec.size, err = w.relocated(int64(rr.child) * isoSector); err != nil {
				return nil, err
			}
		}
		mode, ok := rr.fileMode(isDir)
		if !ok {
			return nil, nil
		}
		node.mode, node.link = mode, text(rr.link)
		if !rr.modTime.IsZero() {
			node.modTime = rr.modTime
		}
		if node.name = text(rr.name); len(rr.name) == 0 {
			node.name = plainName(rec.ident)
		}
	case jolietNames:
		node.name = jolietName(rec.ident)
	default:
		node.name = plainName(rec.ident)
	}
	if !validElement(node.name) {
		return nil, recordError(fmt.Sprintf("%q is no file name", clip(node.name)))
	}
	if isDir {
		node.extents = []isoExtent{{rec.off, rec.size}}
	}
	return node, nil
}

// relocated finds a directory that a CL entry points at, RRIP 4.1.5.1: its own
// "." record says how long it is.
func (w *walker) relocated(off int64) (int64, int64, error) {
	if off+isoSector > w.size {
		return 0, 0, &IncompleteError{Size: w.size, Want: off + isoSector}
	}
	if err := w.spend(isoSector); err != nil {
		return 0, 0, err
	}
	sector := make([]byte, isoSector)
	if _, err := w.r.ReadAt(sector, off); err != nil {
		return 0, 0, err
	}
	self, err := decodeRecord(sector)
	if err == nil && (self.off != off || self.flags&recordDirectory == 0) {
		err = recordError("a relocated directory is not where it should be")
	}
	return self.off, self.size, err
}

// addExtent appends a part to a file, joined to the last one if it follows it.
func (w *walker) addExtent(node *isoNode, rec isoRecord) {
	node.size += rec.size
	if rec.size == 0 {
		return // may point anywhere
	}
	if end := rec.off + rec.size; end > w.size && (w.cut == nil || end > w.cut.Want) {
		w.cut = &IncompleteError{Size: w.size, Want: end, Name: node.path()}
	}
	if n := len(node.extents); n > 0 && node.extents[n-1].off+node.extents[n-1].n == rec.off {
		node.extents[n-1].n += rec.size
		return
	}
	node.extents = append(node.extents, isoExtent{rec.off, rec.size})
}
