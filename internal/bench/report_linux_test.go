package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestReport(t *testing.T) {
	r := report{
		Date: "2026-11-22", Rounds: 3,
		Machine: machine{
			CPU: "Some CPU", CPUs: 2, Kernel: "6.1.0", FileSystem: "ext4", Congestion: "reno",
			Namespace: true, LoadBefore: "0.10", LoadAfter: "1.20", Stolen: 2.25,
		},
		Versions: map[string]string{"nbdkit": "nbdkit 1.32.5", "nginx": "nginx/1.22.1"},
		Results: []result{
			{Name: "nbd/a", What: "met", Unit: "MB/s", Goal: nbdSpeed, Servers: []figure{
				{Server: oursName, Samples: []float64{1200, 1300, 1100}},
				{Server: "nbdkit", Samples: []float64{1000, 1000, 1000}},
				{Server: "nbd-server", Note: "not installed: apt-get install nbd-server"},
			}},
			{Name: "nbd/b", What: "missed", Unit: "MB/s", Goal: nbdSpeed, Servers: []figure{
				{Server: oursName, Samples: []float64{96}},
				{Server: "nbdkit", Samples: []float64{100}},
				{Server: "nbd-server", Samples: []float64{1.5}},
			}},
			{Name: "nbd/idle", What: "a limit", Unit: "KiB", Goal: &goal{AtMost: 64}, Servers: []figure{
				{Server: oursName, Samples: []float64{70}},
				{Server: "nbdkit", Samples: []float64{140}},
				{Server: "nbd-server", Note: "failed"},
			}},
			{Name: "http/c", What: "lower is better", Unit: "s/GiB", Goal: httpCPU, Servers: []figure{
				{Server: oursName, Samples: []float64{0.1}},
				{Server: "nginx", Samples: []float64{0.2}},
			}},
			{Name: "http/d", What: "no peer", Unit: "MB/s", Goal: httpSpeed, Servers: []figure{
				{Server: oursName, Samples: []float64{10}},
				{Server: "nginx", Note: "not installed: apt-get install nginx-light"},
			}},
			{Name: "http/e", What: "no goal", Unit: "requests/s", Servers: []figure{
				{Server: oursName, Samples: []float64{12345}},
				{Server: "nginx", Samples: []float64{11111}},
			}},
		},
	}
	for i := range r.Results {
		r.Results[i].finish()
	}
	var b strings.Builder
	require.NoError(t, markdown(&b, []report{r}))
	const golden = "testdata/report.md"
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String())
}

// A run of one family takes the place of what was measured of it before.
func TestARunReplacesItsFamilies(t *testing.T) {
	dir := t.TempDir()
	run := func(date string, names ...string) report {
		r := report{Date: date}
		for _, name := range names {
			r.Results = append(r.Results, result{Name: name, What: name + " of " + date, Servers: []figure{{Server: oursName, Note: "-"}}})
		}
		return r
	}
	require.NoError(t, run("2026-11-20", "nbd/a", "http/b", "dhcp/c").write(dir))
	require.NoError(t, run("2026-11-21", "http/b").write(dir))
	require.NoError(t, run("2026-11-22", "dhcp/d", "dhcp/e").write(dir))
	text, err := os.ReadFile(filepath.Join(dir, "bench.md"))
	require.NoError(t, err)
	var found []string
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "| "); ok && !strings.HasPrefix(name, "row") {
			found = append(found, name[:len("nbd/a of 2026-11-20")])
		}
	}
	require.Equal(t, []string{"nbd/a of 2026-11-20", "http/b of 2026-11-2", "dhcp/d of 2026-11-2", "dhcp/e of 2026-11-2"}, found)
	require.Equal(t, 3, strings.Count(string(text), "Measured 2026-11-2"))

	require.NoError(t, run("2026-11-23", "nbd/a", "http/b", "dhcp/c").write(dir))
	text, err = os.ReadFile(filepath.Join(dir, "bench.md"))
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(text), "Measured 2026-11-2"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bench.json"), []byte("{}"), 0o600))
	require.Error(t, run("2026-11-23", "nbd/a").write(dir), "what is there is not thrown away")
}
