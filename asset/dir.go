package asset

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Directory is a FileSource over a directory of the host, made by [Dir].
type Directory struct {
	root *os.Root
}

// Dir opens the directory path as a source. Nothing outside of it can be
// opened, by a name or by a symbolic link (see os.Root); links that stay inside
// are followed. Only regular files and directories open: a device or a pipe in
// the tree is fs.ErrPermission. The directory is held by its handle, so it may
// be renamed while in use.
//
// The error of Dir itself, for the operator, does name path.
func Dir(path string) (*Directory, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("asset: directory to serve: %w", err)
	}
	return &Directory{root: root}, nil
}

// OpenFile implements FileSource. Files implement [Extenter].
func (d *Directory) OpenFile(ctx context.Context, name string) (File, error) {
	if err := checkName(ctx, name); err != nil {
		return nil, err
	}
	local, err := filepath.Localize(name)
	if err != nil { // a name that this host cannot have, such as NUL or C:x on Windows
		return nil, pathError(name, fs.ErrNotExist)
	}
	// Asked before opening, for opening a pipe would wait for its writer.
	info, err := d.root.Stat(local)
	if err != nil {
		return nil, refused(name, err)
	}
	if !info.Mode().IsRegular() && !info.IsDir() {
		return nil, pathError(name, fs.ErrPermission)
	}
	f, err := d.root.Open(local)
	if err != nil {
		return nil, refused(name, err)
	}
	return newHostFile(f, name)
}

// refused is why an os.Root did not open a name. Its refusal to follow a link
// that leads outside has no name in package os, and is the one that is neither
// the operating system's nor package fs's.
func refused(name string, err error) error {
	if knownReason(err) == nil {
		err = fs.ErrPermission
	}
	return hideHost("open", name, err)
}

// Close gives the directory back. Files opened from it stay open.
func (d *Directory) Close() error { return d.root.Close() }

// hostFile is a file or directory of the host whose errors name it as it was
// asked for: those of *os.File have the host's path in them.
type hostFile struct {
	f    *os.File
	name string
	size int64 // when opened; -1: not a regular file
}

func newHostFile(f *os.File, name string) (File, error) {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		err = fs.ErrPermission
	}
	if err != nil {
		_ = f.Close()
		return nil, hideHost("open", name, err)
	}
	h := &hostFile{f: f, name: name, size: info.Size()}
	if info.IsDir() {
		h.size = -1
	}
	return h, nil
}

func (h *hostFile) Read(p []byte) (int, error) {
	n, err := h.f.Read(p)
	return n, hideHost("read", h.name, err)
}

func (h *hostFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := h.f.ReadAt(p, off)
	return n, hideHost("read", h.name, err)
}

func (h *hostFile) Seek(offset int64, whence int) (int64, error) {
	n, err := h.f.Seek(offset, whence)
	return n, hideHost("seek", h.name, err)
}

func (h *hostFile) Stat() (fs.FileInfo, error) {
	info, err := h.f.Stat()
	if err != nil {
		return nil, hideHost("stat", h.name, err)
	}
	return info, nil
}

// ReadDir lists a directory, as fs.ReadDirFile.
func (h *hostFile) ReadDir(n int) ([]fs.DirEntry, error) {
	list, err := h.f.ReadDir(n)
	return list, hideHost("readdir", h.name, err)
}

func (h *hostFile) Close() error { return hideHost("close", h.name, h.f.Close()) }

// Extent implements Extenter.
func (h *hostFile) Extent() (f *os.File, off, n int64, ok bool) {
	if h.size < 0 {
		return nil, 0, 0, false
	}
	return h.f, 0, h.size, true
}
