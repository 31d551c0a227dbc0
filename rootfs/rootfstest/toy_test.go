package rootfstest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"

	"github.com/pxekit/pxe/rootfs"
)

// toy is the smallest transport that keeps all rules: a client sends
// "NAME~BOOTID\n" and gets the file. What it does wrong is its faults' doing.
type toy struct {
	faults faults

	mu      sync.Mutex
	stopped bool
	ls      map[net.Listener]struct{}
	conns   map[net.Conn]struct{}
	group   sync.WaitGroup
}

// faults replace parts of a toy by broken ones.
type faults struct {
	serve    func(t *toy, l net.Listener, site rootfs.Site) error
	shutdown func(t *toy, ctx context.Context) error
	closing  func(t *toy) error
	handle   func(t *toy, conn net.Conn, site rootfs.Site)
	session  func(s *rootfs.Session)                                    // before Began and Ended
	finished func(s *rootfs.Session)                                    // before Ended
	open     func(site *rootfs.Site)                                    // before Serve uses it
	close    func(file fs.File)                                         // instead of Close
	url      func(u *url.URL)                                           // before it is returned
	dropped  func(site rootfs.Site, line string, client netip.AddrPort) // instead of Dropped
	goodbye  func(site rootfs.Site, s rootfs.Session)
}

func (t *toy) RootURL(target rootfs.Target) (*url.URL, error) {
	if !target.NBD.IsValid() {
		return nil, &rootfs.TargetError{Transport: "toy", Reason: "there is no listener for it", Remedy: "give the server one"}
	}
	u := &url.URL{Scheme: "toy", Host: target.NBD.String(), Path: "/image~" + target.BootID}
	if t.faults.url != nil {
		t.faults.url(u)
	}
	return u, nil
}

func (t *toy) Serve(l net.Listener, site rootfs.Site) error {
	if t.faults.serve != nil {
		return t.faults.serve(t, l, site)
	}
	if t.faults.open != nil {
		t.faults.open(&site)
	}
	return t.serve(l, site)
}

func (t *toy) serve(l net.Listener, site rootfs.Site) error {
	defer l.Close()
	if !t.begin(l) {
		return rootfs.ErrServerClosed
	}
	defer t.group.Wait()
	for {
		conn, err := l.Accept()
		t.mu.Lock()
		if t.stopped || err != nil {
			defer t.mu.Unlock()
			if conn != nil {
				conn.Close()
			}
			for conn := range t.conns {
				conn.Close()
			}
			if t.stopped {
				return rootfs.ErrServerClosed
			}
			return fmt.Errorf("toy: %w", err)
		}
		t.conns[conn] = struct{}{}
		t.group.Add(1)
		t.mu.Unlock()
		go func() {
			defer t.group.Done()
			defer t.forget(conn)
			if t.faults.handle != nil {
				t.faults.handle(t, conn, site)
				return
			}
			t.handle(conn, site)
		}()
	}
}

func (t *toy) begin(l net.Listener) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return false
	}
	if t.ls == nil {
		t.ls, t.conns = make(map[net.Listener]struct{}), make(map[net.Conn]struct{})
	}
	t.ls[l] = struct{}{}
	return true
}

func (t *toy) forget(conn net.Conn) {
	conn.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, conn)
}

func (t *toy) handle(conn net.Conn, site rootfs.Site) {
	line, err := bufio.NewReader(io.LimitReader(conn, 100)).ReadString('\n')
	name, id, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "~")
	client := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	if err != nil || !ok || !fs.ValidPath(name) || site.Open == nil {
		if t.faults.dropped != nil {
			t.faults.dropped(site, line, client)
		} else if site.Dropped != nil {
			site.Dropped("malformed", client, err)
		}
		return
	}
	file, err := site.Open(context.Background(), name)
	if err != nil {
		return
	}
	if t.faults.close != nil {
		defer t.faults.close(file)
	} else {
		defer file.Close()
	}
	info, err := file.Stat()
	if err != nil {
		return
	}
	s := rootfs.Session{Client: client, BootID: id, Name: name, Size: info.Size()}
	if t.faults.session != nil {
		t.faults.session(&s)
	}
	if site.Began != nil {
		site.Began(s)
	}
	s.Bytes, s.Err = io.Copy(conn, file)
	s.Aborted = s.Err != nil
	if t.faults.finished != nil {
		t.faults.finished(&s)
	}
	if t.faults.goodbye != nil {
		t.faults.goodbye(site, s)
	} else if site.Ended != nil {
		site.Ended(s)
	}
}

// Shutdown of a toy waits for nobody: its clients may ask again.
func (t *toy) Shutdown(ctx context.Context) error {
	if t.faults.shutdown != nil {
		return t.faults.shutdown(t, ctx)
	}
	return t.stop()
}

func (t *toy) Close() error {
	if t.faults.closing != nil {
		return t.faults.closing(t)
	}
	return t.stop()
}

func (t *toy) stop() error {
	t.mu.Lock()
	t.stopped = true
	for l := range t.ls {
		l.Close()
	}
	t.mu.Unlock()
	t.group.Wait()
	return nil
}

// talk is the toy's client.
func talk(_ context.Context, conn net.Conn, u *url.URL) error {
	if _, err := fmt.Fprintf(conn, "%s\n", strings.TrimPrefix(u.Path, "/")); err != nil {
		return err
	}
	content, err := io.ReadAll(conn)
	if err == nil && len(content) != 16<<10 {
		err = fmt.Errorf("the image has %d bytes", len(content))
	}
	return err
}
