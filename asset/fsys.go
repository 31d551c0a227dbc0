package asset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
)

// maxBuffered bounds what FS reads into memory for a file without random
// access: enough for configurations and small loaders. Each opening of the file
// costs this much.
const maxBuffered = 1 << 20

// FS makes a source of a file system such as an embed.FS.
//
// Where its files have no ReadAt, one is made: by seeking, one reader at a
// time, or, for files that cannot seek either, such as those of a zip archive,
// by reading the file into memory each time that it is opened. That is for
// texts and other small files: one over 1 MiB does not open, since any number
// of clients may ask for it at once. Extract it and use [Dir], or hold it in a
// [Memory].
//
// fsys decides what its names reach. os.DirFS follows symbolic links out of
// its directory: use [Dir] for directories.
func FS(fsys fs.FS) FileSource { return fsSource{fsys} }

type fsSource struct{ fsys fs.FS }

func (s fsSource) OpenFile(ctx context.Context, name string) (File, error) {
	if err := checkName(ctx, name); err != nil {
		return nil, err
	}
	f, err := s.fsys.Open(name)
	if err != nil {
		return nil, hideHost("open", name, err)
	}
	file, err := withReadAt(f, name)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return file, nil
}

// withReadAt makes a File of f, which it takes over unless there is an error.
func withReadAt(f fs.File, name string) (File, error) {
	if host, ok := f.(*os.File); ok { // of os.DirFS: its errors would tell its path
		return newHostFile(host, name)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, hideHost("open", name, err)
	}
	if info.IsDir() {
		if dir, ok := f.(fs.ReadDirFile); ok {
			return struct {
				fs.ReadDirFile
				directoryReader
			}{dir, directoryReader{name}}, nil
		}
		return struct {
			fs.File
			directoryReader
		}{f, directoryReader{name}}, nil
	}
	if file, ok := f.(File); ok {
		return file, nil
	}
	if seeker, ok := f.(io.ReadSeeker); ok {
		return &seekingFile{File: f, name: name, seeker: seeker}, nil
	}
	tooLong := pathError(name, fmt.Errorf("%w: a file over %d MiB that cannot seek: extract it and serve the directory with Dir, or hold it in Memory",
		errors.ErrUnsupported, maxBuffered>>20))
	if info.Size() > maxBuffered {
		return nil, tooLong
	}
	data, err := io.ReadAll(io.LimitReader(f, maxBuffered+1))
	if err != nil {
		return nil, hideHost("read", name, err)
	}
	if len(data) > maxBuffered { // Stat said otherwise
		return nil, tooLong
	}
	return &bufferedFile{File: f, Reader: bytes.NewReader(data)}, nil
}

// bufferedFile is a file whose content was read into memory.
type bufferedFile struct {
	fs.File
	*bytes.Reader
}

func (b *bufferedFile) Read(p []byte) (int, error) { return b.Reader.Read(p) }

// seekingFile gives a seekable file a ReadAt. It keeps the sequential offset
// itself, since ReadAt moves the file's.
type seekingFile struct {
	fs.File
	name string

	mu     sync.Mutex
	seeker io.ReadSeeker
	off    int64
}

func (s *seekingFile) ReadAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readAt(p, off)
}

func (s *seekingFile) readAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, &fs.PathError{Op: "read", Path: s.name, Err: fs.ErrInvalid}
	}
	if _, err := s.seeker.Seek(off, io.SeekStart); err != nil {
		return 0, hideHost("seek", s.name, err)
	}
	n, err := io.ReadFull(s.seeker, p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF // as io.ReaderAt says it
	}
	return n, hideHost("read", s.name, err)
}

func (s *seekingFile) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.readAt(p, s.off)
	s.off += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

func (s *seekingFile) Seek(offset int64, whence int) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if whence == io.SeekCurrent {
		offset, whence = s.off+offset, io.SeekStart
	}
	n, err := s.seeker.Seek(offset, whence)
	if err != nil {
		return 0, hideHost("seek", s.name, err)
	}
	s.off = n
	return n, nil
}
