package asset

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
)

// Overlay lays sources over each other: a name is opened in the first one that
// does not say fs.ErrNotExist, so earlier sources hide later ones, and another
// error of theirs is not papered over. Directories are not merged: the first
// source that has one lists it. Without sources it is empty.
func Overlay(sources ...FileSource) FileSource { return overlay(slices.Clone(sources)) }

type overlay []FileSource

func (o overlay) OpenFile(ctx context.Context, name string) (File, error) {
	if err := checkName(ctx, name); err != nil {
		return nil, err
	}
	missing := pathError(name, fs.ErrNotExist)
	for i, source := range o {
		file, err := source.OpenFile(ctx, name)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return file, err
		}
		// The last source's words are kept: that of SystemLoaders tells
		// which package has the file.
		if i == len(o)-1 {
			missing = err
		}
	}
	return nil, missing
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
		return nil, hideHost("open", name, err)
	}
	return file, nil
}
