package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// procStat is what is used of /proc/PID/stat.
type procStat struct {
	pid, parent int
	state       byte
	reaped      time.Duration // CPU time of children that were waited for
}

// tick is the unit of times in /proc: USER_HZ, 100 on every Linux of today.
const tick = time.Second / 100

func parseStat(text string) (procStat, error) {
	// The program's name is in brackets and may have brackets and spaces in it.
	end := strings.LastIndexByte(text, ')')
	start := strings.IndexByte(text, ' ')
	if start < 0 || end < start {
		return procStat{}, fmt.Errorf("/proc/PID/stat without a name: %q", text)
	}
	fields := strings.Fields(text[end+1:])
	if len(fields) < 15 {
		return procStat{}, fmt.Errorf("/proc/PID/stat with %d fields after the name", len(fields))
	}
	pid, err1 := strconv.Atoi(text[:start])
	parent, err2 := strconv.Atoi(fields[1])
	user, err3 := strconv.ParseInt(fields[13], 10, 64)
	system, err4 := strconv.ParseInt(fields[14], 10, 64)
	return procStat{pid, parent, fields[0][0], time.Duration(user+system) * tick}, errors.Join(err1, err2, err3, err4)
}

func readStat(pid int) (procStat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procStat{}, err
	}
	return parseStat(string(text))
}

// ended says whether a process is gone, if not from its parent's list.
func ended(pid int) bool {
	s, err := readStat(pid)
	return err != nil || s.state == 'Z'
}

// family returns a process and what descends from it.
func family(pid int) ([]procStat, error) {
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	children := make(map[int][]procStat)
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(name))
		if err != nil {
			continue
		}
		if s, err := readStat(pid); err == nil { // else it has just ended
			children[s.parent] = append(children[s.parent], s)
		}
	}
	first, err := readStat(pid)
	if err != nil {
		return nil, err
	}
	all := []procStat{first}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i].pid]...)
	}
	return all, nil
}

// cpuTime returns what a server has used of the CPUs, with its processes that
// run and those that have ended.
func cpuTime(pid int) (time.Duration, error) {
	processes, err := family(pid)
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, p := range processes {
		sum += p.reaped + clockOf(p.pid)
	}
	return sum, nil
}

// clockOf returns what a process has used of the CPUs, and nothing when it has
// ended. Its clock counts nanoseconds where /proc counts ticks; the clock's
// number is made of the process's, see clock_getcpuclockid(3).
func clockOf(pid int) time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(int32(^pid<<3|2), &t)
	return time.Duration(t.Nano())
}

// memory returns a server's resident bytes; pages that its processes share count
// once.
func memory(pid int) (int64, error) {
	processes, err := family(pid)
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, p := range processes {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.pid))
		if err != nil {
			if p.pid == pid {
				return 0, err
			}
			continue
		}
		pss, err := parsePSS(string(text))
		if err != nil {
			return 0, err
		}
		sum += pss
	}
	return sum, nil
}

// parsePSS finds the proportional set size in bytes: the resident pages, those
// of several processes divided among them.
func parsePSS(text string) (int64, error) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("no line Pss: in smaps_rollup")
}

// cpuTicks are the CPUs' times since the system's start.
type cpuTicks struct{ stolen, all int64 }

// parseCPU reads the first line of /proc/stat. The times after the eighth are
// part of others.
func parseCPU(line string) (t cpuTicks, err error) {
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return t, fmt.Errorf("not the CPUs' times: %q", line)
	}
	for _, field := range fields[1:9] {
		if t.stolen, err = strconv.ParseInt(field, 10, 64); err != nil {
			return t, err
		}
		t.all += t.stolen // the last one stays
	}
	return t, nil
}

// since is the share of the time since then that the host took, in percent.
func (t cpuTicks) since(then cpuTicks) float64 {
	return 100 * float64(t.stolen-then.stolen) / float64(max(1, t.all-then.all))
}
