package nbd

import (
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func TestReaderAtIsReadOnly(t *testing.T) {
	b := ReaderAt(strings.NewReader("0123456789"), 7)
	size, err := b.Size()
	require.NoError(t, err)
	require.EqualValues(t, 7, size)
	require.NoError(t, b.Sync())
	_, err = b.WriteAt([]byte("x"), 0)
	require.ErrorContains(t, err, "read-only")
	_, _, _, ok := b.(extenter).Extent()
	require.False(t, ok)
}

func TestFile(t *testing.T) {
	host := patternFile(t, 0, 1000)
	b, err := File(host)
	require.NoError(t, err)
	f, offset, length, ok := b.(extenter).Extent()
	require.True(t, ok)
	require.Same(t, host, f)
	require.Zero(t, offset)
	require.EqualValues(t, 1000+1<<20, length)
	require.NoError(t, b.(io.Closer).Close())
	require.ErrorIs(t, host.Close(), os.ErrClosed)

	// An extent of the file is that of the backend.
	part := &extentFile{File: patternFile(t, 10, 500)}
	b, err = File(part)
	require.NoError(t, err)
	_, offset, length, ok = b.(extenter).Extent()
	require.True(t, ok)
	require.EqualValues(t, 10, offset)
	require.EqualValues(t, 500, length)

	plain, err := fstest.MapFS{"a": {Data: []byte("abc")}}.Open("a")
	require.NoError(t, err)
	b, err = File(plain)
	require.NoError(t, err)
	size, err := b.Size()
	require.NoError(t, err)
	require.EqualValues(t, 3, size)

	dir, err := os.Open(t.TempDir())
	require.NoError(t, err)
	defer dir.Close()
	_, err = File(dir)
	require.ErrorContains(t, err, "no regular file")
	_, err = File(struct{ fs.File }{plain})
	require.ErrorContains(t, err, "is no io.ReaderAt")
	require.NoError(t, plain.Close())
	closed := patternFile(t, 0, 1)
	closed.Close()
	_, err = File(closed)
	require.ErrorIs(t, err, os.ErrClosed)
}

type extentFile struct{ *os.File }

func (f *extentFile) Extent() (*os.File, int64, int64, bool) { return f.File, 10, 500, true }
