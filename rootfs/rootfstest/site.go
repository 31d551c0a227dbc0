package rootfstest

import (
	"context"
	"io/fs"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/pxekit/pxe/rootfs"
)

// site is the rootfs.Site of a transport under test, which keeps what it is told.
type site struct {
	files  fs.FS
	silent bool // offer nothing: the zero Site

	mu       sync.Mutex
	opened   []string
	given    int // files
	closed   int
	open     map[sessionKey]int // sessions that began and did not end
	sessions []rootfs.Session   // those that ended
	began    int
	problems []string
}

// plainReason is what fits into a metric's label.
var plainReason = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,39}$`)

// sessionKey is what an Ended has in common with its Began.
type sessionKey struct {
	client       netip.AddrPort
	bootID, name string
	size         int64
}

func keyOf(s rootfs.Session) sessionKey { return sessionKey{s.Client, s.BootID, s.Name, s.Size} }

func (s *suite) site() *site { return &site{files: s.files, open: make(map[sessionKey]int)} }

// public returns what the transport gets.
func (s *site) public() rootfs.Site {
	if s.silent {
		return rootfs.Site{}
	}
	return rootfs.Site{Open: s.openFile, Began: s.sessionBegan, Ended: s.sessionEnded, Dropped: s.dropped}
}

func (s *site) openFile(ctx context.Context, name string) (fs.File, error) {
	s.mu.Lock()
	s.opened = append(s.opened, name)
	if ctx == nil {
		s.problems = append(s.problems, "it calls Site.Open with a nil context")
	}
	if !fs.ValidPath(name) {
		s.problems = append(s.problems, "it opens the name "+quote(name)+", which is none that fs.ValidPath accepts")
	}
	s.mu.Unlock()
	file, err := s.files.Open(name)
	if err != nil {
		return nil, err
	}
	readable, ok := file.(readerAtFile)
	if !ok {
		return file, nil // a directory
	}
	s.mu.Lock()
	s.given++
	s.mu.Unlock()
	return &countedFile{readerAtFile: readable, close: sync.OnceFunc(func() {
		s.mu.Lock()
		s.closed++
		s.mu.Unlock()
	})}, nil
}

func (s *site) sessionBegan(session rootfs.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began++
	s.open[keyOf(session)]++
	if !session.Client.IsValid() {
		s.problems = append(s.problems, "Began has no Client: say where the connection came from")
	}
	if session.Bytes != 0 || session.Err != nil || session.Aborted {
		s.problems = append(s.problems, "Began has Bytes, Err or Aborted, which are set when the session has ended")
	}
}

func (s *site) sessionEnded(session rootfs.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := keyOf(session)
	if s.open[key] == 0 {
		s.problems = append(s.problems, "Ended is told of a session of "+quote(session.Name)+" that did not begin, "+
			"or ended before, or began with another Client, BootID, Name or Size")
		return
	}
	if s.open[key]--; s.open[key] == 0 {
		delete(s.open, key)
	}
	s.sessions = append(s.sessions, session)
	switch {
	case session.Bytes < 0 || session.Size < 0:
		s.problems = append(s.problems, "a session has a negative Size or Bytes")
	case session.Aborted && session.Err == nil:
		s.problems = append(s.problems, "a session is Aborted without Err: Aborted says that Err is the client's doing")
	}
}

func (s *site) dropped(reason string, client netip.AddrPort, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !plainReason.MatchString(reason) {
		s.problems = append(s.problems, "it tells Site.Dropped the reason "+quote(reason)+": it is a short fixed name, such as \"timeout\"; the error says more")
	}
	if !client.IsValid() {
		s.problems = append(s.problems, "Dropped has no client: say where the connection came from")
	}
}

// settle judges what was told once Serve has returned: nothing more can come.
func (s *site) settle(r *report, after string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.problems {
		r.add("%s", p)
	}
	for key, n := range s.open {
		r.add("Serve returns after %s and %d sessions of %q that began did not end: each that began ends once", after, n, key.name)
	}
	if s.closed < s.given {
		r.add("Serve returns after %s with %d files open that it got from Site.Open: close each", after, s.given-s.closed)
	}
}

func (s *site) openedNames() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened
}

type readerAtFile interface {
	fs.File
	ReadAt(p []byte, off int64) (int, error)
}

// countedFile is a file whose Close is counted. It stays an io.ReaderAt; other
// methods are hidden.
type countedFile struct {
	readerAtFile
	close func()
}

// Close implements fs.File.
func (f *countedFile) Close() error {
	f.close()
	return f.readerAtFile.Close()
}

// anyName has a file of fileSize bytes by every name.
type anyName struct{}

const fileSize = 16 << 10

// Open implements fs.FS.
func (anyName) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	return &madeUp{Reader: strings.NewReader(strings.Repeat("0123456789abcde\n", fileSize/16)), name: name}, nil
}

type madeUp struct {
	*strings.Reader
	name string
}

func (f *madeUp) Close() error               { return nil }
func (f *madeUp) Stat() (fs.FileInfo, error) { return f, nil }
func (f *madeUp) Name() string               { return f.name[strings.LastIndex(f.name, "/")+1:] }
func (f *madeUp) Mode() fs.FileMode          { return 0o444 }
func (f *madeUp) ModTime() time.Time         { return time.Unix(1700000000, 0) }
func (f *madeUp) IsDir() bool                { return false }
func (f *madeUp) Sys() any                   { return nil }
