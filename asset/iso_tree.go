package asset

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
)

// maxLinks bounds the symbolic links followed for one name, as Linux does.
const maxLinks = 40

var (
	errNotDirectory = errors.New("not a directory")
	errTooManyLinks = errors.New("too many symbolic links")
)

// sortChildren makes both indexes of a directory. Of records with one name the
// first is kept: ECMA-119 9.3 puts the highest version first.
func (n *isoNode) sortChildren() {
	byName := func(a, b *isoNode) int { return strings.Compare(a.name, b.name) }
	slices.SortStableFunc(n.children, byName)
	n.children = slices.CompactFunc(n.children, func(a, b *isoNode) bool { return a.name == b.name })
	byFold := func(a, b *isoNode) int { return compareFold(a.name, b.name) }
	n.folded = n.children
	if !slices.IsSortedFunc(n.children, byFold) {
		n.folded = slices.Clone(n.children)
		slices.SortStableFunc(n.folded, byFold)
	}
}

// child finds an entry by its exact name, else by its name in another case.
func (n *isoNode) child(name string) *isoNode {
	if i, ok := slices.BinarySearchFunc(n.children, name, func(c *isoNode, name string) int {
		return strings.Compare(c.name, name)
	}); ok {
		return n.children[i]
	}
	if i, ok := slices.BinarySearchFunc(n.folded, name, func(c *isoNode, name string) int {
		return compareFold(c.name, name)
	}); ok {
		return n.folded[i]
	}
	return nil
}

// lookup finds a node by its path and follows symbolic links on the way, the
// last one only if asked to.
func (iso *ISO) lookup(op, name string, follow bool) (*isoNode, error) {
	fail := func(err error) (*isoNode, error) { return nil, &fs.PathError{Op: op, Path: name, Err: err} }
	if !fs.ValidPath(name) || strings.IndexByte(name, 0) >= 0 {
		return fail(fs.ErrInvalid)
	}
	node, rest, links := iso.root, name, 0
	for rest != "" {
		element, after, more := strings.Cut(rest, "/")
		rest = after
		if element == "" || element == "." {
			continue
		}
		if !node.mode.IsDir() {
			return fail(fs.ErrNotExist)
		}
		if element == ".." { // from a link; names of callers have none
			if node.parent == nil {
				return fail(fs.ErrPermission)
			}
			node = node.parent
			continue
		}
		next := node.child(element)
		if next == nil {
			return fail(fs.ErrNotExist)
		}
		if next.mode.Type() != fs.ModeSymlink || !more && !follow {
			node = next
			continue
		}
		if links++; links > maxLinks {
			return fail(errTooManyLinks)
		}
		if strings.HasPrefix(next.link, "/") {
			return fail(fs.ErrPermission)
		}
		if next.link == "" {
			return fail(fs.ErrNotExist)
		}
		rest = next.link + "/" + rest
	}
	return node, nil
}
