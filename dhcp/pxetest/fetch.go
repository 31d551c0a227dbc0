package pxetest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// agent is a program that fetches files, with its habits.
type agent struct {
	blockSize int
	tries     int
	wait      time.Duration
	http      *httpClient // nil: TFTP only
}

// romAgent: PXE 2.1 has six tries of four seconds to open a file.
func romAgent(f Firmware) agent {
	if f.uefi() {
		return agent{blockSize: 1468, tries: 6, wait: 4 * time.Second}
	}
	return agent{blockSize: 1456, tries: 6, wait: 4 * time.Second}
}

// pxelinuxAgent: only lpxelinux.0 has HTTP, version 1.0 and without redirects.
func pxelinuxAgent(http bool) agent {
	a := agent{blockSize: 1408, tries: 6, wait: 3 * time.Second}
	if http {
		a.http = &httpClient{version: "1.0", headers: "User-Agent: Syslinux/6.04\r\nConnection: close\r\n"}
	}
	return a
}

func ipxeAgent() agent {
	return agent{blockSize: 1432, tries: 8, wait: 2 * time.Second, http: &httpClient{
		version: "1.1", headers: "Connection: keep-alive\r\nUser-Agent: iPXE/1.21.1\r\n",
		redirect: true, chunked: true, retry: true,
	}}
}

// curlAgent is what archiso's initramfs calls: redirects are followed, certificates
// are not checked, nothing is tried again, and TFTP is at 512-byte blocks.
func curlAgent() agent {
	return agent{blockSize: 512, tries: 6, wait: 6 * time.Second, http: &httpClient{
		version: "1.1", headers: "User-Agent: curl/8.5.0\r\nAccept: */*\r\n", redirect: true, chunked: true, tls: true,
	}}
}

// source is where a file is: by HTTP, or by TFTP under a name that may be anything.
type source struct {
	url  *url.URL
	name string // over TFTP
}

func tftpSource(server netip.Addr, name string) source {
	return source{&url.URL{Scheme: "tftp", Host: server.String(), Path: "/" + strings.TrimLeft(name, "/")}, name}
}

func urlSource(u *url.URL) (source, error) {
	switch u.Scheme {
	case "http", "https":
		return source{url: u}, nil
	case "tftp":
		return source{u, strings.TrimPrefix(u.Path, "/")}, nil
	}
	return source{}, fmt.Errorf("%w: %s: the machine speaks http, https and tftp, not %q", ErrTransfer, u, u.Scheme)
}

// isURL tells a URL from a TFTP name.
func isURL(s string) bool { return strings.Contains(s, "://") }

func parseSource(s string) (source, error) {
	u, err := url.Parse(s)
	if err != nil {
		return source{}, fmt.Errorf("%w: %q is not a URL", ErrTransfer, s)
	}
	return urlSource(u)
}

// String is how the file appears in Boot.
func (s source) String() string {
	if s.url.Scheme == "tftp" {
		return s.name
	}
	return s.url.String()
}

// fetch gets a file, writes it to w if that is not nil, and records it.
func (r *run) fetch(a agent, stage Stage, at source, w io.Writer) (File, error) {
	f := File{Name: at.String(), Protocol: at.url.Scheme, Stage: stage}
	r.step(Step{Stage: stage, Name: f.Name, Total: -1})
	hash := sha256.New()
	out := io.Writer(hash)
	if w != nil {
		out = io.MultiWriter(hash, w)
	}
	var told int64
	total := int64(-1)
	progress := func(done, size int64) {
		total = size
		if done-told >= max(size/64, 256<<10) {
			told = done
			r.step(Step{Stage: stage, Name: f.Name, Bytes: done, Total: size})
		}
	}
	started := time.Now()
	var err error
	if at.url.Scheme == "tftp" && r.m.Firmware.http() {
		err = fmt.Errorf("%w: this machine boots by HTTP and does without TFTP", ErrTransfer)
	} else if at.url.Scheme == "tftp" {
		var c *tftpClient
		if c, err = r.tftp(a, at); err == nil {
			f.Size, err = c.get(r.ctx, at.name, out, progress)
		}
	} else if a.http == nil {
		err = fmt.Errorf("%w: this loader has no HTTP, only TFTP", ErrTransfer)
	} else {
		c := *a.http
		c.dial, c.ports = r.link.dial, r.link.ports()
		f.Size, err = c.get(r.ctx, at.url, out, progress)
	}
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			r.boot.Missing = append(r.boot.Missing, f.Name)
		}
		err = fmt.Errorf("%s: %w", f.Name, err)
		r.step(Step{Stage: stage, Name: f.Name, Bytes: f.Size, Total: total, Done: true, Err: err})
		return f, err
	}
	f.Duration = time.Since(started)
	f.SHA256 = hex.EncodeToString(hash.Sum(nil))
	r.boot.Files = append(r.boot.Files, f)
	r.step(Step{Stage: stage, Name: f.Name, Bytes: f.Size, Total: max(total, f.Size), Done: true})
	return f, nil
}

func (r *run) tftp(a agent, at source) (*tftpClient, error) {
	server, err := hostPort(at.url, r.link.ports().TFTP)
	if err != nil {
		return nil, err
	}
	return &tftpClient{open: r.link.packetConn, server: server, blockSize: a.blockSize, tries: a.tries, wait: a.wait}, nil
}

// maxText bounds configuration files and scripts.
const maxText = 1 << 20

// fetchText gets a file that must be small, whole.
func (r *run) fetchText(a agent, stage Stage, at source) (string, error) {
	var head headWriter
	f, err := r.fetch(a, stage, at, &head)
	if err != nil {
		return "", err
	}
	if f.Size > maxText {
		return "", fmt.Errorf("%w: %s has %d bytes, more than %d", ErrConfig, f.Name, f.Size, maxText)
	}
	return string(head), nil
}

// headWriter keeps the first maxText bytes.
type headWriter []byte

func (h *headWriter) Write(b []byte) (int, error) {
	*h = append(*h, b[:min(len(b), maxText-len(*h))]...)
	return len(b), nil
}
