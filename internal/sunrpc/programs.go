package sunrpc

import "fmt"

// Program numbers (RFC 1833 and RFC 1813).
const (
	Portmapper = 100000
	NFS        = 100003
	Mount      = 100005
)

// Version3 is the version of NFS and of MOUNT that boot code speaks.
const Version3 = 3

const (
	portmapVersion = 2
	protocolTCP    = 6

	maxHandle = 64 // NFS3_FHSIZE
	attrSize  = 84 // fattr3
)

// GetPort asks the portmapper for the TCP port of a program's version; 0: it has
// none. A portmapper that has another version of the program may answer with that
// one's port.
func (c *Client) GetPort(program, version uint32) (uint32, error) {
	const getPort = 3
	results, err := c.call(Portmapper, portmapVersion, getPort, credNone(), appendUint32(nil, program, version, protocolTCP, 0))
	if err != nil {
		return 0, err
	}
	d := decoder{rest: results}
	port := d.uint32()
	if port > 65535 {
		return 0, fmt.Errorf("%w: port %d", ErrMalformed, port)
	}
	return port, d.err()
}

// A Status is a state other than 0 that MOUNT or NFS answers: mountstat3 or
// nfsstat3 of RFC 1813, which have the same numbers for the same things.
type Status uint32

// States of RFC 1813, section 2.6.
const (
	NotPermitted Status = 1
	NoEntry      Status = 2
	AccessDenied Status = 13
	NotDirectory Status = 20
	BadHandle    Status = 10001
	Stale        Status = 70
)

func (s Status) Error() string { return fmt.Sprintf("the server answers state %d", uint32(s)) }

// Handle is a file handle of NFS version 3: up to 64 bytes.
type Handle []byte

// MountPath asks MOUNT for the handle of an export (MNT), without credentials, as
// nfsmount does. Its errors may be a [Status].
func (c *Client) MountPath(path string) (Handle, error) {
	const mnt = 1
	results, err := c.call(Mount, Version3, mnt, credNone(), appendOpaque(nil, path))
	if err != nil {
		return nil, err
	}
	return parseMount(results)
}

func parseMount(results []byte) (Handle, error) {
	d := decoder{rest: results}
	status := Status(d.uint32())
	if status != 0 && !d.failed {
		return nil, status
	}
	return parseHandle(&d)
}

// parseHandle reads a handle, which no server has empty.
func parseHandle(d *decoder) (Handle, error) {
	h := Handle(d.opaque(maxHandle))
	if d.failed || len(h) == 0 {
		return nil, ErrMalformed
	}
	return h, nil
}

// Unmount tells MOUNT that the export is not in use any more (UMNT).
func (c *Client) Unmount(path string) error {
	const umnt = 3
	_, err := c.call(Mount, Version3, umnt, credNone(), appendOpaque(nil, path))
	return err
}

// Ping calls the procedure that does nothing (NULL).
func (c *Client) Ping(program, version uint32) error {
	_, err := c.call(program, version, 0, credNone(), nil)
	return err
}

// File types of RFC 1813, section 2.5 (ftype3).
const (
	Regular   = 1
	Directory = 2
	Symlink   = 5
)

// Attr is what of a file's attributes is of use here.
type Attr struct {
	Type uint32 // such as [Regular]
	Mode uint32 // permission bits
	Size uint64 // in bytes
}

// GetAttr returns a file's attributes (GETATTR). Its errors may be a [Status].
func (c *Client) GetAttr(h Handle) (Attr, error) {
	const getAttr = 1
	results, err := c.call(NFS, Version3, getAttr, credRoot(), appendOpaque(nil, h))
	if err != nil {
		return Attr{}, err
	}
	return parseAttr(results)
}

func parseAttr(results []byte) (Attr, error) {
	d := decoder{rest: results}
	if status := Status(d.uint32()); status != 0 && !d.failed {
		return Attr{}, status
	}
	a := Attr{Type: d.uint32(), Mode: d.uint32() & 0o7777}
	d.take(12) // links, owner, group
	a.Size = d.uint64()
	d.take(attrSize - 28)
	if d.failed {
		return Attr{}, ErrMalformed
	}
	return a, nil
}

// Lookup returns the handle of what has that name in a directory (LOOKUP). Its
// errors may be a [Status].
func (c *Client) Lookup(dir Handle, name string) (Handle, error) {
	const lookup = 3
	args := appendOpaque(appendOpaque(nil, dir), name)
	results, err := c.call(NFS, Version3, lookup, credRoot(), args)
	if err != nil {
		return nil, err
	}
	return parseLookup(results)
}

func parseLookup(results []byte) (Handle, error) {
	d := decoder{rest: results}
	if status := Status(d.uint32()); status != 0 && !d.failed {
		return nil, status
	}
	return parseHandle(&d)
}

// Readable tells whether the server lets root, as which boot code comes, read a
// file (ACCESS). Its errors may be a [Status].
func (c *Client) Readable(h Handle) (bool, error) {
	const access, accessRead = 4, 1
	results, err := c.call(NFS, Version3, access, credRoot(), appendUint32(appendOpaque(nil, h), accessRead))
	if err != nil {
		return false, err
	}
	granted, err := parseAccess(results)
	return granted&accessRead != 0, err
}

func parseAccess(results []byte) (granted uint32, err error) {
	d := decoder{rest: results}
	if status := Status(d.uint32()); status != 0 && !d.failed {
		return 0, status
	}
	if d.uint32() != 0 {
		d.take(attrSize)
	}
	granted = d.uint32()
	return granted, d.err()
}
