package vm

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// cached returns the directory name in the cache directory cache ("": the user's
// own). If there is none, build makes it first: what it leaves in done is what is
// kept, and work is a place for the rest. Several processes may ask for the same
// name at the same time.
func cached(cache, name string, build func(work, done string) error) (string, error) {
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("vm: cache: %w", err)
		}
		cache = filepath.Join(user, "pxekit-vm")
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("vm: cache: %w", err)
	}
	unlock, err := lock(filepath.Join(cache, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	dir := filepath.Join(cache, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	// Beside its place, and moved there when it is whole.
	work, err := os.MkdirTemp(cache, "building-")
	if err != nil {
		return "", fmt.Errorf("vm: cache: %w", err)
	}
	defer os.RemoveAll(work)
	done := filepath.Join(work, "done")
	if err := os.Mkdir(done, 0o755); err != nil {
		return "", fmt.Errorf("vm: cache: %w", err)
	}
	if err := build(work, done); err != nil {
		return "", err
	}
	if err := os.Rename(done, dir); err != nil {
		return "", fmt.Errorf("vm: cache: %w", err)
	}
	return dir, nil
}

// lock takes the lock file name, and waits for it. It ends with the process.
func lock(name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("vm: lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("vm: lock %s: %w", name, err)
	}
	return func() { f.Close() }, nil
}
