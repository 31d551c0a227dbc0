package asset_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/internal/isowrite"
)

// rootSector is where isowrite puts the root directory: after 16 unused
// sectors, two descriptors and two path tables.
const rootSector = 20

// record returns the directory record with this ISO 9660 identifier.
func record(t testing.TB, image []byte, ident string) []byte {
	t.Helper()
	at := bytes.Index(image, append([]byte{byte(len(ident))}, ident...))
	require.Greater(t, at, 32, ident)
	b := image[at-32:]
	return b[:b[0]]
}

// entry returns the first system use entry with this signature in b.
func entry(t testing.TB, b []byte, signature string) []byte {
	t.Helper()
	at := bytes.Index(b, []byte(signature))
	require.NotEqual(t, -1, at, signature)
	return b[at : at+int(b[at+2])]
}

func put32(b []byte, v uint32) { binary.LittleEndian.PutUint32(b, v) }

func tryISO(image []byte) (*asset.ISO, error) {
	return asset.NewISO(bytes.NewReader(image), int64(len(image)))
}

// TestHostileImages damages a good image in one way each and wants it refused
// with an error that says what is wrong.
func TestHostileImages(t *testing.T) {
	long := strings.Repeat("n", 250)
	files := append(media(), isowrite.File{Name: long, Data: []byte("long")},
		isowrite.File{Name: "seven77", Data: []byte("7")}, isowrite.File{Name: "twodirs/a/x"}, isowrite.File{Name: "twodirs/b/y"})
	for name, tt := range map[string]struct {
		damage func(t *testing.T, b []byte) []byte
		says   string
	}{
		"Z-001 nothing but zero-length records": {func(_ *testing.T, b []byte) []byte {
			clear(b[rootSector*2048:]) // reads as empty, but for the volume's size
			put32(b[16*2048+80:], uint32(len(b)/2048+1))
			return b
		}, "the last 2048 are missing"},
		"Z-002 record of 33 bytes":         {func(t *testing.T, b []byte) []byte { record(t, b, "EMPTY.;1")[0] = 33; return b }, "impossible length"},
		"Z-002 record shorter than name":   {func(t *testing.T, b []byte) []byte { record(t, b, "EMPTY.;1")[32] = 255; return b }, "shorter than its name"},
		"Z-002 record without a name":      {func(t *testing.T, b []byte) []byte { record(t, b, "EMPTY.;1")[32] = 0; return b }, "shorter than its name"},
		"Z-003 directory is its ancestor":  {func(t *testing.T, b []byte) []byte { put32(record(t, b, "X86_64")[2:], rootSector); return b }, "loop"},
		"Z-003 directory is itself":        {func(t *testing.T, b []byte) []byte { put32(record(t, b, "EFI")[2:], rootSector); return b }, "loop"},
		"Z-003 two directories are one":    {func(t *testing.T, b []byte) []byte { copy(record(t, b, "B")[2:10], record(t, b, "A")[2:10]); return b }, "two directories are one"},
		"Z-003 relocated to its ancestor":  {func(t *testing.T, b []byte) []byte { childLink(t, b, rootSector); return b }, "loop"},
		"Z-003 relocated to a file":        {func(t *testing.T, b []byte) []byte { childLink(t, b, uint32(len(b)/2048-1)); return b }, "a directory record"},
		"Z-003 relocated beyond the image": {func(t *testing.T, b []byte) []byte { childLink(t, b, 1<<31); return b }, "incomplete"},
		"Z-004 continuation is itself": {func(t *testing.T, b []byte) []byte {
			ce := entry(t, record(t, b, strings.Repeat("N", 18)+".;1"), "CE")
			copy(area(b, ce), append(bytes.Clone(ce), "ST\x04\x01"...))
			return b
		}, "form a loop"},
		"Z-004 endless continuations": {func(t *testing.T, b []byte) []byte {
			ce := entry(t, record(t, b, strings.Repeat("N", 18)+".;1"), "CE")
			put32(ce[20:], 28)
			for range 60 { // over what follows: refused before that is read
				next := area(b, ce)
				copy(next, ce)
				ce = next[:28]
				put32(ce[12:], binary.LittleEndian.Uint32(ce[12:])+28)
			}
			return b
		}, "too many continuation areas"},
		"Z-004 continuation beyond the image": {func(t *testing.T, b []byte) []byte {
			put32(entry(t, record(t, b, strings.Repeat("N", 18)+".;1"), "CE")[4:], 1<<31)
			return b
		}, "incomplete"},
		"Z-004 continuation of a gigabyte": {func(t *testing.T, b []byte) []byte {
			put32(entry(t, record(t, b, strings.Repeat("N", 18)+".;1"), "CE")[20:], 1<<30)
			return b
		}, "continuation area of 1073741824 bytes"},
		"Z-005 entry of three bytes": {func(t *testing.T, b []byte) []byte { entry(t, record(t, b, "EMPTY.;1"), "TF")[2] = 3; return b }, "impossible length of 3"},
		"Z-005 entry of none":        {func(t *testing.T, b []byte) []byte { entry(t, record(t, b, "EMPTY.;1"), "TF")[2] = 0; return b }, "impossible length of 0"},
		"Z-005 entry beyond the area": {func(t *testing.T, b []byte) []byte {
			entry(t, record(t, b, "EMPTY.;1"), "TF")[2] = 200
			return b
		}, "impossible length of 200"},
		"Z-006 link component beyond its entry": {func(t *testing.T, b []byte) []byte { entry(t, record(t, b, "BOOT.;1"), "SL")[6] = 200; return b }, "symbolic link"},
		"name with a slash": {func(t *testing.T, b []byte) []byte {
			copy(entry(t, record(t, b, "EMPTY.;1"), "NM")[5:], "../x")
			return b
		}, "no file name"},
		"name of two dots": {func(t *testing.T, b []byte) []byte {
			nm := entry(t, record(t, b, "EMPTY.;1"), "NM")
			copy(nm[5:], "..")
			nm[2] = 7
			nm[7], nm[8] = 0, 0
			return b
		}, "no file name"},
		"name with a NUL": {func(t *testing.T, b []byte) []byte { entry(t, record(t, b, "EMPTY.;1"), "NM")[7] = 0; return b }, "no file name"},
		"interleaved":     {func(t *testing.T, b []byte) []byte { record(t, b, "EMPTY.;1")[26] = 1; return b }, "interleaved"},
		"Z-007 unfinished": {func(t *testing.T, b []byte) []byte { record(t, b, "VMLINUZ.;1")[25] = 0x80; return b },
			"last part of the file is missing"},
		"Z-007 interrupted":                {func(t *testing.T, b []byte) []byte { record(t, b, "AIROOTFS.SFS;1")[25] = 0x80; return b }, "interrupted"},
		"Z-009 file beyond the end":        {func(t *testing.T, b []byte) []byte { put32(record(t, b, "VMLINUZ.;1")[2:], 1<<30); return b }, `"sysresccd/boot/x86_64/vmlinuz"`},
		"Z-009 file longer than the image": {func(t *testing.T, b []byte) []byte { put32(record(t, b, "VMLINUZ.;1")[10:], 1<<31); return b }, `"sysresccd/boot/x86_64/vmlinuz"`},
		"Z-009 directory beyond the end":   {func(t *testing.T, b []byte) []byte { put32(record(t, b, "EFI")[2:], 1<<30); return b }, `"EFI"`},
		"Z-009 directory of 4 GiB":         {func(t *testing.T, b []byte) []byte { put32(record(t, b, "EFI")[10:], 1<<32-1); return b }, `"EFI"`},
		"root beyond the end":              {func(_ *testing.T, b []byte) []byte { put32(b[16*2048+156+2:], 1<<30); return b }, "incomplete"},
		"root record without length":       {func(_ *testing.T, b []byte) []byte { b[16*2048+156] = 0; return b }, "root directory"},
		"Z-012 blocks of 512 bytes":        {func(_ *testing.T, b []byte) []byte { b[16*2048+129] = 2; return b }, "only 2048"},
		"Z-012 no magic":                   {func(_ *testing.T, b []byte) []byte { b[16*2048+1] = 'X'; return b }, "no primary volume descriptor"},
		"Z-012 no primary descriptor":      {func(_ *testing.T, b []byte) []byte { b[16*2048] = 2; return b }, "no primary volume descriptor"},
		"empty":                            {func(*testing.T, []byte) []byte { return nil }, "too short"},
		"text":                             {func(*testing.T, []byte) []byte { return bytes.Repeat([]byte("text"), 20_000) }, "no primary volume descriptor"},
		"overlapping directories": {func(t *testing.T, b []byte) []byte {
			start := uint32(len(b) / 2048)
			b = append(b, make([]byte, 2*len(b))...)
			for i, ident := range []string{"EFI", "EMPTYDIR", "TWODIRS", "SYSRESCCD"} {
				r := record(t, b, ident)
				put32(r[2:], start+uint32(i))
				put32(r[10:], uint32(len(b)*3/5))
			}
			return b
		}, "directories take more than"},
	} {
		t.Run(name, func(t *testing.T) {
			image := makeISO(t, files...)
			_, err := tryISO(image)
			require.NoError(t, err, "the image before")
			_, err = tryISO(tt.damage(t, image))
			require.ErrorContains(t, err, tt.says)
		})
	}
}

