// Package isowrite makes ISO 9660 images with Rock Ridge names in pure Go:
// small bootable-media look-alikes for examples, tests and fuzzing, on a
// machine where nothing but Go is installed.
//
// It writes what SystemRescue's media are made of: interchange level 3, Rock
// Ridge (SP, ER, PX, TF, NM, SL, and CE where a name does not fit its record),
// no Joliet, directories as deep as asked without relocation, files over 4 GiB
// in several sections. The same input gives the same bytes. It writes no boot
// catalogue: the images are for reading over a network.
package isowrite

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
)

// sector is the only block size written, and the one that everybody reads.
const sector = 2048

// maxSection is the longest run of bytes that one directory record describes,
// whole sectors so that the next section follows without a gap.
const maxSection = 1<<32 - sector

// Image describes an ISO 9660 image. The zero value is an empty one.
type Image struct {
	// VolumeID is the volume's name, at most 32 of A-Z, 0-9 and "_", such as
	// RESCUE1200.
	VolumeID string
	// Files are the image's files, links and empty directories in any order;
	// the directories above them are made as needed.
	Files []File
	// ModTime is written for every file and for the volume, in UTC and whole
	// seconds from 1900 to 2155. Zero: 2000-01-01.
	ModTime time.Time
}

// File is one file, symbolic link or directory of an Image.
type File struct {
	// Name is its path in the image as fs.ValidPath wants it, each element at
	// most 255 bytes.
	Name string
	// Data is a regular file's content, unless Reader is set.
	Data []byte
	// Reader gives the content instead of Data, exactly Size bytes of it:
	// fewer or more are an error. It is read once, while the image is written.
	Reader io.Reader
	// Size is the length of what Reader gives.
	Size int64
	// Mode holds the permissions; zero: 0444, or 0555 for a directory.
	// fs.ModeDir makes a directory.
	Mode fs.FileMode
	// Link, when not empty, makes a symbolic link with this target; it goes
	// without fs.ModeDir.
	Link string
}

// Bytes returns the files of a map, for images written down as literals.
func Bytes(files map[string][]byte) []File {
	list := make([]File, 0, len(files))
	for name, data := range files {
		list = append(list, File{Name: name, Data: data})
	}
	return list
}

// WriteTo writes the image and returns the number of bytes written. An image
// that cannot be written as asked (a bad name, two files of one name, a reader
// that ends early or goes on) is an error that names the file.
func (m *Image) WriteTo(w io.Writer) (int64, error) {
	if err := checkVolumeID(m.VolumeID); err != nil {
		return 0, err
	}
	when := m.ModTime.UTC()
	if m.ModTime.IsZero() {
		when = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if when.Year() < 1900 || when.Year() > 2155 {
		return 0, fmt.Errorf("isowrite: modification time %v: ISO 9660 has years 1900 to 2155", when)
	}
	root, err := newTree(m.Files)
	if err != nil {
		return 0, err
	}
	l, err := newLayout(root, when)
	if err != nil {
		return 0, err
	}
	out := &writer{w: w}
	out.write(make([]byte, 16*sector)) // the system area, unused
	out.write(l.primaryDescriptor(m.VolumeID))
	out.write(terminator())
	out.write(l.pathTable(littleEndian))
	out.write(l.pathTable(bigEndian))
	for _, dir := range l.dirs {
		out.write(dir.records)
		out.write(dir.continuation)
	}
	for _, file := range l.files {
		out.copy(file)
	}
	return out.n, out.err
}

// Make returns the image as bytes; for small ones.
func (m *Image) Make() ([]byte, error) {
	var b bytes.Buffer
	_, err := m.WriteTo(&b)
	return b.Bytes(), err
}

// writer counts and keeps the first error.
type writer struct {
	w   io.Writer
	n   int64
	err error
}

func (w *writer) write(p []byte) {
	if w.err != nil || len(p) == 0 {
		return
	}
	n, err := w.w.Write(p)
	w.n += int64(n)
	w.err = err
}

func (w *writer) copy(f *node) {
	if w.err != nil {
		return
	}
	reader := f.file.Reader
	if reader == nil {
		reader = bytes.NewReader(f.file.Data)
	}
	n, err := io.CopyN(w.w, reader, f.size)
	w.n += n
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("isowrite: %s: its reader ended after %d of %d bytes", f.file.Name, n, f.size)
		}
		w.err = err
		return
	}
	switch n, err := io.ReadFull(reader, make([]byte, 1)); {
	case n > 0:
		w.err = fmt.Errorf("isowrite: %s: its reader goes on after its Size of %d bytes", f.file.Name, f.size)
	case !errors.Is(err, io.EOF):
		w.err = err
	}
	w.write(make([]byte, roundUp(f.size)-f.size))
}

func roundUp(n int64) int64 { return (n + sector - 1) / sector * sector }

func checkVolumeID(id string) error {
	if len(id) > 32 || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
		return fmt.Errorf("isowrite: volume identifier %q: at most 32 of A-Z, 0-9 and _ are allowed", id)
	}
	return nil
}
