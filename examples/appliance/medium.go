package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/bootcfg"
)

// openMedium opens an ISO image, or a directory with the same files.
func openMedium(path string) (asset.FileSource, func() error, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, fmt.Errorf("-media: %w", err)
	}
	if info.IsDir() {
		dir, err := asset.Dir(path)
		if err != nil {
			return nil, nil, fmt.Errorf("-media: %w", err)
		}
		return dir, dir.Close, nil
	}
	iso, err := asset.OpenISO(path)
	if err != nil {
		return nil, nil, fmt.Errorf("-media: %w", err)
	}
	return iso, iso.Close, nil
}

// withLoaders adds boot loaders to the medium's files: the given directory's
// first, then the medium's own, then those installed on this system.
func withLoaders(medium asset.FileSource, dir string) (asset.FileSource, error) {
	sources := []asset.FileSource{medium, asset.MediumLoaders(medium), asset.SystemLoaders()}
	if dir != "" {
		more, err := asset.Dir(dir)
		if err != nil {
			return nil, fmt.Errorf("-loaders: %w", err)
		}
		sources = append([]asset.FileSource{more}, sources...)
	}
	return asset.Overlay(sources...), nil
}

// checkMedium finds out before any machine does whether the medium can boot
// one. It returns the initial RAM disks that are there: small media have no
// microcode images, without which a machine boots all the same.
func checkMedium(ctx context.Context, files asset.FileSource, system pxe.SystemRescue, root string) ([]string, error) {
	// The files of the root file system that machines fetch depend on the way:
	// none by NFS and NBD.
	sample := &url.URL{Scheme: root, Host: "192.0.2.1", Path: "/"}
	menu, err := bootcfg.SystemRescue(system).Menu(sample)
	if err != nil {
		return nil, err
	}
	entry := menu.Entries[0]
	var initrds []string
	for _, name := range entry.Initrds {
		err := exists(ctx, files, name)
		if errors.Is(err, fs.ErrNotExist) && strings.HasSuffix(name, "_ucode.img") {
			continue
		}
		if err != nil {
			return nil, notSystemRescue(err)
		}
		initrds = append(initrds, name)
	}
	for _, name := range append([]string{entry.Kernel}, entry.RootFiles...) {
		if err := exists(ctx, files, name); err != nil {
			return nil, notSystemRescue(err)
		}
	}
	return initrds, nil
}

// checkStockMedium finds out whether the medium has the boot loader and the menu that
// machines are sent to with -loader stock. The warning, if there is one, is a line.
func checkStockMedium(ctx context.Context, files, medium asset.FileSource, system pxe.SystemRescue) (warning string, err error) {
	menu, err := bootcfg.SystemRescue(system).StockMenu()
	if err != nil {
		return "", err
	}
	config := path.Join(strings.TrimPrefix(menu.Program.PathPrefix, "/"), menu.Program.ConfigFile)
	for _, name := range []string{menu.Program.File, config} {
		if err := exists(ctx, files, name); err != nil {
			return "", fmt.Errorf("-loader stock is for media that bring a boot loader and a menu for BIOS machines: %w", err)
		}
	}
	if _, ok := medium.(*asset.ISO); !ok {
		warning = "warning: the medium's own menu begins with NBD, which serves the ISO image, and -media is a directory: choose HTTP in the menu, or give the ISO\n"
	}
	return warning, nil
}

func exists(ctx context.Context, files asset.FileSource, name string) error {
	file, err := files.OpenFile(ctx, name)
	if err != nil {
		return err
	}
	return file.Close()
}

func notSystemRescue(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("it has no %s, so it is no SystemRescue medium (x86_64, 6.0 or later)", path.Path)
	}
	return fmt.Errorf("it cannot be read: %w", err)
}