// area returns the image from where a CE entry points.
func area(b, ce []byte) []byte {
	return b[binary.LittleEndian.Uint32(ce[4:])*2048+binary.LittleEndian.Uint32(ce[12:]):]
}

// childLink makes the record of the file seven77 that of a relocated directory.
func childLink(t testing.TB, b []byte, lba uint32) {
	nm := entry(t, record(t, b, "SEVEN77.;1"), "NM")
	copy(nm, []byte{'C', 'L', 12, 1})
	put32(nm[4:], lba)
}

func TestZ001_ZeroLengthRecordSkipsToTheNextSector(t *testing.T) {
	var files []isowrite.File
	for i := range 100 {
		files = append(files, isowrite.File{Name: fmt.Sprintf("file%03d", i)})
	}
	image := makeISO(t, files...)
	record(t, image, "FILE002.;1")[0] = 0
	list, err := newISO(t, image).ReadDir(".")
	require.NoError(t, err)
	require.Equal(t, "file001", list[1].Name())
	require.Greater(t, list[2].Name(), "file010")
	require.Equal(t, "file099", list[len(list)-1].Name())
}

func TestZ002_RecordsStayInTheirSector(t *testing.T) {
	var files []isowrite.File
	for i := range 100 {
		files = append(files, isowrite.File{Name: fmt.Sprintf("file%03d", i)})
	}
	image := makeISO(t, files...)
	at := rootSector * 2048
	for image[at+int(image[at])] != 0 {
		at += int(image[at])
	}
	image[at] = 250
	_, err := tryISO(image)
	require.ErrorContains(t, err, fmt.Sprintf("impossible length (\".\", byte %d)", at))
}

