package rootfs_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/rootfs"
)

const mebi = 1 << 20

// sized serves files that cost no memory: "64M" has 64 MiB, "500" 500 bytes.
func sized() *rootfs.Files {
	at := readerAtFunc(func(p []byte, _ int64) (int, error) { return len(p), nil })
	return &rootfs.Files{Open: func(_ context.Context, name string) (fs.File, error) {
		number, isMebi := strings.CutSuffix(name, "M")
		size, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, fs.ErrNotExist
		}
		if isMebi {
			size *= mebi
		}
		return &fakeFile{ReaderAt: at, info: fakeInfo{size: size, time: modified}}, nil
	}}
}

// sink is a connection to a machine that takes everything at once.
type sink struct {
	header http.Header
	status int
	bytes  int64
}

func (s *sink) Header() http.Header    { return s.header }
func (s *sink) WriteHeader(status int) { s.status = status }
func (s *sink) Write(p []byte) (int, error) {
	s.bytes += int64(len(p))
	return len(p), nil
}

// fetch asks for a file as the machine with the given address.
func fetch(ctx context.Context, files *rootfs.Files, addr, name string, headers ...string) *sink {
	r := httptest.NewRequestWithContext(ctx, "GET", "/"+name, nil)
	r.RemoteAddr = addr + ":1024"
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := &sink{header: http.Header{}}
	files.ServeHTTP(w, r)
	return w
}

// lasts requires that something took so long, give or take what a limiter makes
// up for and one piece of every download.
func lasts(t *testing.T, want time.Duration, began time.Time) {
	t.Helper()
	require.InDelta(t, want.Seconds(), time.Since(began).Seconds(), 0.2+want.Seconds()/50)
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files, began := sized(), time.Now()
		files.Limits = rootfs.Limits{Rate: 10 * mebi}
		var group sync.WaitGroup
		var ends []time.Duration
		var mu sync.Mutex
		for n := range 10 {
			group.Go(func() {
				require.Equal(t, int64(20*mebi), fetch(t.Context(), files, fmt.Sprintf("192.0.2.%d", n+1), "20M").bytes)
				mu.Lock()
				defer mu.Unlock()
				ends = append(ends, time.Since(began))
			})
		}
		group.Wait()
		lasts(t, 20*time.Second, began)
		require.Greater(t, slices.Min(ends), 19*time.Second, "equal shares: all end together")
	})
}

func TestClientRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files, began := sized(), time.Now()
		files.Limits = rootfs.Limits{ClientRate: 2 * mebi}
		var group sync.WaitGroup
		group.Go(func() {
			fetch(t.Context(), files, "192.0.2.1", "20M")
			lasts(t, 10*time.Second, began)
		})
		for range 4 { // the other client's downloads share what one has
			group.Go(func() { fetch(t.Context(), files, "192.0.2.2", "10M") })
		}
		group.Wait()
		lasts(t, 20*time.Second, began)
		began = time.Now()
		for range 200 { // small files add up too
			require.Equal(t, http.StatusOK, fetch(t.Context(), files, "192.0.2.1", "1M").status)
		}
		lasts(t, 100*time.Second, began)
	})
}

func TestBothRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files, began := sized(), time.Now()
		files.Limits = rootfs.Limits{Rate: 10 * mebi, ClientRate: mebi}
		fetch(t.Context(), files, "192.0.2.1", "10M")
		lasts(t, 10*time.Second, began) // alone, at the client's
		began = time.Now()
		var group sync.WaitGroup
		for n := range 20 { // together, at the server's
			group.Go(func() { fetch(t.Context(), files, fmt.Sprintf("192.0.2.%d", n+1), "10M") })
		}
		group.Wait()
		lasts(t, 20*time.Second, began)
	})
}

// Time in which nobody downloads is not saved up.
func TestRateAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := sized()
		files.Limits = rootfs.Limits{Rate: 10 * mebi, ClientRate: 10 * mebi}
		for range 3 {
			time.Sleep(time.Hour)
			began := time.Now()
			fetch(t.Context(), files, "192.0.2.1", "50M")
			lasts(t, 5*time.Second, began)
		}
	})
}

func TestSmallAnswersGoAheadOfDownloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := sized()
		files.Limits = rootfs.Limits{Rate: 8 * mebi, Downloads: 1, ClientDownloads: -1}
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() { fetch(ctx, files, "192.0.2.1", "100M") })
		}
		time.Sleep(time.Second)
		tag := fetch(ctx, files, "192.0.2.2", "500").header.Get("Etag")
		for name, test := range map[string]struct {
			file    string
			headers []string
			status  int
		}{
			"configuration": {"500", nil, 200},
			"boot loader":   {"3M", nil, 200},
			"probe":         {"100M", []string{"Range", "bytes=0-0"}, 206},
			"not modified":  {"500", []string{"If-None-Match", tag}, 304},
			"changed":       {"100M", []string{"If-Match", `"other"`}, 412},
			"no such range": {"100M", []string{"Range", "bytes=200000000-"}, 416},
			"missing":       {"none", nil, 404},
		} {
			began := time.Now()
			require.Equal(t, test.status, fetch(ctx, files, "192.0.2.2", test.file, test.headers...).status, name)
			require.Zero(t, time.Since(began), name)
		}
		cancel()
		group.Wait()
	})
}

