package nbd_test

import (
	"context"
	"fmt"
	"io/fs"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/pojntfx/go-nbd/pkg/backend"

	"github.com/pxekit/pxe/rootfs/nbd"
)

// A file as an export, on a port that needs no privilege: 0 takes a free one.
func ExampleServer() {
	image := filepath.Join(os.TempDir(), "nbd-example.iso")
	if err := os.WriteFile(image, make([]byte, 2048), 0o600); err != nil {
		log.Fatal(err)
	}
	defer os.Remove(image)

	server := &nbd.Server{Exports: []nbd.Export{{
		Name: "archiso",
		Open: func(context.Context) (backend.Backend, error) {
			f, err := os.Open(image)
			if err != nil {
				return nil, err
			}
			return nbd.File(f) // which closes it with the connection
		},
	}}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- server.Serve(l) }()
	// A machine says: nbd-client HOST PORT -N archiso /dev/nbd0

	if err := server.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-served)
	// Output: pxe: server closed
}

// A backend that was written for github.com/pojntfx/go-nbd plugs in unchanged.
// This one stays open, as all connections share it.
func ExampleExport() {
	f, err := os.Open("example_test.go")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	shared := backend.NewFileBackend(f)

	server := &nbd.Server{Exports: []nbd.Export{{
		Name:        "example",
		Description: "the text of this example",
		Open:        func(context.Context) (backend.Backend, error) { return shared, nil },
	}}}
	fmt.Println(server.Validate())
	// Output: <nil>
}

// Anything that can be read at an offset is an export.
func ExampleReaderAt() {
	b := nbd.ReaderAt(strings.NewReader("an image in memory"), 18)
	size, err := b.Size()
	fmt.Println(size, err)
	_, err = b.WriteAt([]byte("a"), 0)
	fmt.Println(err)
	// Output:
	// 18 <nil>
	// nbd: the export is read-only
}

// Files of a directory under their own names, as clients ask for them.
func ExampleServer_find() {
	root, err := os.OpenRoot(".")
	if err != nil {
		log.Fatal(err)
	}
	defer root.Close()
	server := &nbd.Server{Find: func(_ context.Context, name string) (*nbd.Export, error) {
		if !fs.ValidPath(name) {
			return nil, fs.ErrNotExist
		}
		return &nbd.Export{Name: name, Open: func(context.Context) (backend.Backend, error) {
			f, err := root.Open(name)
			if err != nil {
				return nil, err
			}
			b, err := nbd.File(f)
			if err != nil {
				f.Close()
			}
			return b, err
		}}, nil
	}}
	fmt.Println(server.Validate())
	// Output: <nil>
}

// What clients have read, and why they were turned away.
func ExampleTrace() {
	server := &nbd.Server{
		Exports: []nbd.Export{{Name: "archiso", Open: func(context.Context) (backend.Backend, error) {
			return nbd.ReaderAt(strings.NewReader("an image"), 8), nil
		}}},
		Trace: &nbd.Trace{
			Done: func(s nbd.Session, r nbd.Result) {
				log.Printf("%s has read %d bytes of %q: %v", s.Client, r.Bytes, s.Export, r.Err)
			},
		},
	}
	fmt.Println(server.Validate(), server.Drops())
	// Output: <nil> map[]
}
