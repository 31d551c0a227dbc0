package asset

import "fmt"

// FormatError says that something is no ISO 9660 image that this package
// reads: damaged, hostile, or of a kind it leaves alone. Find it with
// errors.As.
type FormatError struct {
	// Offset is where in the image, in bytes, the trouble is.
	Offset int64
	// Name is the file or directory concerned, "" if none is.
	Name string
	// Problem says what is wrong.
	Problem string
}

// Error names the file, the place, the problem and the remedy.
func (e *FormatError) Error() string {
	where := fmt.Sprintf("byte %d", e.Offset)
	if e.Name != "" {
		where = fmt.Sprintf("%q, %s", e.Name, where)
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
		what = fmt.Sprintf(", part of %q among them", e.Name)
	}
	return fmt.Sprintf("the ISO image is incomplete: it has %d of %d bytes, the last %d are missing%s; finish the download or copy it again",
		e.Size, e.Want, e.Want-e.Size, what)
}