// Small answers and ranges keep to the rate, too, but for the second by which they
// go ahead, so they cannot keep downloads away.
func TestSmallAnswersKeepToTheRate(t *testing.T) {
	for name, headers := range map[string][]string{"files": nil, "ranges": {"Range", "bytes=1000000-4000000"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				files, began := sized(), time.Now()
				files.Limits = rootfs.Limits{Rate: mebi, Downloads: 1}
				name, sent := "3M", int64(0)
				if headers != nil {
					name = "100M"
				}
				var mu sync.Mutex
				var group sync.WaitGroup
				for n := range 50 {
					group.Go(func() {
						got := fetch(t.Context(), files, fmt.Sprintf("192.0.2.%d", n+1), name, headers...)
						mu.Lock()
						defer mu.Unlock()
						sent += got.bytes
					})
				}
				group.Wait()
				lasts(t, time.Duration(sent/mebi-1)*time.Second, began)
				began = time.Now()
				fetch(t.Context(), files, "192.0.2.99", "10M")
				lasts(t, 11*time.Second, began)
			})
		})
	}
}

// What was taken of the rate and not sent is there for others.
func TestAbortedDownloadsCostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := sized()
		files.Limits = rootfs.Limits{Rate: mebi, ClientRate: mebi}
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		for range 300 {
			group.Go(func() { fetch(ctx, files, "192.0.2.1", "100M") })
		}
		time.Sleep(time.Second)
		cancel()
		group.Wait()
		began := time.Now()
		fetch(t.Context(), files, "192.0.2.2", "10M")
		lasts(t, 10*time.Second, began)
	})
}

// One client cannot take all places, nor the whole line.
func TestShareOfAClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := sized()
		files.Limits = rootfs.Limits{Downloads: 2, ClientDownloads: 3, ClientRate: mebi}
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() { fetch(t.Context(), files, "192.0.2.1", "100M") })
		}
		synctest.Wait()
		require.Equal(t, http.StatusServiceUnavailable, fetch(t.Context(), files, "192.0.2.1", "100M").status)
		require.Equal(t, http.StatusOK, fetch(t.Context(), files, "192.0.2.1", "500").status)
		require.Equal(t, http.StatusOK, fetch(t.Context(), files, "192.0.2.2", "10M").status)
		group.Wait()
		require.Equal(t, http.StatusOK, fetch(t.Context(), files, "192.0.2.1", "10M").status)
	})
}

// HEAD has no body, so it is no download.
func TestHeadIsNoDownload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := sized()
		files.Limits = rootfs.Limits{Rate: mebi, Downloads: 1, Wait: -1}
		ctx, cancel := context.WithCancel(t.Context())
		go fetch(ctx, files, "192.0.2.1", "100M")
		synctest.Wait()
		w := &sink{header: http.Header{}}
		files.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "HEAD", "/100M", nil))
		require.Equal(t, http.StatusOK, w.status)
		cancel()
		synctest.Wait()
	})
}

func TestDownloadsWaitInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := sized()
		files.Limits = rootfs.Limits{Downloads: 3, ClientRate: 10 * mebi}
		var mu sync.Mutex
		var running, most int
		var order []int
		var group sync.WaitGroup
		open := files.Open
		files.Open = func(ctx context.Context, name string) (fs.File, error) {
			f, err := open(ctx, name)
			f.(*fakeFile).ReaderAt = readerAtFunc(func(p []byte, off int64) (int, error) {
				if off == 0 {
					mu.Lock()
					running++
					most = max(most, running)
					mu.Unlock()
				}
				return len(p), nil
			})
			return f, err
		}
		files.Trace = &rootfs.Trace{Done: func(r *http.Request, _ string, result rootfs.Result) {
			mu.Lock()
			defer mu.Unlock()
			require.NoError(t, result.Err)
			running--
			n, err := strconv.Atoi(r.Header.Get("N"))
			require.NoError(t, err)
			order = append(order, n)
		}}
		for n := range 30 {
			group.Go(func() {
				time.Sleep(time.Duration(n) * time.Millisecond) // arrive one by one
				fetch(t.Context(), files, fmt.Sprintf("192.0.2.%d", n+1), "10M", "N", strconv.Itoa(n))
			})
		}
		group.Wait()
		require.Equal(t, 3, most)
		require.Len(t, order, 30)
		require.IsIncreasing(t, order)
	})
}

