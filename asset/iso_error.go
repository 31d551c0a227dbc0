package asset

import "fmt"

// maxShown is how many characters of a name an error's text shows at most:
// names in an image may be as long as whoever made it liked.
const maxShown = 160

// FormatError says that something is no ISO 9660 image that this package
// reads: damaged, hostile, or, if Unsupported, of a kind it leaves alone. Find
// it with errors.As.
type FormatError struct {
	// Offset is where in the image, in bytes, the trouble is.
	Offset int64
	// Name is the file or directory concerned, "" if none is.
	Name string
	// Problem says what is wrong.
	Problem string
	// Unsupported is set when the image may be good, but is of a kind that
	// this package does not read, or larger than it accepts. Other programs
	// may extract it.
	Unsupported bool
}

// Error names the file (shortened if very long), the place, the problem and the
// remedy.
func (e *FormatError) Error() string {
	where := fmt.Sprintf("byte %d", e.Offset)
	if e.Name != "" {
		where = fmt.Sprintf("%q, %s", clip(e.Name), where)
	}
	if e.Unsupported {
		return fmt.Sprintf("an ISO image that cannot be served in place: %s (%s); extract it and serve the directory with Dir",
			e.Problem, where)
	}
	return fmt.Sprintf("not a usable ISO 9660 image: %s (%s); check that it is the right file and compare its checksum with the publisher's",
		e.Problem, where)
}

// IncompleteError says that an image ends before its content does: a download
// or a copy that was not finished. Find it with errors.As.
type IncompleteError struct {
	// Size is how long the image is, Want how long it should be, in bytes.
	Size, Want int64
	// Name is a file or directory that is cut, "" if only padding or what
	// says where the files are is missing.
	Name string
}

// Error says how much is missing, of which file, and the remedy.
func (e *IncompleteError) Error() string {
	what := ""
	if e.Name != "" {
		what = fmt.Sprintf(", part of %q among them", clip(e.Name))
	}
	return fmt.Sprintf("the ISO image is incomplete: it has %d of %d bytes, the last %d are missing%s; finish the download or copy it again",
		e.Size, e.Want, e.Want-e.Size, what)
}

// clip shortens a name in the middle.
func clip(name string) string {
	runes := []rune(name)
	if len(runes) <= maxShown {
		return name
	}
	return string(runes[:maxShown/2]) + "…" + string(runes[len(runes)-maxShown/2:])
}
