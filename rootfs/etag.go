package rootfs

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"io/fs"
	"os"
	"time"
)

// extenter is the optional method of a file that lies in one piece in a file of
// the system: at an offset of an image, or all of it.
type extenter interface {
	Extent() (f *os.File, offset, length int64, ok bool)
}

// entityTag returns the strong entity tag of a file, or "" when nothing would
// tell that its content changed. What goes in is hashed so that the tag shows
// nothing of the server's file system.
func entityTag(file fs.File, info fs.FileInfo) string {
	var room [11 * 8]byte // for all there can be
	identity := binary.BigEndian.AppendUint64(room[:0], uint64(info.Size()))
	known := false
	add := func(info fs.FileInfo) {
		modified := info.ModTime()
		for _, n := range [4]int64{info.Size(), modified.Unix(), int64(modified.Nanosecond()), int64(inode(info))} {
			identity = binary.BigEndian.AppendUint64(identity, uint64(n))
		}
		known = known || !modified.IsZero() && !modified.Equal(time.Unix(0, 0))
	}
	add(info)
	if e, ok := file.(extenter); ok {
		if container, offset, length, ok := e.Extent(); ok {
			info, err := container.Stat()
			if err != nil {
				return ""
			}
			identity = binary.BigEndian.AppendUint64(identity, uint64(offset))
			identity = binary.BigEndian.AppendUint64(identity, uint64(length))
			add(info)
		}
	}
	if !known {
		return ""
	}
	digest := sha256.Sum256(identity)
	return `"` + base64.RawURLEncoding.EncodeToString(digest[:16]) + `"`
}
