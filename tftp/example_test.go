package tftp_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"os"
	"strings"
	"testing/fstest"

	pin "github.com/pin/tftp/v3"

	"github.com/pxekit/pxe/tftp"
)

// A server of files, on a port that needs no privilege: 0 takes a free one.
func ExampleServer() {
	files := fstest.MapFS{"boot/hello": {Data: []byte("hello, bare machine")}}
	server := &tftp.Server{
		Handler: tftp.FileHandler(func(_ context.Context, r *tftp.Request) (fs.File, error) {
			return files.Open(r.Name)
		}),
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- server.Serve(conn) }()

	fmt.Println(fetch(conn.LocalAddr(), "/boot/hello"))

	if err := server.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-served)
	// Output:
	// hello, bare machine
	// pxe: server closed
}

// A directory is served through os.Root, which no symbolic link leads out of.
func ExampleFileHandler() {
	root, err := os.OpenRoot("testdata")
	if err != nil {
		log.Fatal(err)
	}
	defer root.Close()
	files := root.FS()
	handler := tftp.FileHandler(func(_ context.Context, r *tftp.Request) (fs.File, error) {
		return files.Open(r.Name)
	})
	addr, stop := serve(&tftp.Server{Handler: handler})
	defer stop()
	fmt.Println(fetch(addr, "menu.cfg"))
	// Output: DEFAULT rescue
}

// A handler decides by who asks, and chooses what is refused how.
func ExampleHandlerFunc() {
	handler := tftp.HandlerFunc(func(_ context.Context, t *tftp.Transfer) error {
		r := t.Request()
		if r.Name != "grub/grub.cfg" {
			return fs.ErrNotExist
		}
		if !r.Remote.Addr().IsLoopback() {
			return &tftp.Error{Code: tftp.CodeAccessViolation, Message: "not for this machine"}
		}
		_, err := t.ReadFrom(strings.NewReader("set timeout=5"))
		return err
	})
	addr, stop := serve(&tftp.Server{Handler: handler})
	defer stop()
	fmt.Println(fetch(addr, "grub/grub.cfg"))
	// Output: set timeout=5
}

// A handler that was written for github.com/pin/tftp/v3.
func ExampleReadHandler() {
	readHandler := func(filename string, rf io.ReaderFrom) error {
		content := "you asked for " + filename
		rf.(pin.OutgoingTransfer).SetSize(int64(len(content)))
		_, err := rf.ReadFrom(strings.NewReader(content))
		return err
	}
	addr, stop := serve(&tftp.Server{Handler: tftp.ReadHandler(readHandler)})
	defer stop()
	fmt.Println(fetch(addr, "pxelinux.0"))
	// Output: you asked for pxelinux.0
}

// What happened to each request, and what was dropped.
func ExampleTrace() {
	ended := make(chan string, 1)
	server := &tftp.Server{
		Handler: tftp.ReadHandler(func(_ string, rf io.ReaderFrom) error {
			_, err := rf.ReadFrom(strings.NewReader("0123456789"))
			return err
		}),
		Trace: &tftp.Trace{
			Done: func(r *tftp.Request, result tftp.Result) {
				ended <- fmt.Sprintf("%s: %d of %d bytes, error %v", r.Name, result.Bytes, result.Size, result.Err)
			},
		},
	}
	addr, stop := serve(server)
	defer stop()
	fetch(addr, "digits")
	fmt.Println(<-ended)
	// Output: digits: 10 of 10 bytes, error <nil>
}

func serve(s *tftp.Server) (addr net.Addr, stop func()) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go s.Serve(conn)
	return conn.LocalAddr(), func() { s.Close() }
}

// fetch is what a machine does, by another TFTP library.
func fetch(addr net.Addr, name string) string {
	client, err := pin.NewClient(addr.String())
	if err != nil {
		log.Fatal(err)
	}
	transfer, err := client.Receive(name, "octet")
	if err != nil {
		log.Fatal(err)
	}
	var content strings.Builder
	if _, err := transfer.WriteTo(&content); err != nil {
		log.Fatal(err)
	}
	return strings.TrimSpace(content.String())
}
