package rootfs_test

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestW001_SingleRange(t *testing.T) {
	content := noise(1000)
	tests := []struct {
		name, header string
		first, last  int
	}{
		{"both ends", "bytes=10-19", 10, 19},
		{"one byte", "bytes=999-999", 999, 999},
		{"open end", "bytes=900-", 900, 999},
		{"suffix", "bytes=-100", 900, 999},
		{"suffix longer than the file", "bytes=-5000", 0, 999},
		{"end clamped", "bytes=990-5000", 990, 999},
		{"end beyond 64 bits", "bytes=990-99999999999999999999999", 990, 999},
		{"suffix beyond 64 bits", "bytes=-99999999999999999999999", 0, 999},
		{"unit in capitals", "Bytes=1-2", 1, 2},
		{"leading zeros", "bytes=0001-0002", 1, 2},
		{"empty list elements", "bytes=,1-2,", 1, 2},
		{"whole file", "bytes=0-999", 0, 999},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := do(oneFile(content), "GET", "/file", "Range", test.header)
			require.Equal(t, http.StatusPartialContent, r.StatusCode)
			require.Equal(t, fmt.Sprintf("bytes %d-%d/1000", test.first, test.last), r.Header.Get("Content-Range"))
			require.Equal(t, strconv.Itoa(test.last-test.first+1), r.Header.Get("Content-Length"))
			require.Equal(t, content[test.first:test.last+1], body(t, r))
		})
	}
}

func TestW001_NoRangeIsTheWholeFile(t *testing.T) {
	r := do(oneFile(noise(1000)), "GET", "/file")
	require.Equal(t, http.StatusOK, r.StatusCode)
	require.Empty(t, r.Header.Get("Content-Range"))
	require.Equal(t, "bytes", r.Header.Get("Accept-Ranges"))
	require.Equal(t, noise(1000), body(t, r))
}

func TestW002_UnsatisfiableRange(t *testing.T) {
	for _, header := range []string{
		"bytes=1000-", "bytes=1000-1000", "bytes=5000-6000", "bytes=-0", "bytes=1000-,2000-3000",
		"bytes=99999999999999999999999-",
	} {
		t.Run(header, func(t *testing.T) {
			r := do(oneFile(noise(1000)), "GET", "/file", "Range", header)
			require.Equal(t, http.StatusRequestedRangeNotSatisfiable, r.StatusCode)
			require.Equal(t, "bytes */1000", r.Header.Get("Content-Range"))
		})
	}
}

func TestW002_OneSatisfiableRangeIsEnough(t *testing.T) {
	r := do(oneFile(noise(1000)), "GET", "/file", "Range", "bytes=5000-,0-0")
	require.Equal(t, http.StatusPartialContent, r.StatusCode)
	require.Equal(t, "bytes 0-0/1000", r.Header.Get("Content-Range"))

	r = do(oneFile(nil), "GET", "/file", "Range", "bytes=0-511")
	require.Equal(t, http.StatusOK, r.StatusCode, "an empty file is whole, some clients always send a range")
}

func malformedRanges() []string {
	return []string{
		"bytes=u-u", // 32-bit iPXE, https://github.com/ipxe/ipxe/issues/767
		"bytes=", "bytes", "", "bytes=-", "bytes=--1", "bytes=5-1", "bytes=a-b", "bytes=1-2-3", "bytes=1",
		"bytes=+1-2", "bytes=1-+2", "bytes=0x1-0x2", "bytes= ", "bytes=,", "bytes=1 - 2", "bytes=0-0,x",
		"lines=1-2", "0-5", "bytes:0-5", "bytes=½-1",
	}
}

func TestW003_MalformedRangeIsIgnored(t *testing.T) {
	content := noise(1000)
	for _, header := range malformedRanges() {
		t.Run(header, func(t *testing.T) {
			files, seen := oneFile(content), newRecord()
			files.Trace = seen.trace()
			r := do(files, "GET", "/file", "Range", header)
			require.Equal(t, http.StatusOK, r.StatusCode)
			require.Empty(t, r.Header.Get("Content-Range"))
			require.Equal(t, content, body(t, r))
			require.True(t, (<-seen.done).RangeIgnored)
		})
	}
	t.Run("two headers", func(t *testing.T) {
		r := do(oneFile(content), "GET", "/file", "Range", "bytes=0-1", "Range", "bytes=2-3")
		require.Equal(t, http.StatusOK, r.StatusCode)
	})
}