func TestZ003_DepthIsBounded(t *testing.T) {
	deep := func(n int) isowrite.File { return isowrite.File{Name: strings.Repeat("d/", n) + "f"} }
	_, err := tryISO(makeISO(t, deep(128)))
	require.NoError(t, err)
	_, err = tryISO(makeISO(t, deep(129)))
	require.ErrorContains(t, err, "128 levels")
}

// TestZ003_EmptyDirectoriesMayPointAnywhere: makers that record a directory
// without even "." and ".." give it any place.
func TestZ003_EmptyDirectoriesMayPointAnywhere(t *testing.T) {
	image := makeISO(t, append(media(), isowrite.File{Name: "empty2", Mode: fs.ModeDir}, isowrite.File{Name: "empty3", Mode: fs.ModeDir})...)
	for ident, lba := range map[string]uint32{"EMPTYDIR": rootSector, "EMPTY2": 0, "EMPTY3": 1 << 30} {
		r := record(t, image, ident)
		put32(r[2:], lba)
		put32(r[10:], 0)
	}
	iso := newISO(t, image)
	for _, name := range []string{"emptydir", "empty2", "empty3"} {
		list, err := iso.ReadDir(name)
		require.NoError(t, err)
		require.Empty(t, list)
	}
}

func TestZ003_NumberOfFilesIsBounded(t *testing.T) {
	image := makeISO(t)
	image = image[:rootSector*2048]
	one := make([]byte, 34)
	one[0], one[32], one[33] = 34, 1, 'A'
	sector := make([]byte, 2048)
	copy(sector, bytes.Repeat(one, 60))
	n := 1<<18/60 + 1
	image = append(image, bytes.Repeat(sector, n)...)
	put32(image[16*2048+80:], uint32(len(image)/2048))
	put32(image[16*2048+156+10:], uint32(n*2048))
	_, err := tryISO(image)
	require.ErrorContains(t, err, "more than 262144 files")
}

func TestZ005_SkipAndStop(t *testing.T) {
	image := makeISO(t, isowrite.File{Name: "Name In Lower Case", Mode: 0o755, Data: []byte("x")})
	entry(t, image, "SP")[6] = 36 // skips PX
	info, err := newISO(t, image).Stat("Name In Lower Case")
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o444), info.Mode())

	image = makeISO(t, isowrite.File{Name: "Name In Lower Case", Mode: 0o755, Data: []byte("x")})
	copy(entry(t, record(t, image, "NAME_IN_LOWER_CASE.;1"), "TF"), "ST")
	info, err = newISO(t, image).Stat("name_in_lower_case")
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o755), info.Mode())

	image = makeISO(t, isowrite.File{Name: "Name In Lower Case", Data: []byte("x")})
	copy(entry(t, record(t, image, "NAME_IN_LOWER_CASE.;1"), "TF"), "QQ")
	require.Equal(t, "x", read(t, newISO(t, image), "Name In Lower Case"))
}

