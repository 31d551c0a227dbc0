//go:build !linux

package dhcp

import "os"

// dataSync brings a file to disk; on macOS through the cache of the drive.
func dataSync(file *os.File) error { return file.Sync() }
