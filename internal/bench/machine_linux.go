package main

import (
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// describe tells what the figures depend on. What cannot be read stays empty.
func describe(dir string, namespace bool) machine {
	m := machine{CPUs: runtime.NumCPU(), Congestion: first(congestionPath), Namespace: namespace, LoadBefore: load()}
	m.Kernel = first("/proc/sys/kernel/osrelease")
	cpus, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(cpus)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) == nil {
		m.FileSystem = map[int64]string{
			unix.EXT4_SUPER_MAGIC: "ext4", unix.TMPFS_MAGIC: "tmpfs", unix.XFS_SUPER_MAGIC: "xfs",
			unix.BTRFS_SUPER_MAGIC: "btrfs", unix.OVERLAYFS_SUPER_MAGIC: "overlayfs",
		}[int64(fs.Type)]
	}
	return m
}

// load is the machine's load average of the last minute.
func load() string {
	load, _, _ := strings.Cut(first("/proc/loadavg"), " ")
	return load
}

// first is the first line of a file.
func first(path string) string {
	text, _ := os.ReadFile(path)
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(line)
}
