package rootfs

import (
	"net/http"
	"strconv"
	"strings"
)

// maxRanges is how many ranges one request may ask for. Boot clients ask for
// one; a long list only makes a server work.
const maxRanges = 16

// canonicalRange brings the values of a request's Range header into the form
// that http.ServeContent reads as RFC 9110 section 14.1.1 means it: an answer
// to a malformed header is the whole file, not an error; numbers may exceed 64
// bits; an empty suffix cannot be satisfied. It returns "" when the header is to
// be ignored.
func canonicalRange(values []string, size int64) string {
	if len(values) != 1 {
		return ""
	}
	unit, set, ok := strings.Cut(values[0], "=")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return ""
	}
	var specs []string
	for spec := range strings.SplitSeq(set, ",") {
		spec = strings.Trim(spec, " \t")
		if spec == "" {
			continue // RFC 9110 section 5.6.1.2: empty list elements
		}
		if len(specs) == maxRanges {
			return ""
		}
		spec, ok := canonicalSpec(spec, size)
		if !ok {
			return ""
		}
		specs = append(specs, spec)
	}
	if len(specs) == 0 {
		return ""
	}
	return "bytes=" + strings.Join(specs, ",")
}

// canonicalSpec does the same for one range of the list.
func canonicalSpec(spec string, size int64) (string, bool) {
	firstText, lastText, ok := strings.Cut(spec, "-")
	if !ok {
		return "", false
	}
	first, haveFirst, ok1 := position(firstText)
	last, haveLast, ok2 := position(lastText)
	switch {
	case !ok1 || !ok2 || !haveFirst && !haveLast || haveFirst && haveLast && last < first:
		return "", false
	case !haveFirst && last == 0:
		return strconv.FormatInt(size, 10) + "-", true // begins where the file ends
	case !haveFirst:
		return "-" + strconv.FormatInt(last, 10), true
	case !haveLast:
		return strconv.FormatInt(first, 10) + "-", true
	}
	return strconv.FormatInt(first, 10) + "-" + strconv.FormatInt(last, 10), true
}

// position reads 1*DIGIT. Numbers beyond 64 bits become the largest there is,
// which is past the end of every file.
func position(s string) (n int64, present, ok bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false, false
		}
	}
	if s == "" {
		return 0, false, true
	}
	n, _ = strconv.ParseInt(s, 10, 64) // the largest on overflow, the only error left
	return n, true, true
}

// withRange returns r with the given Range header, or without one for "".
func withRange(r *http.Request, value string) *http.Request {
	values := r.Header["Range"]
	if len(values) == 1 && values[0] == value {
		return r
	}
	clone := *r
	clone.Header = r.Header.Clone()
	if value == "" {
		clone.Header.Del("Range")
	} else {
		clone.Header.Set("Range", value)
	}
	return &clone
}
