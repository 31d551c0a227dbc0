package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseQemuImg(t *testing.T) {
	seconds, err := parseQemuImg("Sending 1000 read requests, 4096 bytes each, 16 in parallel (starting at offset 0, step size 4096)\nRun completed in 0.125 seconds.\n")
	require.NoError(t, err)
	require.Equal(t, 0.125, seconds)
	_, err = parseQemuImg("Run completed in 0.000 seconds.\n")
	require.Error(t, err)
	_, err = parseQemuImg("Failed to connect")
	require.Error(t, err)
}

func TestParseFio(t *testing.T) {
	got, err := parseFio("fio: connected to NBD server\n" + `{"fio version": "fio-3.33", "jobs": [{"jobname": "bench", "error": 0, "read": {"io_bytes": 2000000, "bw": 976, "bw_bytes": 1000000}}]}`)
	require.NoError(t, err)
	require.Equal(t, sample{value: 1, bytes: 2000000}, got)
	for name, out := range map[string]string{
		"text":     "fio: connect: Connection refused",
		"no job":   `{"jobs": []}`,
		"an error": `{"jobs": [{"error": 5, "read": {"io_bytes": 2000000, "bw_bytes": 1000000}}]}`,
		"no bytes": `{"jobs": [{"error": 0, "read": {"io_bytes": 0, "bw_bytes": 0}}]}`,
	} {
		_, err := parseFio(out)
		require.Error(t, err, name)
	}
}

func TestParseStat(t *testing.T) {
	got, err := parseStat("1234 (a (b) c) Z 1 1234 1234 0 -1 4194560 500 900 0 0 7 8 150 50 20 0 1 0 100 0 0\n")
	require.NoError(t, err)
	require.Equal(t, procStat{pid: 1234, parent: 1, state: 'Z', reaped: 2 * time.Second}, got)
	for _, text := range []string{"", "1234", "1234 (x) S 1 2", "x (x) S 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5"} {
		_, err := parseStat(text)
		require.Error(t, err, text)
	}
}

func TestParsePSS(t *testing.T) {
	got, err := parsePSS("5583f000-7ffe1 ---p 00000000 00:00 0    [rollup]\nRss:    2048 kB\nPss:     1024 kB\nPss_Anon:  500 kB\n")
	require.NoError(t, err)
	require.EqualValues(t, 1<<20, got)
	_, err = parsePSS("Rss: 2048 kB\n")
	require.Error(t, err)
}

func TestParseCPU(t *testing.T) {
	before, err := parseCPU("cpu  10 20 30 40 50 60 70 80 10 20")
	require.NoError(t, err)
	require.Equal(t, cpuTicks{stolen: 80, all: 360}, before)
	after, err := parseCPU("cpu  40 30 40 50 60 70 80 90 10 20")
	require.NoError(t, err)
	require.Equal(t, 10.0, after.since(before))
	require.Zero(t, before.since(before))
	for _, line := range []string{"", "cpu 1 2 3", "cpu0 1 2 3 4 5 6 7 8", "cpu 1 2 3 4 5 6 7 x"} {
		_, err := parseCPU(line)
		require.Error(t, err, line)
	}
}

func TestReadSmall(t *testing.T) {
	header := "HTTP/1.1 200 OK\r\nContent-Length: 4096\r\nServer: x\r\n\r\n"
	body := strings.Repeat("x", smallSize)
	buffer := make([]byte, 16<<10)
	require.NoError(t, readSmall(strings.NewReader(header+body), buffer))
	require.Error(t, readSmall(strings.NewReader(header+body[1:]), buffer), "a byte is missing")
	require.Error(t, readSmall(strings.NewReader(header+body+"x"), buffer), "a byte too many")
	require.Error(t, readSmall(strings.NewReader(strings.Replace(header, "200", "404", 1)+body), buffer))
	require.Error(t, readSmall(strings.NewReader(strings.Replace(header, "4096", "4095", 1)+body[1:]), buffer))
	require.Error(t, readSmall(strings.NewReader("HTTP/1.1 200 OK\r\n\r\n"+body), buffer), "no length")
}

// TestProcess looks at a process and its child as cpuTime and memory see them.
func TestProcess(t *testing.T) {
	cmd := exec.Command("sh", "-c", "sleep 60 & echo $!; wait")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line := make([]byte, 32)
	_, err = out.Read(line) // the child runs
	require.NoError(t, err)

	processes, err := family(cmd.Process.Pid)
	require.NoError(t, err)
	require.Len(t, processes, 2)
	used, err := cpuTime(cmd.Process.Pid)
	require.NoError(t, err)
	require.Positive(t, used)
	size, err := memory(cmd.Process.Pid)
	require.NoError(t, err)
	require.Greater(t, size, int64(os.Getpagesize()))
	require.False(t, ended(cmd.Process.Pid))

	child, err := os.FindProcess(processes[1].pid)
	require.NoError(t, err)
	require.NoError(t, child.Kill())
	require.NoError(t, cmd.Wait())
	require.True(t, ended(cmd.Process.Pid))
}

// TestRows sees that names are unique and have servers.
func TestRows(t *testing.T) {
	seen := make(map[string]bool)
	for _, row := range rows {
		require.False(t, seen[row.name], row.name)
		seen[row.name] = true
		family, _, ok := strings.Cut(row.name, "/")
		require.True(t, ok, row.name)
		servers := families[family]
		require.NotEmpty(t, servers, row.name)
		require.Equal(t, oursName, servers[0].name, row.name)
		for _, g := range []*goal{row.goal, row.cpuGoal} {
			if g != nil && g.Peer != "" {
				require.Contains(t, names(servers), g.Peer, row.name)
			}
		}
	}
}

func names(servers []server) (list []string) {
	for _, s := range servers {
		list = append(list, s.name)
	}
	return list
}
