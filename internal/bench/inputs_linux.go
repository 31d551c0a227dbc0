package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/pxekit/pxe/internal/isowrite"
)

const (
	bigName   = "sysresccd/x86_64/airootfs.sfs"
	bigSize   = 1 << 30
	smallSize = 4 << 10
	smallMany = 16
)

func smallName(i int) string { return fmt.Sprintf("sysresccd/boot/module-%02d.c32", i) }

// inputs are the files that are served: the same ones plain and in an image.
type inputs struct {
	dir     string // of this run; configurations and logs go there too
	plain   string // the folder of the plain files
	iso     string
	profile string // where our side writes a CPU profile; may be empty
	cable   *cable // to DHCP clients; nil: there is none
}

// newInputs writes the files into dir. They are noise, so that nobody gains by
// finding zeroes.
func newInputs(dir string) (*inputs, error) {
	in := &inputs{dir: dir, plain: filepath.Join(dir, "plain"), iso: filepath.Join(dir, "medium.iso")}
	image := isowrite.Image{VolumeID: "RESCUE1200"}
	add := func(name string, size int64) error {
		path := filepath.Join(in.plain, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		noise := rand.NewChaCha8([32]byte([]byte(fmt.Sprintf("%-32s", name))))
		if err := write(path, func(w io.Writer) error {
			_, err := io.CopyN(w, noise, size)
			return err
		}); err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		image.Files = append(image.Files, isowrite.File{Name: name, Reader: f, Size: size})
		return nil
	}
	if err := add(bigName, bigSize); err != nil {
		return nil, err
	}
	for i := range smallMany {
		if err := add(smallName(i), smallSize); err != nil {
			return nil, err
		}
	}
	err := write(in.iso, func(w io.Writer) error {
		_, err := image.WriteTo(w)
		return err
	})
	for _, file := range image.Files {
		_ = file.Reader.(*os.File).Close() // it was only read
	}
	if err != nil {
		return nil, err
	}
	return in, in.warm()
}

func write(path string, fill func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := fill(f); err != nil {
		return err
	}
	return f.Sync()
}

// warm has both big files read into the page cache in the same way: how large
// the pieces are in which they lie there depends on how they came, and what a
// read costs depends on the pieces.
func (in *inputs) warm() error {
	for _, path := range []string{filepath.Join(in.plain, bigName), in.iso} {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		err = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
		if err == nil {
			_, err = io.Copy(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f})
		}
		if err := f.Close(); err != nil {
			return err
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
	}
	return nil
}

// config writes a server's configuration and returns its path.
func (in *inputs) config(name, format string, args ...any) (string, error) {
	path := filepath.Join(in.dir, name)
	var b bytes.Buffer
	fmt.Fprintf(&b, format, args...)
	return path, os.WriteFile(path, b.Bytes(), 0o644)
}
