package asset_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"

	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/internal/isowrite"
)

// rescueISO makes a small image that is laid out like SystemRescue's.
func rescueISO() (path string, cleanup func()) {
	dir, err := os.MkdirTemp("", "iso")
	if err != nil {
		log.Fatal(err)
	}
	image := isowrite.Image{VolumeID: "RESCUE1200", Files: isowrite.Bytes(map[string][]byte{
		"sysresccd/boot/x86_64/vmlinuz":       []byte("kernel"),
		"sysresccd/boot/syslinux/lpxelinux.0": []byte("loader"),
		"sysresccd/x86_64/airootfs.sfs":       []byte("root file system"),
	})}
	b, err := image.Make()
	if err != nil {
		log.Fatal(err)
	}
	path = filepath.Join(dir, "systemrescue.iso")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		log.Fatal(err)
	}
	return path, func() { _ = os.RemoveAll(dir) }
}

// An image is a file system and a source, without extracting or mounting it.
func ExampleOpenISO() {
	path, cleanup := rescueISO()
	defer cleanup()

	iso, err := asset.OpenISO(path)
	if err != nil {
		log.Fatal(err)
	}
	defer iso.Close()
	fmt.Println(iso.VolumeID())
	_ = fs.WalkDir(iso, "sysresccd/x86_64", func(name string, d fs.DirEntry, err error) error {
		fmt.Println(name)
		return err
	})
	f, err := iso.OpenFile(context.Background(), "SYSRESCCD/x86_64/airootfs.sfs")
	if err != nil {
		log.Fatal(err)
	}
	part := make([]byte, 4)
	_, err = f.ReadAt(part, 5)
	fmt.Println(string(part), err)
	// Output:
	// RESCUE1200
	// sysresccd/x86_64
	// sysresccd/x86_64/airootfs.sfs
	// file <nil>
}

// An unfinished download is refused at opening, with what is missing.
func ExampleIncompleteError() {
	path, cleanup := rescueISO()
	defer cleanup()
	if err := os.Truncate(path, 57344); err != nil {
		log.Fatal(err)
	}
	_, err := asset.OpenISO(path)
	var incomplete *asset.IncompleteError
	fmt.Println(errors.As(err, &incomplete))
	fmt.Println(incomplete.Name, incomplete.Want-incomplete.Size)
	// Output:
	// true
	// sysresccd/boot/x86_64/vmlinuz 2048
}

// Files of one's own come before the medium's, which come before the system's.
func ExampleOverlay() {
	path, cleanup := rescueISO()
	defer cleanup()
	iso, err := asset.OpenISO(path)
	if err != nil {
		log.Fatal(err)
	}
	defer iso.Close()

	files := asset.Overlay(
		asset.Memory{"motd": []byte("hello")},
		iso,
		asset.MediumLoaders(iso),
		asset.SystemLoaders(),
	)
	for _, name := range []string{"motd", "lpxelinux.0", "nothing"} {
		f, err := files.OpenFile(context.Background(), name)
		if err != nil {
			fmt.Println(err)
			continue
		}
		b, _ := io.ReadAll(f)
		fmt.Println(string(b))
		_ = f.Close()
	}
	// Output:
	// hello
	// loader
	// open nothing: file does not exist
}

// A directory cannot be left, by no name and no link.
func ExampleDir() {
	path, cleanup := rescueISO()
	defer cleanup()
	dir, err := asset.Dir(filepath.Dir(path))
	if err != nil {
		log.Fatal(err)
	}
	defer dir.Close()
	f, err := dir.OpenFile(context.Background(), "systemrescue.iso")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	_, err = dir.OpenFile(context.Background(), "../etc/passwd")
	fmt.Println(err)
	// Output: open ../etc/passwd: invalid argument
}

// Names that clients have burnt in are mapped to those of the medium.
func ExampleAlias() {
	src := asset.Alias(asset.Memory{"sysresccd/boot/x86_64/vmlinuz": []byte("kernel")},
		map[string]string{"vmlinuz": "sysresccd/boot/x86_64/vmlinuz"})
	f, err := src.OpenFile(context.Background(), "vmlinuz")
	if err != nil {
		log.Fatal(err)
	}
	b, _ := io.ReadAll(f)
	fmt.Println(string(b))
	// Output: kernel
}

// What to install for a loader that is missing.
func ExampleLoaderPackages() {
	for _, p := range asset.LoaderPackages("snponly.efi") {
		fmt.Println(p)
	}
	// Output:
	// ipxe (Debian)
	// ipxe-bootimgs-x86 (Fedora)
}
