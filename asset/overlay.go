package asset

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"syscall"
)

// Overlay lays sources over each other: a name is opened in the first one that
// does not say fs.ErrNotExist, so earlier sources hide later ones, and another
// error of theirs is not papered over. Directories are not merged: the first
// source that has one lists it. Without sources it is empty.
//
// For a name that no source has, the error is that of the first one that says
// more than that, such as SystemLoaders with the package that has the file.
func Overlay(sources ...FileSource) FileSource { return overlay(slices.Clone(sources)) }

type overlay []FileSource

func (o overlay) OpenFile(ctx context.Context, name string) (File, error) {
	if err := checkName(ctx, name); err != nil {
		return nil, err
	}
	missing := pathError(name, fs.ErrNotExist)
	said := false
	for _, source := range o {
		file, err := source.OpenFile(ctx, name)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return file, err
		}
		if !said && telling(err) {
			missing, said = err, true
		}
	}
	return nil, missing
}

// telling reports whether the error says more than that there is no such file.
func telling(notExist error) bool {
	reason := notExist
	if pe, ok := notExist.(*fs.PathError); ok {
		reason = pe.Err
	}
	_, errno := reason.(syscall.Errno)
	return reason != fs.ErrNotExist && !errno
}

// Alias serves files of src under other names: names maps a served name to the
// name in src. It serves these alone; for the others too, put it over src with
// [Overlay].
func Alias(src FileSource, names map[string]string) FileSource {
	return alias{src, maps.Clone(names)}
}

type alias struct {
	src   FileSource
	names map[string]string
}

func (a alias) OpenFile(ctx context.Context, name string) (File, error) {
	if err := checkName(ctx, name); err != nil {
		return nil, err
	}
	target, ok := a.names[name]
	if !ok {
		return nil, pathError(name, fs.ErrNotExist)
	}
	file, err := a.src.OpenFile(ctx, target)
	if err != nil {
		// The client asked for name; what it stands for is none of its business.
		return nil, renamed(name, err)
	}
	return file, nil
}
