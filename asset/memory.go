package asset

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// Memory is a source of files held in memory, by name. Directories are those
// that the names imply. The map and its values must not be changed while
// machines are served. The nil map is an empty source.
type Memory map[string][]byte

// OpenFile implements FileSource. Files have the zero modification time.
func (m Memory) OpenFile(ctx context.Context, name string) (File, error) {
	if err := checkName(ctx, name); err != nil {
		return nil, err
	}
	if data, ok := m[name]; ok {
		info := memoryInfo{name: path.Base(name), size: int64(len(data)), mode: 0o444}
		return &memoryFile{Reader: bytes.NewReader(data), info: info}, nil
	}
	entries := m.list(name)
	if len(entries) == 0 && name != "." {
		return nil, pathError(name, fs.ErrNotExist)
	}
	info := memoryInfo{name: path.Base(name), mode: fs.ModeDir | 0o555}
	return &listing{directoryReader: directoryReader{name}, info: info, entries: entries}, nil
}

// list returns what lies directly below dir, by going through all names:
// directories are opened by people, not by machines that boot.
func (m Memory) list(dir string) []fs.DirEntry {
	found := make(map[string]memoryInfo)
	for name, data := range m {
		if !fs.ValidPath(name) || name == "." {
			continue
		}
		if dir != "." {
			rest, ok := strings.CutPrefix(name, dir+"/")
			if !ok {
				continue
			}
			name = rest
		}
		child, _, deeper := strings.Cut(name, "/")
		if deeper {
			found[child] = memoryInfo{name: child, mode: fs.ModeDir | 0o555}
		} else {
			found[child] = memoryInfo{name: child, size: int64(len(data)), mode: 0o444}
		}
	}
	entries := make([]fs.DirEntry, 0, len(found))
	for _, info := range found {
		entries = append(entries, fs.FileInfoToDirEntry(info))
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries
}

type memoryInfo struct {
	name string
	size int64
	mode fs.FileMode
}

func (i memoryInfo) Name() string       { return i.name }
func (i memoryInfo) Size() int64        { return i.size }
func (i memoryInfo) Mode() fs.FileMode  { return i.mode }
func (i memoryInfo) ModTime() time.Time { return time.Time{} }
func (i memoryInfo) IsDir() bool        { return i.mode.IsDir() }
func (i memoryInfo) Sys() any           { return nil }

type memoryFile struct {
	*bytes.Reader
	info fs.FileInfo
}

func (f *memoryFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *memoryFile) Close() error               { return nil }

// listing is an open directory whose entries are known.
type listing struct {
	directoryReader
	info    fs.FileInfo
	entries []fs.DirEntry
	next    int
}

func (l *listing) Read([]byte) (int, error)   { return l.ReadAt(nil, 0) }
func (l *listing) Stat() (fs.FileInfo, error) { return l.info, nil }
func (l *listing) Close() error               { return nil }

// ReadDir implements fs.ReadDirFile.
func (l *listing) ReadDir(n int) ([]fs.DirEntry, error) {
	left := l.entries[l.next:]
	if n > 0 && len(left) == 0 {
		return nil, io.EOF
	}
	if n > 0 && n < len(left) {
		left = left[:n]
	}
	l.next += len(left)
	return slices.Clone(left), nil
}
