package rootfs

import "context"

// CheckWithPortmapper is Check with the portmapper on another port.
func (n NFS) CheckWithPortmapper(ctx context.Context, port uint16, files ...string) error {
	return n.check(ctx, port, files)
}
