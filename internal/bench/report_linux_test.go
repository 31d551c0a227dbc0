package main

import (
	"flag"
	"os"
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
	require.NoError(t, r.markdown(&b))
	const golden = "testdata/report.md"
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String())
}
