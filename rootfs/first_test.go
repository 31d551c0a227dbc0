package rootfs_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheTraceTellsWhichPieceOfTheFileWasSent(t *testing.T) {
	for header, want := range map[string]int64{
		"": 0, "bytes=0-": 0, "bytes=0-9": 0, "bytes=10-19": 10, "bytes=-100": 900, "bytes=999-5000": 999,
		"bytes=u-u": 0, "bytes=1000-": -1, "bytes=0-1,5-6": -1, "bytes=5000-,7-8": 7,
	} {
		files, seen := oneFile(noise(1000)), newRecord()
		files.Trace = seen.trace()
		do(files, "GET", "/file", "Range", header)
		require.Equal(t, want, (<-seen.done).First, header)
	}
	for _, path := range []string{"/none", "/../file"} {
		files, seen := oneFile(noise(1000)), newRecord()
		files.Trace = seen.trace()
		do(files, "GET", path)
		require.EqualValues(t, -1, (<-seen.done).First, path)
	}
}
