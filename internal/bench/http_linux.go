package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// together runs f n times at once and returns what went wrong first.
func together(n int, f func(i int) error) error {
	var wg sync.WaitGroup
	errs := make(chan error, n)
	for i := range n {
		wg.Go(func() { errs <- f(i) })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// passes is how often a stream is repeated in one measurement, each time over a
// new connection: a GiB alone is over in a fifth of a second, and the ratios of
// CPU times then scatter by a tenth and more.
const passes = 4

// streams downloads a part of the big file over n connections at once, each
// another part where there are enough of them. take says what happens to the
// bytes: see receive and discard.
func streams(n int, size int64, take func(*download, int64) error) func(context.Context, *running) (sample, error) {
	return func(ctx context.Context, r *running) (sample, error) {
		start := time.Now()
		err := together(n, func(i int) error {
			first := int64(i) * size % bigSize
			for range passes {
				if err := stream(ctx, r.addr, first, size, take); err != nil {
					return err
				}
			}
			return nil
		})
		total := passes * int64(n) * size
		return sample{value: float64(total) / 1e6 / time.Since(start).Seconds(), bytes: total}, err
	}
}

func stream(ctx context.Context, addr string, first, size int64, take func(*download, int64) error) error {
	d, err := get(ctx, addr, bigName, first, size)
	if err != nil {
		return err
	}
	defer d.conn.Close()
	return take(d, size)
}

// download is a response whose header has been read.
type download struct {
	conn *net.TCPConn
	body *bufio.Reader // what came with the header is in its buffer
}

func dial(ctx context.Context, addr string) (*net.TCPConn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp4", addr)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		err = conn.SetDeadline(deadline)
	}
	return conn.(*net.TCPConn), err
}

func request(name, more string) []byte {
	return fmt.Appendf(nil, "GET /%s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n", name, more)
}

// get asks for size bytes of a file from offset first on.
func get(ctx context.Context, addr, name string, first, size int64) (*download, error) {
	conn, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	d := &download{conn: conn, body: bufio.NewReaderSize(conn, 4<<10)}
	response, err := d.ask(request(name, fmt.Sprintf("Range: bytes=%d-%d\r\n", first, first+size-1)))
	if err == nil && (response.StatusCode != http.StatusPartialContent || response.ContentLength != size) {
		err = fmt.Errorf("status %s, length %d instead of %d", response.Status, response.ContentLength, size)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return d, nil
}

func (d *download) ask(request []byte) (*http.Response, error) {
	if _, err := d.conn.Write(request); err != nil {
		return nil, err
	}
	return http.ReadResponse(d.body, nil)
}

// receive reads n bytes of the body into a buffer, as every real client does.
// On one machine that copy takes more of the CPUs than a server with sendfile.
func (d *download) receive(n int64) error {
	buffer := make([]byte, 1<<20)
	for n > 0 {
		m, err := d.body.Read(buffer[:min(n, int64(len(buffer)))])
		n -= int64(m)
		if err != nil && n > 0 {
			return err
		}
	}
	return nil
}

// nothing is where bytes go that are thrown away; the kernel does not write to it.
var nothing = make([]byte, 1<<20)

// discard has the kernel throw away n bytes of the body (tcp(7), MSG_TRUNC): the
// client takes next to nothing of the CPUs that it shares with the server, as if
// it were on another machine.
func (d *download) discard(n int64) error {
	buffered := min(n, int64(d.body.Buffered()))
	_, _ = d.body.Discard(int(buffered)) // it has them
	n -= buffered
	raw, err := d.conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Read(func(fd uintptr) (done bool) {
		for n > 0 {
			m, _, err := unix.Recvfrom(int(fd), nothing[:min(n, int64(len(nothing)))], unix.MSG_TRUNC|unix.MSG_DONTWAIT)
			switch {
			case errors.Is(err, unix.EAGAIN):
				return false
			case errors.Is(err, unix.EINTR):
				continue
			case err == nil && m == 0:
				err = io.ErrUnexpectedEOF
			}
			if err != nil {
				failed = err
				return true
			}
			n -= int64(m)
		}
		return true
	})
	return errors.Join(err, failed)
}

// smallTime is for how long small files are asked for.
const smallTime = 2 * time.Second

// smallFiles asks for small files, one after the other on each of some
// connections, and counts.
func smallFiles(ctx context.Context, r *running) (sample, error) {
	counts := make([]int, smallMany)
	start := time.Now()
	err := together(smallMany, func(i int) (err error) {
		counts[i], err = askAgain(ctx, r.addr, smallName(i), start.Add(smallTime))
		return err
	})
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return sample{value: float64(sum) / time.Since(start).Seconds(), bytes: int64(sum) * smallSize}, err
}

func askAgain(ctx context.Context, addr, name string, until time.Time) (n int, err error) {
	conn, err := dial(ctx, addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	ask := request(name, "")
	buffer := make([]byte, 16<<10)
	for ; time.Now().Before(until); n++ {
		if _, err := conn.Write(ask); err != nil {
			return n, err
		}
		if err := readSmall(conn, buffer); err != nil {
			return n, err
		}
	}
	return n, nil
}

// readSmall reads a whole response of one small file into the buffer, and costs
// less than net/http's client.
func readSmall(r io.Reader, buffer []byte) error {
	for have := 0; have < len(buffer); {
		m, err := r.Read(buffer[have:])
		have += m
		if header, body, ok := bytes.Cut(buffer[:have], []byte("\r\n\r\n")); ok {
			switch length, err := contentLength(header); {
			case err != nil:
				return err
			case !bytes.HasPrefix(header, []byte("HTTP/1.1 200 ")) || length != smallSize || len(body) > length:
				return fmt.Errorf("not the file asked for: %.200q", header)
			case len(body) == length:
				return nil
			}
		}
		if err != nil {
			return err
		}
	}
	return errors.New("response larger than its buffer")
}

func contentLength(header []byte) (int, error) {
	_, rest, ok := bytes.Cut(header, []byte("\r\nContent-Length: "))
	if !ok {
		return 0, fmt.Errorf("no Content-Length: %.200q", header)
	}
	digits, _, _ := bytes.Cut(rest, []byte("\r\n"))
	return strconv.Atoi(string(digits))
}
