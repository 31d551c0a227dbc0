//go:build !race

package rootfs_test

const raceDetector = false
