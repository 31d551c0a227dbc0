package vm

import (
	"fmt"
	"io"
	"io/fs"
	"path"
)

// cpioWriter writes an archive in the "newc" format, as the kernel unpacks it into
// its first root file system: see initramfs buffer format in the kernel's
// documentation. Everything belongs to root and has no time of its own, so the same
// input makes the same archive. The first error sticks; close returns it.
type cpioWriter struct {
	w       io.Writer
	err     error
	written int64
	inode   int
	dirs    map[string]bool
}

func newCPIOWriter(w io.Writer) *cpioWriter {
	return &cpioWriter{w: w, dirs: map[string]bool{".": true}}
}

// Types of entries, from stat(2).
const (
	cpioDir  = 0o040000
	cpioFile = 0o100000
	cpioLink = 0o120000
)

// dir adds the directory name and those above it, unless they are there already.
func (c *cpioWriter) dir(name string) {
	if c.dirs[name] {
		return
	}
	c.dirs[name] = true
	c.dir(path.Dir(name))
	c.entry(name, cpioDir|0o755, nil)
}

// file adds a file, and the directories above it.
func (c *cpioWriter) file(name string, perm fs.FileMode, data []byte) {
	c.dir(path.Dir(name))
	c.entry(name, cpioFile|uint32(perm.Perm()), data)
}

// link adds a symbolic link, and the directories above it.
func (c *cpioWriter) link(name, target string) {
	c.dir(path.Dir(name))
	c.entry(name, cpioLink|0o777, []byte(target))
}

func (c *cpioWriter) entry(name string, mode uint32, data []byte) {
	c.inode++
	c.header(c.inode, mode, name, len(data))
	c.write(data)
	c.pad(4)
}

func (c *cpioWriter) header(inode int, mode uint32, name string, size int) {
	// magic ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor
	// rdevminor namesize check; then the name with a NUL
	c.write(fmt.Appendf(nil, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(name)+1, 0, name))
	c.pad(4)
}

func (c *cpioWriter) write(p []byte) {
	if c.err != nil {
		return
	}
	n, err := c.w.Write(p)
	c.written += int64(n)
	c.err = err
}

func (c *cpioWriter) pad(to int64) {
	if rest := c.written % to; rest != 0 {
		c.write(make([]byte, to-rest))
	}
}

// close ends the archive; it does not close the writer below.
func (c *cpioWriter) close() error {
	c.header(0, 0, "TRAILER!!!", 0)
	c.pad(512) // loaders put further archives right behind
	return c.err
}
