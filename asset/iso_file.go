package asset

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sort"
	"time"
)

// isoInfo describes a node as fs.FileInfo.
type isoInfo struct{ node *isoNode }

func (i isoInfo) Name() string       { return i.node.name }
func (i isoInfo) Size() int64        { return i.node.size }
func (i isoInfo) Mode() fs.FileMode  { return i.node.mode }
func (i isoInfo) ModTime() time.Time { return i.node.modTime }
func (i isoInfo) IsDir() bool        { return i.node.mode.IsDir() }
func (i isoInfo) Sys() any           { return nil }

func (n *isoNode) entries() []fs.DirEntry {
	entries := make([]fs.DirEntry, len(n.children))
	for i, child := range n.children {
		entries[i] = fs.FileInfoToDirEntry(isoInfo{child})
	}
	return entries
}

// openNode opens what lookup found.
func (iso *ISO) openNode(node *isoNode, name string) (File, error) {
	info := isoInfo{node}
	switch {
	case node.mode.IsDir():
		return &listing{directoryReader: directoryReader{name}, info: info, entries: node.entries()}, nil
	case node.mode&fs.ModeIrregular != 0:
		return nil, pathError(name, errors.ErrUnsupported)
	}
	f := &isoFile{info: info, iso: iso}
	if len(node.extents) == 1 {
		f.SectionReader = io.NewSectionReader(iso.image, node.extents[0].off, node.size)
	} else {
		f.SectionReader = io.NewSectionReader(newExtentReader(iso.image, node.extents), 0, node.size)
	}
	return f, nil
}

// isoFile is an open regular file. Closing it does nothing: it holds nothing
// of its own.
type isoFile struct {
	*io.SectionReader
	info isoInfo
	iso  *ISO
}

func (f *isoFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *isoFile) Close() error               { return nil }

// Extent implements Extenter.
func (f *isoFile) Extent() (file *os.File, off, n int64, ok bool) {
	extents := f.info.node.extents
	if f.iso.file == nil || len(extents) != 1 {
		return nil, 0, 0, false
	}
	return f.iso.file, extents[0].off, extents[0].n, true
}

// extentReader joins the parts of a file.
type extentReader struct {
	r       io.ReaderAt
	extents []isoExtent
	starts  []int64 // where each part starts in the file
}

func newExtentReader(r io.ReaderAt, extents []isoExtent) *extentReader {
	e := &extentReader{r: r, extents: extents, starts: make([]int64, len(extents))}
	start := int64(0)
	for i, part := range extents {
		e.starts[i] = start
		start += part.n
	}
	return e
}

// ReadAt implements io.ReaderAt; off is not negative, as io.SectionReader asks.
func (e *extentReader) ReadAt(p []byte, off int64) (n int, err error) {
	i := sort.Search(len(e.starts), func(i int) bool { return e.starts[i] > off }) - 1
	for ; n < len(p) && i >= 0 && i < len(e.extents); i++ {
		part, skip := e.extents[i], off+int64(n)-e.starts[i]
		if skip >= part.n {
			continue
		}
		piece := p[n:]
		if left := part.n - skip; int64(len(piece)) > left {
			piece = piece[:left]
		}
		got, err := e.r.ReadAt(piece, part.off+skip)
		n += got
		if err != nil {
			return n, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
