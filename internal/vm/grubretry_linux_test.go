package vm

import (
	"context"
	"io/fs"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/dhcp"
)

// failingOnce is a source in which one file is missing once, from when it is armed.
type failingOnce struct {
	asset.FileSource
	name   string
	armed  atomic.Bool
	failed atomic.Bool
}

// OpenFile implements [asset.FileSource].
func (f *failingOnce) OpenFile(ctx context.Context, name string) (asset.File, error) {
	if name == f.name && f.armed.Load() && f.failed.CompareAndSwap(false, true) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return f.FileSource.OpenFile(ctx, name)
}

// bootGRUBRetries boots a machine by GRUB whose last initrd is not there when it first
// asks for it, with the kernel loaded already. A GRUB that then loads the kernel once
// more starts it with an empty command line: it hangs, and says nothing.
func bootGRUBRetries(t *testing.T, ctx context.Context) time.Duration {
	s := newSegment(t, ctx)
	srv := rescueServer(t, s.medium)
	files := &failingOnce{name: "sysresccd/boot/x86_64/sysresccd.img",
		FileSource: asset.Overlay(asset.Memory{"grubia32.efi": GRUBIA32.read(t, ctx)}, srv.Files)}
	srv.Files, srv.Loader = files, dhcp.FamilyGRUB
	srv.OnEvent = func(e pxe.Event) {
		if e.Stage == pxe.StageKernel && e.Done && e.Err == nil && !e.Aborted {
			files.armed.Store(true)
		}
	}
	l := startLibrary(t, ctx, s, srv, false)
	t.Cleanup(func() {
		if t.Failed() || testing.Verbose() {
			t.Logf("library:\n%s", l)
		}
	})
	m := s.boot(t, ctx, Machine{Firmware: UEFIIA32, NICs: []NIC{s.nic(1)}})

	cmdline := see(t, ctx, m, `PXEKIT cmdline (.*)`)[1]
	require.True(t, files.failed.Load(), "the initrd was asked for while it was missing")
	require.True(t, strings.HasPrefix(cmdline, "BOOT_IMAGE=(http,192.0.2.1)/~"), cmdline)
	require.Contains(t, cmdline, "archiso_http_srv=http://192.0.2.1/~")
	see(t, ctx, m, `PXEKIT checksum ok`)
	checked, content, err := m.Console.WaitFor(ctx, `PXEKIT root-content ok (\S+)`)
	require.NoError(t, err)
	require.Equal(t, s.medium.Content, content[1])
	see(t, ctx, m, `PXEKIT up`)

	kernels, missing := 0, 0
	for _, e := range l.events(t) {
		if e.Stage == pxe.StageKernel && e.Done && e.Err == nil && !e.Aborted {
			kernels++
		}
		if e.Stage == pxe.StageInitrd && e.Err != nil {
			require.ErrorIs(t, e.Err, fs.ErrNotExist, "%v", e)
			missing++
		}
	}
	require.Equal(t, 1, kernels, "the kernel is not loaded twice")
	require.Equal(t, 1, missing)
	return checked.At
}
