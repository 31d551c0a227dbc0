package asset_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/asset"
	"github.com/pxekit/pxe/internal/isowrite"
)

// bridge makes of an image one that has a UDF file system too: by moving what
// follows the descriptors back and putting UDF's identifiers there. Of the UDF
// file system itself there is nothing: it is not looked at.
func bridge(t testing.TB, image []byte, identifiers ...string) []byte {
	t.Helper()
	const descriptors = 18 * 2048
	moved := uint32(len(identifiers))
	require.Equal(t, "CD001", string(image[17*2048+1:][:5]), "the terminator")
	var b []byte
	b = append(b, image[:descriptors]...)
	for _, id := range identifiers {
		sector := make([]byte, 2048)
		copy(sector[1:], id)
		b = append(b, sector...)
	}
	b = append(b, image[descriptors:]...)
	put32(b[16*2048+80:], uint32(len(b)/2048))
	put32(b[16*2048+156+2:], rootSector+moved)
	for at := (rootSector + int(moved)) * 2048; b[at] != 0; at += int(b[at]) { // one directory, of one sector
		r := b[at:]
		put32(r[2:], uint32(r[2])+uint32(r[3])<<8+moved)
	}
	return b
}

func TestUDFBridge(t *testing.T) {
	rockRidge := makeISO(t, isowrite.File{Name: "README.TXT", Data: []byte("This disc contains a UDF file system")})
	plain := bytes.Clone(rockRidge)
	copy(entry(t, plain, "SP"), "XX")
	for name, tt := range map[string]struct {
		image   []byte
		refused bool
	}{
		"Windows":                       {bridge(t, plain, "BEA01", "NSR02", "TEA01"), true},
		"UDF 2":                         {bridge(t, plain, "BEA01", "NSR03", "TEA01"), true},
		"after a sector of the maker's": {bridge(t, plain, "MKI F", "BEA01", "NSR02", "TEA01"), true},
		"no UDF":                        {bridge(t, plain, "BEA01", "TEA01"), false},
		"after the end":                 {bridge(t, plain, "BEA01", "TEA01", "\x00\x00\x00\x00\x00", "NSR02"), false},
		"names by Rock Ridge":           {bridge(t, rockRidge, "BEA01", "NSR02", "TEA01"), false},
		"UDF alone": {func() []byte {
			b := bridge(t, plain, "BEA01", "NSR02", "TEA01")
			copy(b[16*2048:], "\x00BEA01")
			copy(b[17*2048:], "\x00NSR03")
			return b
		}(), true},
	} {
		t.Run(name, func(t *testing.T) {
			iso, err := tryISO(tt.image)
			if !tt.refused {
				require.NoError(t, err)
				require.Contains(t, read(t, iso, "readme.txt"), "UDF")
				return
			}
			var format *asset.FormatError
			require.ErrorAs(t, err, &format)
			require.True(t, format.Unsupported)
			require.Equal(t, "NSR0", string(tt.image[format.Offset+1:][:4]))
			require.ErrorContains(t, err, "its files are in a UDF file system, which is not read")
			require.ErrorContains(t, err, "extract it and serve the directory with Dir")
		})
	}
}
