package isowrite

import (
	"fmt"
	"io/fs"
	"sort"
	"strconv"
	"strings"
)

// node is one file, link or directory while the image is laid out.
type node struct {
	name     string // Rock Ridge name; "" for the root
	ident    string // ISO 9660 identifier, unique in its directory
	parent   *node
	children []*node // of a directory, sorted by identifier
	file     File
	dir      bool
	size     int64
	lba      int64 // first sector, once laid out

	number       int    // of a directory, in the path table
	records      []byte // of a directory: its extent
	continuation []byte // of a directory: its records' continuation areas
}

// newTree arranges the files as a tree and gives every node its identifier.
func newTree(files []File) (*node, error) {
	root := &node{dir: true}
	root.parent = root
	seen := map[string]*node{".": root}
	sorted := append([]File(nil), files...)
	sort.SliceStable(sorted, func(i, j int) bool { return sorted[i].Name < sorted[j].Name })
	for _, file := range sorted {
		if err := checkFile(&file); err != nil {
			return nil, err
		}
		if err := add(seen, file); err != nil {
			return nil, err
		}
	}
	name(root)
	return root, nil
}

func checkFile(f *File) error {
	bad := func(why string) error { return fmt.Errorf("isowrite: %q: %s", f.Name, why) }
	if !fs.ValidPath(f.Name) || f.Name == "." || strings.ContainsRune(f.Name, 0) {
		return bad("not a relative slash-separated path")
	}
	for _, element := range strings.Split(f.Name, "/") {
		if len(element) > 255 {
			return bad("an element is longer than 255 bytes")
		}
	}
	if f.Size < 0 || (f.Size != 0 && f.Reader == nil) {
		return bad("Size goes with Reader")
	}
	if f.Mode.Type()&^fs.ModeDir != 0 {
		return bad("only files, directories and links can be written")
	}
	if f.Link != "" && f.Mode.IsDir() {
		return bad("Link goes without fs.ModeDir")
	}
	if (f.Link != "" || f.Mode.IsDir()) && (f.Data != nil || f.Reader != nil) {
		return bad("a link or directory has no content")
	}
	return nil
}

// add puts the file below its directories, which it makes where missing.
func add(seen map[string]*node, file File) error {
	parent := seen["."]
	for i, c := range file.Name + "/" {
		if c != '/' {
			continue
		}
		path, last := file.Name[:i], i == len(file.Name)
		n := seen[path]
		switch {
		case n == nil:
			n = &node{name: path[strings.LastIndexByte(path, '/')+1:], parent: parent, dir: true}
			if last {
				n.file, n.dir, n.size = file, file.Mode.IsDir(), file.Size
				if file.Reader == nil {
					n.size = int64(len(file.Data))
				}
			}
			seen[path] = n
			parent.children = append(parent.children, n)
		case last:
			return fmt.Errorf("isowrite: %q is there twice", path)
		case !n.dir:
			return fmt.Errorf("isowrite: %q is a file and %q lies below it", path, file.Name)
		}
		parent = n
	}
	return nil
}

// name gives the children of dir identifiers and sorts them by these, as
// ECMA-119 9.3 asks.
func name(dir *node) {
	used := make(map[string]bool, len(dir.children))
	for _, child := range dir.children {
		stem, ext := identifier(child.name, child.dir)
		child.ident = stem + ext
		for i := 1; used[child.ident]; i++ {
			suffix := "_" + strconv.Itoa(i)
			child.ident = stem[:min(len(stem), 18-len(suffix))] + suffix + ext
		}
		used[child.ident] = true
		if child.dir {
			name(child)
		}
	}
	sort.Slice(dir.children, func(i, j int) bool { return dir.children[i].ident < dir.children[j].ident })
}

// identifier maps a name to the characters of ISO 9660, in two parts so that a
// number can be put before the second.
func identifier(name string, dir bool) (stem, ext string) {
	clean := func(s string, max int) string {
		var b strings.Builder
		for _, c := range []byte(strings.ToUpper(s)) {
			if b.Len() == max {
				break
			}
			if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
				c = '_'
			}
			b.WriteByte(c)
		}
		return b.String()
	}
	if dir {
		return clean(name, 18), ""
	}
	if dot := strings.LastIndexByte(name, '.'); dot > 0 {
		return clean(name[:dot], 18), "." + clean(name[dot+1:], 8) + ";1"
	}
	return clean(name, 18), ".;1"
}