func TestW003_MalformedRangeOnTheWire(t *testing.T) {
	for _, header := range []string{"bytes=u-u", "bytes=--", "bytes=9-1", "\t", "bytes=\xff\xfe"} {
		t.Run(fmt.Sprintf("%q", header), func(t *testing.T) {
			r := rawResponse(t, oneFile(noise(5000)), "GET",
				"GET /file HTTP/1.1\r\nHost: 192.0.2.1\r\nConnection: close\r\nRange: "+header+"\r\n\r\n")
			require.Equal(t, http.StatusOK, r.StatusCode)
			require.Equal(t, noise(5000), body(t, r))
		})
	}
}

func TestW003_WellFormedRangeIsNotIgnored(t *testing.T) {
	files, seen := oneFile(noise(1000)), newRecord()
	files.Trace = seen.trace()
	do(files, "GET", "/file", "Range", "bytes=0-1")
	require.False(t, (<-seen.done).RangeIgnored)
	do(files, "GET", "/file")
	require.False(t, (<-seen.done).RangeIgnored)
}

func TestW004_ManyRanges(t *testing.T) {
	content := noise(1000)
	list := func(n int) string {
		specs := make([]string, n)
		for i := range specs {
			specs[i] = fmt.Sprintf("%d-%d", i, i)
		}
		return "bytes=" + strings.Join(specs, ",")
	}
	tests := []struct {
		name, header string
		status       int
	}{
		{"two", "bytes=0-9,20-29", http.StatusPartialContent},
		{"as many as allowed", list(16), http.StatusPartialContent},
		{"one more", list(17), http.StatusOK},
		{"thousands", list(100_000), http.StatusOK},
		{"overlapping, more than the file", "bytes=0-,0-,0-,0-", http.StatusOK},
		{"empty elements do not count", "bytes=" + strings.Repeat(",", 5000) + "0-0", http.StatusPartialContent},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := do(oneFile(content), "GET", "/file", "Range", test.header)
			require.Equal(t, test.status, r.StatusCode)
			if test.status == http.StatusOK {
				require.Equal(t, content, body(t, r))
			}
		})
	}
}

func TestW004_SeveralRangesAreParts(t *testing.T) {
	content := noise(100_000)
	r := do(oneFile(content), "GET", "/file", "Range", "bytes=0-9,-70000")
	require.Equal(t, http.StatusPartialContent, r.StatusCode)
	parts := readParts(t, r)
	require.Equal(t, []part{{"bytes 0-9/100000", string(content[:10])}, {"bytes 30000-99999/100000", string(content[30000:])}}, parts)
}

type part struct{ contentRange, body string }

func readParts(t testing.TB, r *http.Response) []part {
	t.Helper()
	mediaType, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/byteranges", mediaType)
	whole := body(t, r)
	require.Equal(t, r.Header.Get("Content-Length"), strconv.Itoa(len(whole)))
	reader := multipart.NewReader(strings.NewReader(string(whole)), params["boundary"])
	var parts []part
	for {
		p, err := reader.NextPart()
		if err == io.EOF {
			return parts
		}
		require.NoError(t, err)
		text, err := io.ReadAll(p)
		require.NoError(t, err)
		parts = append(parts, part{p.Header.Get("Content-Range"), string(text)})
	}
}

func TestW009_ProbeOfOneByte(t *testing.T) {
	content := noise(1000)
	r := do(oneFile(content), "GET", "/file", "Range", "bytes=0-0")
	require.Equal(t, http.StatusPartialContent, r.StatusCode)
	require.Equal(t, "bytes 0-0/1000", r.Header.Get("Content-Range"))
	require.Equal(t, "1", r.Header.Get("Content-Length"))
	require.Equal(t, content[:1], body(t, r))
}

func TestW009_ProbeOfAMissingFile(t *testing.T) {
	r := do(oneFile(nil), "GET", "/airootfs.erofs", "Range", "bytes=0-0")
	require.Equal(t, http.StatusNotFound, r.StatusCode)
	require.Empty(t, r.Header.Get("Content-Range"))
}

