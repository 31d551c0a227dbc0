package asset_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/internal/isowrite"
)

// storageError is a failure of an embedder's own storage.
type storageError struct{ bucket string }

func (e *storageError) Error() string { return "bucket " + e.bucket + ": slow down" }

// requireHidden wants an error that shows a client nothing, that no consumer
// takes for a decision, and that leads the operator to what failed.
func requireHidden(t *testing.T, err, failed error, secret string) {
	t.Helper()
	require.ErrorIs(t, err, failed)
	require.NotErrorIs(t, err, fs.ErrPermission)
	require.NotErrorIs(t, err, fs.ErrNotExist)
	require.NotContains(t, err.Error(), secret)
	require.ErrorContains(t, err, "the underlying storage failed")
}

func TestUnknownFailuresAreHiddenAndKept(t *testing.T) {
	failed := &storageError{"secret"}
	_, err := asset.FS(brokenFS{failed}).OpenFile(t.Context(), "vmlinuz")
	requireHidden(t, err, failed, "secret")
	var own *storageError
	require.ErrorAs(t, err, &own)

	_, err = asset.Alias(asset.FS(brokenFS{failed}), map[string]string{"kernel": "vmlinuz"}).OpenFile(t.Context(), "kernel")
	requireHidden(t, err, failed, "secret")
	require.NotContains(t, err.Error(), "vmlinuz")
}

func TestZipChecksumErrorIsNoPermission(t *testing.T) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.CreateHeader(&zip.FileHeader{Name: "vmlinuz", Method: zip.Store})
	require.NoError(t, err)
	_, err = f.Write([]byte("kernel"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	damaged := bytes.Replace(b.Bytes(), []byte("kernel"), []byte("Kernel"), 1)
	r, err := zip.NewReader(bytes.NewReader(damaged), int64(len(damaged)))
	require.NoError(t, err)
	_, err = asset.FS(r).OpenFile(t.Context(), "vmlinuz")
	requireHidden(t, err, zip.ErrChecksum, "checksum")
}

// failingReader fails for offsets from off on.
type failingReader struct {
	*bytes.Reader
	off int64
	err error
}

func (f *failingReader) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.off {
		return 0, f.err
	}
	return f.Reader.ReadAt(p, off)
}

func TestNewISOTellsTheOperatorAndNoClient(t *testing.T) {
	image := makeISO(t, media()...)
	failed := &storageError{"secret"}
	for name, off := range map[string]int64{"descriptors": 0, "root": rootSector * 2048, "directories": (rootSector + 1) * 2048} {
		t.Run(name, func(t *testing.T) {
			_, err := asset.NewISO(&failingReader{bytes.NewReader(image), off, failed}, int64(len(image)))
			require.ErrorIs(t, err, failed)
			require.ErrorContains(t, err, "bucket secret: slow down")
			require.NotErrorIs(t, err, fs.ErrPermission)
		})
	}
	r := &failingReader{bytes.NewReader(image), int64(len(image)), failed}
	iso, err := asset.NewISO(r, int64(len(image)))
	require.NoError(t, err)
	r.off = 0
	f, err := iso.OpenFile(t.Context(), "empty")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	f, err = iso.OpenFile(t.Context(), "sysresccd/x86_64/airootfs.sfs")
	require.NoError(t, err)
	_, err = io.ReadAll(f)
	requireHidden(t, err, failed, "secret")
}

// streamFS has one file that can only be read from front to back.
type streamFS struct {
	data []byte
	says int64 // as Stat's size
}

type streamFile struct {
	fs.FileInfo
	io.Reader
	size int64
}

func (f *streamFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f *streamFile) Close() error               { return nil }
func (f *streamFile) Size() int64                { return f.size }
func (f *streamFile) IsDir() bool                { return false }

func (s streamFS) Open(string) (fs.File, error) {
	return &streamFile{Reader: bytes.NewReader(s.data), size: s.says}, nil
}

func TestFSHoldsOnlySmallFilesInMemory(t *testing.T) {
	const most = 1 << 20
	require.Len(t, read(t, asset.FS(streamFS{make([]byte, most), most}), "x"), most)
	for name, fsys := range map[string]streamFS{
		"too long":                {nil, most + 1}, // not even read
		"longer than Stat says":   {make([]byte, most+1), 10},
		"far too long, says Stat": {nil, 1 << 40},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := asset.FS(fsys).OpenFile(t.Context(), "x")
			require.ErrorIs(t, err, errors.ErrUnsupported)
			require.ErrorContains(t, err, "extract it and serve the directory with Dir, or hold it in Memory")
		})
	}
	big := fstest.MapFS{"x": {Data: make([]byte, most+1)}}
	require.Len(t, read(t, asset.FS(big), "x"), most+1, "random access needs no memory")
	require.Len(t, read(t, asset.FS(seekFS{big}), "x"), most+1)
}

func TestFormatErrorRemedies(t *testing.T) {
	const damaged, unsupported = "compare its checksum", "extract it and serve the directory with Dir"
	deep := isowrite.File{Name: strings.Repeat("a rather long name of a directory/", 129) + "f"}
	for name, tt := range map[string]struct {
		image  []byte
		remedy string
	}{
		"text":        {bytes.Repeat([]byte("text"), 20_000), damaged},
		"empty":       {nil, damaged},
		"interleaved": {func() []byte { b := makeISO(t, media()...); record(t, b, "EMPTY.;1")[26] = 1; return b }(), unsupported},
		"damaged":     {func() []byte { b := makeISO(t, media()...); record(t, b, "EMPTY.;1")[32] = 0; return b }(), damaged},
		"blocks":      {func() []byte { b := makeISO(t, media()...); b[16*2048+129] = 2; return b }(), unsupported},
		"too deep":    {makeISO(t, deep), unsupported},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tryISO(tt.image)
			var format *asset.FormatError
			require.ErrorAs(t, err, &format)
			require.Equal(t, tt.remedy == unsupported, format.Unsupported)
			require.ErrorContains(t, err, tt.remedy)
			require.Less(t, len(err.Error()), 500, "names are clipped")
		})
	}
}

func TestErrorsClipLongNames(t *testing.T) {
	long := strings.Repeat("é", 300) + "end"
	for _, err := range []error{
		&asset.FormatError{Name: long, Problem: "damage"},
		&asset.FormatError{Name: long, Problem: "a limit", Unsupported: true},
		&asset.IncompleteError{Name: long, Want: 1},
	} {
		require.Contains(t, err.Error(), "é…é")
		require.Contains(t, err.Error(), `éend"`)
		require.NotContains(t, err.Error(), strings.Repeat("é", 100))
	}
	fits := strings.Repeat("é", 160)
	require.Contains(t, (&asset.FormatError{Name: fits}).Error(), fits)
}