func TestZ007_PartsThatLieApart(t *testing.T) {
	image := makeISO(t,
		isowrite.File{Name: "part1", Data: bytes.Repeat([]byte("A"), 4096)},
		isowrite.File{Name: "part2", Data: bytes.Repeat([]byte("B"), 100)})
	first, second := record(t, image, "PART1.;1"), record(t, image, "PART2.;1")
	a, b := binary.LittleEndian.Uint32(first[2:]), binary.LittleEndian.Uint32(second[2:])
	put32(first[2:], b)
	put32(first[10:], 100)
	put32(second[2:], a)
	put32(second[10:], 4096)
	first[25] = 0x80
	copy(second[33:], "PART1.;1")
	iso := newISO(t, image)
	want := strings.Repeat("B", 100) + strings.Repeat("A", 4096)
	require.Equal(t, want, read(t, iso, "part1"))
	f, err := iso.OpenFile(t.Context(), "part1")
	require.NoError(t, err)
	p := make([]byte, 50)
	_, err = f.ReadAt(p, 75)
	require.NoError(t, err)
	require.Equal(t, want[75:125], string(p))
	_, _, _, ok := f.(asset.Extenter).Extent()
	require.False(t, ok)
	_, err = iso.Stat("part2")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestZ008_VersionsDotsAndOtherCharacterSets(t *testing.T) {
	image := makeISO(t, isowrite.File{Name: "cafe", Data: []byte("coffee")}, isowrite.File{Name: "v1", Data: []byte("new")},
		isowrite.File{Name: "v2", Data: []byte("old")})
	entry(t, record(t, image, "CAFE.;1"), "NM")[8] = 0xe9 // é in Latin-1
	require.Equal(t, "coffee", read(t, newISO(t, image), "café"))

	copy(entry(t, image, "SP"), "XX") // no Rock Ridge any more
	copy(record(t, image, "V1.;1")[33:], "V.;2 ")
	copy(record(t, image, "V2.;1")[33:], "V.;1 ")
	record(t, image, "V.;2 ")[32], record(t, image, "V.;1 ")[32] = 4, 4
	iso := newISO(t, image)
	require.Equal(t, "coffee", read(t, iso, "cafe"))
	require.Equal(t, "new", read(t, iso, "v"), "the highest version comes first and is the file")
}

func TestZ012_DescriptorsInAnotherOrder(t *testing.T) {
	image := makeISO(t, media()...)
	copy(image[17*2048:18*2048], image[16*2048:17*2048])
	copy(image[16*2048:], "\x00CD001\x01EL TORITO SPECIFICATION")
	iso := newISO(t, image) // and without a terminator
	require.Equal(t, "hash", read(t, iso, "sysresccd/x86_64/airootfs.sha512"))
}

// TestTruncatedImagesAreRefused cuts an image at every sector, around it, and
// at odd places: none opens, and the error counts what is missing.
func TestTruncatedImagesAreRefused(t *testing.T) {
	image := makeISO(t, append(media(), isowrite.File{Name: "zz-last", Data: bytes.Repeat([]byte("z"), 9000)})...)
	refused := func(n int) {
		t.Helper()
		_, err := tryISO(image[:n])
		require.Error(t, err, "%d of %d bytes", n, len(image))
		if n >= (rootSector+1)*2048 {
			var incomplete *asset.IncompleteError
			require.ErrorAs(t, err, &incomplete, "%d bytes", n)
			require.EqualValues(t, len(image), incomplete.Want)
			require.EqualValues(t, n, incomplete.Size)
			require.ErrorContains(t, err, fmt.Sprintf("the last %d are missing", len(image)-n))
		}
	}
	for n := 0; n < len(image); n += 2048 {
		refused(n)
		refused(n + 1)
		refused(n + 2047)
		refused(n + n%1999)
	}
	_, err := tryISO(image[:len(image)-4096])
	require.ErrorContains(t, err, `part of "sysresccd/boot/x86_64/`)
	_, err = tryISO(image[:rootSector*2048+2048])
	require.ErrorContains(t, err, `part of "`)
	_, err = tryISO(append(image, 0)) // longer is fine: appended partitions, padding
	require.NoError(t, err)
}

func TestZ010_IsohybridBootSectorsAreIgnored(t *testing.T) {
	image := makeISO(t, media()...)
	for i := range 16 * 2048 {
		image[i] = byte(i * 31)
	}
	require.Equal(t, "efi", read(t, newISO(t, image), "EFI/boot/bootx64.efi"))
}