func TestWait(t *testing.T) {
	for name, test := range map[string]struct{ wait, answered time.Duration }{
		"not at all": {-1, 0}, "a minute": {time.Minute, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				files, seen := sized(), newRecord()
				files.Limits = rootfs.Limits{Downloads: 1, ClientRate: mebi, Wait: test.wait}
				files.Trace = seen.trace()
				var group sync.WaitGroup
				group.Go(func() { fetch(t.Context(), files, "192.0.2.1", "100M") })
				synctest.Wait()

				began := time.Now()
				w := fetch(t.Context(), files, "192.0.2.2", "100M", "Range", "bytes=0-50000000")
				require.Equal(t, test.answered, time.Since(began))
				require.Equal(t, http.StatusServiceUnavailable, w.status)
				seconds, err := strconv.Atoi(w.header.Get("Retry-After"))
				require.NoError(t, err)
				require.GreaterOrEqual(t, seconds, 5)
				require.LessOrEqual(t, seconds, 15)
				w.header.Del("Retry-After")
				require.Equal(t, http.Header{
					"Content-Type": {"text/plain; charset=utf-8"}, "Content-Length": {"20"},
				}, w.header, "nothing of the file is left")
				require.Equal(t, int64(20), w.bytes)
				result := <-seen.done
				require.ErrorIs(t, result.Err, rootfs.ErrBusy)
				require.False(t, result.Aborted)
				require.Equal(t, http.StatusServiceUnavailable, result.Status)

				group.Wait() // now there is room
				require.Equal(t, int64(100*mebi), fetch(t.Context(), files, "192.0.2.2", "100M").bytes)
			})
		})
	}
}

func TestLineIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := sized()
		files.Limits = rootfs.Limits{Downloads: 2, ClientDownloads: -1, ClientRate: 1}
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		for range 2 + 1024 {
			group.Go(func() { fetch(ctx, files, "192.0.2.1", "100M") })
		}
		synctest.Wait()
		require.Equal(t, http.StatusServiceUnavailable, fetch(ctx, files, "192.0.2.2", "100M").status)
		require.Equal(t, http.StatusOK, fetch(ctx, files, "192.0.2.2", "500").status)
		cancel()
		group.Wait()
		// Whoever went away has left the line and the places.
		files.Limits.ClientRate = 0
		require.Equal(t, int64(100*mebi), fetch(t.Context(), files, "192.0.2.2", "100M").bytes)
	})
}

// A client that goes away while it waits, for a place or for its next bytes, is
// the client's doing and leaves nothing behind.
func TestClientThatGoesAwayWhileWaiting(t *testing.T) {
	for name, limits := range map[string]rootfs.Limits{
		"in line": {Downloads: 1, ClientRate: mebi}, "for the server's rate": {Rate: mebi}, "for its own": {ClientRate: mebi},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				files, seen := sized(), newRecord()
				files.Limits, files.Trace = limits, seen.trace()
				var group sync.WaitGroup
				group.Go(func() { fetch(t.Context(), files, "192.0.2.1", "10M") }) // until long after
				synctest.Wait()
				ctx, cancel := context.WithCancel(t.Context())
				group.Go(func() { fetch(ctx, files, "192.0.2.1", "10M") })
				time.Sleep(time.Second)
				cancel()
				synctest.Wait()
				result := <-seen.done
				require.ErrorIs(t, result.Err, context.Canceled)
				require.True(t, result.Aborted)
				require.Less(t, result.Bytes, int64(10*mebi))
				group.Wait()
			})
		})
	}
}

// A source that fails gives its place back, whatever way the handler ends.
func TestPlaceOfAFailedDownload(t *testing.T) {
	files := short(noise(100), 10*mebi, errors.New("broken"))
	files.Limits = rootfs.Limits{Downloads: 1, Wait: -1}
	for range 3 {
		require.PanicsWithValue(t, http.ErrAbortHandler, func() { fetch(t.Context(), files, "192.0.2.1", "file") })
	}
}

// A thousand machines switched on together: each fetches its script, a kernel
// and a root file system. All of them finish, in the order in which they came,
// as fast as the rate allows, and nobody is sent away.
func TestBootStorm(t *testing.T) {
	const machines, places, rate = 1000, 20, 500 * mebi
	synctest.Test(t, func(t *testing.T) {
		files, began := sized(), time.Now()
		files.Limits = rootfs.Limits{Rate: rate, ClientRate: 100 * mebi, Downloads: places}
		var mu sync.Mutex
		var finished []int
		var group sync.WaitGroup
		for n := range machines {
			group.Go(func() {
				time.Sleep(time.Duration(n) * time.Millisecond)
				addr := fmt.Sprintf("192.0.2.%d", 1+n%250)
				asked := time.Now()
				require.Equal(t, http.StatusOK, fetch(t.Context(), files, addr, "500").status)
				require.Less(t, time.Since(asked), time.Second, "scripts do not wait")
				for _, name := range []string{"5M", "20M"} {
					require.Equal(t, http.StatusOK, fetch(t.Context(), files, addr, name).status)
				}
				mu.Lock()
				defer mu.Unlock()
				finished = append(finished, n)
			})
		}
		group.Wait()
		lasts(t, machines*25*mebi/rate*time.Second, began)
		require.Len(t, finished, machines)
		for at, n := range finished {
			require.InDelta(t, n, at, 3*places, "overtaken only by those that run at the same time")
		}
	})
}
