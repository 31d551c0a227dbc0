package asset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// ISO is an ISO 9660 image read in place, made by [OpenISO] or [NewISO]. It is
// a FileSource and an fs.FS (with ReadDir, Stat and ReadLink). All methods are
// safe for concurrent use.
//
// Names are the Rock Ridge ones if the image has them, else Joliet's, else the
// plain ones: lower-cased as Linux mounts them, without version (";1") and
// trailing dot. A name that is no UTF-8 is taken as Latin-1. Elements of a path
// are looked up exactly first and then without regard to ASCII case, since
// media are made on systems with and without it; of two names that differ in
// case alone, the first in byte order is then meant.
//
// Symbolic links are followed inside of the image; one that leads out of it,
// or is absolute, is fs.ErrPermission. Devices and the like are left out.
// zisofs-compressed files are listed but do not open.
// A medium that keeps its files in a UDF file system, such as those of Windows,
// is refused unless Rock Ridge or Joliet names show that they are here too.
//
// The whole directory tree is read at opening and kept, about 200 bytes and
// the name for each file: that is what finds a cut image, lying lengths and
// loops before a machine meets them, and makes lookups free of I/O. At most
// 262,144 files and 64 MiB of directories are accepted, 128 levels deep.
type ISO struct {
	image    imageReader
	file     *os.File // when opened by path, for Extent
	size     int64
	name     string // of the image, without directory
	modTime  time.Time
	volumeID string
	root     *isoNode
}

// OpenISO opens the image at path, a regular file. A truncated one is refused
// with an [IncompleteError], another that cannot be read with a [FormatError].
// Its files, and the whole image, implement [Extenter] where they lie in one
// piece. The file must not change while it is open.
func OpenISO(path string) (*ISO, error) {
	// Asked before opening, for opening a pipe would wait for its writer, and
	// after, for what was opened may be another file.
	info, err := os.Stat(path)
	if err == nil {
		err = checkRegular(info, path)
	}
	if err != nil {
		return nil, fmt.Errorf("asset: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("asset: %w", err)
	}
	if info, err = f.Stat(); err == nil {
		err = checkRegular(info, path)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("asset: %w", err)
	}
	iso := &ISO{file: f, size: info.Size(), name: filepath.Base(path), modTime: info.ModTime()}
	if err := iso.load(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("asset: %s: %w", path, err)
	}
	return iso, nil
}

func checkRegular(info fs.FileInfo, path string) error {
	if info.Mode().IsRegular() {
		return nil
	}
	return &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file: give the ISO image itself, or serve a directory with Dir")}
}

// NewISO reads an image of size bytes from r, which must serve concurrent
// calls. The errors are those of [OpenISO], and r's own.
func NewISO(r io.ReaderAt, size int64) (*ISO, error) {
	iso := &ISO{size: size, name: "image.iso"}
	if err := iso.load(r); err != nil {
		return nil, fmt.Errorf("asset: %w", err)
	}
	return iso, nil
}

func (iso *ISO) load(r io.ReaderAt) error {
	// What goes wrong here is for the operator, who is told all of it; what
	// goes wrong later may be shown to a client.
	whole := wholeReader{r}
	iso.image = imageReader{whole, iso.name}
	volume, err := readVolume(whole, iso.size)
	if err != nil {
		return err
	}
	iso.volumeID = volume.id
	if iso.modTime.IsZero() {
		iso.modTime = volume.root.modTime
	}
	iso.root, err = walk(whole, iso.size, volume)
	return err
}

// Close closes the image if OpenISO opened it. Files of it that are still open
// fail from then on.
func (iso *ISO) Close() error {
	if iso.file == nil {
		return nil
	}
	return hideHost("close", iso.name, iso.file.Close())
}

// VolumeID returns the volume identifier, such as "RESCUE1200".
func (iso *ISO) VolumeID() string { return iso.volumeID }

// Image opens the whole image as one file, as NBD exports it.
func (iso *ISO) Image() (File, error) {
	node := &isoNode{name: iso.name, mode: 0o444, modTime: iso.modTime, size: iso.size,
		extents: []isoExtent{{0, iso.size}}}
	return iso.openNode(node, iso.name)
}

// OpenFile implements FileSource.
func (iso *ISO) OpenFile(ctx context.Context, name string) (File, error) {
	if err := checkName(ctx, name); err != nil {
		return nil, err
	}
	node, err := iso.lookup("open", name, true)
	if err != nil {
		return nil, err
	}
	return iso.openNode(node, name)
}

// Open implements fs.FS.
func (iso *ISO) Open(name string) (fs.File, error) {
	return iso.OpenFile(context.Background(), name)
}

// ReadDir implements fs.ReadDirFS.
func (iso *ISO) ReadDir(name string) ([]fs.DirEntry, error) {
	node, err := iso.lookup("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if !node.mode.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errNotDirectory}
	}
	return node.entries(), nil
}

// Stat implements fs.StatFS. It follows symbolic links.
func (iso *ISO) Stat(name string) (fs.FileInfo, error) {
	node, err := iso.lookup("stat", name, true)
	if err != nil {
		return nil, err
	}
	return isoInfo{node}, nil
}

// Lstat implements fs.ReadLinkFS.
func (iso *ISO) Lstat(name string) (fs.FileInfo, error) {
	node, err := iso.lookup("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return isoInfo{node}, nil
}

// ReadLink implements fs.ReadLinkFS.
func (iso *ISO) ReadLink(name string) (string, error) {
	node, err := iso.lookup("readlink", name, false)
	if err != nil {
		return "", err
	}
	if node.mode.Type() != fs.ModeSymlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return node.link, nil
}

// wholeReader makes a short read an error: everything asked for was found to
// lie inside of the image at opening, so the image has shrunk since.
type wholeReader struct{ r io.ReaderAt }

func (w wholeReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := w.r.ReadAt(p, off)
	if n == len(p) {
		return n, nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, fmt.Errorf("reading the image at byte %d: %w", off+int64(n), err)
}

// imageReader reads the image for clients, who are not told where it is.
type imageReader struct {
	r    wholeReader
	name string
}

func (i imageReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := i.r.ReadAt(p, off)
	return n, hideHost("read", i.name, err)
}
