package pxetest

import (
	"fmt"
	"path"
	"strings"
)

// httpBootAgent is UEFI HTTP Boot: no TFTP, no redirects, no HTTPS without a
// certificate that somebody enrolled.
func httpBootAgent() agent {
	return agent{http: &httpClient{version: "1.1", chunked: true,
		headers: "Accept: */*\r\nUser-Agent: UefiHttpBoot/1.0\r\n"}}
}

// httpBootFile is UEFI HTTP Boot after its DHCP exchange: HEAD for size and kind,
// then GET.
func (r *run) httpBootFile() error {
	r.step(Step{Stage: StageLoader, Name: r.lease.BootFile, Total: -1})
	at, err := parseSource(r.lease.BootFile)
	if err != nil {
		return err
	}
	if at.url.Scheme == "tftp" {
		return fmt.Errorf("%w: %q: UEFI HTTP Boot has no TFTP", ErrLoader, at)
	}
	a := httpBootAgent()
	c := *a.http
	c.dial, c.ports = r.link.dial, r.link.ports()
	size, contentType, err := c.head(r.ctx, at.url)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	if size < 0 {
		return fmt.Errorf("%w: the answer to HEAD %s has no Content-Length", ErrLoader, at)
	}
	if strings.ToLower(path.Ext(at.url.Path)) != ".efi" && contentType != "application/efi" {
		return fmt.Errorf("%w: %s is no UEFI program to this firmware: neither does its name end in .efi, nor is its Content-Type application/efi but %q", ErrLoader, at, contentType)
	}
	if err := r.fits(at.url.Path); err != nil {
		return err
	}
	f, err := r.fetch(a, StageLoader, at, nil)
	if err != nil {
		return err
	}
	if f.Size == 0 || size != f.Size {
		return fmt.Errorf("%w: %q has %d bytes, HEAD said %d", ErrLoader, at, f.Size, size)
	}
	return r.startLoader(at)
}
