package pxe_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/internal/isowrite"
)

// readCounter is a source that counts what is read of its files. What the kernel
// sends of them by itself is not read.
type readCounter struct {
	asset.FileSource
	bytes atomic.Int64
}

func (c *readCounter) OpenFile(ctx context.Context, name string) (asset.File, error) {
	f, err := c.FileSource.OpenFile(ctx, name)
	if err != nil {
		return nil, err
	}
	return &countedFile{File: f, Extenter: f.(asset.Extenter), read: &c.bytes}, nil
}

type countedFile struct {
	asset.File
	asset.Extenter
	read *atomic.Int64
}

func (f *countedFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	f.read.Add(int64(n))
	return n, err
}

// Nothing that the server puts around connections or handlers may hide from
// net/http that the kernel can send files by itself. Over TLS, where it cannot,
// the same files are read.
func TestFilesOfAnImageGoBySendfile(t *testing.T) {
	content := bytes.Repeat([]byte("squashfs"), 1<<18)
	const name = "sysresccd/x86_64/airootfs.sfs"
	description := isowrite.Image{VolumeID: "RESCUE1200", Files: []isowrite.File{{Name: name, Data: content}}}
	image, err := description.Make()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "rescue.iso")
	require.NoError(t, os.WriteFile(path, image, 0o600))
	iso, err := asset.OpenISO(path)
	require.NoError(t, err)
	defer iso.Close()

	counter := &readCounter{FileSource: iso}
	srv := onLoopback()
	srv.Files, srv.TLS = counter, certificate(t)
	var sockets pxe.Sockets
	sockets.HTTP, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	sockets.HTTPS, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(sockets) }()
	defer func() {
		require.NoError(t, srv.Close())
		require.ErrorIs(t, <-served, pxe.ErrServerClosed)
	}()

	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // made for this test
	defer client.CloseIdleConnections()
	for _, test := range []struct {
		base string
		read int // how much of the file
	}{
		{"http://" + sockets.HTTP.Addr().String() + "/", 0},
		{"http://" + sockets.HTTP.Addr().String() + "/~abcdefghijklm/", 0}, // of a boot that is over
		{"https://" + sockets.HTTPS.Addr().String() + "/", len(content)},
	} {
		counter.bytes.Store(0)
		response, err := client.Get(test.base + name)
		require.NoError(t, err)
		got, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.True(t, bytes.Equal(content, got), test.base)
		require.EqualValues(t, test.read, counter.bytes.Load(), test.base)
	}
}
