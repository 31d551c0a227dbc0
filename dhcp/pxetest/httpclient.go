package pxetest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// httpClient sends requests as one of the real clients does, each on a connection
// of its own. It is not net/http's, whose requests look like none of them.
type httpClient struct {
	dial     func(ctx context.Context, addr netip.AddrPort) (net.Conn, error)
	ports    Ports  // of URLs that name none
	version  string // "1.0" or "1.1"
	headers  string // lines after Host
	redirect bool
	chunked  bool // understands chunked bodies
	retry    bool // honours 503 with Retry-After
	tls      bool // speaks HTTPS, and does not look at the certificate
}

const (
	maxRedirects = 10
	maxRetries   = 5
)

// HTTPError is an answer other than 200. It is fs.ErrNotExist for 404 and
// fs.ErrPermission for 403.
type HTTPError struct {
	// URL is what was asked for, Status the answer's status code.
	URL    string
	Status int
}

// Error implements error.
func (e *HTTPError) Error() string {
	return fmt.Sprintf("the HTTP server says %d %s to GET %s", e.Status, http.StatusText(e.Status), e.URL)
}

// Is makes errors.Is see what the status means.
func (e *HTTPError) Is(target error) bool {
	return e.Status == http.StatusNotFound && target == fs.ErrNotExist ||
		e.Status == http.StatusForbidden && target == fs.ErrPermission
}

// get fetches u and writes the body to w; progress gets -1 for an unknown size.
func (c *httpClient) get(ctx context.Context, u *url.URL, w io.Writer, progress func(done, total int64)) (int64, error) {
	redirects, retries := 0, 0
	for {
		n, response, err := c.once(ctx, u, w, progress)
		if err != nil && ctx.Err() != nil {
			err = ctx.Err() // not that of the connection closed by it
		}
		if response == nil {
			return n, err
		}
		location := response.Header.Get("Location")
		switch {
		case c.redirect && response.StatusCode/100 == 3 && location != "" && redirects < maxRedirects:
			redirects++
			to, err := u.Parse(location)
			if err != nil {
				return 0, fmt.Errorf("%w: redirected to %q", ErrTransfer, location)
			}
			u = to
		case c.retry && response.StatusCode == http.StatusServiceUnavailable && retries < maxRetries:
			retries++
			seconds, err := strconv.ParseUint(response.Header.Get("Retry-After"), 10, 16)
			if err != nil {
				return 0, &HTTPError{u.String(), response.StatusCode}
			}
			if err := sleep(ctx, time.Duration(seconds)*time.Second); err != nil {
				return 0, err
			}
		default:
			return 0, &HTTPError{u.String(), response.StatusCode}
		}
	}
}

// once returns the response if its status is not 200.
func (c *httpClient) once(ctx context.Context, u *url.URL, w io.Writer, progress func(done, total int64)) (int64, *http.Response, error) {
	response, end, err := c.ask(ctx, http.MethodGet, u)
	if err != nil {
		return 0, nil, err
	}
	defer end()
	if response.StatusCode != http.StatusOK {
		return 0, response, nil
	}
	if response.TransferEncoding != nil && !c.chunked {
		return 0, nil, fmt.Errorf("%w: GET %s: the answer is chunked, which this client does not understand", ErrTransfer, u)
	}
	n, err := copyWithProgress(w, response.Body, response.ContentLength, progress)
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%d of %d bytes came", n, response.ContentLength)
		}
		return n, nil, fmt.Errorf("%w: GET %s: %w", ErrTransfer, u, err)
	}
	return n, nil, nil
}

// head asks for the size of a file, -1 if it is not told, and its media type.
func (c *httpClient) head(ctx context.Context, u *url.URL) (int64, string, error) {
	response, end, err := c.ask(ctx, http.MethodHead, u)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return 0, "", err
	}
	defer end()
	if response.StatusCode != http.StatusOK {
		return 0, "", &HTTPError{u.String(), response.StatusCode}
	}
	return response.ContentLength, response.Header.Get("Content-Type"), nil
}

// ask sends a request and reads the head of the answer. end closes the connection.
func (c *httpClient) ask(ctx context.Context, method string, u *url.URL) (response *http.Response, end func(), err error) {
	if u.Scheme != "http" && (u.Scheme != "https" || !c.tls) {
		return nil, nil, fmt.Errorf("%w: %s: this program does not speak %s", ErrTransfer, u, u.Scheme)
	}
	port := c.ports.HTTP
	if u.Scheme == "https" {
		port = c.ports.HTTPS
	}
	addr, err := hostPort(u, port)
	if err != nil {
		return nil, nil, err
	}
	conn, err := c.dial(ctx, addr)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %s %s: %w", ErrTransfer, method, u, err)
	}
	if u.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // as curl -k does
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	end = func() {
		stop()
		conn.Close()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/%s\r\nHost: %s\r\n%s\r\n", method, u.RequestURI(), c.version, u.Host, c.headers)
	if _, err = io.WriteString(conn, b.String()); err == nil {
		response, err = http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	}
	if err != nil {
		end()
		return nil, nil, fmt.Errorf("%w: %s %s: %w", ErrTransfer, method, u, err)
	}
	return response, end, nil
}

func copyWithProgress(w io.Writer, r io.Reader, total int64, progress func(done, total int64)) (int64, error) {
	b := make([]byte, 64<<10)
	var done int64
	for {
		n, err := r.Read(b)
		if n > 0 {
			if _, err := w.Write(b[:n]); err != nil {
				return done, err
			}
			done += int64(n)
			progress(done, total)
		}
		if err == io.EOF {
			return done, nil
		}
		if err != nil {
			return done, err
		}
	}
}

// hostPort is the address in a URL. The machine has no resolver: a boot server
// gives IP literals.
func hostPort(u *url.URL, port uint16) (netip.AddrPort, error) {
	addr, err := netip.ParseAddr(u.Hostname())
	if err != nil || !addr.Is4() {
		return netip.AddrPort{}, fmt.Errorf("%w: the host in %s is not an IPv4 address, and the machine has no resolver", ErrTransfer, u)
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("%w: the port in %s", ErrTransfer, u)
		}
		port = uint16(n)
	}
	return netip.AddrPortFrom(addr, port), nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