// A reader that finds things by offset must never depend on how a file is cut
// into requests: any range is the slice of the whole.
func TestRandomRangesAreSlices(t *testing.T) {
	content := noise(300_001)
	server := serve(t, oneFile(content))
	for client := range uint64(4) {
		seed := uint64(time.Now().UnixNano())
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, client))
			for range 100 {
				first := random.IntN(len(content))
				last := first + random.IntN(len(content)-first)
				if random.IntN(3) == 0 {
					last = min(first+random.IntN(600), len(content)-1)
				}
				r, err := http.NewRequest("GET", server.URL+"/file", nil)
				require.NoError(t, err)
				r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", first, last))
				response, err := server.Client().Do(r)
				require.NoError(t, err)
				require.Equal(t, http.StatusPartialContent, response.StatusCode)
				require.True(t, string(content[first:last+1]) == string(body(t, response)), "%d-%d", first, last)
			}
		})
	}
}

var singleRange = regexp.MustCompile(`^bytes=(?:([0-9]+)-([0-9]*)|-([0-9]+))$`)

// FuzzRange compares the answer to any Range header with the file, and the
// answer to a single well-formed range with what RFC 9110 section 14 says.
func FuzzRange(f *testing.F) {
	content := noise(1000)
	files := oneFile(content)
	for _, seed := range append(malformedRanges(), "bytes=0-0", "bytes=-0", "bytes=-5", "bytes=999-", "bytes=1000-",
		"bytes=0-1,5-6", "bytes=1-2, 3-4 ,", "bytes=0-99999999999999999999", "bytes=0-,0-", "bytes=99999999999999999999-1") {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		w := httptest.NewRecorder()
		files.ServeHTTP(w, &http.Request{Method: "GET", URL: &url.URL{Path: "/file"}, ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{"Range": {header}}})
		r := w.Result()
		contentRange := r.Header.Get("Content-Range")
		switch r.StatusCode {
		case http.StatusOK:
			require.Empty(t, contentRange)
			require.Equal(t, "1000", r.Header.Get("Content-Length"))
			require.Equal(t, content, body(t, r))
		case http.StatusPartialContent:
			parts := []part{{contentRange, ""}}
			if contentRange == "" {
				parts = readParts(t, r)
				require.LessOrEqual(t, len(parts), 16)
			} else {
				parts[0].body = string(body(t, r))
				require.Equal(t, r.Header.Get("Content-Length"), strconv.Itoa(len(parts[0].body)))
			}
			for _, p := range parts {
				var first, last int
				_, err := fmt.Sscanf(p.contentRange, "bytes %d-%d/1000", &first, &last)
				require.NoError(t, err)
				require.Equal(t, string(content[first:last+1]), p.body)
			}
		case http.StatusRequestedRangeNotSatisfiable:
			require.Equal(t, "bytes */1000", contentRange)
		default:
			t.Fatalf("status %d", r.StatusCode)
		}
		if m := singleRange.FindStringSubmatch(header); m != nil {
			status, want := expectSingle(m[1], m[2], m[3], len(content))
			require.Equal(t, status, r.StatusCode)
			require.Equal(t, want, contentRange)
		}
	})
}

// expectSingle is the reference: the status and Content-Range for one range of
// a file.
func expectSingle(first, last, suffix string, size int) (status int, contentRange string) {
	number := func(s string) int { // beyond 64 bits is as good as the largest
		n, err := strconv.Atoi(s)
		if err != nil {
			return math.MaxInt
		}
		return n
	}
	a, b := 0, 0
	if suffix != "" {
		a, b = max(size-number(suffix), 0), size
	} else {
		a, b = number(first), math.MaxInt
		if last != "" {
			b = number(last)
		}
	}
	switch {
	case b < a:
		return http.StatusOK, ""
	case a >= size:
		return http.StatusRequestedRangeNotSatisfiable, fmt.Sprintf("bytes */%d", size)
	}
	return http.StatusPartialContent, fmt.Sprintf("bytes %d-%d/%d", a, min(b, size-1), size)
}
