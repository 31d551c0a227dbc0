//go:build race

package rootfs_test

// raceDetector says that memory is mostly the race detector's.
const raceDetector = true
